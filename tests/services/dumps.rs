//! One database by `pg_dump`.

use crate::page::recipe;
use crate::place::Place;
use crate::postgres::{PROGRAMS, Postgres};

#[test]
fn a_dumped_database_is_restored_into_another_and_equals() {
    let Some(place) = Place::with(&PROGRAMS) else { return };
    let cluster = Postgres::new(&place, 16, "");
    cluster.sql("create database shop");
    let make = "create table goods (id int primary key, name text, price numeric);
        insert into goods select i, md5(i::text), i / 100.0 from generate_series(1, 20000) i;
        create view dear as select * from goods where price > 100;
        create sequence numbers start 77";
    place.shell("psql -Xqv ON_ERROR_STOP=1 -d shop -c \"$MAKE\"", &[("MAKE", make)]).expect(0);
    place.shell(&recipe("pg-dump"), &[]).expect(0);
    let stored = |run: crate::world::Run| run.expect(0).json("backup")["stored_bytes"].as_u64().unwrap();
    let again = recipe("pg-dump").replace("holdfast backup", "holdfast --json backup");
    place
        .shell("psql -Xqv ON_ERROR_STOP=1 -d shop -c \"update goods set name = 'changed' where id = 5\"", &[])
        .expect(0);
    let second = stored(place.shell(&again, &[]));
    assert!(second < 400_000, "the second dump stored {second} bytes");
    place.shell(&recipe("pg-dump-restore"), &[]).expect(0);
    let all = |database: &str| place.shell(&format!("pg_dump --dbname={database}"), &[]).expect(0).stdout;
    let (before, after) = (all("shop"), all("shop_restored"));
    assert!(before.contains("changed") && before.len() > 500_000);
    // The newest versions put a random word into each dump.
    let lines =
        |text: &str| text.lines().filter(|line| !line.contains("restrict ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&before), lines(&after));
}

#[test]
fn a_database_that_is_not_there_leaves_no_snapshot() {
    let Some(place) = Place::with(&PROGRAMS) else { return };
    let cluster = Postgres::new(&place, 16, "");
    let run = place.shell(&recipe("pg-dump"), &[]).expect(1);
    assert!(run.stderr.contains("\"shop\" does not exist"), "{}", run.stderr);
    assert_eq!(place.count_snapshots(""), 0);
    drop(cluster);
    // Nor does a base backup whose server is gone.
    place.shell(&recipe("pg-base"), &[]).expect(1);
    assert_eq!(place.count_snapshots(""), 0);
}
