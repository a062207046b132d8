//! HTTP/1.1 on loopback, with a runtime of its own, for any service of hyper.

use std::error::Error;
use std::net::SocketAddr;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// A server that ends with this.
pub(crate) struct HttpServer {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl HttpServer {
    /// Serves until it is dropped.
    pub(crate) fn start<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let runtime =
            Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a few threads can be started");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                // Clients may go away whenever they like.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self { address, runtime: Some(runtime) }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
