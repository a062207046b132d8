//! What networks and providers do to single requests: tried again, within bounds, and told in words.

use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backup_core::storage::{Storage, StorageOptions};
use backup_core::{Error, ErrorKind};

use crate::kit::noise;
use crate::servers::proxy::{Asked, Deed, Proxy};
use crate::servers::s3::{S3Server, SECRET};

const NAME: &str = "packs/standard/aa/bb";

/// A server, a proxy that can spoil it, and a storage that goes through it.
struct Line {
    server: S3Server,
    proxy: Proxy,
    storage: Storage,
}

impl Line {
    fn new(options: StorageOptions) -> Self {
        let server = S3Server::start();
        let proxy = Proxy::start(server.address());
        let storage = Storage::from_uri(&S3Server::uri_at(proxy.address), options.part_bytes(5 << 20)).unwrap();
        Self { server, proxy, storage }
    }

    /// One that pauses so shortly that a test need not wait.
    fn hasty() -> Self {
        Self::new(StorageOptions::new().pause_ms(1))
    }

    /// Storage that does not go through the proxy.
    fn direct(&self) -> Storage {
        Storage::from_uri(&self.server.uri(), StorageOptions::new()).unwrap()
    }
}

/// Spoils the first requests, and passes on the rest.
fn first(number: u64, deed: Deed) -> impl Fn(&Asked) -> Deed + Send + Sync {
    move |asked| if asked.ordinal <= number { deed.clone() } else { Deed::Pass }
}

#[test]
fn what_fails_for_a_moment_is_tried_again() {
    let deeds = [
        Deed::Gone,
        Deed::CutRequest,
        Deed::CutAnswer,
        Deed::DropAnswer,
        Deed::Answer(500, ""),
        Deed::Answer(502, ""),
        Deed::Answer(503, ""),
        Deed::Answer(429, ""),
        Deed::Delay(Duration::from_millis(20)),
    ];
    for (number, deed) in deeds.into_iter().enumerate() {
        let (line, content) = (Line::hasty(), noise(number as u64, 300_000));
        line.proxy.does(first(2, deed.clone()));
        line.storage.write(NAME, content.clone()).unwrap();
        line.proxy.does(first(2, deed.clone()));
        assert!(line.storage.read(NAME, 300_000).unwrap() == content, "{deed:?}");
        line.proxy.does(first(2, deed.clone()));
        assert!(line.storage.read_range(NAME, 100_000, 1000).unwrap() == content[100_000..101_000], "{deed:?}");
        line.proxy.does(first(2, deed.clone()));
        assert_eq!(line.storage.stat(NAME).unwrap().unwrap().length_bytes, 300_000, "{deed:?}");
        line.proxy.does(first(2, deed.clone()));
        assert_eq!(line.storage.list("packs/").unwrap().len(), 1, "{deed:?}");
        line.proxy.does(first(2, deed.clone()));
        line.storage.delete(NAME).unwrap();
        assert_eq!(line.direct().stat(NAME).unwrap(), None, "{deed:?}");
        // An answer without a body cannot be cut, a short one in half neither.
        let least = match deed {
            Deed::Delay(_) => 0,
            Deed::CutAnswer => 4,
            _ => 12,
        };
        assert!(line.storage.counts().retries >= least, "{deed:?}: {:?}", line.storage.counts());
    }
}

#[test]
fn a_service_that_asks_to_wait_is_not_asked_before() {
    let line = Line::hasty();
    line.proxy.does(first(1, Deed::Answer(503, "retry-after: 2\r\n")));
    let start = Instant::now();
    line.storage.write(NAME, vec![1; 1000]).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(line.storage.counts().retries, 1);
}

#[test]
fn an_upload_in_parts_that_breaks_half_way_is_done_again_or_leaves_nothing() {
    let (line, content) = (Line::hasty(), noise(1, 12 << 20));
    let is_part = |asked: &Asked, number: &str| asked.target.contains(&format!("partNumber={number}"));
    // The second part is cut once: the whole is sent again.
    let cut = Mutex::new(false);
    line.proxy.does(move |asked| {
        let is_first = is_part(asked, "2") && !std::mem::replace(&mut *cut.lock().unwrap(), true);
        if is_first { Deed::CutRequest } else { Deed::Pass }
    });
    line.storage.write(NAME, content.clone()).unwrap();
    assert!(line.direct().read(NAME, 12 << 20).unwrap() == content);
    assert_eq!((line.storage.counts().retries, line.server.unfinished_uploads()), (1, 0));

    // It is refused for good: nothing is seen, and the upload was given up.
    line.proxy.does(move |asked| if is_part(asked, "3") { Deed::Answer(403, "") } else { Deed::Pass });
    let error = line.storage.write("packs/standard/aa/cc", content.clone()).unwrap_err();
    assert!(matches!(error, Error::Storage { attempts: 1, .. }), "{error:?}");
    assert_eq!(line.direct().stat("packs/standard/aa/cc").unwrap(), None);
    assert_eq!(line.server.unfinished_uploads(), 0);

    // Its end was done, and not told: sent again, it is whole.
    let told = Mutex::new(true);
    line.proxy.does(move |asked| {
        let is_end = asked.method == "POST" && asked.target.contains("uploadId=");
        if is_end && std::mem::replace(&mut *told.lock().unwrap(), false) { Deed::DropAnswer } else { Deed::Pass }
    });
    line.storage.write("packs/standard/aa/dd", content.clone()).unwrap();
    assert!(line.direct().read("packs/standard/aa/dd", 12 << 20).unwrap() == content);
}

#[test]
fn a_storage_that_stays_silent_is_given_up_in_time() {
    let line = Line::new(StorageOptions::new().pause_ms(1).silence_seconds(1).attempts(2));
    line.proxy.does(|_| Deed::Silence);
    let error = line.storage.read(NAME, 100).unwrap_err();
    assert!(matches!(error, Error::Storage { attempts: 2, seconds: 2, .. }), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("no answer in time"), "{error:?}");
}

#[test]
fn the_last_error_says_what_was_tried_how_often_and_how_long() {
    let line = Line::new(StorageOptions::new().pause_ms(100).deadline_seconds(2));
    line.proxy.does(|_| Deed::Answer(500, ""));
    let error = line.storage.write(NAME, vec![1; 1000]).unwrap_err();
    let Error::Storage { attempts, seconds, .. } = error else { panic!("{error:?}") };
    assert!((4..=6).contains(&attempts) && seconds <= 2, "{error:?}");
    assert_eq!(error.to_string(), format!("cannot write {NAME}, tried {attempts} times in {seconds} s"));
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.source().unwrap().to_string().contains("status: 500"), "{error:?}");
    assert_eq!(line.proxy.seen().len(), attempts as usize);
}

#[test]
fn what_is_missing_or_forbidden_is_told_at_once() {
    let line = Line::new(StorageOptions::new());
    let start = Instant::now();
    assert!(matches!(line.storage.read(NAME, 100), Err(Error::Missing { .. })));
    assert!(matches!(line.storage.read_range(NAME, 0, 100), Err(Error::Missing { .. })));
    assert_eq!(line.storage.stat(NAME).unwrap(), None);
    line.storage.delete(NAME).unwrap();
    line.proxy.does(|_| Deed::Answer(403, ""));
    assert!(matches!(line.storage.read(NAME, 100), Err(Error::Storage { attempts: 1, .. })));
    assert!(matches!(line.storage.write(NAME, vec![1]), Err(Error::Storage { attempts: 1, .. })));
    assert_eq!(line.storage.counts().retries, 0);
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_wrong_secret_is_refused_at_once_and_not_shown() {
    let line = Line::hasty();
    let wrong = SECRET.replace("wJal", "wXal");
    let uri = S3Server::uri_at(line.proxy.address).replace(SECRET, &wrong);
    let error = Storage::from_uri(&uri, StorageOptions::new()).unwrap().read(NAME, 10).unwrap_err();
    let text = format!("{error} {error:?} {}", error.source().unwrap());
    assert!(matches!(error, Error::Storage { attempts: 1, .. }), "{text}");
    assert!(text.contains("SignatureDoesNotMatch") && !text.contains(&wrong), "{text}");
    assert!(!text.contains("AKIA"), "{text}");
}

#[test]
fn whoever_waits_is_told_that_storage_is_in_trouble_and_that_it_is_over() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&said);
    let say = move |text: &str| sink.lock().unwrap().push(text.to_owned());
    let line = Line::new(StorageOptions::new().pause_ms(3_500).on_trouble(say));
    line.storage.write(NAME, vec![1; 1000]).unwrap();
    // The second pause is longer than what nobody needs to hear of.
    line.proxy.does(first(2, Deed::Answer(503, "")));
    line.storage.read(NAME, 1000).unwrap();
    let said = said.lock().unwrap();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("the storage failed to read 2 times, and is tried for up to 300 s: "), "{said:?}");
    assert_eq!(said[1], "the storage answers again");
    assert!(!said[0].contains(SECRET), "{said:?}");
}
