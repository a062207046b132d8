//! Rust source without what is not code: comments, strings and character literals become spaces.
//!
//! Positions and line breaks stay as they are, so what is found in the result can be named by its line in the source. This is no parser: it knows just enough of
//! Rust's tokens never to take a brace, a path or a `fn` from inside a literal.

/// Blanks comments and literals.
pub(crate) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match literal_end(bytes, at) {
            Some(end) => {
                blank(&mut code[at..end]);
                end
            }
            None => word_end(bytes, at).max(at + 1),
        };
        at = end;
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Blanks items under `#[cfg(test)]` in what [`code_only`] returned.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut bytes = code.as_bytes().to_vec();
    for (start, _) in code.match_indices(MARK) {
        let end = item_end(code.as_bytes(), start + MARK.len());
        blank(&mut bytes[start..end]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The position behind the item that begins at `at`: behind its `;`, or behind the brace that closes its body.
pub(crate) fn item_end(code: &[u8], at: usize) -> usize {
    let mut nested = 0usize;
    for (offset, byte) in code[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.saturating_sub(1),
            b';' if nested == 0 => return at + offset + 1,
            b'{' if nested == 0 => return block_end(code, at + offset),
            _ => {}
        }
    }
    code.len()
}

/// The position behind the brace that closes the one at `open`.
pub(crate) fn block_end(code: &[u8], open: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return open + offset + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The line of a position, counted from 1.
pub(crate) fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count()
}

/// Whether a byte may stand in an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The identifier at the beginning of a text; empty if there is none.
pub(crate) fn leading_word(text: &str) -> &str {
    &text[..word_end(text.as_bytes(), 0)]
}

/// Positions where `word` stands for itself, not as a part of a longer identifier.
pub(crate) fn find_words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    let stands_alone = move |at: usize| {
        let before = at.checked_sub(1).map(|at| bytes[at]);
        let after = bytes.get(at + word.len());
        !before.is_some_and(is_word) && !after.is_some_and(|&byte| is_word(byte))
    };
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| stands_alone(at))
}

fn word_end(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|&&byte| is_word(byte)).count()
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// The end of the comment or literal that begins at `at`, if one does. Must be asked at the beginning of a token.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| at + length));
    }
    if rest.starts_with(b"/*") {
        return Some(comment_end(bytes, at));
    }
    for prefix in [&b"br"[..], b"cr", b"r"] {
        if let Some(after) = rest.strip_prefix(prefix) {
            let hashes = after.iter().take_while(|&&byte| byte == b'#').count();
            if after.get(hashes) == Some(&b'"') {
                return Some(raw_end(bytes, at + prefix.len() + hashes, hashes));
            }
        }
    }
    let prefix_bytes = usize::from(matches!(rest, [b'b', b'"' | b'\'', ..] | [b'c', b'"', ..]));
    match rest.get(prefix_bytes) {
        Some(b'"') => Some(quoted_end(bytes, at + prefix_bytes, b'"')),
        Some(b'\'') => character_end(bytes, at + prefix_bytes),
        _ => None,
    }
}

fn comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut at = start;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_end(bytes: &[u8], quote_at: usize, hashes: usize) -> usize {
    let mut mark = vec![b'"'];
    mark.resize(1 + hashes, b'#');
    let found = bytes[quote_at + 1..].windows(mark.len()).position(|window| window == mark);
    found.map_or(bytes.len(), |offset| quote_at + 1 + offset + mark.len())
}

fn quoted_end(bytes: &[u8], quote_at: usize, quote: u8) -> usize {
    let mut at = quote_at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A quote begins a character, unless it begins a lifetime: `'a'` against `'a`.
fn character_end(bytes: &[u8], quote_at: usize) -> Option<usize> {
    let text = &bytes[quote_at + 1..];
    let first = *text.first()?;
    let length = match first {
        b'\\' => return Some(quoted_end(bytes, quote_at, b'\'')),
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    (text.get(length) == Some(&b'\'')).then_some(quote_at + 1 + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squeezed(source: &str) -> String {
        code_only(source).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_go_even_nested_ones() {
        assert_eq!(squeezed("a // { fn\nb /* { /* } */ fn */ c /// d"), "a b c");
    }

    #[test]
    fn strings_of_all_kinds_go() {
        assert_eq!(
            squeezed(r###"a("{\"{", b"}", r"\", br##"{"#"##, c"x", '{', b'}', '\'', '\u{7b}', 'é')"###),
            "a( , , , , , , , , , )"
        );
    }

    #[test]
    fn lifetimes_and_raw_names_stay() {
        assert_eq!(
            squeezed("fn a<'a>(x: &'a str, r: r#type, b: bar) {}"),
            "fn a<'a>(x: &'a str, r: r#type, b: bar) {}"
        );
    }

    #[test]
    fn lines_stay_where_they_are() {
        let source = "a\n\"x\ny\"\nb";
        let code = code_only(source);
        assert_eq!(line(&code, code.find('b').unwrap()), 4);
        assert_eq!(code.len(), source.len());
    }

    #[test]
    fn tests_are_cut_out_whole() {
        let code = "use a;\n#[cfg(test)]\nmod tests { fn x() { y } }\n#[cfg(test)]\nuse b;\nuse c;";
        assert_eq!(without_tests(code).split_whitespace().collect::<String>(), "usea;usec;");
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(find_words("fn x; fnx; x_fn; fn", "fn").collect::<Vec<_>>(), [0, 17]);
    }
}
