//! Which names objects may have: ASCII components with `/` between them, none of which can lead out of the storage.

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::id::{decode_hex, encode_hex};
use crate::words::printable;

/// The end of names under which what is not complete yet is written.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Draws a temporary name beside `name`, which may be a path.
pub(super) fn temporary_name(name: &str, environment: &Environment) -> String {
    format!("{name}.{}{TEMPORARY_SUFFIX}", encode_hex(&environment.random::<8>()))
}

/// Whether a name is one that [`temporary_name`] drew.
pub(super) fn is_temporary(name: &str) -> bool {
    let random = name.strip_suffix(TEMPORARY_SUFFIX).and_then(|name| name.rsplit_once('.')).map(|(_, random)| random);
    random.is_some_and(|random| decode_hex(random, &mut [0; 8]))
}

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
