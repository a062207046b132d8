//! etcd: a snapshot of a running server, restored into another.

use crate::page::recipe;
use crate::place::Place;
use crate::server::Server;

/// Starts a server on a data directory, and returns its endpoint.
fn start(place: &Place, directory: &str) -> (Server, String) {
    let log = place.path(&format!("home/{directory}.log"));
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let command = |[client, peer]: [u16; 2]| {
        let mut command = place.command("etcd");
        command.args(["--data-dir", directory, "--unsafe-no-fsync", "--log-level", "warn"]);
        command.args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)]);
        command.args(["--listen-peer-urls", &url(peer)]);
        command
    };
    let answers = |[client, _]: [u16; 2]| {
        let health = "etcdctl --dial-timeout=1s --command-timeout=1s endpoint health";
        place.shell(health, &[("ETCDCTL_ENDPOINTS", &url(client))]).code == 0
    };
    let (server, [client, _]) = Server::start_on_port(&log, command, answers);
    (server, url(client))
}

#[test]
fn the_keys_of_a_server_come_back_in_another() {
    let Some(place) = Place::with(&["etcd", "etcdctl"]) else { return };
    let (first, endpoint) = start(&place, "first");
    let environment = [("ETCDCTL_ENDPOINTS", endpoint.as_str())];
    let fill = "set -e; for i in {1..20}; do etcdctl put key/$i value-$i >/dev/null; done";
    place.shell(fill, &environment).expect(0);
    place.shell(&recipe("etcd"), &environment).expect(0);
    first.stop();
    let away = recipe("etcd").replace("etcdctl snapshot", "etcdctl --dial-timeout=1s --command-timeout=1s snapshot");
    assert_ne!(place.shell(&away, &environment).code, 0);
    assert_eq!(place.count_snapshots(""), 1);
    place.shell(&recipe("etcd-restore"), &[("ETCD_DATA_DIR", "second")]).expect(0);
    let left: Vec<String> = place.shell("ls", &[]).stdout.lines().map(str::to_owned).collect();
    assert!(!left.iter().any(|name| name.starts_with("tmp.")), "{left:?}");
    let (_second, endpoint) = start(&place, "second");
    let environment = [("ETCDCTL_ENDPOINTS", endpoint.as_str())];
    let keys = place.shell("etcdctl get --prefix key/ --keys-only", &environment).expect(0).stdout;
    assert_eq!(keys.lines().filter(|line| !line.is_empty()).count(), 20, "{keys}");
    assert_eq!(place.shell("etcdctl get --print-value-only key/17", &environment).expect(0).stdout, "value-17\n");
}
