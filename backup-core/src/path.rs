//! Paths inside snapshots: bytes, absolute, `/` between components.
//!
//! File systems give names as bytes, and so they stay. A path here is normalised: it begins with `/`, has no empty, `.` or `..` component, and no `/` at its end
//! unless it is the root.

use crate::error::{Error, Result};

/// Makes an absolute, normalised path from what a user typed and the directory he stands in. `..` is taken textually, no link is resolved.
pub fn absolute(typed: &[u8], current: &[u8]) -> Vec<u8> {
    let mut components: Vec<&[u8]> = Vec::new();
    let base: &[u8] = if typed.starts_with(b"/") { b"" } else { current };
    for component in base.split(|&b| b == b'/').chain(typed.split(|&b| b == b'/')) {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    let mut path = Vec::new();
    for component in components {
        path.push(b'/');
        path.extend_from_slice(component);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

/// Appends a component.
pub fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(parent.len() + 1 + name.len());
    path.extend_from_slice(parent);
    if !parent.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The components of a path, none for `/`.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty())
}

/// The last component; `-` for `/`, which has none.
pub fn name(path: &[u8]) -> &[u8] {
    components(path).last().unwrap_or(b"-")
}

/// The rest of `path` below `ancestor`, without a leading `/`; empty if they are equal; `None` if it does not lie below.
pub fn below<'a>(path: &'a [u8], ancestor: &[u8]) -> Option<&'a [u8]> {
    if ancestor == b"/" {
        return path.strip_prefix(b"/");
    }
    match path.strip_prefix(ancestor)? {
        b"" => Some(b""),
        rest => rest.strip_prefix(b"/"),
    }
}

/// Whether bytes may stand as the name of an entry: one component that no path lookup treats specially.
pub fn is_safe_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0)
}

/// Splits `SNAPSHOT:PATH`. The snapshot ends at the first colon; after `@`, at the first colon behind the longest valid time.
///
/// # Errors
/// [`Error::Usage`] where what follows `@` is no time.
pub fn split_snapshot(typed: &[u8], is_time: impl Fn(&str) -> bool) -> Result<(&[u8], Option<&[u8]>)> {
    let colons = || typed.iter().enumerate().filter(|(_, b)| **b == b':').map(|(i, _)| i);
    let Some(time) = typed.strip_prefix(b"@") else {
        return Ok(colons().next().map_or((typed, None), |i| (&typed[..i], Some(&typed[i + 1..]))));
    };
    let is_time = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok_and(&is_time);
    if is_time(time) {
        return Ok((typed, None));
    }
    let colons: Vec<usize> = colons().collect();
    match colons.into_iter().rev().find(|&i| is_time(&typed[1..i])) {
        Some(i) => Ok((&typed[..i], Some(&typed[i + 1..]))),
        None => Err(Error::Usage { what: format!("no time in {}", crate::words::printable(typed)) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_taken_textually() {
        assert_eq!(absolute(b"../a/./b//c/", b"/home/x"), b"/home/a/b/c");
        assert_eq!(absolute(b"/../..", b"/home"), b"/");
        assert_eq!(name(b"/"), b"-");
    }

    #[test]
    fn below_needs_a_whole_component() {
        assert_eq!(below(b"/a/b", b"/a"), Some(&b"b"[..]));
        assert_eq!(below(b"/ab", b"/a"), None);
        assert_eq!(below(b"/a", b"/"), Some(&b"a"[..]));
        assert_eq!(below(b"/a", b"/a"), Some(&b""[..]));
    }

    #[test]
    fn a_snapshot_ends_at_the_first_colon_or_behind_the_longest_time() {
        let is_time = |text: &str| crate::time::Time::parse(text).is_some();
        assert_eq!(split_snapshot(b"latest:/a:b", is_time).unwrap(), (&b"latest"[..], Some(&b"/a:b"[..])));
        let at = b"@2025-01-05T14:30:00Z:/x:y";
        assert_eq!(split_snapshot(at, is_time).unwrap(), (&at[..21], Some(&b"/x:y"[..])));
        assert!(split_snapshot(b"@yesterday", is_time).is_err());
    }
}
