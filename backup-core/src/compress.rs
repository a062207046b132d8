//! zstd, its contexts kept for each thread; the owner of `zstd`.

use std::cell::RefCell;
use std::io::Cursor;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{DCtx, DParameter};

/// Bytes that do not decompress to what was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecodable;

/// The levels offered: 1 to 19.
pub(crate) const LEVEL_MAX: i32 = 19;

/// Largest window of a frame: 128 MiB, which is what zstd itself accepts unasked.
const WINDOW_BYTES_MAX: u64 = 1 << 27;

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static PATCH_CONTEXT: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

/// Appends the compressed form of `input` to `output` as one frame with its content size.
pub(crate) fn compress(level: i32, input: &[u8], output: &mut Vec<u8>) {
    with_compressor(level, |compressor| {
        let start = output.len();
        output.reserve(zstd::zstd_safe::compress_bound(input.len()));
        let mut cursor = Cursor::new(std::mem::take(output));
        cursor.set_position(start as u64);
        compressor.compress_to_buffer(input, &mut cursor).expect("the buffer has the bound's size");
        *output = cursor.into_inner();
    });
}

/// Compresses `input` into memory that the thread keeps for the next time, and lends the result.
pub(crate) fn with_scratch<T>(level: i32, input: &[u8], use_it: impl FnOnce(&[u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        compress(level, input, scratch);
        use_it(scratch)
    })
}

/// Decompresses one frame that must give exactly `length` bytes.
pub(crate) fn decompress(input: &[u8], length: usize) -> Result<Vec<u8>, Undecodable> {
    let mut output = Vec::new();
    decompress_into(input, length, &mut output)?;
    Ok(output)
}

/// As [`decompress`], into a buffer whose room is used again; what it held is gone, whatever comes of it.
pub(crate) fn decompress_into(input: &[u8], length: usize, output: &mut Vec<u8>) -> Result<(), Undecodable> {
    output.clear();
    require_plain_frame(input, length)?;
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(Decompressor::new().map_err(|_| Undecodable)?);
        }
        let decompressor = slot.as_mut().ok_or(Undecodable)?;
        output.reserve_exact(length);
        match decompressor.decompress_to_buffer(input, output) {
            Ok(written) if written == length => Ok(()),
            _ => Err(Undecodable),
        }
    })
}

/// The one form that the format allows: the magic, no dictionary, a window of at most [`WINDOW_BYTES_MAX`], the content's size in the header, nothing behind.
fn require_plain_frame(input: &[u8], length: usize) -> Result<(), Undecodable> {
    let (Some(b"\x28\xb5\x2f\xfd"), Some(&descriptor)) = (input.get(..4), input.get(4)) else {
        return Err(Undecodable);
    };
    let is_single_segment = descriptor & 0x20 != 0;
    let window = match input.get(5) {
        Some(byte) if !is_single_segment => {
            let base = 1u64 << (10 + (byte >> 3));
            base + base / 8 * u64::from(byte & 7)
        }
        _ => length as u64,
    };
    let is_alone = zstd::zstd_safe::find_frame_compressed_size(input) == Ok(input.len());
    let has_dictionary = descriptor & 3 != 0;
    let is_announced = announced_length(input) == Some(length as u64);
    if is_alone && !has_dictionary && is_announced && window <= WINDOW_BYTES_MAX { Ok(()) } else { Err(Undecodable) }
}

/// The content size that a frame announces in its header.
pub(crate) fn announced_length(input: &[u8]) -> Option<u64> {
    zstd::zstd_safe::get_frame_content_size(input).ok().flatten()
}

/// How a dictionary of zstd begins; whatever else is given as one counts as plain bytes before the frame.
const DICTIONARY_MAGIC: &[u8] = b"\x37\xa4\x30\xec";

/// Decompresses a patch: a frame made with `base` as its prefix.
pub(crate) fn decompress_patch(base: &[u8], input: &[u8], length: usize) -> Result<Vec<u8>, Undecodable> {
    require_plain_frame(input, length)?;
    let mut output = Vec::with_capacity(length);
    let written = if base.starts_with(DICTIONARY_MAGIC) {
        let mut context = DCtx::create();
        let window = u64::BITS - ((base.len() + length) as u64).leading_zeros();
        context.set_parameter(DParameter::WindowLogMax(window.clamp(10, 27))).map_err(|_| Undecodable)?;
        context.ref_prefix(base).map_err(|_| Undecodable)?;
        context.decompress(&mut output, input)
    } else {
        // A prefix would bind the context to the base; this lends the base for one call, and copies nothing.
        PATCH_CONTEXT.with_borrow_mut(|slot| {
            slot.get_or_insert_with(DCtx::create).decompress_using_dict(&mut output, input, base)
        })
    };
    match written {
        Ok(written) if written == length => Ok(output),
        _ => Err(Undecodable),
    }
}

/// Makes a patch: one frame with its content size that [`decompress_patch`] turns into `input` again, given the same `base`.
///
/// `None` where zstd cannot: what is made of `input` must then be stored in another way.
pub(crate) fn compress_patch(level: i32, base: &[u8], input: &[u8]) -> Option<Vec<u8>> {
    use zstd::zstd_safe::{CCtx, CParameter, compress_bound};
    thread_local! {
        static CONTEXT: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
    }
    let mut output = Vec::with_capacity(compress_bound(input.len()));
    if base.starts_with(DICTIONARY_MAGIC) {
        // What looks like a dictionary must be said to be a prefix, which binds the context to it.
        let mut context = CCtx::create();
        context.set_parameter(CParameter::CompressionLevel(level)).ok()?;
        context.ref_prefix(base).ok()?;
        context.compress2(&mut output, input).ok()?;
        return Some(output);
    }
    CONTEXT.with_borrow_mut(|slot| {
        slot.get_or_insert_with(CCtx::create).compress_using_dict(&mut output, input, base, level).ok()
    })?;
    Some(output)
}

/// A cheap trial: whether data such as the middle of `data` is not worth compressing.
pub(crate) fn is_incompressible(data: &[u8]) -> bool {
    const SAMPLE_BYTES: usize = 4096;
    if data.len() < SAMPLE_BYTES {
        return false;
    }
    let start = (data.len() - SAMPLE_BYTES) / 2;
    // Noise shows nearly all values among 512 bytes (221 of 256 on average), text and code far fewer: those need no trial.
    const GLANCE_BYTES: usize = 512;
    const NOISE_VALUES: usize = 180;
    let mut seen = [false; 256];
    data[start..start + GLANCE_BYTES].iter().for_each(|byte| seen[usize::from(*byte)] = true);
    if seen.iter().filter(|seen| **seen).count() < NOISE_VALUES {
        return false;
    }
    let mut output = Vec::with_capacity(2 * SAMPLE_BYTES);
    compress(1, &data[start..start + SAMPLE_BYTES], &mut output);
    output.len() > SAMPLE_BYTES - SAMPLE_BYTES / 32
}

fn with_compressor<T>(level: i32, use_it: impl FnOnce(&mut Compressor<'static>) -> T) -> T {
    COMPRESSOR.with_borrow_mut(|slot| {
        match slot {
            Some((current, _)) if *current == level => {}
            Some((current, compressor)) => {
                compressor.set_compression_level(level).expect("levels are checked at the edge");
                *current = level;
            }
            None => *slot = Some((level, Compressor::new(level).expect("a context is a few megabytes of memory"))),
        }
        let (_, compressor) = slot.as_mut().expect("it was filled just now");
        use_it(compressor)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_announced_length_is_accepted() {
        let data = b"all work and no play ".repeat(100);
        let mut packed = b"before".to_vec();
        compress(3, &data, &mut packed);
        assert_eq!(decompress(&packed[6..], data.len()).as_deref(), Ok(&data[..]));
        assert_eq!(decompress(&packed[6..], data.len() - 1), Err(Undecodable));
        assert_eq!(decompress(&packed[6..], data.len() + 1), Err(Undecodable));
        assert_eq!(decompress(&packed[7..], data.len()), Err(Undecodable));
    }

    #[test]
    fn only_one_frame_with_its_content_size_and_nothing_behind_is_accepted() {
        let mut frame = Vec::new();
        compress(3, b"content", &mut frame);
        assert!(decompress(&frame, 7).is_ok());
        let skippable = [&b"\x50\x2a\x4d\x18\x01\0\0\0x"[..], &frame].concat();
        let two = [&frame[..], &frame].concat();
        let followed = [&frame[..], &b"\x50\x2a\x4d\x18\0\0\0\0"[..]].concat();
        assert_eq!(decompress(&skippable, 7), Err(Undecodable));
        assert_eq!(decompress(&two, 14), Err(Undecodable));
        assert_eq!(decompress(&followed, 7), Err(Undecodable));
        let mut compressor = Compressor::new(3).unwrap();
        compressor.include_contentsize(false).unwrap();
        assert_eq!(decompress(&compressor.compress(b"content").unwrap(), 7), Err(Undecodable));
    }

    #[test]
    fn a_base_that_looks_like_a_dictionary_is_a_prefix_all_the_same() {
        let noise = |seed| {
            let mut bytes = vec![0; 16 << 10];
            crate::crypto::extend(&crate::crypto::Secret::new([seed; 32]), b"", &mut bytes);
            bytes
        };
        for base in [[DICTIONARY_MAGIC, &noise(3)].concat(), noise(4), Vec::new()] {
            let plaintext = [&base[..], b"and more"].concat();
            let patch = compress_patch(3, &base, &plaintext).unwrap();
            assert!(base.is_empty() || patch.len() < 100, "{} bytes", patch.len());
            for _ in 0..2 {
                assert_eq!(decompress_patch(&base, &patch, plaintext.len()).as_deref(), Ok(&plaintext[..]));
                assert_eq!(decompress_patch(&base, &patch[..patch.len() - 1], plaintext.len()), Err(Undecodable));
            }
        }
    }

    #[test]
    fn a_patch_costs_what_changed_and_needs_its_own_base() {
        let mut base = vec![0; 16 << 10];
        crate::crypto::extend(&crate::crypto::Secret::new([2; 32]), b"", &mut base);
        let mut input = base.clone();
        input[5000..5100].fill(7);
        let patch = compress_patch(3, &base, &input).unwrap();
        assert!(patch.len() < 200, "{} bytes", patch.len());
        assert_eq!(decompress_patch(&base, &patch, input.len()).as_deref(), Ok(&input[..]));
        base[10_000] ^= 1;
        assert_ne!(decompress_patch(&base, &patch, input.len()).as_deref(), Ok(&input[..]));
    }

    #[test]
    fn a_patch_reaches_all_of_a_base_that_is_longer_than_the_input() {
        let mut base = vec![0; 4 << 20];
        crate::crypto::extend(&crate::crypto::Secret::new([3; 32]), b"", &mut base);
        let input = base[1000..100_000].to_vec();
        let patch = compress_patch(3, &base, &input).unwrap();
        assert_eq!(decompress_patch(&base, &patch, input.len()).as_deref(), Ok(&input[..]));
        let longer = [&base[..], &input[..]].concat();
        let patch = compress_patch(3, &base, &longer).unwrap();
        assert_eq!(decompress_patch(&base, &patch, longer.len()).as_deref(), Ok(&longer[..]));
    }

    #[test]
    fn random_bytes_are_noticed_and_text_is_not() {
        let mut random = vec![0; 10_000];
        crate::crypto::extend(&crate::crypto::Secret::new([1; 32]), b"", &mut random);
        assert!(is_incompressible(&random));
        assert!(!is_incompressible(&b"all work and no play ".repeat(1000)));
    }
}
