//! Databases. Each has the schemas PUBLIC and `INFORMATION_SCHEMA`, and may be linked to a catalog.

use async_trait::async_trait;

use super::columns::{
    self, COMMENT, CREATED_ON, IS_CURRENT, NAME, OWNER, OWNER_ROLE_TYPE, column, text,
};
use super::properties::{self, Properties, Property, PropertyType};
use super::{About, Kind, Object, Scope, State, catalog_integration, ddl};
use crate::account::Account;
use crate::polling;
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;

pub struct Definition;

const PROPERTIES: &[Property] = &[
    Property::new("DATA_RETENTION_TIME_IN_DAYS", PropertyType::Integer(0, 90)).with_default("1"),
    Property::new("LINKED_CATALOG", PropertyType::Options(LINKED_CATALOG)),
    Property::new(
        "CATALOG_CASE_SENSITIVITY",
        PropertyType::OneOf(&["CASE_SENSITIVE", "CASE_INSENSITIVE"]),
    ),
    properties::COMMENT,
];

/// The options of `LINKED_CATALOG` (Snowflake documentation, "CREATE DATABASE (catalog-linked)").
const LINKED_CATALOG: &[Property] = &[
    Property::new("CATALOG", PropertyType::Name).required(),
    Property::new("ALLOWED_NAMESPACES", PropertyType::Texts),
    Property::new("BLOCKED_NAMESPACES", PropertyType::Texts),
    Property::new(
        "ALLOWED_WRITE_OPERATIONS",
        PropertyType::OneOf(&["NONE", "ALL"]),
    ),
    Property::new(
        "NAMESPACE_MODE",
        PropertyType::OneOf(&["IGNORE_NESTED_NAMESPACE", "FLATTEN_NESTED_NAMESPACE"]),
    ),
    Property::new("NAMESPACE_FLATTEN_DELIMITER", PropertyType::Text),
    Property::new("SYNC_INTERVAL_SECONDS", PropertyType::Integer(30, 86_400)).with_default("30"),
];

/// Returns the link of a database to a catalog, as the options of `LINKED_CATALOG`; `None` if the
/// database is not linked.
pub fn link(database: &Object) -> Option<&Properties> {
    database.properties.options("LINKED_CATALOG")
}

/// Returns the name in a linked database of a schema or table of the catalog: unchanged, unless the
/// database has `CATALOG_CASE_SENSITIVITY` = `CASE_INSENSITIVE`.
pub fn ident_of(database: &Object, name: &str) -> Ident {
    let case = database.properties.text("CATALOG_CASE_SENSITIVITY");
    match case.as_deref() {
        Some("CASE_INSENSITIVE") => Ident::unquoted(name),
        _ => Ident::quoted(name),
    }
}

/// Checks that an object may be created, changed or dropped: not in a linked database, whose
/// catalog belongs to PostgreSQL.
///
/// # Errors
/// If the object of this name is, or would be, in a linked database.
pub fn check_writable(account: &Account, kind: Kind, name: &ObjectName) -> SqlResult<()> {
    if kind.scope() == Scope::Account {
        return Ok(());
    }
    let database = ObjectName(name.0[..1].to_vec());
    let database = account.get(Kind::Database, &database);
    match database.filter(|database| link(database).is_some()) {
        None => Ok(()),
        Some(database) => Err(SqlError::compilation(
            code::CATALOG_LINKED_READ_ONLY,
            format_args!(
                "The catalog-linked database {} is read-only: its ALLOWED_WRITE_OPERATIONS is NONE. Make the change in PostgreSQL; it appears here by itself.",
                database.name
            ),
        )),
    }
}

const ABOUT: About = About {
    kind: Kind::Database,
    words: &["DATABASE"],
    plural: &["DATABASES"],
    scope: Scope::Account,
    noun: "Database",
    created: ("Database ", " successfully created."),
    properties: PROPERTIES,
    columns: &[
        CREATED_ON,
        NAME,
        column("is_default", |_| "N".into()),
        IS_CURRENT,
        column("origin", |_| "".into()),
        OWNER,
        COMMENT,
        column("options", |_| "".into()),
        column("retention_time", |object| {
            let days = object.properties.text("DATA_RETENTION_TIME_IN_DAYS");
            days.unwrap_or_default().into()
        }),
        column("kind", |object| {
            text(match link(object) {
                Some(_) => "CATALOG-LINKED DATABASE",
                None => "STANDARD",
            })
        }),
        OWNER_ROLE_TYPE,
    ],
};

#[async_trait]
impl super::Definition for Definition {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check(&self, session: &Session, properties: &Properties) -> SqlResult<()> {
        let Some(link) = properties.options("LINKED_CATALOG") else {
            return match properties.get("CATALOG_CASE_SENSITIVITY") {
                Some(value) => Err(SqlError::bad_value(value, "CATALOG_CASE_SENSITIVITY")),
                None => Ok(()),
            };
        };
        if let Some(name) = link.name("CATALOG") {
            let catalog = catalog_integration::find(session.account(), name)?;
            if !catalog_integration::is_postgres(&catalog) {
                let text = format!(
                    "{name} (must be of the source {})",
                    catalog_integration::SNOWFLAKE_POSTGRES
                );
                return Err(SqlError::bad_value(text, "CATALOG"));
            }
        }
        let code = match link.text("ALLOWED_WRITE_OPERATIONS").as_deref() {
            Some("NONE") => return Ok(()),
            Some(_) => code::CATALOG_LINKED_READ_ONLY,
            None => code::CATALOG_LINKED_WRITES,
        };
        let text = "ALLOWED_WRITE_OPERATIONS must be NONE for a database that is linked to a catalog of SNOWFLAKE_POSTGRES.";
        Err(SqlError::compilation(code, text))
    }

    async fn created(&self, session: &Session, name: &ObjectName) -> SqlResult<()> {
        let account = session.account();
        let database = account.find(Kind::Database, name)?;
        if link(&database).is_some() {
            polling::furnish(account, &database)?;
            session.use_database(name.last(), None);
            account.polls.ring();
            // The database is created even if the catalog cannot be read.
            // SYSTEM$CATALOG_LINK_STATUS shows the error.
            let _ = polling::sync(account, &database).await;
            return Ok(());
        }
        let public = ObjectName(vec![name.last().clone(), Ident::unquoted("PUBLIC")]);
        session.put(Kind::Schema, public, Properties::default(), State::None)?;
        session.use_database(name.last(), None);
        Ok(())
    }

    async fn describe(&self, session: &Session, object: &Object) -> SqlResult<Rows> {
        let schemas = session.account().list(Kind::Schema, &object.name.0);
        columns::contents(schemas.iter().map(|schema| (Kind::Schema, schema)))
    }

    async fn ddl(&self, _: &Session, object: &Object, name: &str) -> SqlResult<Option<String>> {
        let options = ddl::options(&object.properties, PROPERTIES, " ");
        Ok(Some(format!("create or replace database {name}{options}")))
    }
}
