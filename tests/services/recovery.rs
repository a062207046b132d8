//! Point-in-time recovery out of the repository, by PostgreSQL itself.

use crate::page::recipe;
use crate::place::{Place, wait_until};
use crate::postgres::{PROGRAMS, Postgres};

/// The present, as the server sees it.
const NOW: &str = "select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
/// All rows, in a form that can be compared.
const ROWS: &str = "select count(*), md5(string_agg(id || ':' || content, ',' order by id)) from letters";

fn insert(cluster: &Postgres<'_>, from: u32, to: u32) {
    cluster.sql(&format!("insert into letters select i, md5(i::text) from generate_series({from}, {to}) i"));
}

/// A cluster with two base backups, and a moment between them with the rows that it had then.
fn history<'a>(place: &'a Place) -> (Postgres<'a>, String, String) {
    let cluster = Postgres::archiving(place, 16);
    cluster.sql("create table letters (id int primary key, content text)");
    insert(&cluster, 1, 20_000);
    place.shell(&recipe("pg-base"), &[]).expect(0);
    insert(&cluster, 20_001, 60_000);
    cluster.sql("delete from letters where id % 7 = 0");
    let (moment, rows) = (cluster.sql(NOW), cluster.sql(ROWS));
    cluster.sql("select pg_create_restore_point('before the mistake')");
    insert(&cluster, 60_001, 61_000);
    cluster.sql("update letters set content = 'overwritten' where id < 100");
    place.shell(&recipe("pg-base"), &[]).expect(0);
    cluster.sql("drop table letters");
    let last = cluster.switch();
    wait_until("the last segment is archived", || cluster.has_archived(&last));
    (cluster, moment, rows)
}

#[test]
fn a_server_is_recovered_to_the_moment_between_two_backups() {
    let Some(place) = Place::with(&PROGRAMS) else { return };
    let (mut cluster, moment, rows) = history(&place);
    cluster.stop();
    drop(cluster);
    place.shell(&recipe("pg-recover"), &[("MOMENT", &moment), ("NEW", "recovered")]).expect(0);
    let mut recovered = Postgres::existing(&place, "recovered");
    recovered.start();
    assert_eq!(recovered.sql(ROWS), rows);
    assert_eq!(recovered.sql("select timeline_id from pg_control_checkpoint()"), "2");
    recovered.sql("insert into letters values (0, 'goes on')");
    assert_eq!(place.count_snapshots(""), 2);
    assert!(place.count_snapshots("--tag wal") > 4);
    let listed = place.holdfast("snapshots").expect(0).stdout;
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(listed.contains("WAL files of PostgreSQL"), "{listed}");
    goes_on_archiving(&mut recovered);
    place.holdfast("check --read-data").expect(0);
    place.holdfast("ledger verify").expect(0);
}

/// Takes the line out that keeps a trial from the archive.
fn goes_on_archiving(recovered: &mut Postgres<'_>) {
    recovered.stop();
    recovered.forget("archive_mode");
    recovered.start();
    recovered.sql("insert into letters values (-1, 'on a timeline of its own')");
    let segment = recovered.switch();
    assert!(segment.starts_with("00000002"), "{segment}");
    wait_until("the new timeline is archived", || recovered.has_archived(&segment));
}

#[test]
fn other_targets_than_a_time_do_as_well() {
    let Some(place) = Place::with(&PROGRAMS) else { return };
    let (mut cluster, moment, rows) = history(&place);
    cluster.stop();
    let recover = |new: &str, target: &str| {
        place.shell(&recipe("pg-recover"), &[("MOMENT", &moment), ("NEW", new)]).expect(0);
        let mut recovered = Postgres::existing(&place, new);
        recovered.forget("recovery_target_time");
        recovered.configure(target);
        recovered.start();
        recovered
    };
    let named = recover("named", "recovery_target_name = 'before the mistake'");
    assert_eq!(named.sql(ROWS), rows);
    drop(named);
    let whole = recover("whole", "");
    assert_eq!(whole.sql("select to_regclass('letters') is null"), "t");
}

/// Takes the repository away once, before the third file is asked for.
const LOSING: &str = r#"#!/bin/bash
tries=$(($(cat "$HOME/tries" 2>/dev/null || echo 0) + 1))
echo "$tries" >"$HOME/tries"
if [ "$tries" -eq 3 ]; then mv "$HOLDFAST_REPO" "$HOME/../away"; fi
"#;

#[test]
fn a_recovery_that_loses_its_storage_gives_up_instead_of_ending_early() {
    let Some(place) = Place::with(&PROGRAMS) else { return };
    let (mut cluster, moment, rows) = history(&place);
    cluster.stop();
    drop(cluster);
    place.shell(&recipe("pg-recover"), &[("MOMENT", &moment), ("NEW", "recovered")]).expect(0);
    place.write("bin/losing", LOSING);
    // Without a target PostgreSQL would go on with whatever it has once a file seems not to exist.
    let mut recovered = Postgres::existing(&place, "recovered");
    recovered.forget("recovery_target_time");
    place.shell("sed -i 's/holdfast wal/losing; holdfast wal/' recovered/postgresql.auto.conf", &[]).expect(0);
    let log = recovered.start_in_vain();
    assert!(log.contains("restored log file") && log.contains("no repository"), "{log}");
    assert!(!log.contains("archive recovery complete"), "{log}");
    place.shell("mv ../away ../repo", &[]).expect(0);
    recovered.configure(&format!("recovery_target_time = '{}'", moment.replace('Z', "+00")));
    recovered.start();
    assert_eq!(recovered.sql(ROWS), rows);
}
