//! `key`: key slots added, listed, removed.

use crate::crypto::{PasswordCost, hash};
use crate::error::{Error, Result};
use crate::format::bodies::{KEY_ADDED, KEY_REMOVED, KeyBody};
use crate::format::name::ObjectName;
use crate::format::record;
use crate::id::ObjectId;
use crate::keyring::Key;
use crate::keyring::slot::{self, Slot};
use crate::ledger::chain::Draft;
use crate::repository::Repository;
use crate::repository::open::read_slots;
use crate::words::printable;

impl Repository {
    /// Lists the key slots, oldest first. Damaged ones are left out; `check` names them.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn slots(&self) -> Result<Vec<Slot>> {
        let mut slots: Vec<Slot> =
            read_slots(&self.storage)?.into_iter().flatten().map(|slot| slot.describe()).collect();
        slots.sort_by_key(|slot| (slot.created, slot.id));
        Ok(slots)
    }

    /// Adds a key slot for another holder, with a name that is not secret. Returns its id.
    ///
    /// # Errors
    /// [`Error::Usage`] for a cost outside the limits; [`Error::Storage`].
    pub fn add_key(&mut self, key: &Key, label: &str, cost: PasswordCost) -> Result<ObjectId> {
        self.take_up_chain()?;
        let object = slot::wrap(&self.keyring, key, cost, label, self.environment())?;
        let id = ObjectId(hash(&object));
        self.storage.write(&ObjectName::Slot(id).to_string(), object)?;
        self.record_key(KEY_ADDED, id, label)?;
        self.absorb_commits()?;
        Ok(id)
    }

    /// Removes the key slot whose id begins so. Who kept a copy of the slot and its key can still open what was there until now: removing is not revoking.
    ///
    /// # Errors
    /// [`Error::Usage`] where none or several fit; [`Error::Refused`] for the last one.
    pub fn remove_key(&mut self, id_prefix: &str) -> Result<ObjectId> {
        let slots = self.slots()?;
        let prefix = id_prefix.to_ascii_lowercase();
        let matching: Vec<&Slot> =
            slots.iter().filter(|slot| !prefix.is_empty() && slot.id.to_string().starts_with(&prefix)).collect();
        let [slot] = matching[..] else {
            let shown = printable(id_prefix.as_bytes());
            return Err(Error::Usage { what: format!("{} key slots match {shown}", matching.len()) });
        };
        if slots.len() == 1 {
            return Err(Error::Refused {
                what: "it is the last key slot: without it nobody can open the repository".to_owned(),
            });
        }
        self.take_up_chain()?;
        self.storage.delete(&ObjectName::Slot(slot.id).to_string())?;
        self.record_key(KEY_REMOVED, slot.id, &slot.label)?;
        self.absorb_commits()?;
        Ok(slot.id)
    }

    fn record_key(&self, action: u8, slot: ObjectId, label: &str) -> Result<()> {
        let body = KeyBody { action, slot, label: label.to_owned() };
        self.commit(vec![Draft::new("", record::encode(&body))], true).map(drop)
    }
}
