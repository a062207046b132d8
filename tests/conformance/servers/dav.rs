//! A WebDAV server in this process: `dav-server` over a directory, with a user and a password.

use std::convert::Infallible;
use std::net::SocketAddr;

use dav_server::DavHandler;
use dav_server::body::Body;
use dav_server::fakels::FakeLs;
use dav_server::localfs::LocalFs;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use tempfile::TempDir;

use super::http::HttpServer;

/// `ada:love%lace` in Base64.
const BASIC: &str = "Basic YWRhOmxvdmUlbGFjZQ==";

/// A server of an empty directory.
pub(crate) struct DavServer {
    server: HttpServer,
    directory: TempDir,
}

impl DavServer {
    /// Begins to serve.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let files = LocalFs::new(directory.path(), false, false, false);
        let handler = DavHandler::builder().filesystem(files).locksystem(FakeLs::new()).build_handler();
        let service = service_fn(move |request: Request<Incoming>| {
            let handler = handler.clone();
            async move {
                let is_known = request.headers().get(AUTHORIZATION).is_some_and(|value| value == BASIC);
                if is_known {
                    return Ok::<_, Infallible>(handler.handle(request).await);
                }
                let mut refusal = Response::new(Body::empty());
                *refusal.status_mut() = StatusCode::UNAUTHORIZED;
                Ok(refusal)
            }
        });
        Self { server: HttpServer::start(service), directory }
    }

    /// What `Storage::from_uri` takes.
    pub(crate) fn uri(&self) -> String {
        Self::uri_at(self.server.address)
    }

    /// The same by way of another address.
    pub(crate) fn uri_at(address: SocketAddr) -> String {
        format!("webdav://ada:love%25lace@{address}/deep/root?endpoint=http://{address}")
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The directory that is the root of the storage.
    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("deep/root")
    }
}
