//! What may be a base, and what a patch made of it must be.

use super::*;
use crate::compress::decompress_patch;
use crate::repository::by_hand::{Made, Place, noise, versions};

/// Makes a patch of `plaintext` against the chunk `base`, as a backup would.
fn patch(place: &Place, base: &[u8], plaintext: &[u8]) -> Option<Patch> {
    let loader = Loader::new(&place.repository).unwrap();
    let at_hand = AtHand::new(&place.repository.storage, &place.keys, 3, Remembered::default()).unwrap();
    let found = loader.base(&place.keys, &place.id(base).prefix(), false, 32)?;
    at_hand.patch(&found, &place.id(plaintext), plaintext)
}

#[test]
fn a_patch_yields_the_chunk_and_tells_what_it_takes() {
    let mut place = Place::new();
    let mut versions = vec![noise(1, 5000); 3];
    versions[1][..600].copy_from_slice(&noise(2, 600));
    versions[2][..620].copy_from_slice(&[noise(2, 600), noise(3, 20)].concat());
    place.pack(&[&[place.whole(&versions[0])]]);
    place.pack(&[&[place.patch(&versions[0], &versions[1], 1)]]);
    let patch = patch(&place, &versions[1], &versions[2]).unwrap();
    assert_eq!((patch.base, patch.depth), (place.id(&versions[1]).prefix(), 2));
    assert_eq!(patch.decode_bytes as usize, versions.iter().map(Vec::len).sum::<usize>());
    assert_eq!(decompress_patch(&versions[1], &patch.payload, versions[2].len()).as_ref(), Ok(&versions[2]));
}

#[test]
fn a_chunk_that_went_back_is_made_from_what_it_was() {
    let mut place = Place::new();
    let first = noise(2, 5000);
    let second = [&noise(3, 4000)[..], &first[4000..]].concat();
    place.pack(&[&[place.whole(&first)]]);
    place.pack(&[&[place.patch(&first, &second, 1)]]);
    let mut third = first.clone();
    third[..10].fill(0);
    let patch = patch(&place, &second, &third).unwrap();
    assert_eq!((patch.base, patch.depth), (place.id(&first).prefix(), 1));
}

#[test]
fn a_base_that_is_not_what_its_name_says_is_not_used() {
    let mut place = Place::new();
    let versions = versions(4, 3);
    // The pack opens, and was made by who has the keys; but its table names other bytes.
    let lie = Made { prefix: place.id(&versions[0]).prefix(), payload: versions[1].clone(), patch: None };
    place.pack(&[&[lie]]);
    assert_eq!(patch(&place, &versions[0], &versions[2]), None);
    // So is what is made from a lie.
    let mut place = Place::new();
    let lie = Made { prefix: place.id(&versions[0]).prefix(), payload: noise(5, 5000), patch: None };
    let above = place.patch(&versions[0], &versions[1], 1);
    place.pack(&[&[lie, above]]);
    assert_eq!(patch(&place, &versions[1], &versions[2]), None);
}

#[test]
fn a_damaged_or_missing_frame_is_no_base() {
    let mut place = Place::new();
    let versions = versions(6, 2);
    let pack = place.pack(&[&[place.whole(&versions[0])]]);
    assert!(patch(&place, &versions[0], &versions[1]).is_some());
    place.flip(&pack, 0);
    assert_eq!(patch(&place, &versions[0], &versions[1]), None);
    place.repository.storage.delete(&pack.name()).unwrap();
    assert_eq!(patch(&place, &versions[0], &versions[1]), None);
}

#[test]
fn what_helps_little_or_not_is_no_patch() {
    let mut place = Place::new();
    let versions = versions(7, 1);
    place.pack(&[&[place.whole(&versions[0])]]);
    assert_eq!(patch(&place, &versions[0], &noise(8, 5000)), None);
}

#[test]
fn two_copies_made_from_each_other_stay_readable_whichever_is_lost() {
    let versions = versions(9, 2);
    for lost in 0..2 {
        let mut place = Place::new();
        let packs = [
            place.pack(&[&[place.whole(&versions[0]), place.patch(&versions[0], &versions[1], 1)]]),
            place.pack(&[&[place.whole(&versions[1]), place.patch(&versions[1], &versions[0], 1)]]),
        ];
        place.flip(&packs[lost], 0);
        let loader = Loader::new(&place.repository).unwrap();
        for version in &versions {
            assert_eq!(loader.load(&place.id(version)).as_ref().ok(), Some(version));
        }
        // What a writer makes of either has a base of smaller depth, in the copy that is left.
        let mut third = versions[1].clone();
        third[..5].fill(0);
        assert!(loader.relies_on(&place.id(&versions[0]).prefix()));
        let base = loader.base(&place.keys, &place.id(&versions[1]).prefix(), false, 32);
        let at_hand = AtHand::new(&place.repository.storage, &place.keys, 3, Remembered::default()).unwrap();
        if let Some(patch) = base.and_then(|base| at_hand.patch(&base, &place.id(&third), &third)) {
            assert!(patch.depth <= 2 && decompress_patch(&versions[1], &patch.payload, 5000).as_ref() == Ok(&third));
        }
    }
}

#[test]
fn a_lost_base_makes_what_is_made_from_it_unreliable() {
    let mut place = Place::new();
    let versions = versions(10, 3);
    let pack = place.pack(&[&[place.whole(&versions[0])]]);
    place.pack(&[&[place.patch(&versions[0], &versions[1], 1)]]);
    place.pack(&[&[place.patch(&versions[1], &versions[2], 2)]]);
    let loader = Loader::new(&place.repository).unwrap();
    let relies = || versions.iter().map(|version| loader.relies_on(&place.id(version).prefix())).collect::<Vec<_>>();
    assert_eq!(relies(), [true; 3]);
    loader.note_bad(pack.id, Some(0));
    assert_eq!(relies(), [false; 3]);
    assert!(loader.base(&place.keys, &place.id(&versions[2]).prefix(), false, 32).is_none());
}

#[test]
fn frames_that_are_opened_ahead_are_read_once() {
    let mut place = Place::new();
    let versions = versions(11, 3);
    let other = noise(12, 5000);
    place.pack(&[&[place.whole(&versions[0]), place.whole(&other)], &[place.patch(&versions[0], &versions[1], 1)]]);
    let loader = Loader::new(&place.repository).unwrap();
    let at_hand = AtHand::new(&place.repository.storage, &place.keys, 3, Remembered::default()).unwrap();
    let bases = [&versions[1], &other, &versions[0]].map(|base| {
        let base = loader.base(&place.keys, &place.id(base).prefix(), false, 32).unwrap();
        at_hand.open_ahead(&base, &place.repository.workers);
        base
    });
    let before = place.repository.storage.counts().requests();
    let mut changed = other.clone();
    changed[..5].fill(0);
    assert!(at_hand.patch(&bases[1], &place.id(&changed), &changed).is_some());
    assert!(at_hand.patch(&bases[0], &place.id(&versions[2]), &versions[2]).is_some());
    assert!(at_hand.patch(&bases[2], &place.id(&versions[2]), &versions[2]).is_some());
    // Whoever was first, a worker or the patch, each of the two frames was opened by one of them.
    let ahead = place.repository.storage.counts().requests() - before;
    assert!(ahead <= 2, "{ahead} requests");
    assert!(!at_hand.frames.lock().asked.iter().any(|key| at_hand.frames.get(*key).is_none()));
}
