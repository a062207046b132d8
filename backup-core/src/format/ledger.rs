//! Ledger entries, from the outside: section 11 of `docs/format.md`. What entries say is in [`super::bodies`] and [`super::manifest`].

use super::constants::*;
use super::header::{HEADER_BYTES, ObjectHeader};
use super::keys::{check_text, is_class_name};
use super::name::{Area, Domain};
use super::record::{self, Body, Flaw, require};
use crate::codec::{Decode, Encode};
use crate::id::{EntryId, PackId, PeriodId, RepositoryId, WriterId};
use crate::limits;
use crate::time::Time;

/// After so many entries a writer repeats its enrolment.
pub const ENROLMENT_INTERVAL: u64 = 64;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A domain, as entries list it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct DomainRow {
    /// The class's name.
    pub class: String,
    /// The period.
    pub period: PeriodId,
}

/// A pack that an entry adds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AddedPack {
    /// Index into the header's domains.
    pub domain: u16,
    /// Where it lies: one of the `AREA_` constants.
    pub area: u8,
    /// The pack.
    pub pack: PackId,
    /// Its length.
    pub length: u64,
    /// Where its table begins.
    pub table_offset: u64,
    /// Length of its sealed table.
    pub table_length: u32,
}

/// A pack that an entry deletes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DeletedPack {
    /// Index into the header's domains.
    pub domain: u16,
    /// Where it lay.
    pub area: u8,
    /// The pack.
    pub pack: PackId,
}

/// Body of an entry's clear header.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EntryHeader {
    /// The repository.
    pub repository: RepositoryId,
    /// Place in the writer's chain.
    pub sequence: u64,
    /// The writer's clock.
    pub time: Time,
    /// When the storage received this writer's entry before.
    pub previous_received: Option<Time>,
    /// The entry before, then the newest entries of other chains not reachable yet.
    pub parents: Vec<EntryId>,
    /// The class whose ledger key seals the body; empty: the repository's.
    pub class: String,
    /// Whether it closes the chain.
    pub last: bool,
    /// Where packs lie.
    pub domains: Vec<DomainRow>,
    /// Packs that it adds.
    pub packs_added: Vec<AddedPack>,
    /// Packs that it deletes.
    pub packs_deleted: Vec<DeletedPack>,
    /// The writer's enrolment and the admin's signature, in its first entry and every 64th; empty elsewhere.
    pub enrolment: Vec<u8>,
}

impl Body for EntryHeader {
    const KIND: u16 = RECORD_ENTRY_HEADER;

    fn check(&self) -> Result<(), Flaw> {
        require(self.class.is_empty() || is_class_name(&self.class), "a class's name is not one")?;
        require(self.parents.len() as u64 <= limits::ENTRY_PARENTS_MAX, "there are too many parents")?;
        require(self.sequence == 0 || !self.parents.is_empty(), "an entry does not name the one before")?;
        require(self.sequence != 0 || !self.enrolment.is_empty(), "the enrolment is missing")?;
        require(self.domains.is_sorted_by(|a, b| a < b), "domains are out of order")?;
        require(self.domains.iter().all(|domain| is_class_name(&domain.class)), "a class's name is not one")?;
        let packs = self.packs_added.len() as u64;
        require(packs <= limits::ENTRY_PACKS_MAX, "there are too many packs")?;
        let deleted = self.packs_deleted.len() as u64;
        require(deleted <= limits::ENTRY_PACKS_MAX, "there are too many packs")?;
        self.packs_added.iter().try_for_each(|pack| self.check_pack(pack))
    }
}

impl EntryHeader {
    fn check_pack(&self, pack: &AddedPack) -> Result<(), Flaw> {
        require(usize::from(pack.domain) < self.domains.len(), "a pack is of no domain")?;
        require(Area::from_number(pack.area).is_some(), "a pack is in no area")?;
        let ends = pack.table_offset.checked_add(u64::from(pack.table_length) + limits::TRAILER_BYTES);
        let fits = ends == Some(pack.length) && pack.table_offset >= limits::OBJECT_HEADER_BYTES;
        require(fits && pack.length <= limits::PACK_BYTES_MAX, "a pack's lengths disagree")
    }

    /// Where a pack of this entry lies.
    pub fn domain(&self, index: u16) -> Option<Domain> {
        let row = self.domains.get(usize::from(index))?;
        Some(Domain { class: row.class.clone(), period: row.period })
    }
}

/// Body of an enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Enrolment {
    /// The repository.
    pub repository: RepositoryId,
    /// The writer.
    pub writer: WriterId,
    /// Its Ed25519 public key.
    pub key: [u8; 32],
    /// One of the `ROLE_` constants.
    pub role: u8,
    /// Kinds of records it may write; empty: all.
    pub kinds: Vec<u16>,
    /// Classes it may write for; empty: all.
    pub classes: Vec<String>,
    /// Not before.
    pub valid_from: Option<Time>,
    /// Not after.
    pub valid_until: Option<Time>,
}

impl Body for Enrolment {
    const KIND: u16 = RECORD_ENROLMENT;

    fn check(&self) -> Result<(), Flaw> {
        let few = self.classes.len() as u64 <= limits::CLASSES_MAX && self.kinds.len() <= 256;
        require(few, "an enrolment is too long")?;
        self.classes.iter().try_for_each(|class| check_text(class))
    }
}

impl Enrolment {
    /// Whether an entry lies within the time and the classes that it gives; the kinds of bodies show only under their seal.
    pub fn allows(&self, header: &EntryHeader) -> bool {
        let named = header.domains.iter().map(|domain| &domain.class).chain(Some(&header.class));
        let mut classes = named.filter(|class| !class.is_empty());
        self.valid_from.is_none_or(|from| from <= header.time)
            && self.valid_until.is_none_or(|until| header.time <= until)
            && (self.classes.is_empty() || classes.all(|class| self.classes.contains(class)))
    }

    /// Whether its writer may write a kind of record.
    pub fn allows_kind(&self, kind: u16) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// The parts of one entry, as they lie in its bytes.
#[derive(Clone, Debug)]
pub struct RawEntry<'a> {
    /// All bytes.
    pub bytes: &'a [u8],
    /// The clear object header.
    pub object: ObjectHeader,
    /// The decoded clear header.
    pub header: EntryHeader,
    /// Everything before the sealed body: its clear prefix.
    pub clear: &'a [u8],
    /// The sealed body.
    pub sealed: &'a [u8],
    /// Everything that is signed.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// Puts the clear part of an entry together: object header, lengths, header record.
pub fn encode_clear(object: &ObjectHeader, header: &EntryHeader, sealed_length: u32) -> Vec<u8> {
    let record = record::encode(header);
    let mut clear = object.encode().to_vec();
    clear.extend_from_slice(&(record.len() as u32).to_le_bytes());
    clear.extend_from_slice(&sealed_length.to_le_bytes());
    clear.extend_from_slice(&record);
    clear
}

/// Divides a ledger object into its entries.
pub fn split(mut object: &[u8]) -> Result<Vec<RawEntry<'_>>, Flaw> {
    let mut entries = Vec::new();
    require(!object.is_empty(), "there is no entry")?;
    while !object.is_empty() {
        let entry = decode_first(object)?;
        object = &object[entry.bytes.len()..];
        entries.push(entry);
    }
    Ok(entries)
}

fn decode_first(object: &[u8]) -> Result<RawEntry<'_>, Flaw> {
    const LENGTHS_END: usize = HEADER_BYTES + 8;
    let cut_short = Flaw::Malformed("an entry is cut short");
    let (header, _) = ObjectHeader::decode(object, OBJECT_ENTRY)?;
    let lengths = object.get(HEADER_BYTES..LENGTHS_END).ok_or(cut_short)?;
    let number = |i: usize| u32::from_le_bytes([lengths[i], lengths[i + 1], lengths[i + 2], lengths[i + 3]]) as usize;
    let clear_end = LENGTHS_END.saturating_add(number(0));
    let signed_end = clear_end.saturating_add(number(4));
    let end = signed_end.saturating_add(SIGNATURE_BYTES);
    require(end as u64 <= limits::ENTRY_BYTES_MAX, "an entry is too long")?;
    let bytes = object.get(..end).ok_or(cut_short)?;
    let signature = bytes[signed_end..].try_into().map_err(|_| cut_short)?;
    Ok(RawEntry {
        bytes,
        object: header,
        header: record::decode(&bytes[LENGTHS_END..clear_end])?,
        clear: &bytes[..clear_end],
        sealed: &bytes[clear_end..signed_end],
        signed: &bytes[..signed_end],
        signature,
    })
}
