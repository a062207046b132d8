//! Bodies as the vectors write them: byte strings in hex, text as it is, structs with the page's names of fields.

use serde_json::{Map, Value, json};

use crate::format::bodies::*;
use crate::format::keys::*;
use crate::format::ledger::*;
use crate::format::manifest::*;
use crate::format::probes::{ProbeResult, Probes, TableResult};
use crate::format::table::{IndexBody, IndexedPack, TableBody};
use crate::format::tree::*;
use crate::id::*;
use crate::time::Time;

/// A value as the vectors write it.
pub(super) trait Json: Sized {
    fn json(&self) -> Value;

    /// Several of them: a list, but for bytes.
    fn list(items: &[Self]) -> Value {
        Value::Array(items.iter().map(Json::json).collect())
    }
}

/// Bytes in hex.
pub(super) fn hex(bytes: &[u8]) -> Value {
    Value::String(encode_hex(bytes))
}

impl Json for u8 {
    fn json(&self) -> Value {
        json!(self)
    }

    fn list(items: &[Self]) -> Value {
        hex(items)
    }
}

macro_rules! plain {
    ($($name:ty),+) => {
        $(impl Json for $name {
            fn json(&self) -> Value {
                json!(self)
            }
        })+
    };
}

plain!(u16, u32, u64, i32, bool, String);
plain!(ChunkId, EntryId, ObjectId, PackId, PeriodId, RepositoryId, RunId, WriterId);

impl<T: Json> Json for Vec<T> {
    fn json(&self) -> Value {
        T::list(self)
    }
}

impl<T: Json, const N: usize> Json for [T; N] {
    fn json(&self) -> Value {
        T::list(self)
    }
}

impl<T: Json> Json for Option<T> {
    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Json::json)
    }
}

impl Json for Time {
    fn json(&self) -> Value {
        json!({"seconds": self.seconds, "nanoseconds": self.nanoseconds})
    }
}

macro_rules! fields {
    (@ $field:ident) => { stringify!($field) };
    (@ $field:ident $page:literal) => { $page };
    ($($name:ident { $($field:ident $(as $page:literal)?),* $(,)? })+) => {
        $(impl Json for $name {
            fn json(&self) -> Value {
                let mut map = Map::new();
                $(map.insert(fields!(@ $field $($page)?).to_owned(), self.$field.json());)*
                Value::Object(map)
            }
        })+
    };
}

fields! {
    RepositoryBody { repository, admin_key, created }
    SlotBody {
        holder, argon2_memory_kib, argon2_passes, argon2_lanes, commitment, label, created,
    }
    ClassKey { name, key }
    KeyringBody { role, repository, admin_key, root, repository_ledger_key, classes, ledger_keys }
    PeriodSecretsBody { data_key, content_id_key, tree_id_key, gear_key }
    DomainRow { class, period }
    AddedPack { domain, area, pack as "id", length, table_offset, table_length }
    DeletedPack { domain, area, pack as "id" }
    EntryHeader {
        repository, sequence, time, previous_received, parents, class, last, domains, packs_added, packs_deleted, enrolment,
    }
    Enrolment { repository, writer, key, role, kinds, classes, valid_from, valid_until }
    TableBody {
        row_version, frame_stored, frame_payload, frame_chunks, frame_encoding, frame_kind, row_prefix, row_payload, row_depth,
        patch_plain, patch_base,
    }
    IndexedPack { pack as "id", area, length, table_offset, table_length, writer, salt, table }
    IndexBody { row_version, packs }
    Sums { entries, plaintext_bytes, decode_bytes }
    Attribute { name, value }
    RowExtension { tag, value }
    OwnerName { id, name }
    Entry {
        name, kind, mode, uid, gid, mtime, ctime, birth, inode, link_group, attributes, content, content_hash, extensions,
    }
    TreeLeaf { row_version, owners, groups, rows }
    TreeChild { first_name, id, sums }
    TreeInner { row_version, height, children }
    ListLeaf { row_version, items }
    ListChild { id, sums }
    ListInner { row_version, height, children }
    WarningRow { kind, path, message }
    Warnings { row_version, rows }
    TableResult { name, state, rows, digest, message }
    ProbeResult { path, failure, schema_version, user_version, integrity, complaints, tables }
    Probes { row_version, rows }
    EnrolBody { host, user, program }
    ClassBody { name, description, pad_bytes_min }
    PeriodBody {
        class, period, object, starts, ends, chunk_bytes_min, chunk_bytes_avg, chunk_bytes_max, mask_small, mask_large, frame_bytes,
        pack_bytes, page_group_bytes,
    }
    CheckpointBody { run }
    VoidRow { pack, frames, whole }
    VoidBody { voids, reason }
    CheckBody { mode, objects, read_bytes, damaged, packs_read }
    RestoreBody { snapshot, paths, files, bytes, damaged }
    KeyBody { action, slot, label }
    Root { path, root, sums }
    SourceRow { kind, roots }
    Counts {
        files_new, files_changed, files_unchanged, directories, source_bytes, new_chunks, new_chunk_bytes, stored_bytes, packs_written,
        warnings,
    }
    Manifest {
        time, started, zone_offset_seconds, host, user, program, class, period, tags, parent, run, sources, counts, warnings,
    }
}

impl Json for Item {
    fn json(&self) -> Value {
        match self {
            Item::Chunk { length, decode_bytes, id } => {
                json!({"tag": 1, "length": length, "decode_bytes": decode_bytes, "id": id})
            }
            Item::Hole { length } => json!({"tag": 2, "length": length}),
            Item::Zeros { length } => json!({"tag": 3, "length": length}),
            Item::Inline { bytes } => json!({"tag": 4, "bytes": hex(bytes)}),
        }
    }
}

impl Json for Content {
    fn json(&self) -> Value {
        match self {
            Content::None {} => json!({"tag": 0}),
            Content::Inline { bytes } => json!({"tag": 1, "bytes": hex(bytes)}),
            Content::Items { items } => json!({"tag": 2, "items": items.json()}),
            Content::List { root, sums } => json!({"tag": 3, "root": root, "sums": sums.json()}),
            Content::Tree { root, sums } => json!({"tag": 4, "root": root, "sums": sums.json()}),
            Content::Link { target } => json!({"tag": 5, "bytes": hex(target)}),
            Content::Device { major, minor } => json!({"tag": 6, "major": major, "minor": minor}),
        }
    }
}
