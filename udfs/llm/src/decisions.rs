//! The decision log: every good answer is on disk before it is passed on. A row that is redelivered after a crash gets
//! the same decision, which is not paid for twice.
//!
//! It is a file of JSON lines, to which any number of libraries and processes append. A line is a key (the hash of the
//! question), a time, and the answer; the question itself is not stored. Readers keep an index of the keys in memory
//! and follow the file. When the file reaches half of the log's size, or its first entry is too old, it is renamed to
//! `<name>.1`, replacing the previous one, and a new file begins.
//!
//! Writers hold a system lock on `<name>.lock`. A line that a crash cut off ends where the next one begins, and is
//! ignored.

use baton_llm_settings::limits::Limits;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// The hash of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 16]);

impl Key {
    /// The key of a question with these parts, in order.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let digest = digest(parts);
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }

    fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn read(hex: &str) -> Option<Self> {
        let mut key = [0; 16];
        if hex.len() != 32 || !hex.is_ascii() {
            return None;
        }
        for (byte, at) in key.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
        }
        Some(Self(key))
    }
}

/// SHA-256 of parts, each preceded by its length, so that different lists of parts never form the same text.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A good answer, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The agent's name, or the text.
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) confidence: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    key: std::borrow::Cow<'a, str>,
    /// Seconds since 1970.
    at: u64,
    #[serde(borrow)]
    function: std::borrow::Cow<'a, str>,
    answer: Answer,
}

/// The log of one library.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    path: PathBuf,
    age: Duration,
    index: Mutex<Index>,
    writer: Mutex<Option<mpsc::Sender<Append>>>,
    size: u64,
}

/// A line to be written.
struct Append {
    line: Vec<u8>,
    done: oneshot::Sender<Result<(), String>>,
}

/// The indexes of the current and the previous file.
#[derive(Debug, Default)]
struct Index {
    current: Option<Followed>,
    before: Option<Followed>,
}

/// A file, and the index of the entries read so far.
#[derive(Debug)]
struct Followed {
    file: File,
    inode: u64,
    /// The position up to which complete lines have been read.
    read: u64,
    entries: HashMap<Key, (u64, u32)>,
}

impl DecisionLog {
    /// The log configured in the limits; `None` if there is none.
    pub(crate) fn new(limits: &Limits) -> Option<Self> {
        let path = limits.decision_log.clone()?;
        Some(Self {
            path,
            age: limits.decision_log_age,
            index: Mutex::default(),
            writer: Mutex::default(),
            size: limits.decision_log_size,
        })
    }

    /// The answer to this question, if there is one that is not too old. The error says what to do about the file.
    pub(crate) fn find(&self, key: Key, now: SystemTime) -> Result<Option<Answer>, String> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.follow(&self.path).map_err(|error| self.unusable("read", &error))?;
        for followed in [&index.current, &index.before].into_iter().flatten() {
            if let Some(answer) = followed.answer(key, seconds(now), self.age) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Stores an answer; returns once it is on disk.
    pub(crate) async fn keep(&self, key: Key, function: &str, answer: &Answer, now: SystemTime) -> Result<(), String> {
        let line = Line { key: key.hex().into(), at: seconds(now), function: function.into(), answer: answer.clone() };
        let mut line = serde_json::to_vec(&line).map_err(|error| self.unusable("written", &error))?;
        line.push(b'\n');
        let (done, written) = oneshot::channel();
        self.send(Append { line, done })?;
        written.await.unwrap_or_else(|_| Err(self.unusable("written", &"its thread has ended")))
    }

    fn send(&self, append: Append) -> Result<(), String> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let append = match &*writer {
            Some(thread) => match thread.send(append) {
                Ok(()) => return Ok(()),
                Err(mpsc::SendError(append)) => append,
            },
            None => append,
        };
        let (sender, appends) = mpsc::channel();
        let writing = Writer { path: self.path.clone(), size: self.size, age: self.age, file: None };
        std::thread::Builder::new()
            .name("decision log".to_owned())
            .spawn(move || writing.run(&appends))
            .map_err(|error| self.unusable("written", &error))?;
        sender.send(append).map_err(|_| self.unusable("written", &"its thread has ended"))?;
        *writer = Some(sender);
        Ok(())
    }

    fn unusable(&self, what: &str, error: &dyn std::fmt::Display) -> String {
        unusable(&self.path, what, error)
    }
}

fn unusable(path: &Path, what: &str, error: &dyn std::fmt::Display) -> String {
    format!(
        "the decision log `{}` cannot be {what} ({error}): make it writable, or set BATON_LLM_DECISION_LOG to another file",
        path.display()
    )
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The previous file, which is replaced at the next rotation.
fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

impl Index {
    /// Reads the lines that any process has written since.
    fn follow(&mut self, path: &Path) -> io::Result<()> {
        let inode = match std::fs::metadata(path) {
            Ok(of) => of.ino(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if self.current.as_ref().map_or(0, |current| current.inode) != inode {
            // The file was rotated. The file read so far may be the previous one now.
            let old = self.current.take();
            self.current = Followed::open(path)?;
            let stands = std::fs::metadata(before(path)).map(|of| of.ino()).ok();
            let kept = [old, self.before.take()].into_iter().flatten().find(|one| Some(one.inode) == stands);
            self.before = match kept {
                Some(kept) => Some(kept),
                None => Followed::open(&before(path))?,
            };
            if let Some(before) = &mut self.before {
                before.read_on()?;
            }
        }
        match &mut self.current {
            Some(current) => current.read_on(),
            None => Ok(()),
        }
    }
}

impl Followed {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                Ok(Some(Self { file, inode, read: 0, entries: HashMap::new() }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_on(&mut self) -> io::Result<()> {
        const PIECE: usize = 1 << 20;
        let length = self.file.metadata()?.len();
        if length < self.read {
            // Somebody truncated it.
            self.entries.clear();
            self.read = 0;
        }
        let mut piece = Vec::new();
        while self.read < length {
            // Read up to the end of the file, but only complete lines. A line longer than a piece makes the piece
            // longer.
            let wanted = (length - self.read).min((PIECE + piece.len()) as u64) as usize;
            piece.resize(wanted, 0);
            self.file.read_exact_at(&mut piece, self.read)?;
            let Some(end) = piece.iter().rposition(|byte| *byte == b'\n') else {
                if self.read + wanted as u64 == length {
                    // The line is being written, or a crash cut it off.
                    return Ok(());
                }
                continue;
            };
            let mut start = 0;
            for line in piece[..=end].split_inclusive(|byte| *byte == b'\n') {
                if let Some(key) = key_of(line) {
                    // The last entry counts, because an earlier one may be too old.
                    self.entries.insert(key, (self.read + start as u64, line.len() as u32));
                }
                start += line.len();
            }
            self.read += end as u64 + 1;
            piece.clear();
        }
        Ok(())
    }

    fn answer(&self, key: Key, now: u64, age: Duration) -> Option<Answer> {
        let (offset, length) = *self.entries.get(&key)?;
        let mut line = vec![0; length as usize];
        self.file.read_exact_at(&mut line, offset).ok()?;
        let line: Line<'_> = serde_json::from_slice(&line).ok()?;
        (Key::read(&line.key) == Some(key) && now.saturating_sub(line.at) <= age.as_secs()).then_some(line.answer)
    }
}

/// The key of a line, if the entry is complete.
fn key_of(line: &[u8]) -> Option<Key> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    Key::read(&line.key)
}

/// The writer thread. It syncs lines that arrived together in one step.
struct Writer {
    path: PathBuf,
    size: u64,
    age: Duration,
    file: Option<File>,
}

impl Writer {
    fn run(mut self, appends: &mpsc::Receiver<Append>) {
        while let Ok(first) = appends.recv() {
            let mut batch = vec![first];
            batch.extend(appends.try_iter());
            let lines: Vec<u8> = batch.iter().flat_map(|append| &append.line).copied().collect();
            let written = self.write(&lines).map_err(|error| unusable(&self.path, "written", &error));
            if written.is_err() {
                self.file = None;
            }
            for append in batch {
                // The row may be gone.
                let _gone = append.done.send(written.clone());
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let lock = private().write(true).truncate(false).open(with_suffix(&self.path, ".lock"))?;
        lock.lock()?;
        let mut file = self.opened()?;
        let of = file.metadata()?;
        let full = of.len() > 0 && of.len() + lines.len() as u64 > self.size / 2;
        if full || self.is_old(&file)? {
            std::fs::rename(&self.path, before(&self.path))?;
            self.file = None;
            file = self.opened()?;
        }
        let length = file.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        if last != *b"\n" {
            (&file).write_all(b"\n")?;
        }
        (&file).write_all(lines)?;
        lock.unlock()?;
        // Outside the lock, so that others need not wait for the disk.
        file.sync_data()?;
        self.file = Some(file);
        Ok(())
    }

    /// Opens the file that is at the path now.
    fn opened(&mut self) -> io::Result<File> {
        if let (Some(file), Ok(stands)) = (self.file.take(), std::fs::metadata(&self.path))
            && file.metadata()?.ino() == stands.ino()
        {
            return Ok(file);
        }
        private().read(true).append(true).open(&self.path)
    }

    /// Whether the first entry is too old. The entries after it stay available in the previous file for the same time.
    fn is_old(&self, file: &File) -> io::Result<bool> {
        let mut start = [0; 128];
        let length = file.read_at(&mut start, 0)?;
        let start = String::from_utf8_lossy(&start[..length]);
        let at = start.split_once("\"at\":").and_then(|(_, rest)| rest.split(',').next()?.parse::<u64>().ok());
        Ok(at.is_some_and(|at| seconds(SystemTime::now()).saturating_sub(at) > self.age.as_secs()))
    }
}

/// Answers may contain data from messages, so only the owner may read the file.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use super::*;

    fn log(folder: &Path, size: u64) -> DecisionLog {
        let limits = Limits {
            decision_log: Some(folder.join("log/decisions.jsonl")),
            decision_log_size: size,
            decision_log_age: Duration::from_secs(1000),
            ..Limits::default()
        };
        DecisionLog::new(&limits).unwrap()
    }

    fn key(number: u32) -> Key {
        Key::of(&[b"f", &number.to_le_bytes()])
    }

    fn answer(text: &str) -> Answer {
        Answer { text: text.to_owned(), confidence: Some(0.75), model: Some("m".to_owned()) }
    }

    async fn keep(log: &DecisionLog, number: u32, text: &str) {
        log.keep(key(number), "llm_classify", &answer(text), SystemTime::now()).await.unwrap();
    }

    fn find(log: &DecisionLog, number: u32) -> Option<Answer> {
        log.find(key(number), SystemTime::now()).unwrap()
    }

    #[test]
    fn keys_tell_parts_apart() {
        assert_ne!(Key::of(&[b"ab", b"c"]), Key::of(&[b"a", b"bc"]));
        assert_eq!(Key::read(&key(1).hex()), Some(key(1)));
        assert_eq!(Key::read("0"), None);
    }

    #[tokio::test]
    async fn what_one_keeps_all_find() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (log(folder.path(), 1_000_000), log(folder.path(), 1_000_000));
        assert_eq!(find(&one, 1), None);
        keep(&one, 1, "Ä \"quoted\"\n").await;
        assert_eq!(find(&other, 1), Some(answer("Ä \"quoted\"\n")));
        keep(&other, 2, "b").await;
        assert_eq!((find(&one, 2), find(&one, 3)), (Some(answer("b")), None));
        // The answer is still there after everybody is gone.
        assert_eq!(find(&log(folder.path(), 1_000_000), 1), Some(answer("Ä \"quoted\"\n")));
        let mode = std::fs::metadata(folder.path().join("log/decisions.jsonl")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_line_that_a_crash_cut_off_is_no_entry_and_spoils_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log/decisions.jsonl");
        keep(&log(folder.path(), 1_000_000), 1, "a").await;
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&std::fs::read(&path).unwrap()[..40]).unwrap();
        let after = log(folder.path(), 1_000_000);
        assert_eq!(find(&after, 1), Some(answer("a")));
        keep(&after, 2, "b").await;
        assert_eq!((find(&after, 1), find(&after, 2)), (Some(answer("a")), Some(answer("b"))));
        assert_eq!(find(&log(folder.path(), 1_000_000), 2), Some(answer("b")));
    }

    #[tokio::test]
    async fn its_size_is_bounded_and_the_latest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (log(folder.path(), 64_000), log(folder.path(), 64_000));
        for number in 0..1500 {
            let writer = if number % 2 == 0 { &one } else { &other };
            keep(writer, number, "some agent").await;
            let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |of| of.len());
            let path = folder.path().join("log/decisions.jsonl");
            assert!(size(path.clone()) + size(before(&path)) <= 64_000);
            assert!(find(&one, number).is_some() && find(&other, number.saturating_sub(100)).is_some(), "{number}");
        }
        assert_eq!(find(&one, 0), None);
    }

    #[tokio::test]
    async fn an_old_answer_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path(), 1_000_000);
        let long_ago = SystemTime::now() - Duration::from_secs(1001);
        log.keep(key(1), "f", &answer("old"), long_ago).await.unwrap();
        assert_eq!(find(&log, 1), None);
        keep(&log, 1, "new").await;
        assert_eq!(find(&log, 1), Some(answer("new")));
        // The old file was rotated.
        assert!(folder.path().join("log/decisions.jsonl.1").exists());
    }

    #[tokio::test]
    async fn an_answer_is_found_until_it_is_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path(), 1_000_000);
        // None is older than the configured 1000 s.
        for (number, age) in [(1, 900), (2, 600), (3, 300), (4, 0)] {
            let then = SystemTime::now() - Duration::from_secs(age);
            log.keep(key(number), "f", &answer("a"), then).await.unwrap();
        }
        for number in 1..=4 {
            assert!(find(&log, number).is_some(), "{number}");
        }
    }

    #[tokio::test]
    async fn a_log_that_is_emptied_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path(), 1_000_000);
        keep(&log, 1, "a long answer, longer than the next").await;
        assert!(find(&log, 1).is_some());
        File::create(folder.path().join("log/decisions.jsonl")).unwrap();
        assert_eq!(find(&log, 1), None);
        keep(&log, 2, "b").await;
        assert_eq!((find(&log, 1), find(&log, 2)), (None, Some(answer("b"))));
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("log"), "a file").unwrap();
        let log = log(folder.path(), 1_000_000);
        let error = log.keep(key(1), "f", &answer("a"), SystemTime::now()).await.unwrap_err();
        assert!(error.contains("decisions.jsonl` cannot be written") && error.contains("BATON_LLM_DECISION_LOG"));
    }
}
