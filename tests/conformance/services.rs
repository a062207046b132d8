//! One storage of each kind, empty, with the server that it needs.

use std::io::Write;
use std::path::PathBuf;

use crate::servers::dav::DavServer;
use crate::servers::s3::S3Server;
use crate::servers::script::Script;

/// A storage, as long as it is held.
pub(crate) struct Place {
    /// What `Storage::from_uri` takes.
    pub(crate) uri: String,
    /// The directory where the server keeps it, if it is known.
    directory: Option<PathBuf>,
    _server: Server,
}

enum Server {
    Directory(#[expect(dead_code, reason = "it is held")] tempfile::TempDir),
    S3(S3Server),
    Dav(#[expect(dead_code, reason = "it is held")] DavServer),
    Script(#[expect(dead_code, reason = "it is held")] Script),
}

impl Place {
    /// Fails if there is anything left where it can be looked at.
    #[track_caller]
    pub(crate) fn expect_nothing_left(&self) {
        if let Some(directory) = &self.directory {
            let names: Vec<_> = std::fs::read_dir(directory).into_iter().flatten().flatten().collect();
            assert!(names.is_empty(), "{names:?}");
        }
        if let Server::S3(server) = &self._server {
            assert_eq!((server.objects(), server.unfinished_uploads()), (Vec::new(), 0));
        }
    }
}

pub(crate) fn directory() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let uri = format!("fs://{}", directory.path().display());
    Place { uri, directory: Some(directory.path().to_owned()), _server: Server::Directory(directory) }
}

pub(crate) fn s3() -> Place {
    let server = S3Server::start();
    Place { uri: server.uri(), directory: None, _server: Server::S3(server) }
}

pub(crate) fn webdav() -> Place {
    let server = DavServer::start();
    Place { uri: server.uri(), directory: Some(server.root()), _server: Server::Dav(server) }
}

/// `None`, and a line that says so, where the machine has no Azurite. It is required where continuous integration has installed it.
pub(crate) fn azurite() -> Option<Place> {
    match Script::start("azurite.sh", &[]) {
        Ok(script) => {
            let [_, endpoint, account, key, container] = &script.words[..] else { panic!("{:?}", script.words) };
            let key = key.replace('+', "%2B");
            let uri = format!("azblob://{container}/r?endpoint={endpoint}&account_name={account}&account_key={key}");
            Some(Place { uri, directory: None, _server: Server::Script(script) })
        }
        Err(missing) => {
            assert!(std::env::var_os("HOLDFAST_TEST_AZURITE").is_none(), "{missing}");
            std::io::stderr().write_all(format!("skipped: needs {missing}\n").as_bytes()).unwrap();
            None
        }
    }
}

/// `None` where there is no Garage: few machines have it, so nothing is said.
pub(crate) fn garage() -> Option<Place> {
    let script = Script::start("garage.sh", &[]).ok()?;
    let [_, endpoint, key, secret, bucket] = &script.words[..] else { panic!("{:?}", script.words) };
    let uri =
        format!("s3://{bucket}/r?endpoint={endpoint}&region=garage&access_key_id={key}&secret_access_key={secret}");
    Some(Place { uri, directory: None, _server: Server::Script(script) })
}
