//! `storage test`, and repositories on storage over the network, as scripts see them.

use serde_json::Value;

use crate::servers::proxy::{Deed, Proxy};
use crate::servers::s3::{S3Server, SECRET};
use crate::world::{Run, World};

/// Runs the suite with small objects.
fn test_storage(world: &World, more: &[&str], uri: &str) -> Run {
    world.run([&["storage", "test", "--large", "1"], more, &[uri]].concat())
}

fn promise<'d>(document: &'d Value, name: &str) -> &'d Value {
    let promises = document["promises"].as_array().unwrap();
    promises.iter().find(|promise| promise["name"] == name).unwrap()
}

#[test]
fn a_good_storage_is_said_to_be_one_and_left_as_it_was() {
    let (world, server) = (World::bare(), S3Server::start());
    let run = test_storage(&world, &[], &server.uri()).expect(0);
    assert!(run.stdout.contains("holds     what a write returned for can be read at once, whole\n"), "{}", run.stdout);
    assert!(run.stdout.contains("a repository can be kept here"), "{}", run.stdout);
    assert!(!run.stdout.contains("BROKEN") && !run.stdout.contains(SECRET), "{}", run.stdout);
    let document = test_storage(&world, &["--json"], &server.uri()).expect(0).json("storage test");
    for name in ["requests", "retries", "elapsed_ms"] {
        assert!(document[name].is_u64(), "{name} in {document}");
    }
    assert_eq!(document["left_behind"], serde_json::json!([]));
    for promise in document["promises"].as_array().unwrap() {
        assert!(promise["words"].is_string() && promise["meaning"].is_string(), "{promise}");
        assert_eq!((&promise["holds"], promise["required"].is_boolean()), (&true.into(), true), "{promise}");
    }
    assert_eq!(server.objects().len(), 0);
    assert_eq!(test_storage(&world, &["-q"], &server.uri()).expect(0).stdout, "");
    test_storage(&world, &[], "some/where/new").expect(0);
    assert!(!world.path("some/where/new").exists());
}

#[test]
fn a_storage_that_cuts_answers_short_is_four_and_says_what_it_means() {
    let (world, server) = (World::bare(), S3Server::start());
    let proxy = Proxy::start(server.address());
    proxy.does(|asked| if asked.is_read() { Deed::Truncate } else { Deed::Pass });
    let uri = S3Server::uri_at(proxy.address);
    let run = test_storage(&world, &[], &uri).expect(4);
    assert!(run.stdout.contains("BROKEN    what a write returned for can be read at once, whole\n"), "{}", run.stdout);
    assert!(run.stdout.contains("That means: A backup that was reported as done may not be"), "{}", run.stdout);
    assert!(run.stdout.contains("no repository should be kept here"), "{}", run.stdout);
    let document = test_storage(&world, &["--json"], &uri).expect(4).json("storage test");
    assert_eq!(promise(&document, "read_after_write")["holds"], false);
    assert_eq!(promise(&document, "list_after_write")["holds"], true);
    assert_eq!(server.objects().len(), 0);
}

#[test]
fn lists_that_lag_are_no_failure() {
    let (world, server) = (World::bare(), S3Server::start());
    let proxy = Proxy::start(server.address());
    proxy.does(|asked| if asked.is_list() { Deed::EmptyList } else { Deed::Pass });
    let run = test_storage(&world, &[], &S3Server::uri_at(proxy.address)).expect(0);
    assert!(run.stdout.contains("not here  a list shows at once what was written\n"), "{}", run.stdout);
}

#[test]
fn storage_out_of_reach_is_one_and_said_soon() {
    let world = World::bare();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let start = std::time::Instant::now();
    let run = test_storage(&world, &[], &S3Server::uri_at(address)).expect(1);
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    assert!(run.stderr.contains("error: cannot write trial-") && run.stderr.contains(" times in "), "{}", run.stderr);
    assert!(!run.stderr.contains(SECRET), "{}", run.stderr);
}

#[test]
fn wrong_usage_is_two() {
    let world = World::bare();
    world.run(["storage", "test"]).expect(2);
    test_storage(&world, &[], "nope://host").expect(2);
    let run = test_storage(&world, &[], "sftp://me:geheim@host/x").expect(2);
    assert!(run.stderr.contains("ssh takes no password") && !run.stderr.contains("geheim"), "{}", run.stderr);
}

#[test]
fn a_repository_on_s3_is_used_like_any_other() {
    let (world, server) = (World::bare(), S3Server::start());
    let run = |words: &[&str]| world.run([&["-r", &server.uri(), "--key-file", "key"], words].concat());
    run(&["init"]).expect(0);
    run(&["backup", "src"]).expect(0);
    let second = run(&["--json", "backup", "src"]).expect(0).json("backup");
    assert!(second["requests"].as_u64().unwrap() < 20, "{second}");
    run(&["check", "--read-data"]).expect(0);
    run(&["restore", "latest", "target"]).expect(0);
    let restored = world.path(&format!("target{}", world.text("src/a.txt")));
    assert_eq!(std::fs::read(restored).unwrap(), b"hello");
    let all = run(&["snapshots", "-v"]).expect(0);
    assert!(!all.stdout.contains(SECRET) && !all.stderr.contains(SECRET));
    // The credentials may come from the environment, too, and are not shown either when they are wrong.
    let uri = server.uri();
    let (bare, _) = uri.split_once("&access_key_id").unwrap();
    let with = |secret: &str| {
        let mut command = world.command();
        command.env("AWS_ACCESS_KEY_ID", "AKIAHOLDFASTTEST").env("AWS_SECRET_ACCESS_KEY", secret);
        Run::of(command.args(["-r", bare, "--key-file", "key", "snapshots"]).output().unwrap())
    };
    with(SECRET).expect(0);
    let wrong = with("geheimgeheimgeheim").expect(1);
    assert!(!wrong.stderr.contains("geheim") && !wrong.stderr.contains("AKIA"), "{}", wrong.stderr);
}
