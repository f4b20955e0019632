//! The history of an account: statements and their results, and task runs. It is in memory only,
//! and keeps the newest entries of each kind, up to a number and a size.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::bounded_list::BoundedList;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;

/// The greatest number of entries of each kind.
const MOST: usize = 10_000;
/// The greatest total size of the texts of each kind, in bytes.
const MOST_BYTES: usize = 16 << 20;
/// The greatest number of results for `RESULT_SCAN`, and their total size in bytes.
const MOST_RESULTS: usize = 1000;
const MOST_RESULT_BYTES: usize = 32 << 20;
/// The greatest length of a statement's text, in characters (Snowflake documentation,
/// "`QUERY_HISTORY"`: `QUERY_TEXT`).
const MOST_TEXT: usize = 100_000;

pub struct History {
    /// The running statements by query id.
    running: Mutex<BTreeMap<String, Running>>,
    queries: Mutex<BoundedList<Query>>,
    results: Mutex<BoundedList<StoredResult>>,
    runs: Mutex<BoundedList<TaskRun>>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            running: Mutex::default(),
            queries: Mutex::new(BoundedList::new(MOST, MOST_BYTES)),
            results: Mutex::new(BoundedList::new(MOST_RESULTS, MOST_RESULT_BYTES)),
            runs: Mutex::new(BoundedList::new(MOST, MOST_BYTES)),
        }
    }
}

/// A statement in the query history.
#[derive(Clone, Debug)]
pub struct Query {
    pub id: String,
    pub text: String,
    /// The words that the statement begins with, such as `SELECT` or `ALTER SESSION`.
    pub kind: &'static str,
    pub session_id: u64,
    pub user: Ident,
    pub role: Option<Ident>,
    pub warehouse: Option<Ident>,
    pub database: Option<Ident>,
    pub schema: Option<Ident>,
    /// The session parameter `QUERY_TAG`.
    pub tag: String,
    pub started: DateTime<Utc>,
    /// `None` while the statement runs.
    pub ended: Option<DateTime<Utc>>,
    /// Code, SQLSTATE and text.
    pub error: Option<SqlError>,
    pub rows: u64,
}

struct Running {
    query: Query,
    cancel: CancellationToken,
}

/// The result of a statement, for sessions of its user.
struct StoredResult {
    query_id: String,
    user: Ident,
    rows: Rows,
}

/// The state of a task run.
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
            Self::Scheduled => "SCHEDULED",
            Self::Executing => "EXECUTING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::FailedAndAutoSuspended => "FAILED_AND_AUTO_SUSPENDED",
            Self::Skipped => "SKIPPED",
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
    pub error: Option<SqlError>,
    pub scheduled: DateTime<Utc>,
    pub started: Option<DateTime<Utc>>,
    pub completed: Option<DateTime<Utc>>,
    pub next: Option<DateTime<Utc>>,
    /// The id of the graph run: when it was scheduled, in milliseconds since 1970.
    pub run_id: i64,
    pub return_value: Option<String>,
    /// `SCHEDULE` or `EXECUTE TASK`.
    pub scheduled_from: &'static str,
    pub config: Option<String>,
}

fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock()
}

/// Returns the newest entries that are wanted, newest first, at most `most`.
fn newest<T: Clone>(
    list: &Mutex<BoundedList<T>>,
    is_wanted: impl FnMut(&&T) -> bool,
    most: usize,
) -> Vec<T> {
    let list = lock(list);
    let wanted = list.iter().rev().filter(is_wanted);
    wanted.take(most).cloned().collect()
}

impl History {
    /// Records that a statement has begun, and returns its cancellation token. `parent` is the
    /// token of the statement that it is a part of: cancelling the parent cancels both.
    pub fn begin(&self, mut query: Query, parent: Option<&CancellationToken>) -> CancellationToken {
        if let Some((end, _)) = query.text.char_indices().nth(MOST_TEXT) {
            query.text.truncate(end);
        }
        let cancel = match parent {
            Some(parent) => parent.child_token(),
            None => CancellationToken::new(),
        };
        let running = Running {
            query,
            cancel: cancel.clone(),
        };
        lock(&self.running).insert(running.query.id.clone(), running);
        cancel
    }

    /// Records that a statement has ended. Its rows are kept for `RESULT_SCAN`.
    pub fn end(&self, query_id: &str, at: DateTime<Utc>, result: Result<&Rows, &SqlError>) {
        let Some(Running { mut query, .. }) = lock(&self.running).remove(query_id) else {
            return;
        };
        query.ended = Some(at);
        match result {
            Ok(rows) => {
                query.rows = rows.len() as u64;
                let bytes: usize = rows
                    .batches
                    .iter()
                    .map(RecordBatch::get_array_memory_size)
                    .sum();
                let kept = StoredResult {
                    query_id: query.id.clone(),
                    user: query.user.clone(),
                    rows: rows.clone(),
                };
                lock(&self.results).push(kept, bytes);
            }
            Err(error) => query.error = Some(error.clone()),
        }
        let error = query.error.as_ref().map_or(0, |error| error.message.len());
        let bytes = size_of::<Query>() + query.text.len() + query.tag.len() + error;
        lock(&self.queries).push(query, bytes);
    }

    /// Cancels a running statement. Returns false if no statement of that id is running.
    pub fn cancel(&self, query_id: &str) -> bool {
        let running = lock(&self.running);
        let found = running.get(query_id);
        if let Some(running) = found {
            running.cancel.cancel();
        }
        found.is_some()
    }

    /// Returns the result of a statement of this user.
    ///
    /// # Errors
    /// If the statement failed, is running or is not known, or its result is no longer kept.
    pub fn result(&self, query_id: &str, user: &Ident) -> SqlResult<Rows> {
        let results = lock(&self.results);
        let kept = results.iter().rev().find(|kept| kept.query_id == query_id);
        if let Some(kept) = kept.filter(|kept| kept.user == *user) {
            return Ok(kept.rows.clone());
        }
        let queries = lock(&self.queries);
        let known = queries.iter().rev().find(|query| query.id == query_id);
        let text = match known.filter(|query| query.user == *user) {
            Some(query) if query.error.is_some() => {
                format!("Statement {query_id} has no result: it failed.")
            }
            Some(_) => format!(
                "Result for query {query_id} has expired: the newest {MOST_RESULTS} results are kept, up to {} MB.",
                MOST_RESULT_BYTES >> 20
            ),
            None => format!("Statement {query_id} not found"),
        };
        Err(SqlError::new(code::STATEMENT_NOT_FOUND, text))
    }

    /// Adds a task run, or replaces the one with the same query id.
    pub fn upsert_run(&self, run: TaskRun) {
        let mut runs = lock(&self.runs);
        let known = runs
            .iter_mut()
            .rev()
            .find(|one| one.query_id == run.query_id);
        if let Some(known) = known {
            *known = run;
            return;
        }
        let bytes = size_of::<TaskRun>() + run.definition.len();
        runs.push(run, bytes);
    }

    /// Returns the statements that are wanted, at most `most`: running ones first, then ended ones,
    /// each newest first.
    pub fn queries(&self, is_wanted: impl Fn(&Query) -> bool, most: usize) -> Vec<Query> {
        let mut running: Vec<Query> = {
            let running = lock(&self.running);
            let queries = running.values().map(|running| &running.query);
            queries.filter(|query| is_wanted(query)).cloned().collect()
        };
        running.sort_by_key(|query| std::cmp::Reverse(query.started));
        running.truncate(most);
        let rest = most - running.len();
        running.extend(newest(&self.queries, |query| is_wanted(query), rest));
        running
    }

    /// Returns all task runs, newest first.
    pub fn runs(&self) -> Vec<TaskRun> {
        newest(&self.runs, |_| true, usize::MAX)
    }
}
