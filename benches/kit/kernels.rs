//! The bare kernels under the library, over the same bytes and on as many threads: what it could reach if everything else were free.
//!
//! Each thread has its buffers and contexts before it needs them, and keeps them: no kernel allocates, copies or touches fresh memory that its work does not ask for.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, Timespec, Timestamps, futimens, mkdirat, openat, statat};

pub(crate) use super::bytes::Bytes;
use super::bytes::{FRAME_BYTES, Frame, Job, PART_BYTES};
use super::timed;
use crate::corpus::Random;

const CHUNK_BYTES: usize = 64 << 10;
const BUFFER_BYTES: usize = FRAME_BYTES;
/// What is read of packs at once.
const FETCH_BYTES: usize = 4 << 20;
const FOUND: &str = "the corpus stays as it is";
const ROOM: &str = "the target has room";

/// Seconds that each kernel took over the bytes of one corpus.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seconds {
    /// Reading every directory and looking up every entry, relative to its directory.
    pub(crate) stat: f64,
    /// Opening every file relative to its directory, and reading it from the page cache.
    pub(crate) read: f64,
    /// Copying within memory.
    pub(crate) copy: f64,
    /// FastCDC, within files.
    pub(crate) cut: f64,
    /// Keyed BLAKE3 of chunks, within files.
    pub(crate) name: f64,
    /// zstd level 1 over frames that compress.
    pub compress_1: f64,
    /// zstd level 3 over frames that compress.
    pub compress_3: f64,
    /// XChaCha20-Poly1305 over all that is stored after level 3.
    pub(crate) seal: f64,
    /// Plain BLAKE3 over all that is stored.
    pub(crate) pack: f64,
    /// Reading all that is stored from the page cache.
    pub(crate) fetch: f64,
    /// Decompression of it.
    pub(crate) decompress: f64,
    /// Making every directory and file in memory, writing what is not zeros, and setting its times.
    pub(crate) write: f64,
    /// Bytes after level 3.
    pub(crate) stored: f64,
}

impl Seconds {
    /// What a first backup cannot do without: what is stored is hashed twice, for nonces and for names of packs.
    pub(crate) fn backup(&self) -> f64 {
        self.read + self.cut + self.name + self.compress_3 + self.seal + 2.0 * self.pack
    }

    /// What a backup cannot do without to find out what changed within files that did.
    pub(crate) fn look(&self) -> f64 {
        self.read + self.cut + self.name
    }

    /// What a restore cannot do without; opening costs what sealing does.
    pub(crate) fn restore(&self) -> f64 {
        self.fetch + self.seal + self.decompress + self.name + self.write
    }

    /// What a check that reads everything cannot do without.
    pub(crate) fn check(&self) -> f64 {
        self.fetch + self.pack + self.seal + self.decompress + self.name
    }
}

/// A frame as it is stored.
struct Packed<'a> {
    frame: &'a Frame,
    bytes: Mutex<Vec<u8>>,
}

/// Runs every kernel over all bytes on so many threads.
pub(crate) fn measure(bytes: &Bytes, threads: usize) -> io::Result<Seconds> {
    let data = &bytes.data;
    let packed = pack(bytes, threads);
    let stored = packed.iter().map(|packed| lock(&packed.bytes).len() as f64).sum();
    let nothing = || ();
    Ok(Seconds {
        stat: stat(bytes, threads),
        read: read(bytes, threads),
        copy: on_threads(threads, &bytes.frames, buffer, |buffer, frame| {
            buffer[..frame.range.len()].copy_from_slice(std::hint::black_box(&data[frame.range.clone()]));
        }),
        cut: cut(bytes, threads),
        name: on_threads(threads, &bytes.parts, nothing, |(), part| {
            for chunk in data[part.range.clone()].chunks(part.chunk_bytes) {
                std::hint::black_box(blake3::keyed_hash(&[7; 32], chunk));
            }
        }),
        compress_1: compress(bytes, threads, 1),
        compress_3: compress(bytes, threads, 3),
        // What was compressed is read and decompressed before it is sealed where it lies.
        decompress: decompress(&packed, threads),
        fetch: fetch(&packed, threads)?,
        pack: on_threads(threads, &packed, nothing, |(), packed| {
            std::hint::black_box(blake3::hash(&lock(&packed.bytes)));
        }),
        seal: on_threads(threads, &packed, nothing, |(), packed| {
            let cipher = XChaCha20Poly1305::new(&[7; 32].into());
            let mut bytes = lock(&packed.bytes);
            let tag = cipher.encrypt_inout_detached(&XNonce::default(), b"ordinal", bytes.as_mut_slice().into());
            std::hint::black_box(tag.expect("frames are far shorter than the cipher's limit"));
        }),
        write: write(bytes, threads)?,
        stored,
    })
}

/// What the library would store, unmeasured.
fn pack(bytes: &Bytes, threads: usize) -> Vec<Packed<'_>> {
    let packed: Vec<Packed<'_>> =
        bytes.frames.iter().map(|frame| Packed { frame, bytes: Mutex::new(Vec::new()) }).collect();
    on_threads(
        threads,
        &packed,
        || (compressor(3), bound()),
        |(compressor, buffer), packed| {
            let plain = &bytes.data[packed.frame.range.clone()];
            *lock(&packed.bytes) = if packed.frame.is_compressible {
                let length =
                    compressor.compress_to_buffer(plain, buffer.as_mut_slice()).expect("the buffer is large enough");
                buffer[..length].to_vec()
            } else {
                plain.to_vec()
            };
        },
    );
    packed
}

fn buffer() -> Vec<u8> {
    vec![1; BUFFER_BYTES]
}

/// Room for a frame that does not compress.
fn bound() -> Vec<u8> {
    vec![1; zstd::zstd_safe::compress_bound(BUFFER_BYTES)]
}

fn compressor(level: i32) -> zstd::bulk::Compressor<'static> {
    zstd::bulk::Compressor::new(level).expect("there is memory for a context")
}

fn compress(bytes: &Bytes, threads: usize, level: i32) -> f64 {
    on_threads(
        threads,
        &bytes.frames,
        || (compressor(level), bound()),
        |(compressor, buffer), frame| {
            if frame.is_compressible {
                let plain = &bytes.data[frame.range.clone()];
                let length = compressor.compress_to_buffer(plain, buffer.as_mut_slice());
                std::hint::black_box(length.expect("the buffer is large enough"));
            }
        },
    )
}

fn decompress(packed: &[Packed<'_>], threads: usize) -> f64 {
    let contexts = || (zstd::bulk::Decompressor::new().expect("there is memory for a context"), buffer());
    on_threads(threads, packed, contexts, |(decompressor, buffer), packed| {
        if packed.frame.is_compressible {
            let length = decompressor.decompress_to_buffer(lock(&packed.bytes).as_slice(), buffer.as_mut_slice());
            std::hint::black_box(length.expect("it was compressed just now"));
        }
    })
}

/// FastCDC with the library's parameters and a table of its own.
fn cut(bytes: &Bytes, threads: usize) -> f64 {
    let mut random = Random::new(1);
    let gear: [u64; 256] = std::array::from_fn(|_| random.next());
    let shifted = gear.map(|value| value << 1);
    let (small, large) = fastcdc::v2020::select_masks(CHUNK_BYTES, fastcdc::v2020::Normalization::Level1);
    let (least, most) = (CHUNK_BYTES / 4, 4 * CHUNK_BYTES);
    let nothing = || ();
    on_threads(threads, &bytes.parts, nothing, |(), part| {
        let mut rest = if part.is_cut { &bytes.data[part.range.clone()] } else { &[] };
        while rest.len() > least {
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

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

fn stat(bytes: &Bytes, threads: usize) -> f64 {
    let entries = || vec![MaybeUninit::<u8>::uninit(); 64 << 10];
    on_threads(threads, &bytes.directories, entries, |entries, place| {
        let directory = openat(CWD, &place.path, OFlags::RDONLY | DIRECTORY, Mode::empty()).expect(FOUND);
        let mut listing = RawDir::new(&directory, entries);
        while let Some(entry) = listing.next() {
            let entry = entry.expect(FOUND);
            std::hint::black_box(statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).expect(FOUND));
        }
    })
}

fn read(bytes: &Bytes, threads: usize) -> f64 {
    on_threads(threads, &bytes.jobs, buffer, |buffer, job| {
        let place = &bytes.directories[job.directory];
        let directory = openat(CWD, &place.path, OFlags::PATH | DIRECTORY, Mode::empty()).expect(FOUND);
        for file in &bytes.files[job.files.clone()] {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(&directory, &file.name, flags, Mode::empty()).expect(FOUND));
            match &job.stretch {
                None => while file.read(buffer).expect(FOUND) > 0 {},
                Some(stretch) => {
                    for at in stretch.clone().step_by(BUFFER_BYTES) {
                        let length = BUFFER_BYTES.min(stretch.end - at);
                        file.read_exact_at(&mut buffer[..length], at as u64).expect(FOUND);
                    }
                }
            }
        }
    })
}

/// Reads what is stored back from a file.
fn fetch(packed: &[Packed<'_>], threads: usize) -> io::Result<f64> {
    let directory = super::work_directory()?;
    let path = directory.path().join("packs");
    let mut file = File::create_new(&path)?;
    for packed in packed {
        io::Write::write_all(&mut file, &lock(&packed.bytes))?;
    }
    let length = file.metadata()?.len();
    let file = File::open(&path)?;
    let places: Vec<u64> = (0..length).step_by(FETCH_BYTES).collect();
    let buffer = || vec![1; FETCH_BYTES];
    Ok(on_threads(threads, &places, buffer, |buffer, &at| {
        let length = (length - at).min(FETCH_BYTES as u64) as usize;
        file.read_exact_at(&mut buffer[..length], at).expect("it was written just now");
    }))
}

fn write(bytes: &Bytes, threads: usize) -> io::Result<f64> {
    let target = super::memory_directory()?;
    let (made, directories) = timed(|| -> io::Result<()> {
        for place in bytes.directories.iter().filter(|place| !place.below.as_os_str().is_empty()) {
            mkdirat(CWD, target.path().join(&place.below), Mode::from_raw_mode(0o755))?;
        }
        Ok(())
    });
    made?;
    Ok(directories + on_threads(threads, &bytes.jobs, || (), |(), job| write_job(bytes, job, target.path())))
}

fn write_job(bytes: &Bytes, job: &Job, target: &Path) {
    let place = target.join(&bytes.directories[job.directory].below);
    let directory = openat(CWD, &place, OFlags::PATH | DIRECTORY, Mode::empty()).expect(ROOM);
    let time = Timespec { tv_sec: 1_700_000_000, tv_nsec: 0 };
    for file in &bytes.files[job.files.clone()] {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = File::from(openat(&directory, &file.name, flags, Mode::from_raw_mode(0o644)).expect(ROOM));
        let stretch = job.stretch.clone().unwrap_or(0..file.range.len());
        for at in stretch.clone().step_by(PART_BYTES).filter(|at| !bytes.zeros.contains(&(file.range.start + at))) {
            let range = file.range.start + at..file.range.start + stretch.end.min(at + PART_BYTES);
            made.write_all_at(&bytes.data[range], at as u64).expect(ROOM);
        }
        if bytes.zeros.contains(&(file.range.start + stretch.end.saturating_sub(1) / PART_BYTES * PART_BYTES)) {
            made.set_len(file.range.len() as u64).expect(ROOM);
        }
        futimens(&made, &Timestamps { last_access: time, last_modification: time }).expect(ROOM);
    }
}

/// Gives items to threads as they come; what a thread needs is made first, and within the time.
fn on_threads<'a, T: Sync, S>(
    threads: usize,
    items: &'a [T],
    prepare: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &'a T) + Sync,
) -> f64 {
    let next = AtomicUsize::new(0);
    let ((), seconds) = timed(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut state = prepare();
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        work(&mut state, item);
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
