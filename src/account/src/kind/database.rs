//! Databases. Each has the schemas PUBLIC and `INFORMATION_SCHEMA`, and may be linked to a catalog.

use async_trait::async_trait;

use super::{Ddl, KindInfo, ObjectKind, View, catalog_sync};
use crate::linked_database::link;
use crate::object::columns::{
    self, COMMENT, CREATED, CREATED_ON, Column, IS_CURRENT, LAST_ALTERED, NAME, OWNER,
    OWNER_ROLE_TYPE, VIEW_COMMENT, column, name_part, retention_time, text,
};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Object, Scope, ddl};
use crate::session::Session;
use crate::{Kind, State, references};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;

pub struct DatabaseKind;

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

const INFO: KindInfo = KindInfo {
    properties: PROPERTIES,
    show: &[
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
    has_terse: true,
    can_undrop: true,
    ddl: Some(Ddl {
        object_type: "DATABASE",
        statement: |_, database, name| {
            let options = ddl::options(&database.properties, PROPERTIES, " ");
            Some(format!("create or replace database {name}{options}"))
        },
    }),
    view: Some(View {
        names: &["DATABASES"],
        columns: &[
            column("DATABASE_NAME", |object| name_part(object, 0)),
            column("DATABASE_OWNER", |object| text(object.owner.as_str())),
            column("IS_TRANSIENT", |_| text("NO")),
            VIEW_COMMENT,
            CREATED,
            LAST_ALTERED,
            Column::number("RETENTION_TIME", retention_time),
            column("TYPE", |_| text("STANDARD")),
        ],
    }),
    ..KindInfo::new(
        Kind::Database,
        &["DATABASE"],
        "DATABASES",
        Scope::Account,
        "Database",
    )
};

#[async_trait]
impl ObjectKind for DatabaseKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn check(&self, session: &Session, properties: &Properties) -> SqlResult<()> {
        let Some(link) = properties.options("LINKED_CATALOG") else {
            return match properties.get("CATALOG_CASE_SENSITIVITY") {
                Some(value) => Err(SqlError::bad_value(value, "CATALOG_CASE_SENSITIVITY")),
                None => Ok(()),
            };
        };
        if let Some(name) = link.name("CATALOG") {
            let catalog = references::enabled_catalog(session.account(), name)?;
            if !references::is_postgres_catalog(&catalog) {
                let text = format!(
                    "{name} (must be of the source {})",
                    references::SNOWFLAKE_POSTGRES
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
            catalog_sync::create_public_schema(account, &database)?;
            session.use_database(name.last(), None);
            account.polls.notify();
            // The database is created even if the catalog cannot be read.
            // SYSTEM$CATALOG_LINK_STATUS shows the error.
            let _ = catalog_sync::sync(account, &database).await;
            return Ok(());
        }
        let public = ObjectName(vec![name.last().clone(), Ident::unquoted("PUBLIC")]);
        session.create_or_replace(Kind::Schema, public, Properties::default(), State::None)?;
        session.use_database(name.last(), None);
        Ok(())
    }

    async fn describe(&self, session: &Session, object: &Object) -> SqlResult<Rows> {
        let schemas = session.account().list(Kind::Schema, &object.name.0);
        columns::describe_contents(schemas.iter().map(|schema| (Kind::Schema, schema)))
    }

    fn dropped(&self, session: &Session, name: &ObjectName) {
        session.change(|current| {
            if current.database.as_ref() == Some(name.last()) {
                current.database = None;
                current.schema = None;
            }
        });
    }
}
