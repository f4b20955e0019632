//! The account as drivers see it: one user with a password, and a session for each login.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate as rest;
use crate::{Credentials, Login, SessionNames};
use icebox_account::Kind;
use icebox_account::account::Account;
use icebox_account::answer::{Answer, Request};
use icebox_account::kind::catalog_sync;
use icebox_account::parameters::{self, PARAMETERS};
use icebox_account::session::Session;
use icebox_account::statement;
use icebox_aws as aws;
use icebox_aws::Secret;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};

/// The warehouse of a client that names none.
const WAREHOUSE: &str = "COMPUTE_WH";

/// The login of drivers to an account.
pub struct DriverLogin {
    account: Arc<Account>,
    user: Ident,
    password: Secret,
}

impl DriverLogin {
    pub fn new(account: Arc<Account>, user: &str, password: &str) -> Self {
        Self {
            account,
            user: Ident::unquoted(user),
            password: password.into(),
        }
    }

    fn is_right(&self, credentials: &Credentials) -> bool {
        let (user, password) = match credentials {
            Credentials::Password { user, password } => (Ident::unquoted(user), password),
            Credentials::Token(token) => (self.user.clone(), token),
        };
        user == self.user && aws::constant_time_eq(password, self.password.expose())
    }
}

#[async_trait]
impl rest::Account for DriverLogin {
    async fn login(&self, login: Login) -> SqlResult<Arc<dyn rest::Session>> {
        if !self.is_right(&login.credentials) {
            return Err(rest::incorrect_login());
        }
        let session = Session::new(Arc::clone(&self.account), self.user.clone());
        if let Some(database) = &login.names.database {
            catalog_sync::sync_own(&self.account, database).await;
        }
        start(&session, login.names)?;
        set(&session, &login.parameters)?;
        Ok(Arc::new(DriverSession {
            session,
            shows_notices: login.client.starts_with(super::client::APPLICATION),
        }))
    }
}

/// Sets the current objects that a client starts with. As in Snowflake, the role must exist; a
/// database, schema or warehouse that does not exist is ignored.
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
            return Err(SqlError::new(code::ROLE_NOT_GRANTED, text));
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

/// Sets the session parameters that a client starts with. Drivers send many that concern only
/// themselves: parameters that icebox does not have, or has with one value only, are ignored.
fn set(session: &Session, given: &Map<String, Value>) -> SqlResult<()> {
    for (name, value) in given {
        let Ok(parameter) = parameters::find(&name.to_uppercase()) else {
            continue;
        };
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match parameter.value(&text) {
            Ok(value) => session.change(|current| {
                current.settings.insert(parameter.name, value);
            }),
            Err(error) if parameter.name == "TIMEZONE" => return Err(error),
            Err(error) => tracing::debug!(name, %error, "a parameter of a client"),
        }
    }
    Ok(())
}

struct DriverSession {
    session: Session,
    /// Whether the client shows notices. Snowflake's own clients ignore them, so their users would
    /// never see them.
    shows_notices: bool,
}

#[async_trait]
impl rest::Session for DriverSession {
    async fn execute(&self, request: Request) -> SqlResult<Answer> {
        statement::run(&self.session, &request.into()).await
    }

    fn user(&self) -> Ident {
        self.session.user().clone()
    }

    fn id(&self) -> u64 {
        self.session.id()
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
        let settings = self.session.current().settings;
        let known = PARAMETERS.iter().map(|parameter| {
            let value = parameters::value(&settings, parameter.name);
            let value = match parameter.ty() {
                "STRING" => json!(value),
                _ => serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
            };
            (parameter.name.to_owned(), value)
        });
        // Empty means: use TIMESTAMP_OUTPUT_FORMAT.
        let formats = ["TIMESTAMP_LTZ_OUTPUT_FORMAT", "TIMESTAMP_TZ_OUTPUT_FORMAT"];
        let formats = formats.map(|name| (name.to_owned(), json!("")));
        known.chain(formats).collect()
    }

    fn notices(&self) -> Vec<String> {
        if !self.shows_notices {
            return Vec::new();
        }
        let notices = self.session.account().notices.drain().into_iter();
        notices.map(|notice| notice.text).collect()
    }

    fn cancel(&self, query_id: &str) {
        self.session.account().history.cancel(query_id);
    }
}
