//! Running statements, and the results of ended ones.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use futures::FutureExt;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Session, SessionNames, parameters};
use icebox_account::answer::{Answer, Request, StatementKind, new_query_id};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::split;

/// The greatest number of ended statements that are kept.
const MAX_ENDED: usize = 1000;
/// The interval at which a session is asked again to cancel a statement.
const AGAIN: Duration = Duration::from_millis(100);

/// A client's request. A repeated request with the same id is a retry.
#[derive(Clone)]
pub(super) struct StatementRequest {
    pub request_id: Option<String>,
    pub sql: String,
    pub bindings: Rows,
    pub describe_only: bool,
    pub parameters: Map<String, Value>,
    /// How many statements the text may hold; 0 means any number.
    pub statement_count: usize,
}

/// A statement that was started.
pub(super) struct Statement {
    pub query_id: String,
    pub sql: String,
    pub describe_only: bool,
    pub started: SystemTime,
    pub session_id: u64,
    user: Ident,
    /// The session, until the statement ends: a kept result does not keep its session open.
    session: Mutex<Option<Arc<dyn Session>>>,
    is_ending: AtomicBool,
    request_id: Option<String>,
    outcome: watch::Receiver<Option<Arc<Outcome>>>,
}

/// The outcome of a statement.
pub(super) struct Outcome {
    pub result: SqlResult<Answer>,
    /// The statements of a request that has several.
    pub parts: Vec<Arc<Statement>>,
    pub ended: SystemTime,
    /// The session's current objects when the statement ended.
    pub names: SessionNames,
    pub parameters: Vec<Value>,
    /// The account's notices, for the client to show.
    pub notices: Vec<String>,
}

impl Statement {
    fn new(
        session: &Arc<dyn Session>,
        request_id: Option<String>,
        sql: &str,
        describe_only: bool,
    ) -> (Arc<Self>, watch::Sender<Option<Arc<Outcome>>>) {
        let (sender, outcome) = watch::channel(None);
        let statement = Self {
            query_id: new_query_id(),
            sql: sql.to_owned(),
            describe_only,
            started: SystemTime::now(),
            session_id: session.id(),
            user: session.user(),
            session: Mutex::new(Some(Arc::clone(session))),
            is_ending: AtomicBool::new(false),
            request_id,
            outcome,
        };
        (Arc::new(statement), sender)
    }

    /// Asks the session to cancel the statement. Returns false if the statement has ended.
    pub fn cancel(self: &Arc<Self>) -> bool {
        let Some(session) = self.session().clone() else {
            return false;
        };
        session.cancel(&self.query_id);
        // The statement may not have reached the session yet, so the session is asked until the
        // statement ends.
        if !self.is_ending.swap(true, Ordering::Relaxed) {
            let statement = Arc::clone(self);
            tokio::spawn(async move {
                while statement.outcome(AGAIN).await.is_none() {
                    session.cancel(&statement.query_id);
                }
            });
        }
        true
    }

    fn session(&self) -> MutexGuard<'_, Option<Arc<dyn Session>>> {
        self.session.lock()
    }

    /// Waits for the outcome, for at most `patience`.
    pub async fn outcome(&self, patience: Duration) -> Option<Arc<Outcome>> {
        let mut outcome = self.outcome.clone();
        let ended = outcome.wait_for(Option::is_some);
        match tokio::time::timeout(patience, ended).await {
            Ok(Ok(ended)) => ended.clone(),
            // The statement was aborted because the server stops.
            Ok(Err(_)) | Err(_) => None,
        }
    }

    pub fn ended(&self) -> Option<Arc<Outcome>> {
        self.outcome.borrow().clone()
    }
}

/// All statements by their ids.
#[derive(Clone)]
pub(super) struct Statements {
    known: Arc<Mutex<KnownStatements>>,
    max_results: usize,
}

#[derive(Default)]
struct KnownStatements {
    by_query: HashMap<String, Entry>,
    by_request: HashMap<String, Arc<Statement>>,
    /// The ended statements, oldest first, with the size of their rows in bytes.
    ended: VecDeque<(String, usize)>,
    ended_bytes: usize,
}

struct Entry {
    statement: Arc<Statement>,
    task: Option<AbortHandle>,
}

impl Statements {
    /// Returns an empty list, which keeps results of up to `max_results` bytes in total.
    pub fn new(max_results: usize) -> Self {
        Self {
            known: Arc::default(),
            max_results,
        }
    }

    /// Starts a statement. A retry of a known request returns the statement of that request.
    pub fn start(&self, session: Arc<dyn Session>, asked: StatementRequest) -> Arc<Statement> {
        let mut known = self.lock();
        if let Some(same) = known.same(session.as_ref(), &asked) {
            return same;
        }
        let (request_id, is_described) = (asked.request_id.clone(), asked.describe_only);
        let (statement, sender) = Statement::new(&session, request_id, &asked.sql, is_described);
        let (all, running) = (self.clone(), Arc::clone(&statement));
        // As in Snowflake, the statement continues if the client disconnects.
        let task = tokio::spawn(async move {
            let mut parts = Vec::new();
            let result = all.run(&running, &session, asked, &mut parts).await;
            let mut outcome = Outcome::now(session.as_ref(), result, parts);
            // An error reply has no field for notices. They wait for the next answer.
            if outcome.result.is_ok() {
                outcome.notices = session.notices();
            }
            all.end(&running, outcome, &sender);
        });
        known.add(&statement, Some(task.abort_handle()));
        statement
    }

    /// Returns a statement of this user.
    ///
    /// # Errors
    /// If there is no such statement, or it is no longer kept.
    pub fn get(&self, query_id: &str, user: &Ident) -> SqlResult<Arc<Statement>> {
        let known = self.lock();
        let found = known.by_query.get(query_id).map(|entry| &entry.statement);
        let found = found.filter(|statement| statement.user == *user);
        found.cloned().ok_or_else(|| {
            SqlError::new(
                code::STATEMENT_NOT_FOUND,
                format!("Statement {query_id} not found"),
            )
        })
    }

    /// Returns the statement of a request of this user, if it is running.
    pub fn running(&self, request_id: &str, user: &Ident) -> Option<Arc<Statement>> {
        let known = self.lock();
        let found = known.by_request.get(request_id)?;
        let is_running = found.user == *user && found.ended().is_none();
        is_running.then(|| Arc::clone(found))
    }

    /// Asks the sessions to cancel all running statements.
    pub fn cancel_all(&self) {
        let running: Vec<Arc<Statement>> = {
            let known = self.lock();
            let all = known.by_query.values().map(|entry| &entry.statement);
            all.filter(|one| one.ended().is_none()).cloned().collect()
        };
        for statement in running {
            statement.cancel();
        }
    }

    /// Aborts all statements that are still running.
    pub fn abort_all(&self) {
        for entry in self.lock().by_query.values() {
            if let Some(task) = &entry.task {
                task.abort();
            }
        }
    }

    async fn run(
        &self,
        statement: &Statement,
        session: &Arc<dyn Session>,
        asked: StatementRequest,
        parts: &mut Vec<Arc<Statement>>,
    ) -> SqlResult<Answer> {
        let texts = texts(&asked.sql)?;
        if texts.len() != asked.statement_count && asked.statement_count != 0 {
            let text = format!(
                "Actual statement count {} did not match the desired statement count {}.",
                texts.len(),
                asked.statement_count
            );
            return Err(SqlError::new(code::STATEMENT_COUNT, text));
        }
        let request = |query_id: &str, sql: &str| Request {
            query_id: query_id.to_owned(),
            sql: sql.to_owned(),
            bindings: asked.bindings.clone(),
            describe_only: asked.describe_only,
            parameters: asked.parameters.clone(),
        };
        if let [text] = texts.as_slice() {
            return execute(session.as_ref(), request(&statement.query_id, text)).await;
        }
        for text in texts {
            let (part, sender) = Statement::new(session, None, text, asked.describe_only);
            self.lock().add(&part, None);
            parts.push(Arc::clone(&part));
            let result = execute(session.as_ref(), request(&part.query_id, text)).await;
            let failed = result.as_ref().err().cloned();
            let ended = Outcome::now(session.as_ref(), result, Vec::new());
            self.end(&part, ended, &sender);
            if let Some(error) = failed {
                return Err(error);
            }
        }
        let text = "Multiple statements executed successfully.".to_owned();
        Ok(Answer {
            rows: Rows::texts(&["multiple statement execution"], [[Some(text)]]),
            kind: StatementKind::Several,
        })
    }

    fn end(
        &self,
        statement: &Statement,
        outcome: Outcome,
        sender: &watch::Sender<Option<Arc<Outcome>>>,
    ) {
        let bytes = match &outcome.result {
            Ok(answer) => answer
                .rows
                .batches
                .iter()
                .map(RecordBatch::get_array_memory_size)
                .sum(),
            Err(_) => 0,
        };
        *statement.session() = None;
        sender.send_replace(Some(Arc::new(outcome)));
        self.lock()
            .end(&statement.query_id, bytes, self.max_results);
    }

    fn lock(&self) -> MutexGuard<'_, KnownStatements> {
        self.known.lock()
    }
}

impl KnownStatements {
    fn same(&self, session: &dyn Session, asked: &StatementRequest) -> Option<Arc<Statement>> {
        let found = self.by_request.get(asked.request_id.as_ref()?)?;
        let is_same = found.session_id == session.id()
            && found.user == session.user()
            && found.sql == asked.sql
            && found.describe_only == asked.describe_only;
        is_same.then(|| Arc::clone(found))
    }

    fn add(&mut self, statement: &Arc<Statement>, task: Option<AbortHandle>) {
        let entry = Entry {
            statement: Arc::clone(statement),
            task,
        };
        self.by_query.insert(statement.query_id.clone(), entry);
        if let Some(request_id) = &statement.request_id {
            self.by_request
                .insert(request_id.clone(), Arc::clone(statement));
        }
    }

    /// Adds an ended statement, and drops the oldest ones to make room. The newest is always kept.
    fn end(&mut self, query_id: &str, bytes: usize, max_results: usize) {
        self.ended.push_back((query_id.to_owned(), bytes));
        self.ended_bytes += bytes;
        while self.ended.len() > 1
            && (self.ended.len() > MAX_ENDED || self.ended_bytes > max_results)
        {
            let Some((oldest, bytes)) = self.ended.pop_front() else {
                return;
            };
            self.ended_bytes -= bytes;
            let Some(Entry { statement, .. }) = self.by_query.remove(&oldest) else {
                continue;
            };
            if let Some(request_id) = &statement.request_id {
                let is_its_own = |one: &Arc<Statement>| one.query_id == oldest;
                if self.by_request.get(request_id).is_some_and(is_its_own) {
                    self.by_request.remove(request_id);
                }
            }
        }
    }
}

impl Outcome {
    pub fn rows(&self) -> usize {
        self.result.as_ref().map_or(0, |answer| answer.rows.len())
    }

    fn now(session: &dyn Session, result: SqlResult<Answer>, parts: Vec<Arc<Statement>>) -> Self {
        Self {
            result,
            parts,
            ended: SystemTime::now(),
            names: session.names(),
            parameters: parameters::of_session(session),
            notices: Vec::new(),
        }
    }
}

/// Splits a text into its statements, each with the comments before it. A single statement starts
/// at the start of the text, so that the positions in its errors are those in the text.
fn texts(sql: &str) -> SqlResult<Vec<&str>> {
    let statements = split(sql)?;
    match statements.as_slice() {
        [] => Err(SqlError::compilation(
            code::EMPTY_STATEMENT,
            "Empty SQL statement.",
        )),
        [only] => {
            let end = only.sql.as_ptr() as usize - sql.as_ptr() as usize + only.sql.len();
            Ok(vec![&sql[..end]])
        }
        _ => Ok(statements.iter().map(|one| one.sql).collect()),
    }
}

/// Runs a statement. A panic fails this statement only.
async fn execute(session: &dyn Session, request: Request) -> SqlResult<Answer> {
    let sql = request.sql.clone();
    let done = AssertUnwindSafe(session.execute(request))
        .catch_unwind()
        .await;
    done.unwrap_or_else(|_| {
        tracing::error!(sql, "a statement panicked");
        let text = "SQL execution internal error:\nProcessing aborted by an internal error of icebox; see its log.";
        Err(SqlError::new(code::INTERNAL, text))
    })
}
