//! Schemas.

use async_trait::async_trait;

use super::{Ddl, KindInfo, ObjectKind, View};
use crate::account::Account;
use crate::object::columns::{
    self, COMMENT, CREATED, CREATED_ON, Column, DATABASE_NAME, IS_CURRENT, LAST_ALTERED, NAME,
    OWNER, OWNER_ROLE_TYPE, VIEW_COMMENT, column, name_part, retention_time, text,
};
use crate::object::properties::{self, Properties, Property, PropertyType, Value};
use crate::object::{Object, Scope, ddl};
use crate::session::Session;
use crate::{Kind, State};
use icebox_sql::error::SqlResult;
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;

/// The schema of views that every database has.
pub const INFORMATION_SCHEMA: &str = "INFORMATION_SCHEMA";

pub struct SchemaKind;

const PROPERTIES: &[Property] = &[
    Property::new("DATA_RETENTION_TIME_IN_DAYS", PropertyType::Integer(0, 90)).with_default("1"),
    properties::COMMENT,
];

const INFO: KindInfo = KindInfo {
    properties: PROPERTIES,
    show: &[
        CREATED_ON,
        NAME,
        column("is_default", |_| "N".into()),
        IS_CURRENT,
        DATABASE_NAME,
        OWNER,
        COMMENT,
        column("options", |_| "".into()),
        column("retention_time", |object| {
            let days = object.properties.text("DATA_RETENTION_TIME_IN_DAYS");
            days.unwrap_or_default().into()
        }),
        OWNER_ROLE_TYPE,
    ],
    has_terse: true,
    can_undrop: true,
    ddl: Some(Ddl {
        object_type: "SCHEMA",
        statement: |_, schema, name| {
            let options = ddl::options(&schema.properties, PROPERTIES, " ");
            Some(format!("create or replace schema {name}{options}"))
        },
    }),
    view: Some(View {
        names: &["SCHEMATA"],
        columns: &[
            column("CATALOG_NAME", |object| name_part(object, 0)),
            column("SCHEMA_NAME", |object| name_part(object, 1)),
            column("SCHEMA_OWNER", |object| text(object.owner.as_str())),
            column("IS_TRANSIENT", |_| text("NO")),
            column("IS_MANAGED_ACCESS", |_| text("NO")),
            Column::number("RETENTION_TIME", retention_time),
            CREATED,
            LAST_ALTERED,
            VIEW_COMMENT,
        ],
    }),
    ..KindInfo::new(
        Kind::Schema,
        &["SCHEMA"],
        "SCHEMAS",
        Scope::Database,
        "Schema",
    )
};

/// Returns the schema `INFORMATION_SCHEMA` of a database.
fn information_schema(database: Object) -> Object {
    let mut name = database.name.clone();
    name.0.push(Ident::quoted(INFORMATION_SCHEMA));
    let mut properties = Properties::default();
    let comment = "Views describing the contents of schemas in this database";
    properties.set("COMMENT", Value::Text(comment.to_owned()));
    Object {
        name,
        properties,
        state: State::None,
        ..database
    }
}

#[async_trait]
impl ObjectKind for SchemaKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    async fn created(&self, session: &Session, name: &ObjectName) -> SqlResult<()> {
        session.use_database(&name.0[0], Some(&name.0[1]));
        Ok(())
    }

    fn dropped(&self, session: &Session, name: &ObjectName) {
        session.change(|current| {
            if current.database.as_ref() == Some(&name.0[0]) {
                current.schema.take_if(|current| current == name.last());
            }
        });
    }

    fn built_in(&self, account: &Account, within: &[Ident]) -> Vec<Object> {
        let mut databases = account.list(Kind::Database, &[]);
        databases.retain(|database| database.name.0.starts_with(within));
        databases.into_iter().map(information_schema).collect()
    }

    async fn describe(&self, session: &Session, object: &Object) -> SqlResult<Rows> {
        let account = session.account();
        let objects = Kind::Schema.namespaces_inside().flat_map(|kind| {
            let objects = account.list_namespace(kind, &object.name.0).into_iter();
            objects.map(move |object| (kind.of(&object), object))
        });
        let objects: Vec<_> = objects.collect();
        columns::describe_contents(objects.iter().map(|(kind, object)| (*kind, object)))
    }
}
