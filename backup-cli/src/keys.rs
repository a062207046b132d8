//! Where keys come from: options, then the environment, then the user's own key file, then a prompt on a terminal.
//!
//! Secrets live in memory that is overwritten, and are never printed.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup_core::Error;
use backup_core::environment::Environment;
use backup_core::keyring::{Key, KeyFile};
use zeroize::Zeroizing;

use crate::args::Global;
use crate::exit::Failure;

/// A way to a key, that was not gone yet.
#[derive(Clone)]
pub(crate) enum KeySource {
    /// A file that holds a passphrase.
    PasswordFile(PathBuf),
    /// A shell command that prints one.
    PasswordCommand(String),
    /// A passphrase in the environment.
    Environment,
    /// A key file.
    KeyFile(PathBuf),
    /// A question to whoever sits there.
    Prompt,
}

impl KeySource {
    /// Chooses: options before the environment, before `own`, the key file of the user's own repository.
    pub(crate) fn choose(global: &Global, own: Option<PathBuf>) -> Self {
        if let Some(file) = &global.password_file {
            return KeySource::PasswordFile(file.clone());
        }
        if let Some(command) = &global.password_command {
            return KeySource::PasswordCommand(command.clone());
        }
        if let Some(file) = &global.key_file {
            return KeySource::KeyFile(file.clone());
        }
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(file) = set("HOLDFAST_KEY_FILE") {
            return KeySource::KeyFile(file.into());
        }
        if let Some(file) = set("HOLDFAST_PASSWORD_FILE") {
            return KeySource::PasswordFile(file.into());
        }
        if set("HOLDFAST_PASSWORD").is_some() {
            return KeySource::Environment;
        }
        own.map_or(KeySource::Prompt, KeySource::KeyFile)
    }

    /// The file that must not get into a backup.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            KeySource::PasswordFile(file) | KeySource::KeyFile(file) => Some(file),
            _ => None,
        }
    }

    /// Gets the key. `is_new` asks twice at the prompt: nobody can correct a slip later.
    pub(crate) fn get(&self, is_new: bool) -> Result<Key, Failure> {
        let passphrase = match self {
            KeySource::KeyFile(file) => return read_key_file(file),
            KeySource::PasswordFile(file) => {
                let what = || format!("cannot read the password file {}", file.display());
                fs::read(file).map(Zeroizing::new).map_err(|cause| no_key(what(), Some(cause)))?
            }
            KeySource::PasswordCommand(command) => run(command)?,
            KeySource::Environment => {
                let value = std::env::var_os("HOLDFAST_PASSWORD").unwrap_or_default();
                return passphrase_key(Zeroizing::new(value.into_encoded_bytes()));
            }
            KeySource::Prompt => return passphrase_key(prompt(is_new)?),
        };
        passphrase_key(without_newline(passphrase))
    }
}

fn passphrase_key(mut passphrase: Zeroizing<Vec<u8>>) -> Result<Key, Failure> {
    if passphrase.is_empty() {
        return Err(no_key("the passphrase is empty", None));
    }
    Ok(Key::passphrase(std::mem::take(&mut *passphrase)))
}

fn no_key(what: impl Into<String>, cause: Option<io::Error>) -> Failure {
    Failure::NoKey { what: what.into(), cause }
}

fn without_newline(mut bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    bytes
}

fn read_key_file(file: &Path) -> Result<Key, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = fs::File::open(file).and_then(|opened| opened.take(1 << 16).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Key::File(KeyFile::parse(&text)?)),
        Err(cause) => Err(no_key(format!("cannot read the key file {}", file.display()), Some(cause))),
    }
}

fn run(command: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |cause| no_key("the password command cannot be run", Some(cause));
    let mut child = Command::new("sh").args(["-c", command]).stdout(Stdio::piped()).spawn().map_err(failed)?;
    // Room for any passphrase, so that no copy of it is left behind by a growing vector.
    let mut passphrase = Zeroizing::new(Vec::with_capacity(1 << 16));
    if let Some(output) = child.stdout.take() {
        output.take(1 << 16).read_to_end(&mut passphrase).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(passphrase) } else { Err(no_key(format!("the password command failed: {status}"), None)) }
}

fn prompt(is_new: bool) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(no_key("no key is given", None));
    }
    let ask = |question: &str| {
        let answer = rpassword::prompt_password(question);
        answer.map(Zeroizing::new).map_err(|cause| no_key("no passphrase can be read from the terminal", Some(cause)))
    };
    if !is_new {
        return Ok(Zeroizing::new(ask("passphrase: ")?.as_bytes().to_vec()));
    }
    let (first, second) = (ask("new passphrase: ")?, ask("again: ")?);
    if *first != *second {
        return Err(Error::Usage { what: "the two passphrases differ".to_owned() }.into());
    }
    Ok(Zeroizing::new(first.as_bytes().to_vec()))
}

/// A key file that was just drawn, and is removed again unless it is kept: its text is worth nothing before a slot knows it.
pub(crate) struct NewKeyFile {
    path: PathBuf,
    key: KeyFile,
    is_kept: bool,
}

impl NewKeyFile {
    /// Draws a key and writes it, readable by its owner alone. Nothing is overwritten.
    pub(crate) fn create(path: &Path, heading: &str) -> Result<Self, Failure> {
        let key = KeyFile::generate(&Environment::default());
        let mut text = Zeroizing::new(String::with_capacity(4096));
        heading.lines().for_each(|line| text.extend(["# ", line, "\n"]));
        text.push_str(&key.to_text());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(Error::file("create", path))?;
        let new = Self { path: path.to_owned(), key, is_kept: false };
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::file("write", path))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(Error::file("sync", parent))?;
        Ok(new)
    }

    /// The key.
    pub(crate) fn key(&self) -> Key {
        Key::File(self.key.clone())
    }

    /// Leaves the file where it is.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for NewKeyFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_at_the_end_is_dropped() {
        let trimmed = |text: &str| without_newline(Zeroizing::new(text.as_bytes().to_vec())).to_vec();
        assert_eq!(trimmed("a\n"), b"a");
        assert_eq!(trimmed("a\n\n"), b"a\n");
        assert_eq!(trimmed(" a "), b" a ");
    }
}
