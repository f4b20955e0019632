//! The kinds of objects.
//!
//! Every kind is one file, with its data in a [`KindInfo`] and what it does in an [`ObjectKind`],
//! and one line in the table of kinds at the root of the crate.

pub(crate) mod catalog_integration;
pub mod catalog_sync;
pub(crate) mod database;
pub(crate) mod external_volume;
pub(crate) mod iceberg_table;
pub(crate) mod native_table;
pub(crate) mod network_policy;
pub(crate) mod network_rule;
pub mod postgres_instance;
pub(crate) mod procedure;
pub(crate) mod role;
pub(crate) mod schema;
pub(crate) mod stage;
pub(crate) mod storage_integration;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod warehouse;

use std::fmt;

use async_trait::async_trait;

use crate::account::Account;
use crate::object::columns::{Column, result_set};
use crate::object::properties::{Properties, Property};
use crate::object::{Create, Object, Scope};
use crate::session::Session;
use crate::{KINDS, Kind, State};
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;

/// A kind of object, as data.
pub struct KindInfo {
    pub kind: Kind,
    /// The kind's words in statements, in upper case: `NETWORK RULE`. Synonyms come after the
    /// first.
    pub words: &'static [&'static str],
    /// The kind's plural in SHOW, in upper case: `NETWORK RULES`.
    pub plural: &'static str,
    pub scope: Scope,
    /// The kind that gives its name to the namespace, in which a name is unique: the kind itself,
    /// unless it shares the namespace of another.
    pub namespace: Kind,
    /// The noun in messages: `Integration 'X' does not exist`.
    pub noun: &'static str,
    /// The noun in the status of CREATE: `Stage area X successfully created.`
    pub created_noun: &'static str,
    /// The options of CREATE and of ALTER … SET.
    pub properties: &'static [Property],
    /// The options of ALTER … SET, if they are not those of CREATE.
    pub alterable: Option<&'static [Property]>,
    /// The kinds that SHOW lists under the plural.
    pub shown: &'static [Kind],
    /// The columns of SHOW.
    pub show: &'static [Column],
    /// Whether SHOW TERSE is documented.
    pub has_terse: bool,
    /// The columns of DESCRIBE, which returns one row. A kind without any has its own
    /// [`ObjectKind::describe`], or no DESCRIBE.
    pub describe: &'static [Column],
    /// Whether a list of argument types may follow the name, as in `DROP PROCEDURE p (VARCHAR)`.
    pub has_signature: bool,
    pub can_undrop: bool,
    pub ddl: Option<Ddl>,
    pub view: Option<View>,
}

impl KindInfo {
    /// Returns the data of a kind that has nothing but its names.
    pub const fn new(
        kind: Kind,
        words: &'static [&'static str],
        plural: &'static str,
        scope: Scope,
        noun: &'static str,
    ) -> Self {
        Self {
            kind,
            words,
            plural,
            scope,
            namespace: kind,
            noun,
            created_noun: noun,
            properties: &[],
            alterable: None,
            shown: &[],
            show: &[],
            has_terse: false,
            describe: &[],
            has_signature: false,
            can_undrop: false,
            ddl: None,
            view: None,
        }
    }
}

/// What `GET_DDL` returns for a kind.
pub struct Ddl {
    /// The object type that `GET_DDL` takes.
    pub object_type: &'static str,
    /// Returns the statement that recreates an object under this name, without a semicolon.
    pub statement: fn(&Account, &Object, &str) -> Option<String>,
}

/// A view of `INFORMATION_SCHEMA` with a row for each object of a kind.
pub struct View {
    /// The view's name, and its synonyms.
    pub names: &'static [&'static str],
    pub columns: &'static [Column],
}

/// The outcome of a CREATE.
pub enum Created {
    /// The object exists now, or did before.
    Done(Rows),
    /// A table is still to be created, from a query.
    AsSelect(table::AsSelect),
}

/// A kind of object: its data, and what statements do with it.
#[async_trait]
pub trait ObjectKind: Sync {
    fn info(&self) -> &'static KindInfo;

    /// Returns the error for an object that does not exist.
    fn missing(&self, name: &ObjectName) -> SqlError {
        SqlError::no_such(self.info().noun, name)
    }

    /// Returns the kind of the namespace that CREATE means, which may depend on what follows the
    /// name.
    fn kind_of_new(&self, _cursor: &Cursor<'_>) -> Kind {
        self.info().kind
    }

    /// Parses the options that follow the name in CREATE.
    fn options(&self, cursor: &mut Cursor<'_>) -> SqlResult<Properties> {
        Properties::parse_new(cursor, self.info().properties)
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
        session: &Session,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Created> {
        let properties = self.options(cursor)?;
        cursor.expect_end()?;
        self.check(session, &properties)?;
        let kind = self.info().kind;
        let is_skipped = session.is_skipped(kind, &create)?;
        let state = self.state(session, &properties);
        let rows = session.create(kind, &create, properties, state)?;
        if !is_skipped {
            let name = session.full_name(kind, &create.name)?;
            self.created(session, &name).await?;
        }
        Ok(Created::Done(rows))
    }

    /// Checks the options of a new or an altered object beyond their types.
    fn check(&self, _session: &Session, _properties: &Properties) -> SqlResult<()> {
        Ok(())
    }

    /// Checks that ALTER may call an object of this kind by the words of another kind of its
    /// namespace.
    fn check_altered_as(&self, _said: Kind, _name: &ObjectName) -> SqlResult<()> {
        Ok(())
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

    /// Runs after an object was dropped.
    fn dropped(&self, _session: &Session, _name: &ObjectName) {}

    /// Returns the objects that exist without CREATE in each of the containers whose names begin
    /// with these parts.
    fn built_in(&self, _account: &Account, _within: &[Ident]) -> Vec<Object> {
        Vec::new()
    }

    /// Returns the objects of the same kind that must exist before this one.
    fn prerequisites<'a>(&self, _object: &'a Object) -> &'a [ObjectName] {
        &[]
    }

    /// Returns the result set of DESCRIBE.
    async fn describe(&self, _session: &Session, object: &Object) -> SqlResult<Rows> {
        let info = self.info();
        if info.describe.is_empty() {
            return Err(SqlError::unsupported(format!("DESCRIBE {}", info.kind)));
        }
        result_set(info.describe, [object])
    }
}

impl Kind {
    pub fn info(self) -> &'static KindInfo {
        self.definition().info()
    }

    pub fn scope(self) -> Scope {
        self.info().scope
    }

    /// Returns the kind that gives its name to this kind's namespace.
    pub fn namespace(self) -> Self {
        self.info().namespace
    }

    /// Returns the kind of an object that was found in this kind's namespace. Kinds that share a
    /// namespace have different states.
    pub fn of(self, object: &Object) -> Self {
        object.state.kind().unwrap_or(self)
    }

    /// Returns the kinds that SHOW lists under this kind's plural.
    pub fn shown(self) -> Vec<Self> {
        match self.info().shown {
            [] => vec![self],
            kinds => kinds.to_vec(),
        }
    }

    /// Returns the options that ALTER … SET and UNSET may change.
    pub fn alterable(self) -> &'static [Property] {
        let info = self.info();
        info.alterable.unwrap_or(info.properties)
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

    /// Returns the namespaces of the objects that containers of this kind contain.
    pub fn namespaces_inside(self) -> impl Iterator<Item = Self> {
        let kinds = KINDS.iter().copied();
        kinds.filter(move |kind| kind.namespace() == *kind && kind.is_inside(self))
    }

    /// Consumes the words of a kind if they come next, and returns the kind.
    pub fn accept(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut kinds = KINDS.iter().copied();
        kinds.find(|kind| {
            let mut words = kind.info().words.iter();
            words.any(|words| cursor.accept(words))
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().words[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_kind_are_of_no_other() {
        for kind in KINDS {
            let info = kind.info();
            assert_eq!(info.kind, *kind);
            for words in info.words {
                let accepted = Kind::accept(&mut Cursor::new(words).unwrap());
                assert_eq!(accepted, Some(*kind), "{words}");
            }
            let listed = KINDS.iter().filter(|one| one.info().plural == info.plural);
            assert_eq!(listed.count(), 1, "{}", info.plural);
        }
    }

    #[test]
    fn a_namespace_is_called_after_one_of_its_kinds() {
        for kind in KINDS {
            let namespace = kind.namespace();
            assert_eq!(namespace.namespace(), namespace);
            assert_eq!(namespace.scope(), kind.scope());
        }
    }
}
