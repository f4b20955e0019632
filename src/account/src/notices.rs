//! Notices of an account to its user, besides the results of statements. Front ends drain them;
//! they are logged too.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};

use crate::bounded_list::BoundedList;

/// The greatest number of undelivered notices, and their total size in bytes.
const MOST: usize = 1000;
const MOST_BYTES: usize = 1 << 20;

/// A message to the user that no statement asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub at: DateTime<Utc>,
    pub text: String,
}

/// The notices of an account.
pub struct Notices(Mutex<Waiting>);

struct Waiting {
    notices: BoundedList<Notice>,
    /// The subjects of notices that were given once.
    told: HashSet<String>,
}

impl Default for Notices {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            notices: BoundedList::new(MOST, MOST_BYTES),
            told: HashSet::new(),
        }))
    }
}

impl Notices {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock()
    }

    /// Gives a notice, unless one with the same `about` was given since the account was opened.
    pub fn once(&self, about: String, at: DateTime<Utc>, text: impl FnOnce() -> String) {
        let mut waiting = self.lock();
        if !waiting.told.insert(about) {
            return;
        }
        let text = text();
        tracing::warn!("{text}");
        let bytes = text.len();
        waiting.notices.push(Notice { at, text }, bytes);
    }

    /// Removes and returns the notices given since the last call, oldest first.
    pub fn drain(&self) -> Vec<Notice> {
        self.lock().notices.drain()
    }
}
