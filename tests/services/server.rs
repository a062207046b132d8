//! A server that a test started, and that ends with it.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::place::PATIENCE;

/// How often a server is started that another program took the port from.
const ATTEMPTS: u32 = 5;
/// How long a server may take to end.
const ENDING: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    child: Child,
    /// The signal that ends it at once and in order.
    signal: &'static str,
    log: PathBuf,
}

impl Server {
    /// Starts a server, whose output goes to a file, and waits until it answers; fails with that output otherwise.
    #[track_caller]
    pub(crate) fn start(command: Command, signal: &'static str, log: &Path, answers: impl FnMut() -> bool) -> Self {
        Self::try_start(command, signal, log, answers).unwrap_or_else(|log| panic!("the server ended: {log}"))
    }

    /// Starts a server on a free port. Between finding the port and taking it somebody else may.
    #[track_caller]
    pub(crate) fn start_on_port<const N: usize>(
        log: &Path,
        mut command: impl FnMut([u16; N]) -> Command,
        mut answers: impl FnMut([u16; N]) -> bool,
    ) -> (Self, [u16; N]) {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let listeners = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
            let ports = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
            drop(listeners);
            match Self::try_start(command(ports), "TERM", log, || answers(ports)) {
                Ok(server) => return (server, ports),
                Err(log) => last = log,
            }
        }
        panic!("the server ended: {last}");
    }

    fn try_start(
        mut command: Command,
        signal: &'static str,
        log: &Path,
        mut answers: impl FnMut() -> bool,
    ) -> Result<Self, String> {
        let output = File::options().append(true).create(true).open(log).unwrap();
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let mut server = Self { child: command.spawn().unwrap(), signal, log: log.to_owned() };
        let started = Instant::now();
        while !answers() {
            if server.child.try_wait().unwrap().is_some() {
                return Err(server.log());
            }
            assert!(started.elapsed() < PATIENCE, "the server does not answer: {}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends it a signal.
    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args([&format!("-{signal}"), &id]).status();
    }

    /// Ends it, and waits until it is gone.
    pub(crate) fn stop(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(self.signal);
        }
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > ENDING {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
