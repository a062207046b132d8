//! What was typed for a storage, taken apart; and what may be said of it: no text that leaves here holds a secret.

use std::fmt;
use std::path::PathBuf;

use opendal::{Operator, OperatorUri};

use super::service::Service;
use crate::error::{Error, Result};
use crate::words::printable;

/// Keys of a query whose values are no secrets.
const PUBLIC_KEYS: [&str; 16] = [
    "account_name",
    "bucket",
    "checksum_algorithm",
    "container",
    "data_storage_class",
    "default_storage_class",
    "disable_config_load",
    "disable_create_dir",
    "enable_virtual_host_style",
    "endpoint",
    "known_hosts_strategy",
    "profile",
    "region",
    "root",
    "skip_signature",
    "storage_class",
];

/// Variables of the environment from which services take secrets.
const SECRET_VARIABLES: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZBLOB_ACCOUNT_KEY",
    "AZURE_CLIENT_SECRET",
    "AZURE_MSI_SECRET",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_BEARER_TOKEN",
    "AZURE_STORAGE_SAS_TOKEN",
];

/// What a text for a storage means.
pub(super) enum Place {
    /// A directory of this machine, made absolute, which need not exist.
    Local(PathBuf),
    /// Everything else.
    Remote { service: Box<Service>, display: String, redactor: Redactor },
}

/// Takes apart a path, or a URI such as [`Operator::from_uri`] takes.
pub(super) fn parse(text: &str) -> Result<Place> {
    if !text.contains("://") {
        return local(text, text);
    }
    opendal::init_default_registry();
    let display = without_secrets(text);
    let fail = |error: opendal::Error, redactor: &Redactor| Error::StorageUri {
        uri: display.clone(),
        source: Box::new(redactor.failure(&error)),
    };
    let uri = OperatorUri::new(text, []).map_err(|error| fail(error, &Redactor::default()))?;
    if matches!(uri.scheme(), "fs" | "file") {
        let root = uri.option("root").map(str::to_owned).or_else(|| uri.root().map(|root| format!("/{root}")));
        return match (uri.authority(), root) {
            (None | Some("localhost"), Some(root)) => local(&root, &display),
            (None | Some("localhost"), None) => Err(refused(&display, "no path is given")),
            (Some(_), _) => Err(refused(&display, "a path begins after three slashes")),
        };
    }
    let redactor = Redactor::of(&uri);
    match Service::build(&uri) {
        Ok(service) => Ok(Place::Remote { service: Box::new(service), display, redactor }),
        Err(error) => Err(fail(error, &redactor)),
    }
}

/// Says what an operator is that somebody else has built.
pub(super) fn of_operator(operator: &Operator) -> String {
    let info = operator.info();
    let name = if info.scheme() == "memory" { String::new() } else { info.name() };
    without_secrets(&format!("{}://{name}{}", info.scheme(), info.root()))
}

fn local(path: &str, display: &str) -> Result<Place> {
    if path.is_empty() {
        return Err(refused(display, "no path is given"));
    }
    let absolute = std::path::absolute(path)
        .map_err(|source| Error::StorageUri { uri: printable(display.as_bytes()), source: Box::new(source) })?;
    Ok(Place::Local(absolute))
}

fn refused(display: &str, why: &str) -> Error {
    Error::StorageUri { uri: printable(display.as_bytes()), source: Box::new(Failure(why.to_owned())) }
}

/// Drops what may be secret from a URI, well-formed or not: user and password, and all of the query but [`PUBLIC_KEYS`].
pub(super) fn without_secrets(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return printable(uri.as_bytes()) };
    let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let place = place.rsplit_once('@').map_or(place, |(_user, place)| place);
    let authority = place.split('/').next().unwrap_or_default();
    // What follows a colon is a port; anything else may be a password whose `@` came later.
    if authority.rsplit_once(':').is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return format!("{}://...", printable(scheme.as_bytes()));
    }
    let shown: Vec<String> = query.split('&').filter_map(public_pair).collect();
    let mark = if shown.is_empty() { "" } else { "?" };
    printable(format!("{scheme}://{place}{mark}{}", shown.join("&")).as_bytes())
}

fn public_pair(pair: &str) -> Option<String> {
    let (key, value) = pair.split_once('=')?;
    PUBLIC_KEYS.contains(&key.to_ascii_lowercase().as_str()).then(|| format!("{key}={}", without_secrets(value)))
}

/// Knows the secrets of one URI, to take them out of what a service says in its errors.
#[derive(Clone, Default)]
pub(super) struct Redactor(Vec<String>);

impl Redactor {
    pub(super) fn of(uri: &OperatorUri) -> Self {
        // Shorter values are words such as `true`, and would tear holes into every message.
        const SECRET_BYTES_MIN: usize = 6;
        let options = uri.options().iter().filter(|(key, _)| !PUBLIC_KEYS.contains(&key.as_str()));
        let typed = options.map(|(_, value)| value.as_str()).chain(uri.username()).chain(uri.password());
        let decoded = uri.password().map(opendal::raw::percent_decode_path);
        let ambient = SECRET_VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
        let secrets = typed.map(str::to_owned).chain(decoded).chain(ambient);
        Self(secrets.filter(|secret| secret.len() >= SECRET_BYTES_MIN).collect())
    }

    /// Makes an error that can be shown of one that may hold signed URLs or credentials.
    pub(super) fn failure(&self, error: &opendal::Error) -> Failure {
        // Beyond this there are only bodies of responses.
        const TEXT_CHARS_MAX: usize = 600;
        let mut text = error.to_string();
        for secret in &self.0 {
            text = text.replace(secret, "...");
        }
        let words: Vec<String> = text.split(' ').map(without_secrets_in_word).collect();
        Failure(words.join(" ").chars().take(TEXT_CHARS_MAX).collect())
    }
}

/// Drops everything secret from a URL within a word, with the brackets or quotes that stand around it.
fn without_secrets_in_word(word: &str) -> String {
    let Some(colon) = word.find("://") else { return printable(word.as_bytes()) };
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let start = word.as_bytes()[..colon].iter().rposition(|&byte| !is_scheme(byte)).map_or(0, |before| before + 1);
    let end = word[colon..].find(['"', '\'', ')', '>', '<', '`', ',']).map_or(word.len(), |length| colon + length);
    // `start` follows an ASCII byte that is no part of a scheme, or the last byte of a longer character.
    let (before, url) = (word.get(..start).unwrap_or_default(), word.get(start..end).unwrap_or_default());
    format!("{}{}{}", printable(before.as_bytes()), without_secrets(url), without_secrets_in_word(&word[end..]))
}

/// What a service said, without secrets.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
