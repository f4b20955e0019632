//! Databases. Each has the schemas PUBLIC and INFORMATION_SCHEMA, and may be linked to a catalog.

use async_trait::async_trait;

use super::columns::{COMMENT, CREATED_ON, NAME, OWNER, OWNER_ROLE_TYPE, TIME, column};
use super::properties::{self, Properties, Property, PropertyType};
use super::{About, Create, Kind, Object, Scope, State};
use crate::snowflake::error::SqlResult;
use crate::snowflake::names::{Ident, ObjectName};
use crate::snowflake::rows::Rows;
use crate::snowflake::session::Session;
use crate::snowflake::syntax::Cursor;
use crate::snowflake::types::DataType;

pub struct Definition;

const PROPERTIES: &[Property] = &[
    Property::new("DATA_RETENTION_TIME_IN_DAYS", PropertyType::Integer(0, 90)).with_default("1"),
    properties::COMMENT,
];

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
        column("is_current", |_| "N".into()),
        column("origin", |_| "".into()),
        OWNER,
        COMMENT,
        column("options", |_| "".into()),
        column("retention_time", |object| {
            let days = object.properties.text("DATA_RETENTION_TIME_IN_DAYS");
            days.unwrap_or_default().into()
        }),
        column("kind", |_| "STANDARD".into()),
        OWNER_ROLE_TYPE,
    ],
};

#[async_trait]
impl super::Definition for Definition {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    async fn create(
        &self,
        session: &Session,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Rows> {
        let properties = Properties::parse_new(cursor, PROPERTIES)?;
        cursor.expect_end()?;
        let name = session.full_name(Kind::Database, &create.name)?;
        let is_new = create.or_replace || session.account().get(Kind::Database, &name).is_none();
        let rows = session.create(Kind::Database, &create, properties, State::None)?;
        if is_new {
            let public = ObjectName(vec![name.last().clone(), Ident::unquoted("PUBLIC")]);
            session.put(Kind::Schema, public, Properties::default(), State::None)?;
            session.use_database(name.last(), None);
        }
        Ok(rows)
    }

    async fn describe(&self, session: &Session, object: &Object) -> SqlResult<Rows> {
        let schemas = session.account().list(Kind::Schema, &object.name.0);
        let rows = schemas.iter().map(|schema| {
            vec![
                super::columns::time(schema.created_on),
                schema.name.last().as_str().into(),
                "SCHEMA".into(),
            ]
        });
        Rows::of(
            &[
                ("created_on", TIME),
                ("name", DataType::TEXT),
                ("kind", DataType::TEXT),
            ],
            rows,
        )
    }
}
