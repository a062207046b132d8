//! Packs made by hand with the real keys: damaged and lying bases, copies at other depths, and what is said of whom.

use super::*;
use crate::index::Voids;
use crate::index::supported::Supported;
use crate::repository::by_hand::{Made, Place, noise, versions};

impl Place {
    /// What loading chunks alone, and together, and checking them by their tables, says of each: all must agree. Returns the frames found bad.
    fn expect(&self, chunks: &[(&[u8], bool)]) -> Voids {
        let loader = Loader::new(&self.repository).unwrap();
        let together = loader.load_all(chunks.iter().map(|(plaintext, _)| self.id(plaintext))).unwrap();
        for (number, (plaintext, is_there)) in chunks.iter().enumerate() {
            assert_eq!(together.get(&self.id(plaintext)), is_there.then_some(*plaintext), "together: {number}");
        }
        let alone = Loader::new(&self.repository).unwrap();
        for (number, (plaintext, is_there)) in chunks.iter().enumerate() {
            assert_eq!(
                alone.load(&self.id(plaintext)).ok().as_deref(),
                is_there.then_some(*plaintext),
                "alone: {number}"
            );
        }
        let rehashed = Loader::new(&self.repository).unwrap();
        let patches = (0u32..).zip(rehashed.index.packs()).flat_map(|(pack, open)| {
            let rows = (0..open.table.len() as u32).filter(|row| open.table.depth(*row) > 0);
            rows.map(move |row| Location { pack, row })
        });
        rehashed.rehash(patches).unwrap();
        // A check opens what is stored whole by itself; here the loading of it alone stands for that.
        let mut bad = rehashed.bad();
        bad.extend(&alone.bad());
        let mut supported = Supported::new(alone.index, bad.clone());
        for (number, (plaintext, is_there)) in chunks.iter().enumerate() {
            assert_eq!(supported.has(&self.id(plaintext).prefix()), *is_there, "by the tables: {number}");
        }
        bad
    }
}

fn all(versions: &[Vec<u8>], is_there: bool) -> Vec<(&[u8], bool)> {
    versions.iter().map(|version| (&version[..], is_there)).collect()
}

#[test]
fn a_chain_over_many_packs_yields_every_version() {
    let mut place = Place::new();
    let versions = versions(1, 33);
    place.pack(&[&[place.whole(&versions[0])]]);
    for depth in 1..versions.len() {
        place.pack(&[&[place.patch(&versions[depth - 1], &versions[depth], depth as u8)]]);
    }
    assert!(place.expect(&all(&versions, true)).is_empty());
}

#[test]
fn a_damaged_base_takes_all_that_was_made_from_it_and_is_alone_at_fault() {
    let mut place = Place::new();
    let (versions, other) = (versions(1, 6), noise(9, 100));
    let first = place.pack(&[&[place.whole(&versions[0])], &[place.whole(&other)]]);
    let patches: Vec<Made> = (1..6).map(|i| place.patch(&versions[i - 1], &versions[i], i as u8)).collect();
    place.pack(&[&patches]);
    place.flip(&first, 0);
    let bad = place.expect(&[all(&versions, false), vec![(&other[..], true)]].concat());
    assert_eq!(bad.iter().collect::<Vec<_>>(), [(first.id, Some(&[0].into()))]);
}

#[test]
fn damage_in_the_middle_of_a_chain_leaves_what_is_below() {
    let mut place = Place::new();
    let versions = versions(1, 6);
    place.pack(&[&[place.whole(&versions[0])], &[place.patch(&versions[0], &versions[1], 1)]]);
    let middle = place.pack(&[&[place.patch(&versions[1], &versions[2], 2)]]);
    let patches: Vec<Made> = (3..6).map(|i| place.patch(&versions[i - 1], &versions[i], i as u8)).collect();
    place.pack(&[&patches]);
    place.repository.storage.delete(&middle.name()).unwrap();
    let bad = place.expect(&[all(&versions[..2], true), all(&versions[2..], false)].concat());
    assert_eq!(bad.iter().collect::<Vec<_>>(), [(middle.id, None)]);
}

#[test]
fn a_base_is_found_at_its_other_location_of_smaller_depth() {
    let mut place = Place::new();
    let versions = versions(1, 4);
    let first = place.pack(&[&[place.whole(&versions[0])]]);
    place.pack(&[&[place.whole(&versions[0])]]);
    let second = place.pack(&[&[place.patch(&versions[0], &versions[1], 1)]]);
    place.pack(&[&[place.patch(&noise(7, 10), &versions[1], 2), place.whole(&noise(7, 10))]]);
    place.pack(&[&[place.patch(&versions[1], &versions[2], 3)], &[place.patch(&versions[2], &versions[3], 4)]]);
    place.flip(&first, 0);
    place.flip(&second, 0);
    place.expect(&all(&versions, true));
}

#[test]
fn a_copy_that_is_not_less_deep_is_no_base() {
    let mut place = Place::new();
    let versions = versions(1, 3);
    let first = place.pack(&[&[place.whole(&versions[0])]]);
    // The copy of the base is itself a patch, of the very chunk that was made from it.
    place.pack(&[&[place.patch(&versions[0], &versions[1], 1)]]);
    place.pack(&[&[place.patch(&versions[1], &versions[0], 2)], &[place.patch(&versions[1], &versions[2], 2)]]);
    place.expect(&all(&versions, true));
    place.flip(&first, 0);
    place.expect(&all(&versions, false));
}

#[test]
fn chunks_made_from_each_other_at_equal_depths_are_lost_and_harm_nothing() {
    let mut place = Place::new();
    let (versions, other) = (versions(1, 3), noise(9, 100));
    let circle: Vec<Made> = (0..3).map(|i| place.patch(&versions[(i + 1) % 3], &versions[i], 5)).collect();
    let own = place.patch(&other, &other, 1);
    place.pack(&[&circle, &[own], &[place.whole(&other)]]);
    assert!(place.expect(&[all(&versions, false), vec![(&other[..], true)]].concat()).is_empty());
}

#[test]
fn a_depth_that_is_a_lie_loses_the_patch_or_changes_nothing() {
    let mut place = Place::new();
    let versions = versions(1, 4);
    place.pack(&[&[place.whole(&versions[0])]]);
    // Too shallow for its base, which is as deep; and deeper than it is.
    place.pack(&[&[place.patch(&versions[0], &versions[1], 1)], &[place.patch(&versions[1], &versions[2], 1)]]);
    place.pack(&[&[place.patch(&versions[0], &versions[3], 32)]]);
    let expected = [(0, true), (1, true), (2, false), (3, true)];
    place.expect(&expected.map(|(number, is_there): (usize, bool)| (&versions[number][..], is_there)));
}

#[test]
fn a_base_whose_bytes_are_others_is_found_out_and_passed_over() {
    let mut place = Place::new();
    let versions = versions(1, 4);
    let forged = Made { prefix: place.id(&versions[0]).prefix(), payload: noise(8, 5000), patch: None };
    let lie = place.pack(&[&[forged]]);
    let patches: Vec<Made> = (1..4).map(|i| place.patch(&versions[i - 1], &versions[i], i as u8)).collect();
    place.pack(&[&patches]);
    let bad = place.expect(&all(&versions, false));
    assert_eq!(bad.iter().collect::<Vec<_>>(), [(lie.id, Some(&[0].into()))]);
    place.pack(&[&[place.whole(&versions[0])]]);
    assert_eq!(place.expect(&all(&versions, true)).iter().collect::<Vec<_>>(), [(lie.id, Some(&[0].into()))]);
}

#[test]
fn a_patch_that_yields_something_else_is_at_fault_itself() {
    let mut place = Place::new();
    let versions = versions(1, 4);
    place.pack(&[&[place.whole(&versions[0])]]);
    let wrong = Made { prefix: place.id(&versions[1]).prefix(), ..place.patch(&versions[0], &versions[3], 1) };
    let own = place.pack(&[&[wrong]]);
    place.pack(&[&[place.patch(&versions[1], &versions[2], 2)]]);
    let bad = place.expect(&[all(&versions[..1], true), all(&versions[1..3], false)].concat());
    assert_eq!(bad.iter().collect::<Vec<_>>(), [(own.id, Some(&[0].into()))]);
}

#[test]
fn many_bad_copies_at_every_depth_are_each_tried_once() {
    let mut place = Place::new();
    let versions = versions(1, 33);
    for (depth, version) in versions.iter().enumerate() {
        let copies: Vec<Made> = (0..8)
            .map(|_| match depth {
                0 => Made { prefix: place.id(version).prefix(), payload: noise(3, 5000), patch: None },
                _ => place.patch(&versions[depth - 1], version, depth as u8),
            })
            .collect();
        place.pack(&[&copies]);
    }
    place.expect(&all(&versions, false));
}

#[test]
fn workers_that_want_parts_of_the_same_frames_read_each_once_and_keep_none_in_the_end() {
    let mut place = Place::new();
    let chunks: Vec<Vec<u8>> = (0..40).map(|seed| noise(seed, 30_000)).collect();
    let made: Vec<Made> = chunks.iter().map(|chunk| place.whole(chunk)).collect();
    place.pack(&made.chunks(10).collect::<Vec<_>>());
    let loader = Loader::new(&place.repository).unwrap();
    let before = place.repository.storage.counts();
    let lots: Vec<usize> = (0..5).collect();
    let found = place.repository.workers.map(lots, |lot| {
        let wanted = chunks.iter().skip(lot).step_by(5).map(|chunk| place.id(chunk));
        loader.load_all(wanted).unwrap().found.len()
    });
    assert_eq!(found, [8; 5]);
    let read = place.repository.storage.counts().read_bytes - before.read_bytes;
    assert!(read < 40 * 30_000 + 1000, "{read} bytes");
    assert_eq!(loader.frames.count_kept(), 0);
}
