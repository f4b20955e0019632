//! The endpoint that Snowflake's own drivers connect to.
//!
//! It speaks the drivers' login and query protocol (`/session/…`, `/queries/…`) and the
//! [SQL API](https://docs.snowflake.com/en/developer-guide/sql-api/reference) (`/api/v2/statements`), both with JSON results.
//! It knows sessions, tokens and statements under way; what a statement does is an [`Account`]'s matter. The protocol's facts are
//! in `docs/behaviour.md`, "The drivers' protocol".

mod api;
mod bindings;
mod call;
mod encode;
mod query;
mod reply;
mod server;
mod session;
mod statements;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::error::SqlResult;
use super::names::Ident;
use super::rows::Rows;

pub use server::serve;

/// What the endpoint answers for.
#[async_trait]
pub trait Account: Send + Sync + 'static {
    /// Checks the credentials and opens a session with these names, as far as they are given.
    ///
    /// # Errors
    /// [`incorrect_login`], or what is wrong with a name.
    async fn login(&self, login: Login) -> SqlResult<Arc<dyn Session>>;
}

/// A session of an account. It ends when nobody holds it any more.
#[async_trait]
pub trait Session: Send + Sync {
    /// Runs one statement. Statements of one session may run at the same time.
    async fn execute(&self, request: Request) -> SqlResult<Answer>;

    /// Who logged in. The results of a statement are for this user's sessions only.
    fn user(&self) -> Ident;

    /// A number that no other session of the account has.
    fn id(&self) -> u64;

    /// What USE has chosen last.
    fn names(&self) -> SessionNames;

    /// The session's parameters that a driver acts on, such as `TIMEZONE` and `TIMESTAMP_OUTPUT_FORMAT`.
    fn parameters(&self) -> Vec<(String, Value)>;

    /// What the account has to say besides answers, which this session's client is then the only one to show. None where the
    /// client would not show it.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// Ends the statement of this [`Request::query_id`], whose `execute` then answers [`canceled`]. One that is not running is
    /// none of its concern.
    fn cancel(&self, query_id: &str);
}

/// Who wants a session, and how it is to start.
pub struct Login {
    pub credentials: Credentials,
    pub names: SessionNames,
    /// The program and its version, such as `PythonConnector 4.8.1`.
    pub client: String,
    /// Session parameters that the client sets.
    pub parameters: Map<String, Value>,
}

/// What a client proves itself with. It has no `Debug`, so that none is ever logged.
pub enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// A bearer token of the SQL API.
    Token(String),
}

/// A session's current objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionNames {
    pub database: Option<Ident>,
    pub schema: Option<Ident>,
    pub warehouse: Option<Ident>,
    pub role: Option<Ident>,
}

/// A statement to run.
#[derive(Clone, Debug)]
pub struct Request {
    /// The statement's id in the query history.
    pub query_id: String,
    /// One statement without its semicolon.
    pub sql: String,
    /// Values for `?` and `:1`: the columns `1`, `2` and so on, with a row for each time that an INSERT is to run.
    /// No columns if nothing is bound.
    pub bindings: Rows,
    /// Only the columns are wanted: the statement has no effect, and the answer no rows.
    pub describe_only: bool,
    /// Parameters for this statement alone, such as `QUERY_TAG`.
    pub parameters: Map<String, Value>,
}

/// What a statement answers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub rows: Rows,
    pub kind: StatementKind,
}

/// What drivers want to know about a statement; the values are the protocol's `statementTypeId`.
///
/// Drivers count the rows of DML by its columns `number of rows inserted`, `number of rows updated`, `number of rows deleted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum StatementKind {
    /// CALL too.
    Select = 0x1000,
    Explain = 0x2000,
    Insert = 0x3100,
    Update = 0x3200,
    Delete = 0x3300,
    Merge = 0x3400,
    Copy = 0x3600,
    AlterSession = 0x4100,
    Use = 0x4300,
    Show = 0x4400,
    Describe = 0x4500,
    List = 0x4701,
    /// BEGIN, COMMIT, ROLLBACK.
    Transaction = 0x5000,
    Ddl = 0x6000,
    /// Several statements in one request.
    Several = 0xA000,
}

/// How long things last, and how large they may be.
#[derive(Clone, Debug)]
pub struct Config {
    /// A statement that takes longer is answered with an address to ask again at.
    pub patience: Duration,
    /// How long a session token is good. A driver then renews it by its master token.
    pub session_validity: Duration,
    /// How long a session lasts that is not used.
    pub master_validity: Duration,
    /// The largest request, in bytes, unpacked.
    pub max_request: usize,
    /// Results that are kept to be asked for again, in bytes; the oldest go first.
    pub max_results: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            patience: Duration::from_secs(45),
            session_validity: Duration::from_secs(3600),
            master_validity: Duration::from_secs(4 * 3600),
            max_request: 64 << 20,
            max_results: 256 << 20,
        }
    }
}

/// An id for a statement, in the shape that drivers check.
pub fn new_query_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The error for a wrong user or password.
pub fn incorrect_login() -> super::error::SqlError {
    let text = "Incorrect username or password was specified.";
    super::error::SqlError::new(390100, "28000", text)
}

/// The error of a statement that was ended by request.
pub fn canceled() -> super::error::SqlError {
    super::error::SqlError::new(604, "57014", "SQL execution canceled")
}

#[cfg(test)]
mod tests;
