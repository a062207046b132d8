//! Sealed blobs: section 2 of `docs/format.md`.

use chacha20poly1305::aead::{AeadInOut, inout::InOutBuf};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use super::{Forged, Secret};

/// Bytes of the half of a nonce that is stored before the ciphertext.
pub(crate) const NONCE_TAIL_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

/// Seals and opens blobs under one key.
#[derive(Clone)]
pub(crate) struct Sealer {
    cipher: XChaCha20Poly1305,
    nonce_key: Secret,
}

impl Sealer {
    pub(crate) fn new(key: &Secret) -> Self {
        let cipher = XChaCha20Poly1305::new(key.expose().into());
        Self { cipher, nonce_key: key.derive("holdfast v1 nonce key", b"") }
    }

    /// Seals `plaintext` into a blob of its own.
    pub(crate) fn seal(&self, prefix: &[u8], ordinal: u64, plaintext: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(plaintext.len() + NONCE_TAIL_BYTES + TAG_BYTES);
        buffer.resize(NONCE_TAIL_BYTES, 0);
        buffer.extend_from_slice(plaintext);
        self.seal_in_place(prefix, ordinal, &mut buffer);
        buffer
    }

    /// Turns a buffer of [`NONCE_TAIL_BYTES`] free bytes and a plaintext into a blob.
    pub(crate) fn seal_in_place(&self, prefix: &[u8], ordinal: u64, buffer: &mut Vec<u8>) {
        let ad = associated_data(prefix, ordinal);
        let mut hasher = blake3::Hasher::new_keyed(self.nonce_key.expose());
        hasher.update(&ad).update(&buffer[NONCE_TAIL_BYTES..]);
        let tail = hasher.finalize();
        buffer[..NONCE_TAIL_BYTES].copy_from_slice(&tail.as_bytes()[..NONCE_TAIL_BYTES]);
        let nonce = nonce(ordinal, &buffer[..NONCE_TAIL_BYTES]);
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce, &ad, (&mut buffer[NONCE_TAIL_BYTES..]).into())
            .expect("a plaintext is far shorter than the cipher's limit of 256 GiB");
        buffer.extend_from_slice(&tag);
    }

    /// Opens a blob where it lies and returns its plaintext.
    pub(crate) fn open<'a>(&self, prefix: &[u8], ordinal: u64, blob: &'a mut [u8]) -> Result<&'a [u8], Forged> {
        let (nonce, length, tag) = parts(ordinal, blob)?;
        let ad = associated_data(prefix, ordinal);
        let text = &mut blob[NONCE_TAIL_BYTES..NONCE_TAIL_BYTES + length];
        self.cipher.decrypt_inout_detached(&nonce, &ad, (&mut *text).into(), &tag.into()).map_err(|_| Forged)?;
        Ok(text)
    }

    /// Opens a blob into a buffer whose room is used again, and leaves the blob as it is. What the buffer held is gone, whatever comes of it.
    pub(crate) fn open_into(&self, prefix: &[u8], ordinal: u64, blob: &[u8], out: &mut Vec<u8>) -> Result<(), Forged> {
        let (nonce, length, tag) = parts(ordinal, blob)?;
        out.resize(length, 0);
        let text = &blob[NONCE_TAIL_BYTES..NONCE_TAIL_BYTES + length];
        let buffer = InOutBuf::new(text, out).expect("both are as long as the text");
        let ad = associated_data(prefix, ordinal);
        let opened = self.cipher.decrypt_inout_detached(&nonce, &ad, buffer, &tag.into());
        opened.map_err(|_| {
            out.clear();
            Forged
        })
    }
}

/// The nonce of a blob, the length of its text, and its tag.
fn parts(ordinal: u64, blob: &[u8]) -> Result<(XNonce, usize, [u8; TAG_BYTES]), Forged> {
    let length = blob.len().checked_sub(NONCE_TAIL_BYTES + TAG_BYTES).ok_or(Forged)?;
    let (tail, rest) = blob.split_at(NONCE_TAIL_BYTES);
    let tag = rest[length..].try_into().map_err(|_| Forged)?;
    Ok((nonce(ordinal, tail), length, tag))
}

fn associated_data(prefix: &[u8], ordinal: u64) -> Vec<u8> {
    [prefix, &ordinal.to_le_bytes()].concat()
}

fn nonce(ordinal: u64, tail: &[u8]) -> XNonce {
    let mut nonce = XNonce::default();
    nonce[..8].copy_from_slice(&ordinal.to_le_bytes());
    nonce[8..].copy_from_slice(tail);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_only_unaltered_and_in_its_place() {
        let sealer = Sealer::new(&Secret::new([7; 32]));
        let blob = sealer.seal(b"prefix", 3, b"plaintext");
        assert_eq!(sealer.open(b"prefix", 3, &mut blob.clone()), Ok(&b"plaintext"[..]));
        assert_eq!(sealer.open(b"prefix", 4, &mut blob.clone()), Err(Forged));
        assert_eq!(sealer.open(b"Prefix", 3, &mut blob.clone()), Err(Forged));
        for place in 0..blob.len() {
            let mut altered = blob.clone();
            altered[place] ^= 1;
            assert_eq!(sealer.open(b"prefix", 3, &mut altered), Err(Forged), "byte {place}");
        }
        assert_eq!(sealer.open(b"prefix", 3, &mut blob[..31].to_vec()), Err(Forged));
        let mut buffer = b"what was there before".to_vec();
        assert_eq!((sealer.open_into(b"prefix", 3, &blob, &mut buffer), &buffer[..]), (Ok(()), &b"plaintext"[..]));
        assert_eq!((sealer.open_into(b"prefix", 4, &blob, &mut buffer), &buffer[..]), (Err(Forged), &b""[..]));
    }

    #[test]
    fn other_bytes_get_another_nonce() {
        let sealer = Sealer::new(&Secret::new([7; 32]));
        assert_ne!(sealer.seal(b"", 0, b"one")[..16], sealer.seal(b"", 0, b"two")[..16]);
    }
}
