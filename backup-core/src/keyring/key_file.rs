//! Key files and recovery sheets: one line of text with a checksum, section 5 of `docs/format.md`.

use crate::crypto::{Secret, Zeroize, Zeroizing, hash};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::id::{decode_hex, encode_hex};

const PREFIX: &str = "holdfast-key-1-";
const CHECKSUM_CONTEXT: &[u8] = b"holdfast key file";

/// A key that is a file. Whoever has the text has the key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile(Secret);

impl KeyFile {
    /// Draws a new one.
    pub fn generate(environment: &Environment) -> Self {
        Self(Secret::new(environment.random()))
    }

    /// Parses the text of a key file. Empty lines and lines that begin with `#` are ignored, and so is case.
    ///
    /// # Errors
    /// [`Error::KeyFile`] where there is not exactly one line, or a digit is wrong: the checksum notices.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what| Error::KeyFile { what };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next().ok_or(wrong("it holds no key"))?;
        if lines.next().is_some() {
            return Err(wrong("it holds more than one line"));
        }
        let line = Zeroizing::new(line.to_ascii_lowercase());
        let digits = line.strip_prefix(PREFIX).ok_or(wrong("the line does not begin with holdfast-key-1-"))?;
        let digits = Zeroizing::new(digits.replace('-', ""));
        let mut bytes = Zeroizing::new([0; 36]);
        if !decode_hex(&digits, &mut *bytes) {
            return Err(wrong("it has not nine groups of eight hex digits"));
        }
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[..32]);
        let secret = Secret::new(key);
        key.zeroize();
        if checksum(&secret)[..] != bytes[32..] {
            return Err(wrong("the checksum does not fit, a digit is wrong"));
        }
        Ok(Self(secret))
    }

    /// Prints the line, with its newline. This is the secret itself.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(96));
        text.push_str(PREFIX);
        for group in self.0.expose().chunks_exact(4) {
            text.push_str(&Zeroizing::new(encode_hex(group)));
            text.push('-');
        }
        text.push_str(&encode_hex(&checksum(&self.0)));
        text.push('\n');
        text
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }
}

fn checksum(secret: &Secret) -> [u8; 4] {
    let text = Zeroizing::new([CHECKSUM_CONTEXT, secret.expose()].concat());
    let hash = hash(&text);
    [hash[0], hash[1], hash[2], hash[3]]
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyFile(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_parses_back_in_any_case_and_under_comments() {
        let key = KeyFile::generate(&Environment::default());
        let text = key.to_text();
        assert_eq!(KeyFile::parse(&text).unwrap(), key);
        assert_eq!(KeyFile::parse(&format!("# sheet\n\n {} \n", text.trim().to_uppercase())).unwrap(), key);
    }

    #[test]
    fn one_wrong_digit_is_noticed() {
        let text = KeyFile::generate(&Environment::default()).to_text();
        let digit = if text.as_bytes()[20] == b'0' { "1" } else { "0" };
        let mut wrong = text.to_string();
        wrong.replace_range(20..21, digit);
        assert!(matches!(KeyFile::parse(&wrong), Err(Error::KeyFile { .. })));
    }
}
