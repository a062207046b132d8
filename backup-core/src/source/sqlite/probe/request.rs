//! What a user asks about a database: `DB:TABLE[=digest],...[,@quick|@full]`.

use crate::error::{Error, Result};
use crate::format::constants::{INTEGRITY_FULL, INTEGRITY_NONE, INTEGRITY_QUICK};
use crate::format::probes::ProbeResult;
use crate::limits::{PROBE_TABLES_MAX, TEXT_BYTES_MAX};
use crate::path;
use crate::words::printable;

/// The check of a database's structure that goes with a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Integrity {
    /// None.
    #[default]
    None,
    /// `PRAGMA quick_check`: pages and rows, not whether indexes agree with tables.
    Quick,
    /// `PRAGMA integrity_check`: everything.
    Full,
}

impl Integrity {
    /// As results record it.
    pub(crate) fn number(self) -> u8 {
        match self {
            Integrity::None => INTEGRITY_NONE,
            Integrity::Quick => INTEGRITY_QUICK,
            Integrity::Full => INTEGRITY_FULL,
        }
    }
}

/// A table that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeTable {
    /// Its name in the schema `main`.
    pub name: String,
    /// Whether a digest of its rows is wanted: all of them are read then.
    pub digest: bool,
}

/// What is asked about one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRequest {
    /// The database's absolute, normalised path in the snapshot.
    pub database: Vec<u8>,
    /// The tables that must be there; their rows are counted.
    pub tables: Vec<ProbeTable>,
    /// The check that is made.
    pub integrity: Integrity,
}

impl ProbeRequest {
    /// Parses `DB:TABLE[=digest],...[,@quick|@full]`; a DB that is not absolute is below `current`.
    ///
    /// DB ends at the last colon behind which a list stands. A table's name stands as it is, or in double quotes with `""` for each quote in it; it must, if it has a quote, comma, colon, or `=` in
    /// it, or begins with `@`. A check may stand alone: `DB:@quick`.
    ///
    /// # Errors
    /// [`Error::Usage`], which says what is wrong.
    pub fn parse(typed: &[u8], current: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::Usage { what: format!("probe {}: {what}", printable(typed)) };
        let colons: Vec<usize> = typed.iter().enumerate().filter(|(_, b)| **b == b':').map(|(i, _)| i).collect();
        let last = *colons.last().ok_or_else(|| wrong("there is no colon between database and tables"))?;
        let split = |colon: usize| Some((&typed[..colon], parse_list(std::str::from_utf8(&typed[colon + 1..]).ok()?)));
        // A colon inside of quotes leaves a list behind it that does not parse; the message is about the last colon of all.
        let found = colons
            .iter()
            .rev()
            .filter_map(|&colon| split(colon))
            .find_map(|(database, list)| Some((database, list.ok()?)));
        let Some((database, (tables, integrity))) = found else {
            let why = split(last).and_then(|(_, list)| list.err()).unwrap_or("its tables are not UTF-8");
            return Err(wrong(why));
        };
        if database.is_empty() {
            return Err(wrong("no database is named"));
        }
        Ok(Self { database: path::absolute(database, current), tables, integrity })
    }

    /// The request that a result answers.
    pub(crate) fn of(result: &ProbeResult) -> Self {
        let table = |table: &crate::format::probes::TableResult| ProbeTable {
            name: table.name.clone(),
            digest: table.digest.is_some(),
        };
        let integrity = match result.integrity {
            INTEGRITY_FULL => Integrity::Full,
            INTEGRITY_QUICK => Integrity::Quick,
            _ => Integrity::None,
        };
        Self { database: result.path.clone(), tables: result.tables.iter().map(table).collect(), integrity }
    }

    /// Whether a result about the same content answers this request, so that it need not be asked again.
    pub(crate) fn is_answered_by(&self, result: &ProbeResult) -> bool {
        let is_same = |(table, found): (&ProbeTable, &crate::format::probes::TableResult)| {
            table.name == found.name && found.is_read() && table.digest == found.digest.is_some()
        };
        result.failure.is_none()
            && result.path == self.database
            && result.integrity == self.integrity.number()
            && result.tables.len() == self.tables.len()
            && self.tables.iter().zip(&result.tables).all(is_same)
    }
}

/// Parses what stands behind the colon.
fn parse_list(list: &str) -> Result<(Vec<ProbeTable>, Integrity), &'static str> {
    let (mut tables, mut integrity) = (Vec::<ProbeTable>::new(), Integrity::None);
    let mut rest = list;
    loop {
        if integrity != Integrity::None {
            return Err("a check stands at the end of the list");
        }
        rest = if let Some(word) = rest.strip_prefix('@') {
            let (word, rest) = split_at_comma(word);
            integrity = match word {
                "quick" => Integrity::Quick,
                "full" => Integrity::Full,
                _ => return Err("a check is @quick or @full"),
            };
            rest
        } else {
            let (table, rest) = parse_table(rest)?;
            if tables.iter().any(|known| known.name == table.name) {
                return Err("a table is named twice");
            }
            tables.push(table);
            rest
        };
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None if tables.len() as u64 > PROBE_TABLES_MAX => return Err("there are too many tables"),
            None => return Ok((tables, integrity)),
        }
    }
}

/// Parses one table, and returns what follows: nothing, or a comma and more.
fn parse_table(text: &str) -> Result<(ProbeTable, &str), &'static str> {
    let (name, rest) = match text.strip_prefix('"') {
        Some(quoted) => parse_quoted(quoted)?,
        None => {
            let end = text.find([',', '=']).unwrap_or(text.len());
            (text[..end].to_owned(), &text[end..])
        }
    };
    if name.is_empty() || name.len() as u64 > TEXT_BYTES_MAX || name.contains('\0') {
        return Err("a table's name is empty or too long");
    }
    if !text.starts_with('"') && name.contains(['"', ':']) {
        return Err("a table's name with a quote or colon must stand in double quotes");
    }
    let (option, rest) = split_at_comma(rest);
    match option {
        "" => Ok((ProbeTable { name, digest: false }, rest)),
        "=digest" => Ok((ProbeTable { name, digest: true }, rest)),
        _ => Err("nothing but =digest may follow a table"),
    }
}

/// Parses a name behind its first quote, up to the closing one.
fn parse_quoted(text: &str) -> Result<(String, &str), &'static str> {
    let (mut name, mut rest) = (String::new(), text);
    loop {
        let end = rest.find('"').ok_or("a quote is not closed")?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None => return Ok((name, rest)),
        }
    }
}

fn split_at_comma(text: &str) -> (&str, &str) {
    text.split_at(text.find(',').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &str) -> Result<ProbeRequest> {
        ProbeRequest::parse(typed.as_bytes(), b"/srv")
    }

    fn table(name: &str, digest: bool) -> ProbeTable {
        ProbeTable { name: name.to_owned(), digest }
    }

    #[test]
    fn tables_digests_and_a_check_follow_the_last_colon() {
        let request = parse("data/a:b.db:orders=digest,users,@quick").unwrap();
        assert_eq!(request.database, b"/srv/data/a:b.db");
        assert_eq!(request.tables, [table("orders", true), table("users", false)]);
        assert_eq!(request.integrity, Integrity::Quick);
        let request = parse("/x/../y.db:@full").unwrap();
        assert_eq!((request.database, request.tables, request.integrity), (b"/y.db".to_vec(), vec![], Integrity::Full));
    }

    #[test]
    fn a_quoted_name_may_hold_anything() {
        let request = parse("a.db:\"x:y, \"\"z\"\"=\"=digest,\"@quick\"").unwrap();
        assert_eq!(request.database, b"/srv/a.db");
        assert_eq!(request.tables, [table("x:y, \"z\"=", true), table("@quick", false)]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let wrong = [
            "a.db",
            "a.db:",
            ":t",
            "a.db:t,",
            "a.db:,t",
            "a.db:t=sum",
            "a.db:t,t",
            "a.db:@slow",
            "a.db:@quick,t",
            "a.db:@quick,@full",
            "a.db:\"t",
            "a.db:t\"u",
            "a.db:\"t\"u",
            "a.db:\"\"",
        ];
        for typed in wrong {
            assert!(matches!(parse(typed), Err(Error::Usage { .. })), "{typed}");
        }
        assert!(ProbeRequest::parse(b"a.db:\xff", b"/").is_err());
    }

    #[test]
    fn a_result_leads_back_to_its_request() {
        let request = parse("a.db:t=digest,u,@full").unwrap();
        let read = |name: &str, digest| crate::format::probes::TableResult {
            name: name.to_owned(),
            state: crate::format::constants::TABLE_READ,
            rows: 1,
            digest,
            message: String::new(),
        };
        let result = ProbeResult {
            path: request.database.clone(),
            integrity: request.integrity.number(),
            tables: vec![read("t", Some([1; 32])), read("u", None)],
            ..ProbeResult::default()
        };
        assert_eq!(ProbeRequest::of(&result), request);
        assert!(request.is_answered_by(&result));
        assert!(!parse("a.db:t,u,@full").unwrap().is_answered_by(&result));
        assert!(!parse("a.db:t=digest,u").unwrap().is_answered_by(&result));
        assert!(!parse("b.db:t=digest,u,@full").unwrap().is_answered_by(&result));
    }
}
