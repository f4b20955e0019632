//! The endpoint that Snowflake's own drivers connect to.
//!
//! It implements the drivers' login and query protocol (`/session/…`, `/queries/…`) and the [SQL
//! API](https://docs.snowflake.com/en/developer-guide/sql-api/reference) (`/api/v2/statements`),
//! both with JSON results. It manages sessions, tokens and running statements; an [`Account`] runs
//! the statements. The facts of the protocol are in `docs/behaviour.md`, "The drivers' protocol".

mod api;
mod bindings;
mod call;
pub mod client;
pub mod drivers;
mod encode;
mod endpoint;
mod parameters;
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

use icebox_sql::error::{SqlResult, code};
use icebox_sql::names::Ident;

pub use drivers::DriverLogin;
pub use icebox_account::answer::{Answer, Request, StatementKind, canceled, new_query_id};
pub use server::serve;

/// The account behind the endpoint.
#[async_trait]
pub trait Account: Send + Sync + 'static {
    /// Checks the credentials, and opens a session with those of the names that are given.
    ///
    /// # Errors
    /// [`incorrect_login`], or the error of an invalid name.
    async fn login(&self, login: Login) -> SqlResult<Arc<dyn Session>>;
}

/// A session of an account. It ends when its last reference is dropped.
#[async_trait]
pub trait Session: Send + Sync {
    /// Runs one statement. Statements of one session may run at the same time.
    async fn execute(&self, request: Request) -> SqlResult<Answer>;

    /// Returns the user who logged in. The results of a statement are for this user's sessions
    /// only.
    fn user(&self) -> Ident;

    /// Returns the number of the session, which is unique in the account.
    fn id(&self) -> u64;

    /// Returns the current objects, as the last USE set them.
    fn names(&self) -> SessionNames;

    /// Returns the session parameters that a driver acts on, such as `TIMEZONE` and
    /// `TIMESTAMP_OUTPUT_FORMAT`.
    fn parameters(&self) -> Vec<(String, Value)>;

    /// Removes and returns the account's notices, for this session's client alone to show. Returns
    /// none if the client does not show notices.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// Cancels the statement with this [`Request::query_id`], whose `execute` then returns
    /// [`canceled`]. Does nothing if no such statement is running.
    fn cancel(&self, query_id: &str);
}

/// A login request: the credentials, and the state that the session starts with.
pub struct Login {
    pub credentials: Credentials,
    pub names: SessionNames,
    /// The client program and its version, such as `PythonConnector 4.8.1`.
    pub client: String,
    /// The session parameters that the client sets.
    pub parameters: Map<String, Value>,
}

/// The credentials of a client. There is no `Debug` implementation, so that they are never logged.
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

/// The time and size limits of the endpoint.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a request waits for its statement. After that the reply has an address at which to
    /// ask again.
    pub patience: Duration,
    /// How long a session token is valid. A driver renews it with its master token.
    pub session_validity: Duration,
    /// How long an unused session lasts.
    pub master_validity: Duration,
    /// The size of the largest request, in bytes after decompression.
    pub max_request: usize,
    /// The total size in bytes of the results that are kept to be fetched again. The oldest are
    /// dropped first.
    pub max_results: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(45),
            session_validity: Duration::from_hours(1),
            master_validity: Duration::from_hours(4),
            max_request: 64 << 20,
            max_results: 256 << 20,
        }
    }
}

/// Returns the error for a wrong user or password.
pub fn incorrect_login() -> icebox_sql::error::SqlError {
    let text = "Incorrect username or password was specified.";
    icebox_sql::error::SqlError::new(code::INCORRECT_LOGIN, text)
}

#[cfg(test)]
mod tests;
