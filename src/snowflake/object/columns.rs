//! Columns of SHOW that many kinds have, and the making of values.

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;

use super::{Column, Object};
use crate::snowflake::names::Ident;
use crate::snowflake::rows::Rows;
use crate::snowflake::types::DataType;

/// A time, in the session's zone.
pub const TIME: DataType = DataType::TimestampLtz { scale: 3 };

pub const CREATED_ON: Column = Column {
    name: "created_on",
    ty: TIME,
    value: |object| time(object.created_on),
};
pub const NAME: Column = column("name", |object| object.name.last().as_str().into());
pub const DATABASE_NAME: Column = column("database_name", |object| part(object, 0));
pub const SCHEMA_NAME: Column = column("schema_name", |object| part(object, 1));
pub const OWNER: Column = column("owner", |object| object.owner.as_str().into());
pub const OWNER_ROLE_TYPE: Column = column("owner_role_type", |_| "ROLE".into());
pub const COMMENT: Column = column("comment", |object| text(object.comment()));
pub const ENABLED: Column = column("enabled", |object| {
    text(object.properties.is_true("ENABLED").to_string())
});

/// A text column.
pub const fn column(name: &'static str, value: fn(&Object) -> ScalarValue) -> Column {
    Column {
        name,
        ty: DataType::TEXT,
        value,
    }
}

fn part(object: &Object, index: usize) -> ScalarValue {
    let parts = &object.name.0[..object.name.0.len() - 1];
    text(parts.get(index).map_or("", Ident::as_str))
}

pub fn text(text: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(text.into()))
}

/// A text, or NULL.
pub fn optional(text: Option<String>) -> ScalarValue {
    ScalarValue::Utf8(text)
}

pub fn time(at: DateTime<Utc>) -> ScalarValue {
    ScalarValue::TimestampMillisecond(Some(at.timestamp_millis()), Some("UTC".into()))
}

/// DESCRIBE's answer for integrations: `property, property_type, property_value, property_default`.
pub fn described<'a>(
    rows: impl IntoIterator<Item = (&'a str, &'a str, Option<String>, &'a str)>,
) -> Rows {
    let rows = rows.into_iter().map(|(name, ty, value, default)| {
        [
            Some(name.to_owned()),
            Some(ty.to_owned()),
            Some(value.unwrap_or_default()),
            Some(default.to_owned()),
        ]
    });
    Rows::texts(
        &[
            "property",
            "property_type",
            "property_value",
            "property_default",
        ],
        rows,
    )
}
