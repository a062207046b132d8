//! SQLite databases that are followed: the command of the page, and its unit of systemd.

use std::process::{Child, Command};

use crate::page::recipe;
use crate::place::{Place, wait_until};

/// A place with two databases in log mode.
fn place_with_databases() -> Option<Place> {
    let place = Place::with(&["sqlite3"])?;
    place.shell("mkdir shop", &[]).expect(0);
    for name in ["shop", "users"] {
        let make = "PRAGMA journal_mode = WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1);";
        place.shell(&format!("sqlite3 shop/{name}.db '{make}'"), &[]).expect(0);
    }
    Some(place)
}

/// Lets something watch, lets a writer write, and ends it as systemd does: every change is in a snapshot of its own database.
fn expect_followed(place: &Place, mut watching: Command, databases: usize) {
    let mut child: Child = watching.spawn().unwrap();
    wait_until("every database has its first snapshot", || place.count_snapshots("") == databases);
    place.shell("sqlite3 shop/shop.db 'INSERT INTO t VALUES (2)'", &[]).expect(0);
    let newest = format!("latest:{}", place.text("home/shop/shop.db"));
    let path = format!("--path {}", place.text("home/shop/shop.db"));
    wait_until("what was written is in a snapshot", || place.count_snapshots(&path) > 1);
    let term = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(term.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // A write can fall into two snapshots, the second of which has nothing new; the newest has it all.
    place.shell(&format!("holdfast restore {path} '{newest}' restored.db"), &[]).expect(0);
    let sum = place.shell("sqlite3 restored.db 'SELECT sum(a) FROM t'", &[]).expect(0).stdout;
    assert_eq!(sum.trim(), "3");
}

#[test]
fn databases_are_followed_until_the_command_is_ended() {
    let Some(place) = place_with_databases() else { return };
    let script = recipe("watch").replace("/srv/shop", &place.text("home/shop")).replace("holdfast", "exec holdfast");
    let mut command = place.command("bash");
    command.args(["-c", &script]);
    expect_followed(&place, command, 2);
}

#[test]
fn the_unit_that_follows_ends_as_it_says() {
    let Some(place) = place_with_databases() else { return };
    let unit = recipe("systemd-watch")
        .replace("/usr/local/bin/holdfast", &place.text("bin/holdfast"))
        .replace("/srv/shop", &place.text("home/shop"));
    assert!(
        unit.lines().any(|line| line == "SuccessExitStatus=130") && unit.lines().any(|line| line == "Restart=always")
    );
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let mut command = place.command("bash");
    command.args(["-c", &format!("exec {start}")]);
    expect_followed(&place, command, 1);
}
