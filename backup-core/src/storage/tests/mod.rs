//! What every storage promises, tried on a directory and on memory; what is special to one kind is tried in the modules below.

mod caching;
mod conformance;
mod directory;
mod uris;

use super::*;

/// A storage to be tried, with the directory that it may need.
struct Subject {
    storage: Storage,
    _directory: Option<tempfile::TempDir>,
}

fn subjects() -> Vec<Subject> {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("fs://{}/repository", directory.path().display());
    let local = Storage::from_uri(&uri, StorageOptions::new()).unwrap();
    let memory = Storage::from_uri("memory://", StorageOptions::new()).unwrap();
    vec![Subject { storage: local, _directory: Some(directory) }, Subject { storage: memory, _directory: None }]
}

/// Tries a statement on every kind of storage.
fn on_each(statement: impl Fn(&Storage)) {
    for subject in subjects() {
        statement(&subject.storage);
    }
}
