//! Patterns of `find`: `*`, `?`, `[a-z]`, `[!a-z]` and, over any number of directories, `**`.
//!
//! A pattern without `/` is compared with names, one with `/` with whole paths. Time is the product of both lengths, whatever the pattern.

use backup_core::path;

/// A pattern, taken apart.
pub(crate) struct Glob {
    tokens: Vec<Token>,
    is_path: bool,
}

enum Token {
    One(u32),
    Any,
    Run,
    RunAcross,
    Set { ranges: Vec<(u32, u32)>, is_negated: bool },
}

const SLASH: u32 = b'/' as u32;

impl Glob {
    /// Takes a pattern apart. An unclosed `[` means itself.
    pub(crate) fn new(pattern: &[u8]) -> Self {
        let units = units(pattern);
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&unit) = units.get(at) {
            at += 1;
            match char::from_u32(unit) {
                Some('*') => {
                    let more = units[at..].iter().take_while(|&&unit| unit == u32::from('*')).count();
                    at += more;
                    tokens.push(if more > 0 { Token::RunAcross } else { Token::Run });
                }
                Some('?') => tokens.push(Token::Any),
                Some('\\') if at < units.len() => {
                    tokens.push(Token::One(units[at]));
                    at += 1;
                }
                Some('[') => match set(&units[at..]) {
                    Some((set, length)) => {
                        tokens.push(set);
                        at += length;
                    }
                    None => tokens.push(Token::One(unit)),
                },
                _ => tokens.push(Token::One(unit)),
            }
        }
        Self { tokens, is_path: pattern.contains(&b'/') }
    }

    /// Whether a path, or its name, fits.
    pub(crate) fn fits(&self, path: &[u8]) -> bool {
        let subject = if self.is_path { path } else { path::name(path) };
        // `reached[i]`: the first i tokens can match what was read so far.
        let mut reached = vec![false; self.tokens.len() + 1];
        reached[0] = true;
        self.skip_runs(&mut reached);
        for unit in units(subject) {
            let mut next = vec![false; reached.len()];
            for (i, token) in self.tokens.iter().enumerate().filter(|(i, _)| reached[*i]) {
                match token {
                    Token::Run if unit != SLASH => next[i] = true,
                    Token::RunAcross => next[i] = true,
                    token if token.takes(unit) => next[i + 1] = true,
                    _ => {}
                }
            }
            self.skip_runs(&mut next);
            reached = next;
        }
        reached[self.tokens.len()]
    }

    /// Runs may be empty.
    fn skip_runs(&self, reached: &mut [bool]) {
        for (i, token) in self.tokens.iter().enumerate() {
            if reached[i] && matches!(token, Token::Run | Token::RunAcross) {
                reached[i + 1] = true;
            }
        }
    }
}

impl Token {
    fn takes(&self, unit: u32) -> bool {
        match self {
            Token::One(one) => *one == unit,
            Token::Any => unit != SLASH,
            Token::Set { ranges, is_negated } => {
                unit != SLASH && ranges.iter().any(|(first, last)| (*first..=*last).contains(&unit)) != *is_negated
            }
            Token::Run | Token::RunAcross => false,
        }
    }
}

/// Takes the inside of brackets apart, and says how many units it has with the closing one.
fn set(units: &[u32]) -> Option<(Token, usize)> {
    let is_negated = matches!(units.first().and_then(|&unit| char::from_u32(unit)), Some('!' | '^'));
    let start = usize::from(is_negated);
    // A closing bracket that comes first means itself.
    let length = units.get(start + 1..)?.iter().position(|&unit| unit == u32::from(']'))? + 1;
    let inside = &units[start..start + length];
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < inside.len() {
        match inside[at..] {
            [first, dash, last, ..] if dash == u32::from('-') => {
                ranges.push((first, last));
                at += 3;
            }
            _ => {
                ranges.push((inside[at], inside[at]));
                at += 1;
            }
        }
    }
    Some((Token::Set { ranges, is_negated }, start + length + 1))
}

/// Characters, and behind them all bytes that belong to none.
fn units(bytes: &[u8]) -> Vec<u32> {
    const STRAY: u32 = 0x11_0000;
    let mut units = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        units.extend(chunk.valid().chars().map(u32::from));
        units.extend(chunk.invalid().iter().map(|byte| STRAY + u32::from(*byte)));
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        Glob::new(pattern.as_bytes()).fits(path.as_bytes())
    }

    #[test]
    fn a_pattern_without_slash_is_compared_with_names() {
        assert!(fits("*.txt", "/a/b.txt"));
        assert!(fits("b.???", "/a/b.txt"));
        assert!(fits("?.txt", "/a/é.txt"));
        assert!(!fits("a", "/a/b.txt"));
        assert!(fits("[a-c][!x].txt", "/a/by.txt"));
        assert!(!fits("[a-c][!x].txt", "/a/bx.txt"));
        assert!(fits("[]a].txt", "/].txt"));
        assert!(fits("a[b", "/a[b"));
        assert!(fits("\\*", "/*"));
        assert!(!fits("\\*", "/b"));
    }

    #[test]
    fn a_pattern_with_slash_is_compared_with_whole_paths() {
        assert!(fits("/a/*.txt", "/a/b.txt"));
        assert!(!fits("/a/*.txt", "/a/c/b.txt"));
        assert!(fits("/a/**.txt", "/a/c/b.txt"));
        assert!(fits("**/c/*", "/a/c/b.txt"));
    }

    #[test]
    fn stray_bytes_are_units_of_their_own() {
        assert!(Glob::new(b"a?").fits(b"/a\xff"));
        assert!(Glob::new(b"a\xff").fits(b"/a\xff"));
        assert!(!Glob::new(b"a\xfe").fits(b"/a\xff"));
    }
}
