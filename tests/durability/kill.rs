//! kill -9 at random moments of a backup: the next one works, and every snapshot that was made restores as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::world::World;

const KILLS: u32 = 200;
/// After so many kills a backup runs to its end.
const ROUND: u32 = 5;

/// A small generator of seeded numbers: the moments differ, but a failure can be seen again.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

/// Files below a directory and their bytes.
fn contents(directory: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn change(world: &World, seeded: &mut Seeded, round: u32) {
    let name = format!("src/changing/{}", seeded.below(20));
    let length = seeded.below(200_000) as usize;
    let bytes: Vec<u8> = (0..length).map(|_| seeded.below(256) as u8).collect();
    world.write(&name, &[format!("round {round}\n").as_bytes(), &bytes].concat());
}

#[test]
fn a_backup_that_was_killed_at_any_moment_harms_nothing() {
    let world = World::with_snapshot();
    let mut seeded = Seeded(20_261_121);
    let mut made: BTreeMap<String, BTreeMap<std::path::PathBuf, Vec<u8>>> = BTreeMap::new();
    let started = Instant::now();
    world.backup().expect(0);
    let usual = started.elapsed();
    for kill in 1..=KILLS {
        change(&world, &mut seeded, kill);
        let mut child =
            world.repo_command().args(["backup", "src"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(seeded.below(usual.as_micros() as u64 * 5 / 4)));
        // One that has ended already was not killed; that, too, is a moment.
        let _ = child.kill();
        child.wait().unwrap();
        if kill % ROUND == 0 {
            let report = world.repo(["backup", "src", "--json"]).expect(0).json("backup");
            made.insert(report["snapshot_id"].as_str().unwrap().to_owned(), contents(&world.path("src")));
        }
    }
    let report = world.repo(["check", "--read-data", "--json"]).expect(0).json("check");
    assert_eq!(report["damage"].as_array().unwrap().len(), 0);
    world.repo(["ledger", "verify"]).expect(0);
    for (snapshot, expected) in &made {
        let target = world.path("out").join(snapshot);
        let place = format!("{snapshot}:{}", world.text("src"));
        world.repo(["restore", &place, target.to_str().unwrap()]).expect(0);
        assert!(contents(&target) == *expected, "snapshot {snapshot} restores differently");
        fs::remove_dir_all(&target).unwrap();
    }
    assert_eq!(made.len() as u32, KILLS / ROUND);
}
