//! Runs the bodies of the fuzz targets over the corpus in `fuzz/corpus` and over mutations of it, the same ones every time.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use backup_core::fuzzing::{DECODERS, decode_any, operations, seeds};

/// Mutations of each input.
const MUTATIONS: u64 = 400;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus of {target} is empty");
    let made = seeds().into_iter().filter(|(name, _)| *name == target).map(|(_, bytes)| bytes);
    paths.iter().map(|path| fs::read(path).unwrap()).chain(made).collect()
}

/// Numbers that look random and are the same every time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn mutate(input: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(3) {
        let place = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes.truncate(place),
            1 => bytes.insert(place, numbers.next() as u8),
            2 if !bytes.is_empty() => drop(bytes.remove(place)),
            3 if !bytes.is_empty() => bytes[place] = [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)],
            _ if !bytes.is_empty() => bytes[place] ^= 1 << numbers.below(8),
            _ => {}
        }
    }
    bytes
}

#[test]
fn no_decoder_breaks_its_promise_on_the_corpus_and_its_mutations() {
    for (target, decoder) in DECODERS {
        let mut numbers = Numbers(1);
        for input in inputs(target) {
            decode_any(target, &input);
            for _ in 0..MUTATIONS {
                decoder(&mutate(&input, &mut numbers));
            }
        }
    }
}

#[test]
fn snapshots_hold_what_the_model_held() {
    let mut numbers = Numbers(2);
    for input in inputs("operations") {
        operations::play(&input).unwrap();
        operations::play(&mutate(&input, &mut numbers)).unwrap();
    }
}

#[test]
fn every_target_has_a_corpus_and_a_file() {
    let targets = DECODERS.iter().map(|(name, _)| *name).chain(["operations"]);
    for target in targets {
        assert!(corpus(target).is_dir(), "{target} has no corpus");
        let file = corpus(target).join("../../fuzz_targets").join(format!("{target}.rs"));
        assert!(file.is_file(), "{target} has no target");
    }
}

/// With `HOLDFAST_CORPUS_WRITE=1` the corpus is written anew from the encoders; otherwise every seed must be in it.
#[test]
fn the_corpus_holds_every_seed() {
    if std::env::var_os("HOLDFAST_CORPUS_WRITE").is_none() {
        for (target, _) in seeds() {
            assert!(fs::read_dir(corpus(target)).unwrap().count() > 0, "{target} has no seed");
        }
        return;
    }
    for (number, (target, bytes)) in seeds().into_iter().enumerate() {
        fs::create_dir_all(corpus(target)).unwrap();
        fs::write(corpus(target).join(format!("seed-{number:02}")), bytes).unwrap();
    }
    let edits: [&[u8]; 3] = [
        &[1, 0, 200, 7, 0, 0, 2, 1, 90, 7, 0, 0, 5, 0, 0, 3, 0, 40, 0, 1, 0, 7, 0, 0],
        &[2, 3, 255, 2, 4, 255, 7, 0, 0, 4, 3, 9, 6, 0, 0, 7, 0, 0, 1, 3, 250, 5, 0, 0, 7, 0, 0],
        &[7, 0, 0, 1, 5, 0, 7, 0, 0, 0, 5, 0, 7, 0, 0],
    ];
    fs::create_dir_all(corpus("operations")).unwrap();
    for (number, bytes) in edits.iter().enumerate() {
        fs::write(corpus("operations").join(format!("seed-{number}")), bytes).unwrap();
    }
}
