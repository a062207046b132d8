//! Seeded corpora: the same bytes on every machine and in every run.
//!
//! `HOLDFAST_BENCH_DIR` says where they are made (default: the system's temporary directory), `HOLDFAST_BENCH_MIB` how large each is (default 256), and
//! `HOLDFAST_BENCH_CORPORA` which (names with commas between them; default: all). `HOLDFAST_BENCH_TREE` names a real directory that is measured instead of them.
//! Where changes are measured, each has a next version: the seeded ones a day's, the real one what `HOLDFAST_BENCH_NEXT` names.
#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod releases;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::kit::trading::Trading;

/// The kinds of corpora, in the order in which they are measured.
pub(crate) const NAMES: [&str; 6] = ["source", "large", "random", "zeros", "trading", "mixed"];

/// The database in the corpus of that name.
pub(crate) const DATABASE: &str = "trading.db";

/// The largest file of a source tree.
const FILE_BYTES_MAX: u64 = 48 << 10;

/// A directory to be backed up.
pub(crate) struct Corpus {
    /// One of [`NAMES`], or `tree`.
    pub(crate) name: &'static str,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// A small fast generator (SplitMix64): seeded, and good enough to be incompressible.
pub(crate) struct Random(u64);

impl Random {
    /// Begins a sequence.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Fills a buffer with incompressible bytes.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for part in buffer.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            part.copy_from_slice(&bytes[..part.len()]);
        }
    }
}

/// Makes every corpus below `directory`, or takes the real tree that was asked for. `bytes` is the size of each.
pub(crate) fn make_all(directory: &Path, bytes: u64) -> io::Result<Vec<Corpus>> {
    if let Some(tree) = std::env::var_os("HOLDFAST_BENCH_TREE") {
        return Ok(vec![Corpus { name: "tree", path: fs::canonicalize(tree)? }]);
    }
    let asked = crate::kit::listed("HOLDFAST_BENCH_CORPORA", ',');
    let is_asked = |name: &&str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let named = NAMES.into_iter().filter(is_asked);
    let corpora: Vec<Corpus> = named.map(|name| Corpus { name, path: directory.join(name) }).collect();
    for corpus in &corpora {
        make(corpus.name, &corpus.path, bytes)?;
    }
    settle();
    Ok(corpora)
}

/// A backup reads anew what changed within two seconds of it; this waits for longer, so that the next one finds everything unchanged.
pub(crate) fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(2500));
}

/// Makes one corpus of about so many bytes.
pub(crate) fn make(name: &str, directory: &Path, bytes: u64) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    match name {
        "source" => source_tree(directory, bytes, 1, FILE_BYTES_MAX),
        "large" => large_file(&directory.join("large.img"), bytes, 0),
        "random" => random_files(directory, bytes),
        "zeros" => write_in_parts(&directory.join("zeros.img"), bytes, |part| part.fill(0)),
        "trading" => Trading::create(&directory.join(DATABASE), 1, bytes).map(drop).map_err(io::Error::other),
        // Thousands of small files, and two that are cut.
        "guard" => {
            source_tree(&directory.join("source"), bytes / 2, 3, 4096)?;
            large_file(&directory.join("large.img"), bytes / 4, 0)?;
            random_files(directory, bytes / 4)
        }
        // As a home directory is, half of it incompressible: nine tenths of that as media, and half of each record of the large file.
        _ => {
            source_tree(&directory.join("source"), bytes * 4 / 10, 2, FILE_BYTES_MAX)?;
            media_files(&directory.join("media"), bytes * 45 / 100)?;
            large_file(&directory.join("large.img"), bytes / 10, 0)?;
            write_in_parts(&directory.join("zeros.img"), bytes * 5 / 100, |part| part.fill(0))
        }
    }
}

/// Changes a corpus as a day of work does: one file in fifty of a source tree, one block in a hundred of a large file with a short insertion before each tenth of these.
/// A database is changed by its own steps instead. Returns whether there is anything to change.
pub(crate) fn change(name: &str, directory: &Path, bytes: u64) -> io::Result<bool> {
    match name {
        "source" => source_changes(directory, 1)?,
        "large" => large_file(&directory.join("large.img"), bytes, 1)?,
        "mixed" => {
            source_changes(&directory.join("source"), 2)?;
            large_file(&directory.join("large.img"), bytes / 10, 1)?;
        }
        "guard" => {
            source_changes(&directory.join("source"), 3)?;
            large_file(&directory.join("large.img"), bytes / 4, 1)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Files of 1 KiB to `most`, fifty to a directory, of words that occur as unevenly as those of a program do.
fn source_tree(directory: &Path, bytes: u64, seed: u64, most: u64) -> io::Result<()> {
    let words = vocabulary(seed);
    let mut random = Random::new(seed);
    let (mut written, mut number) = (0, 0);
    let mut text = Vec::new();
    while written < bytes {
        let below = directory.join(format!("part-{:03}/unit-{:03}", number / 1000, number / 50));
        if number % 50 == 0 {
            fs::create_dir_all(&below)?;
        }
        // Sizes are uneven, too: most files are small, and most bytes lie in the others.
        let skewed = random.below(256) * random.below(256);
        let length = 1024 + (skewed * (most - 1024) / 65_536) as usize;
        source_text(&mut random, &words, length, &mut text);
        fs::write(below.join(format!("file-{number:06}.c")), &text)?;
        written += text.len() as u64;
        number += 1;
    }
    Ok(())
}

fn source_changes(directory: &Path, seed: u64) -> io::Result<()> {
    let words = vocabulary(seed);
    let mut random = Random::new(seed + 1000);
    let mut line = Vec::new();
    for path in super::kit::files_below(directory)? {
        if random.below(50) == 0 {
            source_text(&mut random, &words, 200, &mut line);
            let mut text = fs::read(&path)?;
            let place = random.below(text.len() as u64) as usize;
            text.splice(place..place, line.iter().copied());
            fs::write(&path, &text)?;
        }
    }
    Ok(())
}

fn vocabulary(seed: u64) -> Vec<String> {
    const SYLLABLES: [&str; 24] = [
        "get", "set", "dev", "page", "lock", "_free", "buf", "_init", "struct ", "ptr", "len", "_alloc", "irq", "node",
        "static ", "reg", "port", "if (", "return ", "skb", "err", "map", "count", "int ",
    ];
    let mut random = Random::new(seed ^ 0x5EED);
    let mut word = || {
        let syllables = 1 + random.below(4);
        (0..syllables).map(|_| SYLLABLES[random.below(SYLLABLES.len() as u64) as usize]).collect()
    };
    (0..6000).map(|_| word()).collect()
}

fn source_text(random: &mut Random, words: &[String], length: usize, text: &mut Vec<u8>) {
    const JOINTS: [&str; 8] = [" ", "(", ", ", "->", ");\n\t", " = ", ";\n\t\t", " {\n\t"];
    text.clear();
    while text.len() < length {
        let bits = random.next();
        // The product of three even numbers is skewed like the frequencies of words are.
        let (a, b, c) = (bits & 0xFFFF, (bits >> 16) & 0xFFFF, (bits >> 32) & 0xFFFF);
        let place = (a * b / 65_536 * c / 65_536) as usize * words.len() / 65_536;
        text.extend_from_slice(words[place].as_bytes());
        text.extend_from_slice(JOINTS[(bits >> 61) as usize].as_bytes());
        if bits & 0x1F00_0000_0000_0000 == 0 {
            text.extend_from_slice(format!("0x{:04x}", (bits >> 40) & 0xFFFF).as_bytes());
        }
    }
    text.push(b'\n');
}

/// Records of 128 bytes, half of them incompressible, in blocks of 4 KiB that depend on their number alone. In version 1 one block in a hundred differs.
fn large_file(path: &Path, bytes: u64, version: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    let mut block = [0; 4096];
    for number in 0..bytes / 4096 {
        let changed = version * u64::from(Random::new(number ^ 0xC4A6E).below(100) == 0);
        if changed > 0 && number % 10 == 0 {
            file.write_all(b"an insertion of odd length")?;
        }
        let mut random = Random::new(number << 8 | changed);
        for (index, record) in block.chunks_mut(128).enumerate() {
            record.fill(b' ');
            random.fill(&mut record[..64]);
            record[64..72].copy_from_slice(&(number * 32 + index as u64).to_be_bytes());
        }
        file.write_all(&block)?;
    }
    file.flush()
}

/// Files of 4 MiB as media and archives are.
fn random_files(directory: &Path, bytes: u64) -> io::Result<()> {
    const FILE_BYTES: u64 = 4 << 20;
    for number in 0..bytes.div_ceil(FILE_BYTES) {
        let length = FILE_BYTES.min(bytes - number * FILE_BYTES);
        let mut random = Random::new(number + 77);
        write_in_parts(&directory.join(format!("{number:05}.bin")), length, |part| random.fill(part))?;
    }
    Ok(())
}

/// Incompressible files in all sizes from 4 KiB to 64 MiB: of each size about as many bytes as of any other.
fn media_files(directory: &Path, bytes: u64) -> io::Result<()> {
    let mut random = Random::new(6);
    let (mut written, mut number) = (0, 0_u64);
    while written < bytes {
        let below = directory.join(format!("album-{:03}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&below)?;
        }
        // One file in two belongs to the smallest size, one in four to the next, and so on.
        let least = 4096_u64 << random.next().trailing_zeros().min(14);
        let length = (least / 2 + random.below(least)).min(bytes - written).max(1);
        write_in_parts(&below.join(format!("{number:06}.bin")), length, |part| random.fill(part))?;
        written += length;
        number += 1;
    }
    Ok(())
}

fn write_in_parts(path: &Path, bytes: u64, mut make: impl FnMut(&mut [u8])) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    let mut part = vec![0; 1 << 20];
    let mut rest = bytes;
    while rest > 0 {
        let length = rest.min(part.len() as u64) as usize;
        make(&mut part[..length]);
        file.write_all(&part[..length])?;
        rest -= length as u64;
    }
    Ok(())
}
