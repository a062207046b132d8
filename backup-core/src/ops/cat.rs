//! `cat`: a raw look at one object, decoded as far as the key allows. Secrets are not shown.

use std::fmt::Write;

use crate::error::{Error, Result};
use crate::format::constants::RECORD_SNAPSHOT;
use crate::format::ledger::split;
use crate::format::manifest::Manifest;
use crate::format::name::ObjectName;
use crate::format::record;
use crate::ledger::entry::Entry;
use crate::limits::LEDGER_OBJECT_BYTES_MAX;
use crate::repository::Repository;
use crate::repository::names::SnapshotFilter;
use crate::repository::open::{read_repository, read_slots};
use crate::words::printable;

impl Repository {
    /// Describes an object by its name, or a snapshot by `latest`, `@TIME` or the beginning of its id.
    ///
    /// # Errors
    /// [`Error::Missing`] for what is not there; damage.
    pub fn cat(&self, object: &str) -> Result<String> {
        let missing = || Error::Missing { object: printable(object.as_bytes()) };
        match ObjectName::parse(object) {
            Some(ObjectName::Repository) => Ok(format!("{:#?}\n", read_repository(&self.storage)?)),
            Some(ObjectName::Slot(id)) => {
                let slots = read_slots(&self.storage)?.into_iter().flatten();
                let slot = slots.map(|slot| slot.describe()).find(|slot| slot.id == id).ok_or_else(missing)?;
                Ok(format!("{slot:#?}\n"))
            }
            Some(ObjectName::Ledger(..)) => self.cat_entries(object),
            Some(ObjectName::Pack(_, _, id)) => {
                let pack = self.index()?.packs().iter().find(|pack| pack.place.id == id).ok_or_else(missing)?;
                let mut text = format!(
                    "{} bytes, table at {}, {} chunks\n",
                    pack.place.length,
                    pack.place.table_offset,
                    pack.table.len()
                );
                for frame in pack.table.frames() {
                    let _ = writeln!(text, "{frame:?}");
                }
                Ok(text)
            }
            Some(ObjectName::Period(domain, _)) => {
                let keys = self.keys.get(&domain).ok_or_else(missing)?;
                Ok(format!("{:#?}\n", keys.parameters()))
            }
            Some(ObjectName::Index(domain, _)) => {
                let keys = self.keys.get(&domain).ok_or_else(missing)?;
                let body = crate::index::segment::read(&self.storage, keys, object)?;
                Ok(body.packs.iter().map(|row| format!("{} {} bytes\n", row.pack, row.length)).collect())
            }
            None => {
                let snapshot = self.find_snapshot(object, &SnapshotFilter::new())?;
                Ok(describe(&snapshot.manifest))
            }
        }
    }

    fn cat_entries(&self, object: &str) -> Result<String> {
        let bytes = self.storage.read(object, LEDGER_OBJECT_BYTES_MAX)?;
        let mut text = String::new();
        for raw in split(&bytes).map_err(|flaw| flaw.at(object))? {
            let entry = Entry::from_raw(&raw);
            let body = entry.open(&self.keyring)?;
            let _ = writeln!(text, "entry {}\n{:#?}", entry.id, entry.header);
            match record::kind(&body) {
                Some(RECORD_SNAPSHOT) => {
                    let manifest: Manifest = record::decode(&body).map_err(|flaw| flaw.at(object))?;
                    text.push_str(&describe(&manifest));
                }
                kind => {
                    let _ = writeln!(text, "body of kind {}, {} bytes", kind.unwrap_or(0), body.len());
                }
            }
        }
        Ok(text)
    }
}

fn describe(manifest: &Manifest) -> String {
    let mut text = format!("{manifest:#?}\n");
    for root in manifest.roots() {
        let _ = writeln!(text, "root {}", printable(&root.path));
    }
    text
}
