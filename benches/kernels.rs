//! Rates of the bare kernels over each corpus, on one thread and on all: the ceiling of everything else.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::error::Error;

use kit::kernels::{Bytes, Seconds, measure};
use kit::{head, median, mib, row, runs};

/// A kernel: its name, the bytes that it works on, and its seconds.
type Kernel = (&'static str, fn(&Bytes, &Seconds) -> u64, fn(&Seconds) -> f64);

const KERNELS: [Kernel; 11] = [
    ("read", |bytes, _| bytes.len(), |seconds| seconds.read),
    ("copy in memory", |bytes, _| bytes.solid(), |seconds| seconds.copy),
    ("FastCDC, 64 KiB", |bytes, _| bytes.solid(), |seconds| seconds.cut),
    ("keyed BLAKE3, 64 KiB", |bytes, _| bytes.solid(), |seconds| seconds.name),
    ("zstd 1, 1 MiB", |bytes, _| bytes.compressible(), |seconds| seconds.compress_1),
    ("zstd 3, 1 MiB", |bytes, _| bytes.compressible(), |seconds| seconds.compress_3),
    ("XChaCha20-Poly1305", |_, seconds| seconds.stored as u64, |seconds| seconds.seal),
    ("BLAKE3 of packs", |_, seconds| seconds.stored as u64, |seconds| seconds.pack),
    ("read packs", |_, seconds| seconds.stored as u64, |seconds| seconds.fetch),
    ("decompression", |bytes, _| bytes.compressible(), |seconds| seconds.decompress),
    ("write to memory", |bytes, _| bytes.len(), |seconds| seconds.write),
];

fn main() -> Result<(), Box<dyn Error>> {
    let directory = kit::work_directory()?;
    let cores = std::thread::available_parallelism()?.get();
    for corpus in corpus::make_all(directory.path(), kit::corpus_bytes())? {
        let bytes = Bytes::load(&corpus.path)?;
        let mut single = Vec::new();
        let mut all = Vec::new();
        for _ in 0..runs() {
            single.push(measure(&bytes, 1)?);
            all.push(measure(&bytes, cores)?);
        }
        let title = format!("{}: {:.0} MiB in {} files, MiB/s", corpus.name, mib(bytes.len()), bytes.count_files());
        head(&title, &["kernel", "1 thread", &format!("{cores} threads")]);
        for (name, amount, seconds) in KERNELS {
            let rate = |measured: &[Seconds]| {
                let rates = measured.iter().map(|one| mib(amount(&bytes, one)) / seconds(one)).collect();
                if amount(&bytes, &measured[0]) == 0 { "-".to_owned() } else { format!("{:.0}", median(rates)) }
            };
            row(&[name.to_owned(), rate(&single), rate(&all)]);
        }
    }
    Ok(())
}
