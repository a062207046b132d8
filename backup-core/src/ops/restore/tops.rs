//! What a request to restore means: which entries go where.

use std::path::Path;

use super::batch;
use crate::error::Result;
use crate::path;
use crate::repository::Snapshot;
use crate::repository::load::Loader;
use crate::repository::names::Place;
use crate::repository::nodes::OwnedEntry;

/// One thing to restore: an entry, where it goes, and the directories above it that must be made.
pub(super) struct Top {
    pub(super) target: std::path::PathBuf,
    pub(super) above: Vec<Vec<u8>>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) path: Vec<u8>,
    pub(super) entry: Option<OwnedEntry>,
}

/// Finds what a request means: section "Names" of the command line's contract.
pub(super) fn tops(loader: &Loader<'_>, snapshot: &Snapshot, wanted: Option<&[u8]>, target: &Path) -> Result<Vec<Top>> {
    let all_below = |wanted: &[u8], skip: usize| {
        let mut tops = Vec::new();
        for root in snapshot.manifest.roots().filter(|root| path::below(&root.path, wanted).is_some()) {
            let mut above: Vec<Vec<u8>> = path::components(&root.path).skip(skip).map(<[u8]>::to_vec).collect();
            let name = above.pop();
            let entry = match snapshot.root_entry(loader, root) {
                Ok(entry) => Some(entry),
                Err(error) => batch::damage_only(error).map(|()| None)?,
            };
            tops.push(Top { target: target.to_owned(), above, name, path: root.path.clone(), entry });
        }
        Ok(tops)
    };
    let Some(wanted) = wanted else { return all_below(b"/", 0) };
    let skip = path::components(wanted).count();
    let entry = match snapshot.find(loader, wanted)? {
        Place::Above => return all_below(wanted, skip),
        Place::Entry(entry) => *entry,
    };
    let mut top = Top { target: target.to_owned(), above: Vec::new(), name: None, path: wanted.to_vec(), entry: None };
    if !entry.0.is_directory() {
        use std::os::unix::ffi::OsStrExt;
        if target.is_dir() {
            top.name = Some(entry.0.name.clone());
        } else {
            top.name = target.file_name().map(|name| name.as_bytes().to_vec());
            top.target =
                target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        }
    }
    top.entry = Some(entry);
    Ok(vec![top])
}
