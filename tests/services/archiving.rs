//! What PostgreSQL does when a push fails, and what a push does that is killed.

use std::fs;

use crate::place::{Place, wait_until};
use crate::postgres::{PROGRAMS, Postgres};

#[test]
fn postgresql_keeps_what_cannot_be_archived_and_tries_again() {
    let Some(place) = Place::with(&PROGRAMS) else { return };
    let cluster = Postgres::archiving(&place, 1);
    cluster.sql("create table letters (id int)");
    let first = cluster.switch();
    wait_until("the first segment is archived", || cluster.has_archived(&first));
    place.shell("mv ../repo ../away", &[]).expect(0);
    cluster.sql("insert into letters values (1)");
    let kept = cluster.switch();
    wait_until("a push fails", || cluster.sql("select failed_count > 0 from pg_stat_archiver") == "t");
    let waiting = cluster.path(&format!("pg_wal/archive_status/{kept}.ready"));
    assert!(waiting.exists() && !cluster.has_archived(&kept));
    place.shell("mv ../away ../repo", &[]).expect(0);
    wait_until("the push is repeated", || {
        // After three failures the archiver sleeps for a minute, unless there is more to do.
        cluster.sql("insert into letters values (2)");
        cluster.switch();
        cluster.has_archived(&kept)
    });
    assert!(!waiting.exists());
    fs::create_dir(place.path("home/fetched")).unwrap();
    crate::place::open_up(&place.path("home/fetched"), 0o777);
    place.holdfast(&format!("wal fetch {kept} fetched/{kept}")).expect(0);
    assert_eq!(fs::metadata(place.path(&format!("home/fetched/{kept}"))).unwrap().len(), 1 << 20);
}

/// Kills the first pushes after ever more time, and lets the later ones through. Keeps a copy of each file to compare with.
const KILLING: &str = r#"#!/bin/bash
tries=$(($(cat "$HOME/tries" 2>/dev/null || echo 0) + 1))
echo "$tries" >"$HOME/tries"
cp "$1" "$HOME/copies/"
if [ "$tries" -gt 12 ]; then exec holdfast wal push "$1"; fi
holdfast wal push "$1" &
sleep "0.0$((tries * 7))"
kill -9 $!
wait $! && echo through >>"$HOME/through"
exit 1
"#;

#[test]
fn a_push_that_is_killed_is_repeated_by_postgresql_and_harms_nothing() {
    let Some(place) = Place::with(&PROGRAMS) else { return };
    place.write("bin/killing", KILLING);
    place.shell("mkdir copies", &[]).expect(0);
    let cluster = Postgres::new(&place, 1, "archive_mode = on\narchive_command = 'killing %p'");
    cluster.sql("create table letters (id int, content text)");
    cluster.sql("insert into letters select i, md5(i::text) from generate_series(1, 5000) i");
    let killed = cluster.switch();
    wait_until("the killed push is repeated", || {
        cluster.sql("insert into letters values (0, '')");
        cluster.switch();
        cluster.has_archived(&killed)
    });
    assert!(fs::read_to_string(place.path("home/tries")).unwrap().trim().parse::<u32>().unwrap() > 12);
    drop(cluster);
    for copy in fs::read_dir(place.path("home/copies")).unwrap() {
        let name = copy.unwrap().file_name().into_string().unwrap();
        if place.holdfast(&format!("wal fetch {name} fetched")).code == 0 {
            place.shell(&format!("cmp copies/{name} fetched"), &[]).expect(0);
        } else {
            assert!(name > killed, "{name} was archived");
        }
    }
    place.holdfast("check --read-data").expect(0);
    place.holdfast("ledger verify").expect(0);
}
