//! An OpenDAL layer that counts mutations and lets the k-th fail: the medium of the crash sweeps.
//!
//! A mutation is the commit of a write (its close) or one deletion. They are counted from 1, over all operators that the same [`Faults`] was put on. Over
//! `services::Memory`, whose clones share their objects, one operator can carry the layer while another, without it, reopens what was left:
//!
//! ```ignore
//! let medium = Operator::new(services::Memory::default())?;
//! let faults = Faults::tear(3);
//! let operator = medium.clone().layer(faults.layer());
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opendal::raw::oio;
use opendal::raw::*;
use opendal::{Buffer, BytesRange, Capability, Error, ErrorKind, Metadata, OperationContext, Result};

/// What happens to mutations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They are only counted.
    Count,
    /// The k-th fails without effect; later ones work.
    FailAt(u64),
    /// The k-th and all later ones fail without effect, as after a crash.
    StopFrom(u64),
    /// The k-th, if it is a write, leaves half of its bytes and fails; all later ones fail without effect.
    Tear(u64),
    /// The k-th works, and is reported as failed; later ones work. So does a connection end before the answer.
    Unanswered(u64),
}

/// The state of faults, shared between a test and the layers it made.
#[derive(Clone, Debug)]
pub(crate) struct Faults(Arc<State>);

#[derive(Debug)]
struct State {
    mode: Mode,
    temporary: bool,
    mutations: AtomicU64,
    reads_to_fail: AtomicU64,
    writes_to_fail: AtomicU64,
}

/// What is to be done with one mutation.
enum Verdict {
    Proceed,
    Fail,
    Tear,
    Unanswered,
}

impl Faults {
    /// Makes faults whose errors are permanent.
    pub(crate) fn new(mode: Mode) -> Self {
        Self::with(mode, false)
    }

    /// Makes faults whose errors are temporary, so that they are retried; each attempt is a mutation.
    pub(crate) fn temporary(mode: Mode) -> Self {
        Self::with(mode, true)
    }

    fn with(mode: Mode, temporary: bool) -> Self {
        let [mutations, reads_to_fail, writes_to_fail] = [(); 3].map(|()| AtomicU64::new(0));
        Self(Arc::new(State { mode, temporary, mutations, reads_to_fail, writes_to_fail }))
    }

    /// Lets the next so many reads, listings and look-ups fail.
    pub(crate) fn fail_reads(&self, reads: u64) {
        self.0.reads_to_fail.store(reads, Ordering::SeqCst);
    }

    /// Lets the next so many mutations fail, whatever the mode.
    #[allow(dead_code, reason = "not every test that has faults lets writes fail")]
    pub(crate) fn fail_writes(&self, writes: u64) {
        self.0.writes_to_fail.store(writes, Ordering::SeqCst);
    }

    /// How many mutations were tried so far.
    pub(crate) fn mutations(&self) -> u64 {
        self.0.mutations.load(Ordering::SeqCst)
    }

    /// Makes a layer for `Operator::layer`.
    pub(crate) fn layer(&self) -> FaultLayer {
        FaultLayer(self.clone())
    }

    fn mutate(&self) -> Verdict {
        let ordinal = self.0.mutations.fetch_add(1, Ordering::SeqCst) + 1;
        let fewer = |writes: u64| writes.checked_sub(1);
        if self.0.writes_to_fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok() {
            return Verdict::Fail;
        }
        match self.0.mode {
            Mode::FailAt(k) if ordinal == k => Verdict::Fail,
            Mode::StopFrom(k) if ordinal >= k => Verdict::Fail,
            Mode::Tear(k) if ordinal == k => Verdict::Tear,
            Mode::Tear(k) if ordinal > k => Verdict::Fail,
            Mode::Unanswered(k) if ordinal == k => Verdict::Unanswered,
            _ => Verdict::Proceed,
        }
    }

    fn read(&self) -> Result<()> {
        let fewer = |reads: u64| reads.checked_sub(1);
        match self.0.reads_to_fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer) {
            Ok(_) => Err(self.error()),
            Err(_) => Ok(()),
        }
    }

    fn error(&self) -> Error {
        Error::new(ErrorKind::Unexpected, "injected fault").with_temporary(self.0.temporary)
    }
}

/// Puts [`Faults`] on an operator.
#[derive(Clone, Debug)]
pub(crate) struct FaultLayer(Faults);

impl Layer for FaultLayer {
    fn apply_service(&self, service: Servicer) -> Servicer {
        Arc::new(FaultService { service, faults: self.0.clone() })
    }
}

/// A service with faults.
#[derive(Debug)]
pub(crate) struct FaultService {
    service: Servicer,
    faults: Faults,
}

impl Service for FaultService {
    type Reader = FaultReader;
    type Writer = FaultWriter;
    type Lister = oio::Lister;
    type Deleter = FaultDeleter;
    type Copier = oio::Copier;
    type Composer = oio::Composer;

    fn info(&self) -> ServiceInfo {
        self.service.info()
    }

    fn capability(&self) -> Capability {
        self.service.capability()
    }

    async fn create_dir(&self, context: &OperationContext, path: &str, args: OpCreateDir) -> Result<RpCreateDir> {
        self.service.create_dir(context, path, args).await
    }

    async fn stat(&self, context: &OperationContext, path: &str, args: OpStat) -> Result<RpStat> {
        self.faults.read()?;
        self.service.stat(context, path, args).await
    }

    fn read(&self, context: &OperationContext, path: &str, args: OpRead) -> Result<Self::Reader> {
        let inner = self.service.read(context, path, args)?;
        Ok(FaultReader { inner, faults: self.faults.clone() })
    }

    fn write(&self, context: &OperationContext, path: &str, args: OpWrite) -> Result<Self::Writer> {
        let inner = self.service.write(context, path, args)?;
        Ok(FaultWriter { inner, parts: Vec::new(), faults: self.faults.clone() })
    }

    fn delete(&self, context: &OperationContext) -> Result<Self::Deleter> {
        let inner = self.service.delete(context)?;
        Ok(FaultDeleter { inner, faults: self.faults.clone() })
    }

    fn list(&self, context: &OperationContext, path: &str, args: OpList) -> Result<Self::Lister> {
        self.faults.read()?;
        self.service.list(context, path, args)
    }

    fn copy(&self, context: &OperationContext, from: &str, to: &str, args: OpCopy) -> Result<Self::Copier> {
        self.service.copy(context, from, to, args)
    }

    async fn rename(&self, context: &OperationContext, from: &str, to: &str, args: OpRename) -> Result<RpRename> {
        self.service.rename(context, from, to, args).await
    }

    async fn presign(&self, context: &OperationContext, path: &str, args: OpPresign) -> Result<RpPresign> {
        self.service.presign(context, path, args).await
    }
}

/// A reader with faults.
pub(crate) struct FaultReader {
    inner: oio::Reader,
    faults: Faults,
}

impl oio::Read for FaultReader {
    async fn open(&self, range: BytesRange) -> Result<(RpRead, Box<dyn oio::ReadStreamDyn>)> {
        self.faults.read()?;
        self.inner.open(range).await
    }

    async fn read(&self, range: BytesRange) -> Result<(RpRead, Buffer)> {
        self.faults.read()?;
        self.inner.read(range).await
    }
}

/// A writer that holds everything back until it is closed.
pub(crate) struct FaultWriter {
    inner: oio::Writer,
    parts: Vec<Buffer>,
    faults: Faults,
}

impl oio::Write for FaultWriter {
    async fn write(&mut self, part: Buffer) -> Result<()> {
        self.parts.push(part);
        Ok(())
    }

    async fn close(&mut self) -> Result<Metadata> {
        let whole: usize = self.parts.iter().map(Buffer::len).sum();
        let (mut left, fails) = match self.faults.mutate() {
            Verdict::Proceed => (whole, false),
            Verdict::Unanswered => (whole, true),
            Verdict::Tear => (whole / 2, true),
            Verdict::Fail => return Err(self.faults.error()),
        };
        for part in self.parts.drain(..) {
            let length = part.len().min(left);
            self.inner.write(part.slice(..length)).await?;
            left -= length;
        }
        let metadata = self.inner.close().await?;
        if fails { Err(self.faults.error()) } else { Ok(metadata) }
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        self.inner.abort().await
    }
}

/// A deleter with faults.
pub(crate) struct FaultDeleter {
    inner: oio::Deleter,
    faults: Faults,
}

impl oio::Delete for FaultDeleter {
    async fn delete<'a>(&'a mut self, path: &'a str, args: OpDelete) -> Result<()> {
        match self.faults.mutate() {
            Verdict::Proceed => self.inner.delete(path, args).await,
            Verdict::Unanswered => {
                self.inner.delete(path, args).await?;
                Err(self.faults.error())
            }
            Verdict::Fail | Verdict::Tear => Err(self.faults.error()),
        }
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}
