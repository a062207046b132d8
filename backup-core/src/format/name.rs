//! Names of objects: section 4 of `docs/format.md`.

use std::fmt;

use super::constants::{AREA_META, AREA_PACKS};
use super::keys::is_class_name;
use crate::id::{EntryId, ObjectId, PackId, PeriodId, WriterId};

/// Name of the one object with a fixed name.
pub const REPOSITORY: &str = "repository";

/// The domain of dedup, of keys and of expiry: one period of one class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain {
    /// The class's name.
    pub class: String,
    /// The period.
    pub period: PeriodId,
}

/// Where a pack lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// `packs/`: file content.
    Packs,
    /// `meta/`: nodes, and small backups whole.
    Meta,
}

impl Area {
    /// Its number on disk.
    pub fn number(self) -> u8 {
        match self {
            Area::Packs => AREA_PACKS,
            Area::Meta => AREA_META,
        }
    }

    /// The area of a number, if it is one.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            AREA_PACKS => Some(Area::Packs),
            AREA_META => Some(Area::Meta),
            _ => None,
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Area::Packs => "packs",
            Area::Meta => "meta",
        }
    }
}

/// A name that fits the layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// The repository object.
    Repository,
    /// A key slot.
    Slot(ObjectId),
    /// A period's secrets.
    Period(Domain, ObjectId),
    /// Ledger entries of a writer from a sequence on. The hash is of the object; of a single entry it is the entry's id.
    Ledger(WriterId, u64, EntryId),
    /// A pack.
    Pack(Area, Domain, PackId),
    /// An index segment.
    Index(Domain, ObjectId),
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectName::Repository => f.write_str(REPOSITORY),
            ObjectName::Slot(id) => write!(f, "keys/{id}"),
            ObjectName::Period(domain, id) => write!(f, "periods/{}/{}/{id}", domain.class, domain.period),
            ObjectName::Ledger(writer, sequence, id) => write!(f, "ledger/{writer}/{sequence:016x}-{id}"),
            ObjectName::Pack(area, domain, id) => {
                write!(f, "{}/{}/{}/{id}", area.folder(), domain.class, domain.period)
            }
            ObjectName::Index(domain, id) => write!(f, "index/{}/{}/{id}", domain.class, domain.period),
        }
    }
}

impl ObjectName {
    /// Parses a name; `None` where it does not fit the layout, and so is ignored.
    pub fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('/').collect();
        let domain = |class: &str, period: &str| {
            let period = PeriodId::from_hex(period)?;
            is_class_name(class).then(|| Domain { class: class.to_owned(), period })
        };
        match parts[..] {
            [REPOSITORY] => Some(ObjectName::Repository),
            ["keys", id] => ObjectId::from_hex(id).map(ObjectName::Slot),
            ["periods", class, period, id] => Some(ObjectName::Period(domain(class, period)?, ObjectId::from_hex(id)?)),
            ["ledger", writer, entry] => {
                let (sequence, id) = entry.split_once('-')?;
                let mut bytes = [0; 8];
                crate::id::decode_hex(sequence, &mut bytes).then_some(())?;
                let sequence = u64::from_be_bytes(bytes);
                Some(ObjectName::Ledger(WriterId::from_hex(writer)?, sequence, EntryId::from_hex(id)?))
            }
            ["packs", class, period, id] => {
                Some(ObjectName::Pack(Area::Packs, domain(class, period)?, PackId::from_hex(id)?))
            }
            ["meta", class, period, id] => {
                Some(ObjectName::Pack(Area::Meta, domain(class, period)?, PackId::from_hex(id)?))
            }
            ["index", class, period, id] => Some(ObjectName::Index(domain(class, period)?, ObjectId::from_hex(id)?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_nothing_else_does() {
        let domain = Domain { class: "a-1".into(), period: PeriodId([1; 16]) };
        let names = [
            ObjectName::Repository,
            ObjectName::Slot(ObjectId([2; 32])),
            ObjectName::Period(domain.clone(), ObjectId([3; 32])),
            ObjectName::Ledger(WriterId([4; 16]), 0x1234, EntryId([5; 32])),
            ObjectName::Pack(Area::Packs, domain.clone(), PackId([6; 32])),
            ObjectName::Pack(Area::Meta, domain.clone(), PackId([6; 32])),
            ObjectName::Index(domain, ObjectId([7; 32])),
        ];
        for name in names {
            let text = name.to_string();
            assert_eq!(ObjectName::parse(&text).as_ref(), Some(&name));
            assert_eq!(ObjectName::parse(&format!("{text}.0123.tmp")), None);
            assert_eq!(ObjectName::parse(&text.to_uppercase()), None);
        }
        assert_eq!(ObjectName::parse("packs/../x/y"), None);
    }
}
