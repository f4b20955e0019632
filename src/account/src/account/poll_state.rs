//! The results of polls of catalogs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// The results of polls, and the signal that there may be something new to poll.
#[derive(Default)]
pub struct PollState {
    changed: Notify,
    attempts: Mutex<BTreeMap<u64, SyncAttempt>>,
}

/// The last attempt to synchronize a database with its catalog.
#[derive(Clone, Debug)]
pub struct SyncAttempt {
    pub at: DateTime<Utc>,
    pub error: Option<String>,
}

impl PollState {
    /// Signals that there may be something new to poll.
    pub fn notify(&self) {
        self.changed.notify_one();
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<u64, SyncAttempt>> {
        self.attempts.lock()
    }

    /// Returns the last attempt to synchronize a database, which is given by its id.
    pub fn last_sync(&self, database: u64) -> Option<SyncAttempt> {
        self.attempts().get(&database).cloned()
    }

    /// Records an attempt to synchronize a database, which is given by its id.
    pub fn record_sync(&self, database: u64, attempt: SyncAttempt) {
        self.attempts().insert(database, attempt);
    }

    /// Waits for the next signal.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
