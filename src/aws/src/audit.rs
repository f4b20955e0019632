//! The audit trail: who did what, on which resource, and why it was allowed or refused.
//!
//! ```text
//! <dir>/                    mode 0700
//!   audit-<number>.jsonl    one Entry a line; mode 0600; the highest number is being written
//! ```
//!
//! A separate thread writes the files, so that requests do not wait for the disk. A file is closed
//! at a size limit, and the oldest files are removed.

mod reader;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

pub use reader::Reader;

/// An entry of the audit trail: one decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    pub time: DateTime<Utc>,
    pub request_id: String,
    /// The action, like `s3:GetObject` or `sts:AssumeRole`. Empty if the request was refused before
    /// its action was known.
    pub action: String,
    /// The ARN of the resource.
    pub resource: String,
    /// The caller's ARN; `None` if the caller is not known.
    pub principal: Option<String>,
    pub access_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
    pub source_ip: Option<String>,
    pub user_agent: Option<String>,
    pub allowed: bool,
    /// The reason for the decision.
    pub reason: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The error code of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The size in bytes of the body that was sent or received, whichever is larger.
    pub bytes: u64,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            time: Utc::now(),
            request_id: String::new(),
            action: String::new(),
            resource: String::new(),
            principal: None,
            access_key_id: None,
            session_name: None,
            source_identity: None,
            source_ip: None,
            user_agent: None,
            allowed: false,
            reason: String::new(),
            status: 0,
            error_code: None,
            bytes: 0,
        }
    }
}

/// Returns the size of a message's body in bytes, from its headers.
pub fn body_size(headers: &HeaderMap) -> u64 {
    let length = |name: &str| headers.get(name)?.to_str().ok()?.parse().ok();
    // A body in signed chunks is longer than its payload.
    let decoded = length("x-amz-decoded-content-length").filter(|decoded| *decoded != 0);
    decoded.or_else(|| length("content-length")).unwrap_or(0)
}

/// Returns the error code of an S3 answer; `None` if the answer is not an error. The code is taken
/// from the XML body or, if there is none (as for HEAD), from the name of the status.
pub fn error_code(status: StatusCode, body: Option<&[u8]>) -> Option<String> {
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let text = body.and_then(|body| std::str::from_utf8(body).ok());
    let code = text.and_then(|text| {
        let (_, rest) = text.split_once("<Code>")?;
        Some(rest.split_once("</Code>")?.0.to_owned())
    });
    code.or_else(|| Some(status.canonical_reason()?.replace(' ', "")))
}

/// Formats an entry as one line for a person. Characters that a terminal would interpret are
/// escaped, because texts such as object keys come from clients.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.time.format("%Y-%m-%d %H:%M:%S%.3f");
        let verdict = if self.allowed { "allowed" } else { "DENIED" };
        let or = |text: &str, other: &str| match text {
            "" => other.to_owned(),
            text => text.escape_debug().to_string(),
        };
        write!(
            f,
            "{time} {verdict:7} {} {} on {} by {}: {}",
            self.status,
            or(&self.action, "?"),
            or(&self.resource, "?"),
            or(
                self.principal.as_deref().unwrap_or_default(),
                "an unknown caller"
            ),
            or(&self.reason, "no reason"),
        )
    }
}

/// The location of a trail, and how much of it is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    pub dir: PathBuf,
    /// The size in bytes after which a new file is begun.
    pub file_size: u64,
    /// The number of files that are kept, at least one.
    pub files: usize,
}

impl Settings {
    /// Returns settings with five files of 16 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            file_size: 16 << 20,
            files: 5,
        }
    }
}

/// The error for a trail that cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the audit trail in {}: {source}", dir.display())]
pub struct Error {
    dir: PathBuf,
    source: io::Error,
}

/// The number of entries that can wait for the writer. When there are more, requests wait too.
const QUEUE: usize = 4096;

/// A handle that appends to a trail. Dropping the last clone waits until everything is written.
#[derive(Clone)]
pub struct Audit(Arc<Writer>);

struct Writer {
    /// Dropped first, which ends the thread.
    queue: Option<SyncSender<Entry>>,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Opens a trail and starts its writer.
    ///
    /// # Errors
    /// The directory cannot be created or written.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let failed = |source| Error {
            dir: settings.dir.clone(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&settings.dir)
            .map_err(failed)?;
        let file = Trail::open(settings.clone()).map_err(failed)?;
        let (queue, entries) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || file.write(&entries))
            .map_err(failed)?;
        Ok(Self(Arc::new(Writer {
            queue: Some(queue),
            thread: Some(thread),
        })))
    }

    /// Appends an entry. It is in the file some milliseconds later.
    pub fn append(&self, entry: Entry) {
        if let Some(queue) = &self.0.queue
            && queue.send(entry).is_err()
        {
            tracing::error!("the audit trail's writer has stopped; an entry was lost");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audit trail's writer panicked");
        }
    }
}

/// The files of a trail, with the one that is being written.
struct Trail {
    settings: Settings,
    number: u64,
    out: BufWriter<File>,
    size: u64,
}

impl Trail {
    fn open(settings: Settings) -> io::Result<Self> {
        let last = numbers(&settings.dir)?.last().copied();
        let (number, out, size) = match last {
            Some(last) => match reopen(&settings.dir, last)? {
                Some((out, size)) => (last, out, size),
                None => (last + 1, create(&settings.dir, last + 1)?, 0),
            },
            None => (1, create(&settings.dir, 1)?, 0),
        };
        let mut trail = Self {
            settings,
            number,
            out,
            size,
        };
        trail.forget_oldest()?;
        Ok(trail)
    }

    fn write(mut self, entries: &Receiver<Entry>) {
        while let Ok(first) = entries.recv() {
            let mut next = Some(first);
            let mut written = Ok(());
            while let (Some(entry), Ok(())) = (next, &written) {
                written = self.line(&entry);
                next = entries.try_recv().ok();
            }
            if let Err(error) = written.and_then(|()| self.out.flush()) {
                tracing::error!(%error, "could not write the audit trail");
            }
        }
    }

    fn line(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if self.size > 0 && self.size + line.len() as u64 > self.settings.file_size {
            self.out.flush()?;
            self.number += 1;
            self.out = create(&self.settings.dir, self.number)?;
            self.size = 0;
            self.forget_oldest()?;
        }
        self.size += line.len() as u64;
        self.out.write_all(&line)
    }

    fn forget_oldest(&mut self) -> io::Result<()> {
        let numbers = numbers(&self.settings.dir)?;
        let excess = numbers.len().saturating_sub(self.settings.files.max(1));
        for number in &numbers[..excess] {
            fs::remove_file(file_name(&self.settings.dir, *number))?;
        }
        Ok(())
    }
}

fn file_name(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("audit-{number:06}.jsonl"))
}

fn create(dir: &Path, number: u64) -> io::Result<BufWriter<File>> {
    let file = File::options()
        .create_new(true)
        .append(true)
        .mode(0o600)
        .open(file_name(dir, number))?;
    Ok(BufWriter::new(file))
}

/// Opens a file to append to, and returns it with its size. Returns `None` for a file that a crash
/// cut off in the middle of a line; that file is left as it is.
fn reopen(dir: &Path, number: u64) -> io::Result<Option<(BufWriter<File>, u64)>> {
    let mut file = File::options()
        .read(true)
        .append(true)
        .open(file_name(dir, number))?;
    let size = file.metadata()?.len();
    if size > 0 {
        let mut end = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut end)?;
        if end != *b"\n" {
            return Ok(None);
        }
    }
    Ok(Some((BufWriter::new(file), size)))
}

/// Returns the numbers of the existing files in ascending order.
fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for found in fs::read_dir(dir)? {
        let name = found?.file_name();
        let number: Option<u64> = name.to_str().and_then(|n| {
            n.strip_prefix("audit-")?
                .strip_suffix(".jsonl")?
                .parse()
                .ok()
        });
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    fn entry(number: usize) -> Entry {
        Entry {
            request_id: number.to_string(),
            action: "s3:GetObject".to_owned(),
            allowed: true,
            status: 200,
            ..Entry::default()
        }
    }

    fn ids(reader: &mut Reader) -> Vec<String> {
        std::iter::from_fn(|| reader.read().expect("a trail"))
            .map(|e| e.request_id)
            .collect()
    }

    fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|n| n.to_string()).collect()
    }

    #[test]
    fn nothing_is_lost_when_it_stops_and_files_are_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().join("audit");
        for start in [0, 500] {
            let audit = Audit::open(Settings::new(&dir)).expect("a trail");
            (start..start + 500).for_each(|n| audit.append(entry(n)));
        }
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        assert_eq!(mode(&dir) & 0o777, 0o700);
        assert_eq!(mode(&file_name(&dir, 1)) & 0o777, 0o600);
        assert_eq!(ids(&mut Reader::open(&dir)), numbered(0..1000));
    }

    #[test]
    fn old_files_go_and_a_follower_misses_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = Settings {
            file_size: 1000,
            files: 3,
            ..Settings::new(dir.path())
        };
        let mut follower = Reader::open(dir.path());
        assert_eq!(ids(&mut follower), Vec::<String>::new());
        let mut seen = Vec::new();
        for start in (0..100).step_by(4) {
            let audit = Audit::open(settings.clone()).expect("a trail");
            (start..start + 4).for_each(|n| audit.append(entry(n)));
            drop(audit);
            seen.extend(ids(&mut follower));
        }
        assert_eq!(seen, numbered(0..100));
        assert_eq!(numbers(dir.path()).expect("a trail").len(), 3);
        let kept = ids(&mut Reader::open(dir.path()));
        assert!(
            kept.len() < 20 && kept.last().is_some_and(|id| id == "99"),
            "{kept:?}"
        );
    }

    #[test]
    fn a_line_is_read_when_it_is_whole_and_rubbish_is_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut file = File::create(file_name(dir.path(), 1)).expect("a file");
        let line = serde_json::to_string(&entry(7)).expect("JSON");
        let mut reader = Reader::open(dir.path());
        file.write_all(format!("rubbish\n{}", &line[..20]).as_bytes())
            .expect("written");
        assert!(reader.read().expect("a trail").is_none());
        file.write_all(format!("{}\n", &line[20..]).as_bytes())
            .expect("written");
        assert_eq!(ids(&mut reader), ["7"]);
    }

    #[test]
    fn a_line_for_people_holds_nothing_that_a_terminal_obeys() {
        let entry = Entry {
            time: DateTime::UNIX_EPOCH,
            resource: "arn:aws:s3:::lake/\u{1b}[2J\n".to_owned(),
            status: 403,
            action: "s3:GetObject".to_owned(),
            reason: "no identity-based policy allows it".to_owned(),
            ..Entry::default()
        };
        assert_eq!(
            entry.to_string(),
            "1970-01-01 00:00:00.000 DENIED  403 s3:GetObject on arn:aws:s3:::lake/\\u{1b}[2J\\n by an unknown caller: no \
             identity-based policy allows it"
        );
    }

    #[tokio::test]
    async fn following_waits() {
        let dir = tempfile::tempdir().expect("a directory");
        let audit = Audit::open(Settings::new(dir.path())).expect("a trail");
        let mut reader = Reader::open(dir.path());
        let later = audit.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(150)).await;
            later.append(entry(1));
        });
        let next = tokio::time::timeout(Duration::from_secs(10), reader.next()).await;
        assert_eq!(next.expect("in time").expect("a trail").request_id, "1");
    }
}
