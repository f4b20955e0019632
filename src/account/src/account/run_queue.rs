//! The runs of task graphs that were requested, and those that are running.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use icebox_sql::names::ObjectName;

/// The requested and the running graph runs.
#[derive(Default)]
pub struct RunQueue {
    requested: Mutex<Vec<ObjectName>>,
    running: Mutex<BTreeSet<ObjectName>>,
    /// Signals that a run was requested or a task may have been resumed.
    changed: Notify,
}

impl RunQueue {
    /// Requests a run of a root task now, whether it is started or not.
    pub fn request_run(&self, root: &ObjectName) {
        let mut requested = self.requested.lock();
        requested.push(root.clone());
        self.changed.notify_one();
    }

    /// Signals that schedules may have changed.
    pub fn notify(&self) {
        self.changed.notify_one();
    }

    /// Removes and returns the roots whose runs were requested.
    pub fn take(&self) -> Vec<ObjectName> {
        let mut requested = self.requested.lock();
        std::mem::take(&mut requested)
    }

    /// Marks a graph as running. Returns false if it already is and runs must not overlap.
    pub fn start(&self, root: &ObjectName, overlapping: bool) -> bool {
        let mut running = self.running.lock();
        running.insert(root.clone()) || overlapping
    }

    /// Marks a graph as ended.
    pub fn end(&self, root: &ObjectName) {
        let mut running = self.running.lock();
        running.remove(root);
    }

    /// Waits for the next signal.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
