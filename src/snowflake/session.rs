//! A session: who, where in the account, and what it remembers between statements.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::ScalarValue;

use super::account::Account;
use super::error::{SqlError, SqlResult};
use super::names::{Ident, ObjectName};
use super::object::properties::Properties;
use super::object::{Create, Kind, Object, Scope, State};
use super::rows::Rows;
use super::types::DataType;

/// Results that `RESULT_SCAN` can go back to.
const RESULTS: usize = 32;

/// A session. Cheap to share; statements may run at the same time.
pub struct Session {
    account: Arc<Account>,
    user: Ident,
    state: Mutex<Current>,
}

/// What USE and SET change.
#[derive(Clone, Debug, Default)]
pub struct Current {
    pub role: Option<Ident>,
    pub warehouse: Option<Ident>,
    pub database: Option<Ident>,
    pub schema: Option<Ident>,
    pub variables: BTreeMap<Ident, (ScalarValue, DataType)>,
    pub time_zone: Option<String>,
    /// By query id, the newest last.
    results: VecDeque<(String, Rows)>,
}

impl Session {
    /// A session of `user`, with the role ACCOUNTADMIN.
    pub fn new(account: Arc<Account>, user: Ident) -> Session {
        let state = Current {
            role: Some(Ident::unquoted("ACCOUNTADMIN")),
            ..Current::default()
        };
        Session {
            account,
            user,
            state: Mutex::new(state),
        }
    }

    /// A session that runs beside this one: same user and place, nothing remembered.
    pub fn beside(&self, database: &Ident, schema: &Ident) -> Session {
        let current = self.current();
        let state = Current {
            role: current.role,
            warehouse: current.warehouse,
            database: Some(database.clone()),
            schema: Some(schema.clone()),
            time_zone: current.time_zone,
            ..Current::default()
        };
        Session {
            account: Arc::clone(&self.account),
            user: self.user.clone(),
            state: Mutex::new(state),
        }
    }

    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub fn user(&self) -> &Ident {
        &self.user
    }

    fn state(&self) -> MutexGuard<'_, Current> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn current(&self) -> Current {
        let state = self.state();
        Current {
            results: VecDeque::new(),
            ..Current::clone(&state)
        }
    }

    pub fn change(&self, change: impl FnOnce(&mut Current)) {
        change(&mut self.state());
    }

    /// The role that owns what the session makes.
    pub fn role(&self) -> Ident {
        let role = self.state().role.clone();
        role.unwrap_or_else(|| Ident::unquoted("PUBLIC"))
    }

    /// The full name of an object of a kind: what is missing comes from the session.
    pub fn full_name(&self, kind: Kind, name: &ObjectName) -> SqlResult<ObjectName> {
        self.full_name_in(kind.scope(), name)
    }

    /// The same for a name in a scope.
    pub fn full_name_in(&self, scope: Scope, name: &ObjectName) -> SqlResult<ObjectName> {
        let parts = scope.parts();
        let given = name.0.len();
        if given > parts {
            let text = format!("Invalid object name '{name}': it has more than {parts} parts.");
            return Err(SqlError::compilation(1003, "42000", text));
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

    /// Makes an object as CREATE says, and answers its status.
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
        let (before, after) = kind.about().created;
        let status = format!("{before}{}{after}", name.last());
        let owner = self.role();
        self.account
            .create(kind, name, owner, properties, state, create.or_replace)?;
        Ok(Rows::status(status))
    }

    /// Makes an object, in place of any of that name.
    pub fn put(
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

    /// Whether CREATE would find something and be content with it.
    pub fn is_there(&self, kind: Kind, create: &Create) -> SqlResult<bool> {
        let name = self.full_name(kind, &create.name)?;
        Ok(create.if_not_exists && self.account.get(kind, &name).is_some())
    }

    /// Goes to a database, and in it to a schema: PUBLIC if there is one and none is named.
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

    /// Keeps a statement's answer for `RESULT_SCAN`.
    pub fn remember(&self, query_id: &str, rows: &Rows) {
        let mut state = self.state();
        if state.results.len() == RESULTS {
            state.results.pop_front();
        }
        state.results.push_back((query_id.to_owned(), rows.clone()));
    }

    /// The answer of a statement of this session.
    pub fn result(&self, query_id: &str) -> SqlResult<Rows> {
        let state = self.state();
        let found = state.results.iter().find(|(id, _)| id == query_id);
        let found = found.map(|(_, rows)| rows.clone());
        found.ok_or_else(|| {
            let text = format!("Statement {query_id} not found");
            SqlError::new(709, "02000", text)
        })
    }

    /// The id of the statement before; -1 is the last one, -2 the one before it.
    pub fn last_query_id(&self, index: i64) -> Option<String> {
        let state = self.state();
        let count = state.results.len() as i64;
        let position = if index < 0 { count + index } else { index - 1 };
        let position = usize::try_from(position).ok()?;
        state.results.get(position).map(|(id, _)| id.clone())
    }

    /// Tells every server who may connect to it now.
    pub async fn apply_network_policies(&self) -> SqlResult<()> {
        for instance in self.account.list(Kind::PostgresInstance, &[]) {
            super::object::postgres_instance::apply_policy(self, &instance).await?;
        }
        Ok(())
    }
}

fn no_database() -> SqlError {
    SqlError::new(
        90105,
        "22000",
        "Cannot perform operation. This session does not have a current database. Call 'USE DATABASE', or use a qualified name.",
    )
}

fn no_schema() -> SqlError {
    SqlError::new(
        90106,
        "22000",
        "Cannot perform operation. This session does not have a current schema. Call 'USE SCHEMA', or use a qualified name.",
    )
}
