//! Where requests run: on a runtime that all storages of the process share, or on one of a storage's own where connections must be closed at its end.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::uri::Failure;

/// How long it is waited at the end of a storage that its connections are closed.
const CLOSING: Duration = Duration::from_secs(3);

/// The runtime of a storage's requests.
pub(super) enum Home {
    /// It is never dropped, for that would panic within somebody else's.
    Shared,
    /// Of a service that keeps processes running, which the end of this one would leave behind: each connection of SFTP is an `ssh`.
    Own(OnceLock<std::io::Result<Runtime>>),
}

impl Home {
    /// What a service needs.
    pub(super) fn of(scheme: &str) -> Self {
        if scheme == "sftp" { Home::Own(OnceLock::new()) } else { Home::Shared }
    }

    /// The runtime, which the first request starts.
    pub(super) fn runtime(&self) -> Result<&Runtime, Failure> {
        static SHARED: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
        let runtime = match self {
            Home::Shared => &SHARED,
            Home::Own(own) => own,
        };
        runtime.get_or_init(start).as_ref().map_err(|error| Failure(error.to_string()))
    }
}

impl Drop for Home {
    /// The operator is gone by now, so that its connections end by themselves: each is a task that is over when its process is.
    fn drop(&mut self) {
        let Home::Own(own) = self else { return };
        let Some(Ok(runtime)) = own.take() else { return };
        let start = Instant::now();
        while runtime.metrics().num_alive_tasks() > 0 && start.elapsed() < CLOSING {
            std::thread::sleep(Duration::from_millis(5));
        }
        runtime.shutdown_background();
    }
}

fn start() -> std::io::Result<Runtime> {
    const THREADS: usize = 2;
    Builder::new_multi_thread().worker_threads(THREADS).thread_name("holdfast-storage").enable_all().build()
}
