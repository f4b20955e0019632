//! Schemas.

use async_trait::async_trait;

use super::columns::{
    self, COMMENT, CREATED_ON, DATABASE_NAME, IS_CURRENT, NAME, OWNER, OWNER_ROLE_TYPE, column,
};
use super::properties::{self, Properties, Property, PropertyType, Value};
use super::{About, KINDS, Kind, Object, Scope, State, ddl};
use crate::account::Account;
use crate::functions::INFORMATION_SCHEMA;
use crate::session::Session;
use icebox_sql::error::SqlResult;
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;

pub struct Definition;

const PROPERTIES: &[Property] = &[
    Property::new("DATA_RETENTION_TIME_IN_DAYS", PropertyType::Integer(0, 90)).with_default("1"),
    properties::COMMENT,
];

const ABOUT: About = About {
    kind: Kind::Schema,
    words: &["SCHEMA"],
    plural: &["SCHEMAS"],
    scope: Scope::Database,
    noun: "Schema",
    created: ("Schema ", " successfully created."),
    properties: PROPERTIES,
    columns: &[
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
};

/// Returns the schema `INFORMATION_SCHEMA` of a database; `None` if there is no such database.
pub fn information(account: &Account, database: &ObjectName) -> Option<Object> {
    let found = account.get(Kind::Database, database)?;
    let mut name = database.clone();
    name.0.push(Ident::quoted(INFORMATION_SCHEMA));
    let mut properties = Properties::default();
    let comment = "Views describing the contents of schemas in this database";
    properties.set("COMMENT", Value::Text(comment.to_owned()));
    Some(Object {
        name,
        properties,
        state: State::None,
        ..found
    })
}

#[async_trait]
impl super::Definition for Definition {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    async fn created(&self, session: &Session, name: &ObjectName) -> SqlResult<()> {
        session.use_database(&name.0[0], Some(&name.0[1]));
        Ok(())
    }

    async fn describe(&self, session: &Session, object: &Object) -> SqlResult<Rows> {
        let kinds = KINDS
            .into_iter()
            .filter(|kind| kind.is_inside(Kind::Schema));
        let account = session.account();
        let inside: Vec<_> = kinds
            .flat_map(|kind| {
                let objects = account.list(kind, &object.name.0);
                objects.into_iter().map(move |inner| (kind, inner))
            })
            .collect();
        columns::contents(inside.iter().map(|(kind, inner)| (*kind, inner)))
    }

    async fn ddl(&self, _: &Session, object: &Object, name: &str) -> SqlResult<Option<String>> {
        let options = ddl::options(&object.properties, PROPERTIES, " ");
        Ok(Some(format!("create or replace schema {name}{options}")))
    }
}
