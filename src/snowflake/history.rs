//! What has happened in an account: statements, runs of tasks, loads of files. Kept in memory, the newest of each.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::names::{Ident, ObjectName};

/// Entries of each kind that are remembered.
const MOST: usize = 10_000;

#[derive(Default)]
pub struct History {
    queries: Mutex<VecDeque<Query>>,
    runs: Mutex<VecDeque<TaskRun>>,
    loads: Mutex<VecDeque<Load>>,
}

/// A statement that has ended.
#[derive(Clone, Debug)]
pub struct Query {
    pub id: String,
    pub text: String,
    pub user: Ident,
    pub role: Option<Ident>,
    pub warehouse: Option<Ident>,
    pub database: Option<Ident>,
    pub schema: Option<Ident>,
    pub started: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    /// Code and text.
    pub error: Option<(u32, String)>,
    pub rows: u64,
}

/// How a run of a task ended, or where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    Scheduled,
    Executing,
    Succeeded,
    Failed,
    FailedAndAutoSuspended,
    Skipped,
}

impl RunState {
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Scheduled => "SCHEDULED",
            RunState::Executing => "EXECUTING",
            RunState::Succeeded => "SUCCEEDED",
            RunState::Failed => "FAILED",
            RunState::FailedAndAutoSuspended => "FAILED_AND_AUTO_SUSPENDED",
            RunState::Skipped => "SKIPPED",
        }
    }
}

/// A run of a task.
#[derive(Clone, Debug)]
pub struct TaskRun {
    pub query_id: String,
    pub task: ObjectName,
    pub task_id: String,
    pub root_id: String,
    pub definition: String,
    pub condition: Option<String>,
    pub state: RunState,
    pub error: Option<(u32, String)>,
    pub scheduled: DateTime<Utc>,
    pub started: Option<DateTime<Utc>>,
    pub completed: Option<DateTime<Utc>>,
    pub next: Option<DateTime<Utc>>,
    /// Of the whole graph: milliseconds since 1970 when it was scheduled.
    pub run_id: i64,
    pub return_value: Option<String>,
    /// SCHEDULE or EXECUTE TASK.
    pub scheduled_from: &'static str,
}

/// A file that COPY INTO has read into a table.
#[derive(Clone, Debug)]
pub struct Load {
    pub table: ObjectName,
    pub stage_location: String,
    pub file: String,
    /// Bytes.
    pub size: u64,
    pub at: DateTime<Utc>,
    pub rows: u64,
}

fn push<T>(list: &Mutex<VecDeque<T>>, one: T) {
    let mut list = lock(list);
    if list.len() == MOST {
        list.pop_front();
    }
    list.push_back(one);
}

fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    pub fn add_query(&self, query: Query) {
        push(&self.queries, query);
    }

    pub fn add_load(&self, load: Load) {
        push(&self.loads, load);
    }

    /// Adds a run, or brings the one of the same query id up to date.
    pub fn put_run(&self, run: TaskRun) {
        let mut runs = lock(&self.runs);
        let known = runs
            .iter_mut()
            .rev()
            .find(|one| one.query_id == run.query_id);
        if let Some(known) = known {
            *known = run;
            return;
        }
        drop(runs);
        push(&self.runs, run);
    }

    /// The newest first.
    pub fn queries(&self) -> Vec<Query> {
        lock(&self.queries).iter().rev().cloned().collect()
    }

    /// The newest first.
    pub fn runs(&self) -> Vec<TaskRun> {
        lock(&self.runs).iter().rev().cloned().collect()
    }

    /// The newest first.
    pub fn loads(&self) -> Vec<Load> {
        lock(&self.loads).iter().rev().cloned().collect()
    }
}
