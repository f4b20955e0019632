//! The objects of an account: their kinds, properties and columns.
//!
//! Every kind is one file with a [`Definition`]; [`Kind::definition`] is the one table of them.

pub mod catalog_integration;
pub mod columns;
pub mod database;
mod ddl;
pub mod external_volume;
pub mod iceberg_table;
pub mod native_table;
pub mod network_policy;
pub mod network_rule;
pub mod postgres_instance;
pub mod procedure;
pub mod properties;
mod role;
pub mod schema;
pub mod stage;
pub mod storage_integration;
pub mod stream;
pub mod table;
pub mod task;
mod warehouse;

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::session::Session;
use super::statement::Context;
use columns::Column;
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;
use properties::{Properties, Property};

pub use ddl::get_ddl;

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Role,
    Warehouse,
    Database,
    Schema,
    NetworkRule,
    NetworkPolicy,
    StorageIntegration,
    ExternalVolume,
    CatalogIntegration,
    PostgresInstance,
    /// Native and Iceberg tables, which share a namespace.
    Table,
    Stage,
    Stream,
    Procedure,
    Task,
}

/// All kinds. Where the words of one kind begin with those of another, the longer come first.
pub const KINDS: [Kind; 15] = [
    Kind::Role,
    Kind::Warehouse,
    Kind::Database,
    Kind::Schema,
    Kind::NetworkRule,
    Kind::NetworkPolicy,
    Kind::StorageIntegration,
    Kind::ExternalVolume,
    Kind::CatalogIntegration,
    Kind::PostgresInstance,
    Kind::Table,
    Kind::Stage,
    Kind::Stream,
    Kind::Procedure,
    Kind::Task,
];

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
}

/// The state of an object besides its properties.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum State {
    None,
    Principal(storage_integration::Principal),
    PostgresInstance(postgres_instance::Instance),
    IcebergTable(iceberg_table::IcebergTable),
    Table(native_table::Table),
    Stage(stage::Stage),
    Stream(stream::Stream),
    Procedure(procedure::Procedure),
    Task(task::Task),
    Warehouse(warehouse::Warehouse),
}

/// The part of `CREATE [OR REPLACE] … [IF NOT EXISTS] name` that all kinds share.
#[derive(Clone, Debug)]
pub struct Create {
    /// The name as it was written.
    pub name: ObjectName,
    pub or_replace: bool,
    pub if_not_exists: bool,
}

/// The description of a kind of object, as data.
pub struct About {
    pub kind: Kind,
    /// The kind's words in statements, in upper case: `NETWORK RULE`. Synonyms come after the
    /// first.
    pub words: &'static [&'static str],
    /// The kind's plural in SHOW, in upper case: `NETWORK RULES`. Synonyms come after the first.
    pub plural: &'static [&'static str],
    pub scope: Scope,
    /// The noun in messages: `Integration 'X' does not exist`.
    pub noun: &'static str,
    /// The texts that CREATE returns before and after the name.
    pub created: (&'static str, &'static str),
    /// The options of CREATE and of ALTER … SET.
    pub properties: &'static [Property],
    /// The columns of SHOW.
    pub columns: &'static [Column],
}

/// The definition of a kind of object: its description, and what statements do with it.
#[async_trait]
pub trait Definition: Sync {
    fn about(&self) -> &'static About;

    /// Returns the error for an object that does not exist.
    fn missing(&self, name: &ObjectName) -> SqlError {
        SqlError::no_such(self.about().noun, name)
    }

    /// Parses the options that follow the name in CREATE.
    fn options(&self, cursor: &mut Cursor<'_>) -> SqlResult<Properties> {
        Properties::parse_new(cursor, self.about().properties)
    }

    /// Returns the state of a new object.
    fn state(&self, _session: &Session, _properties: &Properties) -> State {
        State::None
    }

    /// Runs after an object was created.
    async fn created(&self, _session: &Session, _name: &ObjectName) -> SqlResult<()> {
        Ok(())
    }

    /// Parses and runs what follows the name in CREATE.
    async fn create(
        &self,
        context: Context<'_>,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Rows> {
        let session = context.session;
        let properties = self.options(cursor)?;
        cursor.expect_end()?;
        self.check(session, &properties)?;
        let kind = self.about().kind;
        let is_there = session.is_there(kind, &create)?;
        let state = self.state(session, &properties);
        let rows = session.create(kind, &create, properties, state)?;
        if !is_there {
            let name = session.full_name(kind, &create.name)?;
            self.created(session, &name).await?;
        }
        Ok(rows)
    }

    /// Checks the options of a new or an altered object beyond their types.
    fn check(&self, _session: &Session, _properties: &Properties) -> SqlResult<()> {
        Ok(())
    }

    /// Returns the options that ALTER … SET and UNSET may change.
    fn alterable(&self, _object: &Object) -> &'static [Property] {
        self.about().properties
    }

    /// Parses and runs what follows the name in ALTER, except RENAME TO, SET and UNSET.
    async fn alter(
        &self,
        _session: &Session,
        _object: Object,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Rows> {
        Err(cursor.unexpected())
    }

    /// Runs before SET and UNSET. An error leaves the object unchanged.
    fn before_alter(&self, _session: &Session, _object: &Object) -> SqlResult<()> {
        Ok(())
    }

    /// Runs after SET and UNSET have changed the object.
    async fn altered(&self, _session: &Session, _object: &Object) -> SqlResult<()> {
        Ok(())
    }

    /// Runs before an object is dropped. An error keeps the object.
    async fn before_drop(&self, _session: &Session, _object: &Object) -> SqlResult<()> {
        Ok(())
    }

    /// Returns the statement that recreates the object under this name, without a semicolon; `None`
    /// where `GET_DDL` does not support the kind.
    async fn ddl(&self, _: &Session, _: &Object, _name: &str) -> SqlResult<Option<String>> {
        Ok(None)
    }

    /// Returns the result set of DESCRIBE.
    async fn describe(&self, session: &Session, object: &Object) -> SqlResult<Rows>;
}

impl Kind {
    pub fn definition(self) -> &'static dyn Definition {
        match self {
            Self::Role => &role::Definition,
            Self::Warehouse => &warehouse::Definition,
            Self::Database => &database::Definition,
            Self::Schema => &schema::Definition,
            Self::NetworkRule => &network_rule::Definition,
            Self::NetworkPolicy => &network_policy::Definition,
            Self::StorageIntegration => &storage_integration::Definition,
            Self::ExternalVolume => &external_volume::Definition,
            Self::CatalogIntegration => &catalog_integration::Definition,
            Self::PostgresInstance => &postgres_instance::Definition,
            Self::Table => &table::Definition,
            Self::Stage => &stage::Definition,
            Self::Stream => &stream::Definition,
            Self::Procedure => &procedure::Definition,
            Self::Task => &task::Definition,
        }
    }

    pub fn about(self) -> &'static About {
        self.definition().about()
    }

    pub fn scope(self) -> Scope {
        self.about().scope
    }

    /// Returns the error for an object that does not exist.
    pub fn missing(self, name: &ObjectName) -> SqlError {
        self.definition().missing(name)
    }

    pub fn is_container(self) -> bool {
        matches!(self, Self::Database | Self::Schema)
    }

    /// Returns whether containers of the kind `container` contain objects of this kind.
    pub fn is_inside(self, container: Self) -> bool {
        match container {
            Self::Database => self.scope() != Scope::Account && self != Self::Database,
            Self::Schema => self.scope() == Scope::Schema,
            _ => false,
        }
    }

    /// Consumes the words of a kind if they come next, and returns the kind.
    pub fn accept(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut kinds = KINDS.into_iter();
        kinds.find(|kind| {
            let mut words = kind.about().words.iter();
            words.any(|words| cursor.accept(words))
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.about().words[0])
    }
}
