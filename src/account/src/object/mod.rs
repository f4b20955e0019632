//! An object of an account, whatever its kind: name, options and state.

pub mod columns;
pub mod ddl;
pub mod properties;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Kind, State};
use icebox_sql::names::{Ident, ObjectName};
use properties::Properties;

/// The container of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Account,
    Database,
    Schema,
}

impl Scope {
    /// Returns the number of parts that a full name has.
    pub fn parts(self) -> usize {
        match self {
            Self::Account => 1,
            Self::Database => 2,
            Self::Schema => 3,
        }
    }
}

/// An object as the account stores it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Object {
    /// The full name, with the database and the schema that contain the object.
    pub name: ObjectName,
    /// Unique in the account. A replaced object gets a new id.
    pub id: u64,
    pub owner: Ident,
    pub created_on: DateTime<Utc>,
    /// The time of the last ALTER.
    pub updated_on: DateTime<Utc>,
    /// Options that the user has set, and defaults.
    pub properties: Properties,
    /// The state that icebox records besides the options.
    pub state: State,
    /// Whether it is a current object of the session. It is set only when the object is shown to a
    /// session.
    #[serde(skip)]
    pub is_current: bool,
}

impl Object {
    pub fn comment(&self) -> String {
        self.properties.text("COMMENT").unwrap_or_default()
    }

    /// Returns the state, if it is of the type `T`.
    pub fn state<T: KindState>(&self) -> Option<&T> {
        T::of(&self.state)
    }

    /// Returns the state for changing it, if it is of the type `T`.
    pub fn state_mut<T: KindState>(&mut self) -> Option<&mut T> {
        T::of_mut(&mut self.state)
    }
}

/// A state that only objects of one kind have.
pub trait KindState: Sized {
    const KIND: Kind;

    fn of(state: &State) -> Option<&Self>;

    fn of_mut(state: &mut State) -> Option<&mut Self>;
}

/// The part of `CREATE [OR REPLACE] … [IF NOT EXISTS] name` that all kinds share.
#[derive(Clone, Debug)]
pub struct Create {
    /// The name as it was written.
    pub name: ObjectName,
    pub or_replace: bool,
    pub if_not_exists: bool,
}
