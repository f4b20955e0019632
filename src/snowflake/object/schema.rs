//! Schemas.

use async_trait::async_trait;

use super::columns::{
    COMMENT, CREATED_ON, DATABASE_NAME, NAME, OWNER, OWNER_ROLE_TYPE, TIME, column,
};
use super::properties::{self, Properties, Property, PropertyType};
use super::{About, Create, KINDS, Kind, Object, Scope, State};
use crate::snowflake::error::SqlResult;
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
        column("is_current", |_| "N".into()),
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
        let name = session.full_name(Kind::Schema, &create.name)?;
        let is_new = create.or_replace || session.account().get(Kind::Schema, &name).is_none();
        let rows = session.create(Kind::Schema, &create, properties, State::None)?;
        if is_new {
            session.use_database(&name.0[0], Some(&name.0[1]));
        }
        Ok(rows)
    }

    async fn describe(&self, session: &Session, object: &Object) -> SqlResult<Rows> {
        let kinds = KINDS
            .into_iter()
            .filter(|kind| kind.is_inside(Kind::Schema));
        let rows = kinds.flat_map(|kind| {
            let objects = session.account().list(kind, &object.name.0);
            objects.into_iter().map(move |inner| {
                vec![
                    super::columns::time(inner.created_on),
                    inner.name.last().as_str().into(),
                    kind.to_string().into(),
                ]
            })
        });
        Rows::of(
            &[
                ("created_on", TIME),
                ("name", DataType::TEXT),
                ("kind", DataType::TEXT),
            ],
            rows.collect::<Vec<_>>(),
        )
    }
}
