//! The bare kernels under the library, over the same bytes and on as many threads: what it could reach if everything else were free.

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};

use super::timed;
use crate::corpus::Random;

const FRAME_BYTES: usize = 1 << 20;
const CHUNK_BYTES: usize = 64 << 10;
const TRIAL_BYTES: usize = 4096;

/// The bytes of a corpus in memory, and what of them must be compressed and sealed.
pub(crate) struct Bytes {
    files: Vec<(PathBuf, Range<usize>)>,
    data: Vec<u8>,
    frames: Vec<Frame>,
}

struct Frame {
    range: Range<usize>,
    is_compressible: bool,
}

impl Bytes {
    /// Reads a corpus. Frames of zeros are left out, as the library stores none; whether a frame compresses is tried in its middle.
    pub(crate) fn load(directory: &Path) -> std::io::Result<Self> {
        let mut data = Vec::new();
        let mut files = Vec::new();
        for path in super::files_below(directory)? {
            let start = data.len();
            fs::File::open(&path)?.read_to_end(&mut data)?;
            files.push((path, start..data.len()));
        }
        let ranges = (0..data.len()).step_by(FRAME_BYTES).map(|start| start..data.len().min(start + FRAME_BYTES));
        let ranges = ranges.filter(|range| data[range.clone()].iter().any(|&byte| byte != 0));
        let frames = ranges.map(|range| Frame { is_compressible: compresses(&data[range.clone()]), range }).collect();
        Ok(Self { files, data, frames })
    }

    /// All bytes, zeros included.
    pub(crate) fn len(&self) -> u64 {
        self.data.len() as u64
    }

    /// How many files they come from.
    pub(crate) fn count_files(&self) -> usize {
        self.files.len()
    }

    /// Bytes in frames that are compressed.
    pub(crate) fn compressible(&self) -> u64 {
        self.frames.iter().filter(|frame| frame.is_compressible).map(|frame| frame.range.len() as u64).sum()
    }

    /// Bytes that are not zeros.
    pub(crate) fn solid(&self) -> u64 {
        self.frames.iter().map(|frame| frame.range.len() as u64).sum()
    }
}

fn compresses(frame: &[u8]) -> bool {
    let start = frame.len().saturating_sub(TRIAL_BYTES) / 2;
    let sample = &frame[start..frame.len().min(start + TRIAL_BYTES)];
    zstd::bulk::compress(sample, 1).is_ok_and(|packed| packed.len() < sample.len() - sample.len() / 32)
}

/// Seconds that each kernel took over the bytes of one corpus.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seconds {
    /// Looking up every file.
    pub(crate) stat: f64,
    /// Reading every file from the page cache.
    pub(crate) read: f64,
    /// Copying within memory.
    pub(crate) copy: f64,
    /// FastCDC.
    pub(crate) cut: f64,
    /// Keyed BLAKE3 over pieces of 64 KiB.
    pub(crate) name: f64,
    /// zstd level 1 over frames that compress.
    pub compress_1: f64,
    /// zstd level 3 over frames that compress.
    pub compress_3: f64,
    /// XChaCha20-Poly1305 over all that is stored after level 3.
    pub(crate) seal: f64,
    /// Plain BLAKE3 over all that is stored.
    pub(crate) pack: f64,
    /// Decompression of it.
    pub(crate) decompress: f64,
    /// Writing every file into memory.
    pub(crate) write: f64,
    /// Bytes after level 3.
    pub(crate) stored: f64,
}

impl Seconds {
    /// What a first backup cannot do without: what is stored is hashed twice, for nonces and for names of packs.
    pub(crate) fn backup(&self) -> f64 {
        self.read + self.cut + self.name + self.compress_3 + self.seal + 2.0 * self.pack
    }

    /// What a restore cannot do without; opening costs what sealing does.
    pub(crate) fn restore(&self) -> f64 {
        self.seal + self.decompress + self.name + self.write
    }

    /// What a check that reads everything cannot do without.
    pub(crate) fn check(&self) -> f64 {
        self.pack + self.seal + self.decompress + self.name
    }
}

/// Runs every kernel over all bytes on so many threads.
pub(crate) fn measure(bytes: &Bytes, threads: usize) -> std::io::Result<Seconds> {
    let data = &bytes.data;
    let plain = |frame: &Frame| data[frame.range.clone()].to_vec();
    let packed = Mutex::new(Vec::new());
    on_threads(threads, &bytes.frames, |frame| {
        let bytes = if frame.is_compressible { compress(3, &data[frame.range.clone()]) } else { plain(frame) };
        lock(&packed).push((bytes, frame));
    });
    let packed = packed.into_inner().unwrap_or_default();
    let target = super::memory_directory()?;
    let seconds = Seconds {
        stat: on_threads(threads, &bytes.files, |(path, _)| drop(path.symlink_metadata())),
        read: read(bytes, threads),
        copy: on_threads(threads, &bytes.frames, |frame| drop(std::hint::black_box(plain(frame)))),
        cut: cut(bytes, threads),
        name: on_threads(threads, &bytes.frames, |frame| {
            for chunk in data[frame.range.clone()].chunks(CHUNK_BYTES) {
                std::hint::black_box(blake3::keyed_hash(&[7; 32], chunk));
            }
        }),
        compress_1: compress_all(bytes, threads, 1),
        compress_3: compress_all(bytes, threads, 3),
        seal: on_threads(threads, &packed, |(bytes, _)| drop(std::hint::black_box(seal(bytes.clone())))),
        pack: on_threads(threads, &packed, |(bytes, _)| {
            std::hint::black_box(blake3::hash(bytes));
        }),
        decompress: on_threads(threads, &packed, |(bytes, frame)| {
            if frame.is_compressible {
                drop(std::hint::black_box(zstd::bulk::decompress(bytes, frame.range.len())));
            }
        }),
        write: write(bytes, threads, target.path()),
        stored: packed.iter().map(|(bytes, _)| bytes.len() as f64).sum(),
    };
    Ok(seconds)
}

fn compress_all(bytes: &Bytes, threads: usize, level: i32) -> f64 {
    on_threads(threads, &bytes.frames, |frame| {
        if frame.is_compressible {
            std::hint::black_box(compress(level, &bytes.data[frame.range.clone()]));
        }
    })
}

fn compress(level: i32, frame: &[u8]) -> Vec<u8> {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { std::cell::RefCell::new(None) };
    }
    KEPT.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(current, _)| *current != level) {
            *kept = zstd::bulk::Compressor::new(level).ok().map(|compressor| (level, compressor));
        }
        kept.as_mut().and_then(|(_, compressor)| compressor.compress(frame).ok()).unwrap_or_default()
    })
}

fn seal(mut buffer: Vec<u8>) -> (Vec<u8>, Tag) {
    let cipher = XChaCha20Poly1305::new(&[7; 32].into());
    let tag = cipher.encrypt_inout_detached(&XNonce::default(), b"ordinal", buffer.as_mut_slice().into());
    (buffer, tag.expect("frames are far shorter than the cipher's limit"))
}

/// FastCDC with the library's parameters and a table of its own, over stretches as long as its segments.
fn cut(bytes: &Bytes, threads: usize) -> f64 {
    let mut random = Random::new(1);
    let gear: [u64; 256] = std::array::from_fn(|_| random.next());
    let shifted = gear.map(|value| value << 1);
    let (small, large) = fastcdc::v2020::select_masks(CHUNK_BYTES, fastcdc::v2020::Normalization::Level1);
    on_threads(threads, &bytes.frames, |frame| {
        let mut rest = &bytes.data[frame.range.clone()];
        while !rest.is_empty() {
            let (least, most) = (CHUNK_BYTES / 4, 4 * CHUNK_BYTES);
            let (_, length) = fastcdc::v2020::cut_gear(
                rest,
                least,
                CHUNK_BYTES,
                most,
                small,
                large,
                small << 1,
                large << 1,
                &gear,
                &shifted,
            );
            rest = &rest[length..];
        }
    })
}

fn read(bytes: &Bytes, threads: usize) -> f64 {
    on_threads(threads, &bytes.files, |(path, range)| {
        let mut file = fs::File::open(path).expect("the corpus stays as it is");
        let mut buffer = vec![0; range.len().clamp(1, 2 << 20)];
        while file.read(&mut buffer).expect("the corpus stays readable") > 0 {}
    })
}

fn write(bytes: &Bytes, threads: usize, target: &Path) -> f64 {
    let numbered: Vec<_> = bytes.files.iter().map(|(_, range)| range.clone()).enumerate().collect();
    on_threads(threads, &numbered, |(number, range)| {
        let path = target.join(number.to_string());
        fs::write(path, &bytes.data[range.clone()]).expect("the target has room");
    })
}

fn on_threads<'a, T: Sync>(threads: usize, items: &'a [T], work: impl Fn(&'a T) + Sync) -> f64 {
    let next = AtomicUsize::new(0);
    let ((), seconds) = timed(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        work(item);
                    }
                });
            }
        });
    });
    seconds
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no kernel panics while it holds a lock")
}
