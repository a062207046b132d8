//! How an object is written so that readers find it whole or not at all.
//!
//! Object stores show an object once it is complete, whether it came in one piece or in parts. Services that are file systems elsewhere (WebDAV, SFTP) show bytes as
//! they arrive: there an object goes to a temporary name, its length is compared, and it is renamed.

use std::time::Duration;

use opendal::{Buffer, ErrorKind, Operator, Result, options};

use super::request::{delete, within};
use super::retry::is_answer_of_sftp;

/// The slowest line on which a write is still waited for.
const WRITE_BYTES_PER_SECOND_MIN: u64 = 32 << 10;

/// How many parts of one object are under way at once.
const PARTS_AT_ONCE: usize = 4;

/// How long it is tried to clean up after a write that failed; what then remains is never seen by readers.
const CLEANING: Duration = Duration::from_secs(5);

/// The way on which one attempt writes an object.
pub(super) struct Way {
    pub(super) operator: Operator,
    pub(super) name: String,
    /// The length of parts, where the service has some.
    pub(super) part_bytes: Option<usize>,
    /// Where the object goes first, on services that show what is incomplete. Each attempt has its own, for an earlier one may still be arriving.
    pub(super) temporary: Option<String>,
    pub(super) silence: Duration,
}

/// Writes an object whole. The bytes are shared between attempts.
pub(super) async fn write(way: Way, bytes: Buffer) -> Result<()> {
    let Some(temporary) = &way.temporary else { return upload(&way, &way.name, bytes).await };
    let length = bytes.len() as u64;
    let outcome = async {
        upload(&way, temporary, bytes).await?;
        let kept = within(way.silence, way.operator.stat(temporary)).await?.content_length();
        if kept != length {
            let why = format!("the server kept {kept} of {length} bytes");
            return Err(opendal::Error::new(ErrorKind::Unexpected, why).set_temporary());
        }
        rename(&way, temporary).await
    };
    let outcome = outcome.await;
    if outcome.is_err() {
        // The error is told; that the rest stays until it is stale is not worth another one.
        let _ = delete(way.operator.clone(), temporary.clone(), CLEANING).await;
    }
    outcome
}

async fn upload(way: &Way, name: &str, bytes: Buffer) -> Result<()> {
    let limit = way.silence + Duration::from_secs(bytes.len() as u64 / WRITE_BYTES_PER_SECOND_MIN);
    let chunk = way.part_bytes.filter(|&part| bytes.len() > part);
    let concurrent = if chunk.is_some() { PARTS_AT_ONCE } else { 0 };
    let options = options::WriteOptions { chunk, concurrent, ..Default::default() };
    let mut writer = way.operator.writer_options(name, options).await?;
    let outcome = within(limit, async {
        writer.write(bytes).await?;
        writer.close().await.map(drop)
    });
    let outcome = outcome.await;
    if outcome.is_err() && chunk.is_some() {
        // Parts of an upload that was begun are not seen, but paid for.
        let _ = within(CLEANING, writer.abort()).await;
    }
    outcome
}

/// Gives a complete object its name. Whatever has that name is replaced at once, or, by SFTP servers that cannot, a moment after it was removed.
async fn rename(way: &Way, temporary: &str) -> Result<()> {
    let rename = || within(way.silence, way.operator.rename(temporary, &way.name));
    match rename().await {
        Err(error) if is_answer_of_sftp(&error) && within(way.silence, way.operator.exists(&way.name)).await? => {
            delete(way.operator.clone(), way.name.clone(), way.silence).await?;
            rename().await
        }
        result => result,
    }
}
