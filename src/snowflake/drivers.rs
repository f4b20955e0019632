//! An account as drivers see it: one user with a password, and a session for each that logs in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::error::{SqlError, SqlResult};
use super::names::{Ident, ObjectName};
use super::object::Kind;
use super::query;
use super::rest::{self, Answer, Credentials, Login, Request, SessionNames};
use super::rows::Rows;
use super::script::{Bindings, Value as ScriptValue};
use super::session::Session;
use super::statement;

/// The warehouse of a user who names none.
const WAREHOUSE: &str = "COMPUTE_WH";

/// Lets a user into an account.
pub struct Drivers {
    account: Arc<Account>,
    user: Ident,
    /// Of the password; its comparison then takes the same time whatever is tried.
    digest: [u8; 32],
    sessions: AtomicU64,
}

impl Drivers {
    pub fn new(account: Arc<Account>, user: &str, password: &str) -> Drivers {
        Drivers {
            account,
            user: Ident::unquoted(user),
            digest: Sha256::digest(password).into(),
            sessions: AtomicU64::new(1),
        }
    }

    fn is_right(&self, credentials: &Credentials) -> bool {
        let (user, password) = match credentials {
            Credentials::Password { user, password } => (Ident::unquoted(user), password),
            Credentials::Token(token) => (self.user.clone(), token),
        };
        let digest: [u8; 32] = Sha256::digest(password).into();
        user == self.user && digest == self.digest
    }
}

#[async_trait]
impl rest::Account for Drivers {
    async fn login(&self, login: Login) -> SqlResult<Arc<dyn rest::Session>> {
        if !self.is_right(&login.credentials) {
            return Err(rest::incorrect_login());
        }
        let session = Session::new(Arc::clone(&self.account), self.user.clone());
        start(&session, login.names)?;
        if let Some(Value::String(zone)) = login.parameters.get("TIMEZONE") {
            query::zone(zone)?;
            session.change(|current| current.time_zone = Some(zone.clone()));
        }
        Ok(Arc::new(DriverSession {
            session,
            id: self.sessions.fetch_add(1, Ordering::Relaxed),
            running: Mutex::default(),
        }))
    }
}

/// Takes the names that a client starts with. Like Snowflake, a role must be there; a database, schema or warehouse that is
/// not is none.
fn start(session: &Session, names: SessionNames) -> SqlResult<()> {
    let account = session.account();
    let is_there = |kind, parts: &[&Ident]| {
        let name = ObjectName(parts.iter().map(|&part| part.clone()).collect());
        account.get(kind, &name).is_some()
    };
    if let Some(role) = names.role {
        if !is_there(Kind::Role, &[&role]) {
            let text = format!(
                "Role '{}' specified in the connect string does not exist or not authorized. Contact your local system administrator, or attempt to login with another role, e.g. PUBLIC.",
                role.as_str()
            );
            return Err(SqlError::new(390_189, "08001", text));
        }
        session.change(|current| current.role = Some(role));
    }
    let warehouse = names
        .warehouse
        .unwrap_or_else(|| Ident::unquoted(WAREHOUSE));
    if is_there(Kind::Warehouse, &[&warehouse]) {
        session.use_warehouse(&warehouse);
    }
    if let Some(database) = names.database
        && is_there(Kind::Database, &[&database])
    {
        let schema = names.schema;
        let schema = schema.filter(|schema| is_there(Kind::Schema, &[&database, schema]));
        session.use_database(&database, schema.as_ref());
    }
    Ok(())
}

struct DriverSession {
    session: Session,
    id: u64,
    /// By query id.
    running: Mutex<HashMap<String, CancellationToken>>,
}

impl DriverSession {
    fn running(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl rest::Session for DriverSession {
    async fn execute(&self, request: Request) -> SqlResult<Answer> {
        let stop = CancellationToken::new();
        let id = request.query_id.clone();
        self.running().insert(id.clone(), stop.clone());
        let bindings = bindings(&request.bindings, 0);
        let answer = tokio::select! {
            answer = statement::execute(&self.session, &request.sql, &bindings, 0) => answer,
            () = stop.cancelled() => Err(rest::canceled()),
        };
        self.running().remove(&id);
        answer
    }

    fn user(&self) -> Ident {
        self.session.user().clone()
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn names(&self) -> SessionNames {
        let current = self.session.current();
        SessionNames {
            database: current.database,
            schema: current.schema,
            warehouse: current.warehouse,
            role: current.role,
        }
    }

    fn parameters(&self) -> Vec<(String, Value)> {
        let zone = self.session.current().time_zone;
        let zone = zone.unwrap_or_else(|| query::DEFAULT_ZONE.to_string());
        let parameters = [
            ("AUTOCOMMIT", json!(true)),
            ("TIMEZONE", json!(zone)),
            (
                "TIMESTAMP_OUTPUT_FORMAT",
                json!("YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM"),
            ),
            (
                "TIMESTAMP_NTZ_OUTPUT_FORMAT",
                json!("YYYY-MM-DD HH24:MI:SS.FF3"),
            ),
            ("TIMESTAMP_LTZ_OUTPUT_FORMAT", json!("")),
            ("TIMESTAMP_TZ_OUTPUT_FORMAT", json!("")),
            ("DATE_OUTPUT_FORMAT", json!("YYYY-MM-DD")),
            ("TIME_OUTPUT_FORMAT", json!("HH24:MI:SS")),
            ("BINARY_OUTPUT_FORMAT", json!("HEX")),
            ("CLIENT_SESSION_KEEP_ALIVE", json!(false)),
        ];
        parameters
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    fn cancel(&self, query_id: &str) {
        if let Some(stop) = self.running().get(query_id) {
            stop.cancel();
        }
    }
}

/// A row of what a client binds, for `?` and `:1`.
fn bindings(rows: &Rows, row: usize) -> Bindings {
    let types = rows.types();
    let values = types
        .into_iter()
        .enumerate()
        .map(|(column, ty)| ScriptValue {
            value: rows.value(row, column),
            ty,
        });
    Bindings::positional(values.collect())
}
