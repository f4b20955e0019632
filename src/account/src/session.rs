//! A session: its user, its current objects, and its state between statements.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use parking_lot::{Mutex, MutexGuard};

use crate::account::Account;
use crate::bounded_list::BoundedList;
use crate::object::properties::Properties;
use crate::object::{Create, Object, Scope};
use crate::parameters::{self, Settings};
use crate::{Kind, State, linked_database};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::query::DEFAULT_ZONE;
use icebox_sql::rows::Rows;
use icebox_sql::types::DataType;

/// The greatest number of query ids that `LAST_QUERY_ID` can go back.
const MOST_QUERY_IDS: usize = 10_000;

/// A session. It can be shared, and its statements may run at the same time.
pub struct Session {
    account: Arc<Account>,
    user: Ident,
    id: u64,
    state: Mutex<Current>,
    queries: Mutex<QueryIds>,
}

/// The state that USE, SET and ALTER SESSION change.
#[derive(Clone, Debug, Default)]
pub struct Current {
    pub role: Option<Ident>,
    pub warehouse: Option<Ident>,
    pub database: Option<Ident>,
    pub schema: Option<Ident>,
    pub variables: BTreeMap<Ident, Variable>,
    /// The session parameters that were set.
    pub settings: Settings,
}

/// A session variable.
#[derive(Clone, Debug)]
pub struct Variable {
    pub value: ScalarValue,
    pub ty: DataType,
    pub created: DateTime<Utc>,
    pub updated: DateTime<Utc>,
}

/// The ids of a session's statements.
struct QueryIds {
    newest: BoundedList<String>,
    /// The number of statements so far, including those whose ids are no longer kept.
    count: i64,
}

impl Default for QueryIds {
    fn default() -> Self {
        Self {
            newest: BoundedList::new(MOST_QUERY_IDS, usize::MAX),
            count: 0,
        }
    }
}

impl Current {
    /// Returns the time zone in which timestamps are shown and parsed.
    pub fn zone(&self) -> Tz {
        let name = parameters::value(&self.settings, "TIMEZONE");
        name.parse().unwrap_or(DEFAULT_ZONE)
    }
}

impl Session {
    /// Returns a new session of `user`, with the role ACCOUNTADMIN.
    pub fn new(account: Arc<Account>, user: Ident) -> Self {
        let state = Current {
            role: Some(Ident::unquoted("ACCOUNTADMIN")),
            ..Current::default()
        };
        Self {
            id: account.next_session_id(),
            account,
            user,
            state: Mutex::new(state),
            queries: Mutex::default(),
        }
    }

    /// Returns a session with the same id, user, role, warehouse and parameters, but with another
    /// database and schema, and without variables.
    pub fn in_schema(&self, database: &Ident, schema: &Ident) -> Self {
        let current = self.current();
        let state = Current {
            role: current.role,
            warehouse: current.warehouse,
            database: Some(database.clone()),
            schema: Some(schema.clone()),
            settings: current.settings,
            ..Current::default()
        };
        Self {
            account: Arc::clone(&self.account),
            user: self.user.clone(),
            id: self.id,
            state: Mutex::new(state),
            queries: Mutex::default(),
        }
    }

    /// Returns the number of the session, which is unique since the account was opened.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub fn user(&self) -> &Ident {
        &self.user
    }

    fn state(&self) -> MutexGuard<'_, Current> {
        self.state.lock()
    }

    pub fn current(&self) -> Current {
        self.state().clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut Current)) {
        change(&mut self.state());
    }

    /// Returns the role that owns the objects that the session creates.
    pub fn role(&self) -> Ident {
        let role = self.state().role.clone();
        role.unwrap_or_else(|| Ident::unquoted("PUBLIC"))
    }

    /// Returns the full name of an object of a kind. Missing parts come from the session.
    pub fn full_name(&self, kind: Kind, name: &ObjectName) -> SqlResult<ObjectName> {
        self.full_name_in(kind.scope(), name)
    }

    /// Returns the full name of an object in a scope. Missing parts come from the session.
    pub fn full_name_in(&self, scope: Scope, name: &ObjectName) -> SqlResult<ObjectName> {
        let parts = scope.parts();
        let given = name.0.len();
        if given > parts {
            let text = format!("Invalid object name '{name}': it has more than {parts} parts.");
            return Err(SqlError::compilation(code::SYNTAX, text));
        }
        let state = self.state();
        let mut full = Vec::with_capacity(parts);
        if given < parts && parts > 1 {
            let database = state.database.clone().ok_or_else(no_database)?;
            full.push(database);
        }
        if given + 1 < parts {
            let schema = state.schema.clone().ok_or_else(no_schema)?;
            full.push(schema);
        }
        full.extend(name.0.iter().cloned());
        Ok(ObjectName(full))
    }

    /// Creates an object for a CREATE statement, and returns the status.
    pub fn create(
        &self,
        kind: Kind,
        create: &Create,
        properties: Properties,
        state: State,
    ) -> SqlResult<Rows> {
        let name = self.full_name(kind, &create.name)?;
        if create.if_not_exists && self.account.get(kind, &name).is_some() {
            let text = format!("{} already exists, statement succeeded.", name.last());
            return Ok(Rows::status(text));
        }
        linked_database::check_writable(&self.account, kind, &name)?;
        let noun = kind.info().created_noun;
        let status = format!("{noun} {} successfully created.", name.last());
        let owner = self.role();
        self.account
            .create(kind, name, owner, properties, state, create.or_replace)?;
        Ok(Rows::status(status))
    }

    /// Creates an object, in place of an existing one of the same name.
    pub fn create_or_replace(
        &self,
        kind: Kind,
        name: ObjectName,
        properties: Properties,
        state: State,
    ) -> SqlResult<Object> {
        let owner = self.role();
        self.account
            .create(kind, name, owner, properties, state, true)
    }

    /// Returns whether CREATE IF NOT EXISTS finds the object, and so has nothing to do.
    pub fn is_skipped(&self, kind: Kind, create: &Create) -> SqlResult<bool> {
        let name = self.full_name(kind, &create.name)?;
        Ok(create.if_not_exists && self.account.get(kind, &name).is_some())
    }

    /// Sets the current database and schema. Without a schema it is PUBLIC, if the database has
    /// that schema.
    pub fn use_database(&self, database: &Ident, schema: Option<&Ident>) {
        let schema = schema.cloned().or_else(|| {
            let public = ObjectName(vec![database.clone(), Ident::unquoted("PUBLIC")]);
            let found = self.account.get(Kind::Schema, &public);
            found.map(|schema| schema.name.last().clone())
        });
        let mut state = self.state();
        state.database = Some(database.clone());
        state.schema = schema;
    }

    pub fn use_warehouse(&self, warehouse: &Ident) {
        self.state().warehouse = Some(warehouse.clone());
    }

    /// Records that a statement with this id has ended.
    pub fn remember(&self, query_id: &str) {
        let mut queries = self.query_ids();
        queries.newest.push(query_id.to_owned(), query_id.len());
        queries.count += 1;
    }

    fn query_ids(&self) -> MutexGuard<'_, QueryIds> {
        self.queries.lock()
    }

    /// Returns the result of a statement of this session's user.
    ///
    /// # Errors
    /// If the statement has no result, or it is no longer kept.
    pub fn result(&self, query_id: &str) -> SqlResult<Rows> {
        self.account.history.result(query_id, &self.user)
    }

    /// Returns the id of an earlier statement: -1 is the last one, -2 the one before it, 1 the
    /// session's first.
    pub fn last_query_id(&self, index: i64) -> Option<String> {
        let queries = self.query_ids();
        let forgotten = queries.count - queries.newest.len() as i64;
        let position = match index {
            ..0 => queries.count + index,
            _ => index - 1,
        };
        let position = usize::try_from(position - forgotten).ok()?;
        queries.newest.iter().nth(position).cloned()
    }
}

fn no_database() -> SqlError {
    SqlError::new(
        code::NO_CURRENT_DATABASE,
        "Cannot perform operation. This session does not have a current database. Call 'USE DATABASE', or use a qualified name.",
    )
}

fn no_schema() -> SqlError {
    SqlError::new(
        code::NO_CURRENT_SCHEMA,
        "Cannot perform operation. This session does not have a current schema. Call 'USE SCHEMA', or use a qualified name.",
    )
}
