//! An S3 server in this process: `s3s-fs` over a directory, with every signature verified.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;

use super::http::HttpServer;

/// The one bucket. Names are short, because the server makes names of files of them that hold them twice.
const BUCKET: &str = "bkt";

const KEY: &str = "AKIAHOLDFASTTEST";

/// What must never be seen anywhere.
pub(crate) const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";

/// A server with one empty bucket.
pub(crate) struct S3Server {
    server: HttpServer,
    directory: TempDir,
}

impl S3Server {
    /// Begins to serve.
    pub(crate) fn start() -> Self {
        Self::below(tempfile::tempdir().expect("a directory can be made"))
    }

    /// Serves what lies in a directory.
    pub(crate) fn below(directory: TempDir) -> Self {
        std::fs::create_dir_all(directory.path().join(BUCKET)).expect("a bucket can be made");
        let mut builder = S3ServiceBuilder::new(FileSystem::new(directory.path()).expect("the directory is there"));
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        Self { server: HttpServer::start(builder.build()), directory }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// What `Storage::from_uri` takes.
    pub(crate) fn uri(&self) -> String {
        Self::uri_at(self.address())
    }

    /// The same by way of another address.
    pub(crate) fn uri_at(address: SocketAddr) -> String {
        format!(
            "s3://{BUCKET}/r?endpoint=http://{address}&region=us-east-1&access_key_id={KEY}&secret_access_key={SECRET}"
        )
    }

    /// Files of objects, as paths below the root of the storage.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        let root = self.directory.path().join(BUCKET).join("r");
        let mut objects = below(&root);
        for path in &mut objects {
            *path = path.strip_prefix(&root).expect("it lies below").to_owned();
        }
        objects
    }

    /// Files of uploads in parts that were neither completed nor given up.
    pub(crate) fn unfinished_uploads(&self) -> usize {
        let names = std::fs::read_dir(self.directory.path()).expect("it can be listed");
        names.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(".upload")).count()
    }
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}
