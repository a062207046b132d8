//! What the vectors are made from: a world without chance, and a repository in memory that was made in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::crypto::{Secret, extend, hash};
use crate::environment::{Environment, Surroundings};
use crate::format::keys::PeriodSecretsBody;
use crate::id::{PeriodId, RepositoryId, WriterId};
use crate::keyring::{Key, KeyFile, Keyring, PeriodKeys};
use crate::repository::open::InitOptions;
use crate::repository::{Repository, RepositoryOptions};
use crate::storage::{Storage, StorageOptions};
use crate::time::Time;

/// When everything here happens.
pub(super) const TIME: Time = Time { seconds: 1_760_000_000, nanoseconds: 123_456_789 };
/// The passphrase of the second key slot: its bytes are what counts, so one of them is no ASCII.
pub(super) const PASSPHRASE: &str = "correct horse bättery staple";

/// A clock that stands still, and randomness that anyone can repeat.
struct Fixed {
    seed: Secret,
    drawn: AtomicU64,
}

impl Surroundings for Fixed {
    fn now(&self) -> Time {
        TIME
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        extend(&self.seed, &number.to_le_bytes(), bytes);
    }

    fn host(&self) -> String {
        "golden-host".to_owned()
    }

    fn user(&self) -> String {
        "göldi".to_owned()
    }

    fn zone_offset_seconds(&self, _: Time) -> i32 {
        -12_600
    }
}

/// An environment whose randomness follows from a label.
pub(super) fn environment(label: &str) -> Environment {
    Environment::new(Fixed { seed: Secret::new(hash(label.as_bytes())), drawn: AtomicU64::new(0) })
}

/// So many bytes that follow from a label.
pub(super) fn bytes(label: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    environment(label).fill_random(&mut bytes);
    bytes
}

/// An id or key that follows from a label.
pub(super) fn id<const N: usize>(label: &str) -> [u8; N] {
    environment(label).random()
}

/// A repository as `init` makes it, with the secrets that were drawn for it.
pub(super) struct Fixture {
    pub(super) storage: Storage,
    pub(super) root: [u8; 32],
    pub(super) keyring: Keyring,
    pub(super) key_file: KeyFile,
    pub(super) period: PeriodId,
    pub(super) secrets: PeriodSecretsBody,
    pub(super) keys: Arc<PeriodKeys>,
    pub(super) writer: WriterId,
    pub(super) writer_seed: [u8; 32],
}

impl Fixture {
    /// The one of this process: it costs one Argon2.
    pub(super) fn get() -> &'static Self {
        static FIXTURE: OnceLock<Fixture> = OnceLock::new();
        FIXTURE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let operator = opendal::Operator::new(opendal::services::Memory::default()).unwrap();
        let storage = Storage::new(operator, StorageOptions::new().pause_ms(0)).unwrap();
        let key_file = KeyFile::generate(&environment("key file"));
        let init = InitOptions::new().label("recovery sheet").further_key(Key::passphrase(PASSPHRASE), "passphrase");
        // The default when the vectors were made.
        let init = init.page_group_bytes(16 << 10).frame_bytes(1 << 20);
        let options = RepositoryOptions::new().environment(environment("repository")).threads(1);
        let repository = Repository::init(storage.clone(), &Key::File(key_file.clone()), &init, options).unwrap();
        // The same draws again, in the order of `init`.
        let twin = environment("repository");
        let (name, root) = (RepositoryId(twin.random()), twin.random());
        let _salts_of_slots: [[u8; 32]; 2] = [twin.random(), twin.random()];
        let period = PeriodId(twin.random());
        let secrets = PeriodSecretsBody {
            data_key: twin.random(),
            content_id_key: twin.random(),
            tree_id_key: twin.random(),
            gear_key: twin.random(),
        };
        let _salt_of_period: [u8; 32] = twin.random();
        let (writer, writer_seed) = (WriterId(twin.random()), twin.random());
        let keys = Arc::clone(repository.keys.values().next().unwrap());
        assert_eq!((repository.id(), repository.heads()[0].writer), (name, writer), "init draws in another order");
        assert_eq!(keys.domain().period, period, "init draws in another order");
        let keyring = Keyring::create(name, Secret::new(root));
        Self { storage, root, keyring, key_file, period, secrets, keys, writer, writer_seed }
    }

    /// All objects whose names begin so, in the order of names.
    pub(super) fn objects(&self, prefix: &str) -> Vec<Vec<u8>> {
        let mut names: Vec<String> = self.storage.list(prefix).unwrap().into_iter().map(|info| info.name).collect();
        names.sort();
        names.iter().map(|name| self.storage.read(name, u64::MAX).unwrap()).collect()
    }
}
