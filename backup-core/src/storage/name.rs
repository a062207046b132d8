//! Which names objects may have: ASCII components with `/` between them, none of which can lead out of the storage.

use crate::error::{Error, Result};
use crate::words::printable;

/// The end of names under which local storage writes what is not complete yet.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Whether `name` can be that of an object.
pub(super) fn is_name(name: &str) -> bool {
    !name.ends_with(TEMPORARY_SUFFIX) && name.split('/').all(is_component)
}

/// Fails unless `name` can be that of an object: it may stem from something that was stored, and must not lead elsewhere.
pub(super) fn check(name: &str) -> Result<()> {
    if is_name(name) { Ok(()) } else { Err(Error::damaged(printable(name.as_bytes()), "not a name of an object")) }
}

/// Fails unless `prefix` is empty or some components that each end in `/`.
pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    match prefix.strip_suffix('/') {
        _ if prefix.is_empty() => Ok(()),
        Some(directory) if directory.split('/').all(is_component) => Ok(()),
        _ => Err(Error::damaged(printable(prefix.as_bytes()), "not a prefix of names")),
    }
}

fn is_component(component: &str) -> bool {
    const COMPONENT_BYTES_MAX: usize = 200;
    !matches!(component, "" | "." | "..")
        && component.len() <= COMPONENT_BYTES_MAX
        && component.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}
