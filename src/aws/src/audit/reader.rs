//! Reads an audit trail, also while it grows.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use super::{Entry, Error, file_name, numbers};

/// A reader of an audit trail, from its beginning and on as it grows.
pub struct Reader {
    dir: PathBuf,
    at: Option<(u64, BufReader<File>)>,
    /// The start of a line that is not complete yet.
    line: Vec<u8>,
}

/// The interval at which [`Reader::next`] looks for new entries.
const LOOK: Duration = Duration::from_millis(100);

impl Reader {
    /// Creates a reader of the trail in `dir`, which may not exist yet.
    pub fn open(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            at: None,
            line: Vec::new(),
        }
    }

    /// Returns the next entry; `None` if there is none yet. Lines that are not entries are skipped.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&mut self) -> Result<Option<Entry>, Error> {
        self.step().map_err(|source| Error {
            dir: self.dir.clone(),
            source,
        })
    }

    /// Waits for the next entry.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn next(&mut self) -> Result<Entry, Error> {
        loop {
            if let Some(entry) = self.read()? {
                return Ok(entry);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn step(&mut self) -> io::Result<Option<Entry>> {
        loop {
            // Look for the next file before reading this one to its end: if there is one, this one
            // is complete.
            let following = self.following()?;
            if let Some((_, file)) = &mut self.at {
                while file.read_until(b'\n', &mut self.line)? > 0 && self.line.ends_with(b"\n") {
                    let entry = serde_json::from_slice(&self.line);
                    self.line.clear();
                    if let Ok(entry) = entry {
                        return Ok(Some(entry));
                    }
                }
            }
            match following {
                None => return Ok(None),
                Some(number) => match File::open(file_name(&self.dir, number)) {
                    Ok(file) => {
                        self.line.clear();
                        self.at = Some((number, BufReader::new(file)));
                    }
                    // It was the oldest file and has just been removed.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                },
            }
        }
    }

    fn following(&self) -> io::Result<Option<u64>> {
        let numbers = match numbers(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let current = self.at.as_ref().map_or(0, |(number, _)| *number);
        Ok(numbers.into_iter().find(|n| *n > current))
    }
}
