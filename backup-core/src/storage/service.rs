//! From a URI to an operator of each service: what OpenDAL's own reading of URIs leaves out, and what Holdfast chooses otherwise.
//!
//! `docs/storage.md` says what may stand in a URI. Credentials that are not in it come from where the service's own tools look for them.

use std::collections::HashMap;

use opendal::{Error, ErrorKind, Operator, OperatorUri, Result};

/// Services that are cargo features, and whether this program was built with them.
const FEATURES: [(&str, bool); 5] = [
    ("azblob", cfg!(feature = "azblob")),
    ("gcs", cfg!(feature = "gcs")),
    ("s3", cfg!(feature = "s3")),
    ("sftp", cfg!(feature = "sftp")),
    ("webdav", cfg!(feature = "webdav")),
];

/// The key of a query that chooses a storage class for everything below `packs/`.
const DATA_CLASS: &str = "data_storage_class";
/// OpenDAL's key for the storage class of everything.
const CLASS: &str = "default_storage_class";

/// A service that a URI means.
pub(super) struct Service {
    pub(super) operator: Operator,
    /// Writes what lies below `packs/`, where that has a storage class of its own.
    pub(super) data: Option<Operator>,
    /// Whether large objects may be sent in parts.
    pub(super) has_parts: bool,
}

impl Service {
    /// Takes an operator that somebody else built.
    pub(super) fn of(operator: Operator) -> Self {
        install_http();
        Self { operator, data: None, has_parts: true }
    }

    /// Builds what a URI means; nothing is asked yet.
    pub(super) fn build(uri: &OperatorUri) -> Result<Self> {
        if let Some((feature, false)) = FEATURES.iter().find(|(scheme, _)| *scheme == uri.scheme()) {
            let why = format!("this program was built without the cargo feature `{feature}`");
            return Err(Error::new(ErrorKind::Unsupported, why));
        }
        let mut options = uri.options().clone();
        let mut has_parts = true;
        match uri.scheme() {
            "s3" => has_parts = s3(uri, &mut options),
            "gcs" => set(&mut options, "bucket", uri.name()),
            "azblob" => azblob(uri, &mut options),
            "webdav" => webdav(uri, &mut options),
            "sftp" => sftp(uri, &mut options)?,
            _ => return Ok(Self::of(Operator::from_uri(uri)?)),
        }
        set(&mut options, "root", uri.root());
        let data_class = options.remove(DATA_CLASS);
        if let Some(class) = options.remove("storage_class") {
            options.insert(CLASS.to_owned(), class);
        }
        if !matches!(uri.scheme(), "s3" | "gcs") && (data_class.is_some() || options.contains_key(CLASS)) {
            return Err(Error::new(ErrorKind::ConfigInvalid, "storage classes can be chosen on S3 and GCS only"));
        }
        let operator = operator(uri.scheme(), &options)?;
        let data = data_class.map(|class| {
            options.insert(CLASS.to_owned(), class);
            self::operator(uri.scheme(), &options)
        });
        Ok(Self { data: data.transpose()?, has_parts, ..Self::of(operator) })
    }
}

fn operator(scheme: &str, options: &HashMap<String, String>) -> Result<Operator> {
    // A scheme without authority takes everything from the options.
    Operator::from_uri(OperatorUri::new(scheme, options.clone())?)
}

fn set(options: &mut HashMap<String, String>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        options.insert(key.to_owned(), value.to_owned());
    }
}

/// Says whether objects may be sent in parts.
fn s3(uri: &OperatorUri, options: &mut HashMap<String, String>) -> bool {
    const CHECKSUM: &str = "checksum_algorithm";
    set(options, "bucket", uri.name());
    if let Some(algorithm) = options.remove("aws_checksum_algorithm") {
        options.insert(CHECKSUM.to_owned(), algorithm);
    }
    let checksum = options.entry(CHECKSUM.to_owned()).or_insert_with(|| "crc32c".to_owned()).clone();
    if checksum == "none" {
        options.remove(CHECKSUM);
    }
    // Servers that stand at an address of their own mostly do not care for the region, but a signature names one.
    let is_named = |key: &str| options.contains_key(key);
    let is_set = |name: &str| std::env::var_os(name).is_some();
    if (is_named("endpoint") || is_named("endpoint_url"))
        && !(is_named("region") || is_named("aws_region") || is_set("AWS_REGION") || is_set("AWS_DEFAULT_REGION"))
    {
        options.insert("region".to_owned(), "us-east-1".to_owned());
    }
    // The service cannot check parts by MD5.
    checksum != "md5"
}

/// An account has an endpoint of its own, which need not be said.
fn azblob(uri: &OperatorUri, options: &mut HashMap<String, String>) {
    set(options, "container", uri.name());
    if let Some(account) = options.get("account_name").filter(|_| !options.contains_key("endpoint")) {
        let endpoint = format!("https://{account}.blob.core.windows.net");
        options.insert("endpoint".to_owned(), endpoint);
    }
}

/// User and password may stand where URLs have them; `endpoint` is needed for what is not `https`.
fn webdav(uri: &OperatorUri, options: &mut HashMap<String, String>) {
    if let Some(authority) = uri.authority().filter(|_| !options.contains_key("endpoint")) {
        options.insert("endpoint".to_owned(), format!("https://{authority}"));
    }
    for (key, value) in [("username", uri.username()), ("password", uri.password())] {
        set(options, key, value.map(opendal::raw::percent_decode_path).as_deref());
    }
}

/// `ssh` takes a port in a URL only, and no password at all.
fn sftp(uri: &OperatorUri, options: &mut HashMap<String, String>) -> Result<()> {
    if uri.password().is_some() || options.contains_key("password") {
        return Err(Error::new(ErrorKind::ConfigInvalid, "ssh takes no password here: use a key"));
    }
    if let Some(authority) = uri.authority() {
        options.insert("endpoint".to_owned(), format!("ssh://{authority}"));
    }
    set(options, "user", uri.username().map(opendal::raw::percent_decode_path).as_deref());
    Ok(())
}

/// Lets services speak HTTP: OpenDAL brings no client by itself, and the client no cryptography. What another part of the process has chosen before is kept.
#[cfg(feature = "http")]
fn install_http() {
    use rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() {
        // That somebody was faster is fine: any choice will do.
        let _ = ring::default_provider().install_default();
    }
    opendal_http_transport_reqwest::install_default();
}

#[cfg(not(feature = "http"))]
fn install_http() {}
