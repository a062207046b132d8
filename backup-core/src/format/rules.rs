//! What entries, items and inner nodes must keep beside their layout: sections 8 and 9 of `docs/format.md`.

use super::constants::*;
use super::record::{Flaw, require};
use super::tree::{Attribute, Content, Entry, Item};
use crate::limits;
use crate::path;

/// An entry has a name, metadata and content that fit its kind.
pub(super) fn check_entry(entry: &Entry) -> Result<(), Flaw> {
    require(path::is_safe_name(&entry.name), "an entry's name is not one")?;
    require(entry.name.len() as u64 <= limits::NAME_BYTES_MAX, "an entry's name is too long")?;
    require(entry.mode <= 0o7777, "an entry's mode has more than twelve bits")?;
    check_attributes(&entry.attributes)?;
    if entry.extensions.iter().any(|extension| extension.tag & TAG_MUST_UNDERSTAND != 0) {
        return Err(Flaw::Newer("an extension of an entry"));
    }
    require(entry.extensions.is_sorted_by(|a, b| a.tag < b.tag), "extensions are out of order")?;
    let fits = match (&entry.content, entry.kind) {
        (Content::Inline { bytes }, ENTRY_FILE) => bytes.len() as u64 <= limits::INLINE_BYTES_MAX,
        (Content::Items { items }, ENTRY_FILE) => {
            items.iter().try_for_each(check_item)?;
            items.len() as u64 <= limits::ITEMS_DIRECT_MAX
        }
        (Content::List { .. }, ENTRY_FILE) | (Content::Tree { .. }, ENTRY_DIRECTORY) => true,
        (Content::Link { target }, ENTRY_SYMLINK) => target.len() as u64 <= limits::LINK_BYTES_MAX,
        (Content::Device { .. }, ENTRY_CHARACTER_DEVICE | ENTRY_BLOCK_DEVICE) => true,
        (Content::None {}, ENTRY_FIFO) => true,
        (_, kind) => kind == 0 || kind > ENTRY_BLOCK_DEVICE,
    };
    require(fits, "an entry's content does not fit its kind")
}

fn check_attributes(attributes: &[Attribute]) -> Result<(), Flaw> {
    require(attributes.len() as u64 <= limits::ATTRIBUTES_MAX, "there are too many attributes")?;
    let bytes: u64 = attributes.iter().map(|attribute| (attribute.name.len() + attribute.value.len()) as u64).sum();
    require(bytes <= limits::ATTRIBUTES_BYTES_MAX, "the attributes are too long")?;
    require(attributes.is_sorted_by(|a, b| a.name < b.name), "attributes are out of order")
}

/// No item is empty, or longer than its kind may be.
pub(super) fn check_item(item: &Item) -> Result<(), Flaw> {
    let fits = match item {
        Item::Chunk { length, .. } => u64::from(*length) <= limits::CHUNK_BYTES_MAX,
        Item::Inline { bytes } => bytes.len() as u64 <= limits::INLINE_BYTES_MAX,
        Item::Hole { .. } | Item::Zeros { .. } => true,
    };
    require(fits && item.length() > 0, "an item's length is wrong")
}

/// Inner nodes stand above something, and not too high.
pub(super) fn check_inner(height: u8, children: usize) -> Result<(), Flaw> {
    require(height > 0 && u64::from(height) <= limits::NODE_HEIGHT_MAX, "a node's height is wrong")?;
    require(children > 0, "an inner node has no children")
}
