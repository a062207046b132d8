//! Redis: a dump out of a running server, loaded by another.

use crate::page::recipe;
use crate::place::Place;
use crate::server::Server;

fn start(place: &Place, directory: &str) -> (Server, String) {
    let log = place.path(&format!("home/{directory}.log"));
    let command = |[port]: [u16; 1]| {
        let mut command = place.command("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir", directory, "--save", ""]);
        command
    };
    let answers = |[port]: [u16; 1]| place.shell(&format!("redis-cli -p {port} ping"), &[]).stdout == "PONG\n";
    let (server, [port]) = Server::start_on_port(&log, command, answers);
    (server, port.to_string())
}

#[test]
fn the_keys_of_a_server_come_back_in_another() {
    let Some(place) = Place::with(&["redis-server", "redis-cli"]) else { return };
    place.shell("mkdir first second", &[]).expect(0);
    let (first, port) = start(&place, "first");
    let fill = "for i in {1..2000}; do echo \"set key:$i value-$i\"; done | redis-cli -p \"$REDIS_PORT\" --pipe
        redis-cli -p \"$REDIS_PORT\" rpush list a b c";
    let environment = [("REDIS_PORT", port.as_str())];
    place.shell(fill, &environment).expect(0);
    place.shell(&recipe("redis"), &environment).expect(0);
    first.stop();
    // A server that is gone leaves no snapshot.
    place.shell(&recipe("redis"), &environment).expect(1);
    assert_eq!(place.count_snapshots(""), 1);
    place.shell(&recipe("redis-restore"), &[("REDIS_DIR", "second")]).expect(0);
    let (_second, port) = start(&place, "second");
    let ask = |words: &str| place.shell(&format!("redis-cli -p {port} {words}"), &[]).expect(0).stdout;
    assert_eq!(ask("dbsize"), "2001\n");
    assert_eq!(ask("get key:1234"), "value-1234\n");
    assert_eq!(ask("lrange list 0 -1"), "a\nb\nc\n");
}
