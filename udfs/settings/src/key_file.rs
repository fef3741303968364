//! The key in `BATON_LLM_API_KEY_FILE`, read again when the file changes, because some platforms replace it every hour.
//!
//! The file is looked at once a second at most, and at once when a server refuses the key. While it is missing, empty or
//! not readable, which it may be for a moment while it is replaced, the last key stays.

use crate::secret::Secret;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How many keys are remembered, so that they are removed from texts. A server may quote an old one.
const REMEMBERED: usize = 4;

/// A file that was written more recently may change again without a new time of its last change.
const SETTLED: Duration = Duration::from_secs(2);

/// A key file can be no longer than this.
const MOST_BYTES: u64 = 65_536;

/// A file with a key.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    opened: Instant,
    /// When the file was last looked at, in milliseconds after `opened`.
    looked: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// The newest key first; there is always one.
    current: Secret,
    former: Vec<Secret>,
    /// The state of the file at the last read; `None` if it must be read again.
    state: Option<State>,
}

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl KeyFile {
    /// Reads the key in the file at `path`.
    ///
    /// # Errors
    /// A sentence with the edit to make. It does not show the key.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, String> {
        let path = path.into();
        let (current, state) = read(&path)?;
        let known = Mutex::new(Known { current, former: Vec::new(), state });
        Ok(Self { path, opened: Instant::now(), looked: AtomicU64::new(0), known })
    }

    /// The key. Reads the file if it has changed; looks at it once a second at most.
    #[must_use]
    pub fn key(&self) -> Secret {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked = self.looked.load(Ordering::Relaxed);
        let due = now.saturating_sub(looked) >= EVERY.as_millis() as u64;
        // One of all callers looks.
        if due && self.looked.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.look(false);
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    /// Reads the file now, because a server refused the key. Returns whether the key has changed.
    #[must_use]
    pub fn reread(&self) -> bool {
        self.look(true)
    }

    /// All keys that the file had, as far as they are remembered: the newest first.
    #[must_use]
    pub fn keys(&self) -> Vec<Secret> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&known.current).chain(&known.former).cloned().collect()
    }

    fn look(&self, now: bool) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let state = std::fs::metadata(&self.path).ok().map(|of| State::of(&of));
        if !now && state.is_some() && state == known.state {
            return false;
        }
        let Ok((key, state)) = read(&self.path) else {
            known.state = None;
            return false;
        };
        known.state = state;
        if key == known.current {
            return false;
        }
        let former = std::mem::replace(&mut known.current, key.clone());
        known.former.retain(|old| *old != key);
        known.former.insert(0, former);
        known.former.truncate(REMEMBERED - 1);
        true
    }
}

impl State {
    fn of(of: &std::fs::Metadata) -> Self {
        Self {
            device: of.dev(),
            inode: of.ino(),
            size: of.len(),
            modified: (of.mtime(), of.mtime_nsec()),
            changed: (of.ctime(), of.ctime_nsec()),
        }
    }
}

/// The key, and the state of the file unless it may be written right now.
fn read(path: &Path) -> Result<(Secret, Option<State>), String> {
    let shown = path.display();
    let unreadable =
        |error: &dyn std::fmt::Display| format!("BATON_LLM_API_KEY_FILE is `{shown}`, which cannot be read: {error}");
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let before = file.metadata().map_err(|error| unreadable(&error))?;
    let mut text = String::new();
    (&file).take(MOST_BYTES).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    let after = file.metadata().map_err(|error| unreadable(&error))?;
    let key = text.trim();
    if key.is_empty() {
        return Err(format!("BATON_LLM_API_KEY_FILE is `{shown}`, which is empty: write the key into it"));
    }
    if !is_sendable(key) {
        return Err(format!("BATON_LLM_API_KEY_FILE is `{shown}`, which {NOT_SENDABLE}"));
    }
    let state = Some(State::of(&after)).filter(|state| *state == State::of(&before));
    let settled = after
        .modified()
        .is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age > SETTLED));
    Ok((Secret::new(key), state.filter(|_| settled)))
}

/// Continues a sentence about a key that is not [sendable](is_sendable).
pub(crate) const NOT_SENDABLE: &str =
    "holds a character that no key has (a space, a line break, an accent): set the bare key";

/// Whether a header can carry the key.
pub(crate) fn is_sendable(key: &str) -> bool {
    key.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use super::*;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("baton-key-file-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("key")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _left = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Makes the next call of `key` look at the file.
    fn a_second_later(file: &mut KeyFile) -> Secret {
        file.opened -= EVERY;
        *file.looked.get_mut() = 0;
        file.key()
    }

    #[test]
    fn a_new_key_is_read_when_the_file_changes() {
        let folder = Folder::new("changes");
        std::fs::write(folder.file(), "canary-1\n").unwrap();
        let mut file = KeyFile::open(folder.file()).unwrap();
        assert_eq!(file.key().reveal(), "canary-1");
        std::fs::write(folder.file(), "canary-2").unwrap();
        // It is looked at once a second at most.
        assert_eq!(file.key().reveal(), "canary-1");
        assert_eq!(a_second_later(&mut file).reveal(), "canary-2");
        // Replaced by another file.
        std::fs::write(folder.0.join("new"), "canary-3").unwrap();
        std::fs::rename(folder.0.join("new"), folder.file()).unwrap();
        assert_eq!(a_second_later(&mut file).reveal(), "canary-3");
        let keys: Vec<String> = file.keys().iter().map(|key| key.reveal().to_owned()).collect();
        assert_eq!(keys, ["canary-3", "canary-2", "canary-1"]);
        assert!(!format!("{file:?}").contains("canary"));
    }

    #[test]
    fn a_file_that_is_missing_or_empty_keeps_the_key() {
        let folder = Folder::new("missing");
        std::fs::write(folder.file(), "canary-1").unwrap();
        let mut file = KeyFile::open(folder.file()).unwrap();
        std::fs::remove_file(folder.file()).unwrap();
        assert_eq!(a_second_later(&mut file).reveal(), "canary-1");
        assert!(!file.reread());
        for text in ["", " \n", "two words"] {
            std::fs::write(folder.file(), text).unwrap();
            assert_eq!(a_second_later(&mut file).reveal(), "canary-1");
        }
        std::fs::write(folder.file(), "canary-2").unwrap();
        assert!(file.reread());
        assert!(!file.reread());
        assert_eq!(file.key().reveal(), "canary-2");
    }

    #[test]
    fn four_keys_are_remembered() {
        let folder = Folder::new("four");
        std::fs::write(folder.file(), "canary-0").unwrap();
        let file = KeyFile::open(folder.file()).unwrap();
        for number in 1..=5 {
            std::fs::write(folder.file(), format!("canary-{number}")).unwrap();
            assert!(file.reread());
        }
        let keys: Vec<String> = file.keys().iter().map(|key| key.reveal().to_owned()).collect();
        assert_eq!(keys, ["canary-5", "canary-4", "canary-3", "canary-2"]);
    }

    #[test]
    fn threads_share_it() {
        let folder = Folder::new("threads");
        std::fs::write(folder.file(), "canary-0").unwrap();
        let file = KeyFile::open(folder.file()).unwrap();
        std::fs::write(folder.file(), "canary-1").unwrap();
        let changed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| usize::from(file.reread()))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((changed, file.key().reveal()), (1, "canary-1"));
    }
}
