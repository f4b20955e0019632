//! Columns of SHOW and of other lists, described as data; the columns that many kinds of objects
//! share; and constructors of values.

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;

use super::Object;
use crate::Kind;
use icebox_sql::error::SqlResult;
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;
use icebox_sql::types::DataType;

/// A column: its name, its type, and the function that gives its value for a row.
pub struct Column<T: 'static = Object> {
    pub name: &'static str,
    pub ty: DataType,
    pub value: fn(&T) -> ScalarValue,
}

/// The type of points in time, shown in the session's time zone.
pub const TIME: DataType = DataType::TimestampLtz { scale: 3 };
/// The type of small whole numbers.
pub const COUNT: DataType = DataType::Number {
    precision: 10,
    scale: 0,
};

pub const CREATED_ON: Column = Column::of("created_on", TIME, |object: &Object| {
    time(object.created_on)
});
pub const NAME: Column = column("name", |object| object.name.last().as_str().into());
pub const DATABASE_NAME: Column = column("database_name", |object| container_name(object, 0));
pub const SCHEMA_NAME: Column = column("schema_name", |object| container_name(object, 1));
pub const OWNER: Column = column("owner", |object| object.owner.as_str().into());
pub const OWNER_ROLE_TYPE: Column = column("owner_role_type", |_| "ROLE".into());
pub const COMMENT: Column = column("comment", |object| text(object.comment()));
pub const ENABLED: Column = column("enabled", |object| {
    text(object.properties.is_true("ENABLED").to_string())
});
pub const IS_CURRENT: Column = column("is_current", |object| yes_no(object.is_current));

pub const CREATED: Column = Column::time("CREATED", |object: &Object| time(object.created_on));
pub const LAST_ALTERED: Column =
    Column::time("LAST_ALTERED", |object: &Object| time(object.updated_on));
/// The column COMMENT of the views of `INFORMATION_SCHEMA`, where a missing comment is NULL.
pub const VIEW_COMMENT: Column = column("COMMENT", |object| {
    optional(object.properties.text("COMMENT"))
});

/// Returns a part of a full name, or NULL.
pub fn name_part(object: &Object, index: usize) -> ScalarValue {
    let part = object.name.0.get(index);
    optional(part.map(|part| part.as_str().to_owned()))
}

/// Returns the days for which a container keeps dropped objects.
pub fn retention_time(container: &Object) -> ScalarValue {
    let days = container.properties.integer("DATA_RETENTION_TIME_IN_DAYS");
    count(days.unwrap_or(1))
}

/// Returns a text column of objects.
pub const fn column(name: &'static str, value: fn(&Object) -> ScalarValue) -> Column {
    Column::text(name, value)
}

impl<T> Column<T> {
    /// Returns a column of a type.
    pub const fn of(name: &'static str, ty: DataType, value: fn(&T) -> ScalarValue) -> Self {
        Self { name, ty, value }
    }

    /// Returns a text column.
    pub const fn text(name: &'static str, value: fn(&T) -> ScalarValue) -> Self {
        Self::of(name, DataType::TEXT, value)
    }

    /// Returns a column of whole numbers.
    pub const fn number(name: &'static str, value: fn(&T) -> ScalarValue) -> Self {
        Self::of(name, DataType::INTEGER, value)
    }

    /// Returns a column of points in time.
    pub const fn time(name: &'static str, value: fn(&T) -> ScalarValue) -> Self {
        Self::of(name, TIME, value)
    }

    /// Returns a column that is always NULL here, and is present because Snowflake has it.
    pub const fn null(name: &'static str, ty: DataType) -> Self {
        Self::of(name, ty, |_| ScalarValue::Null)
    }
}

/// Builds a result set with a row for each item.
pub fn result_set<'a, T>(
    columns: &[Column<T>],
    items: impl IntoIterator<Item = &'a T>,
) -> SqlResult<Rows> {
    let names: Vec<_> = columns.iter().map(|one| (one.name, one.ty)).collect();
    let rows = items.into_iter();
    let rows = rows.map(|item| columns.iter().map(|one| (one.value)(item)).collect());
    Rows::from_values(&names, rows.collect::<Vec<_>>())
}

/// Returns a part of the name of the object's container, or an empty text if there is no such part.
fn container_name(object: &Object, index: usize) -> ScalarValue {
    let parts = &object.name.0[..object.name.0.len() - 1];
    text(parts.get(index).map_or("", Ident::as_str))
}

pub fn text(text: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(text.into()))
}

/// Returns a text, or NULL.
pub fn optional(text: Option<String>) -> ScalarValue {
    ScalarValue::Utf8(text)
}

/// Returns `Y` or `N`.
pub fn yes_no(value: bool) -> ScalarValue {
    text(if value { "Y" } else { "N" })
}

pub fn time(at: DateTime<Utc>) -> ScalarValue {
    optional_time(Some(at))
}

pub fn optional_time(at: Option<DateTime<Utc>>) -> ScalarValue {
    ScalarValue::TimestampMillisecond(at.map(|at| at.timestamp_millis()), Some("UTC".into()))
}

/// Returns a whole number, or NULL.
pub fn count(value: impl Into<Option<u64>>) -> ScalarValue {
    ScalarValue::UInt64(value.into())
}

/// Builds DESCRIBE's result set for integrations:
/// `property, property_type, property_value, property_default`.
pub fn describe_properties<'a>(
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

/// Builds DESCRIBE's result set for properties in groups: that of [`describe_properties`] with the
/// name of the group, `parent_property`, before each row.
pub fn describe_property_groups<'a>(
    rows: impl IntoIterator<Item = (&'a str, String, &'a str, Option<String>, &'a str)>,
) -> Rows {
    let rows = rows.into_iter().map(|(parent, name, ty, value, default)| {
        [
            Some(parent.to_owned()),
            Some(name),
            Some(ty.to_owned()),
            value,
            Some(default.to_owned()),
        ]
    });
    Rows::texts(
        &[
            "parent_property",
            "property",
            "property_type",
            "property_value",
            "property_default",
        ],
        rows,
    )
}

/// Builds DESCRIBE's result set for containers, the list of contents: `created_on, name, kind`.
pub fn describe_contents<'a>(
    objects: impl IntoIterator<Item = (Kind, &'a Object)>,
) -> SqlResult<Rows> {
    let rows = objects.into_iter().map(|(kind, object)| {
        vec![
            time(object.created_on),
            object.name.last().as_str().into(),
            kind.to_string().into(),
        ]
    });
    Rows::from_values(
        &[
            ("created_on", TIME),
            ("name", DataType::TEXT),
            ("kind", DataType::TEXT),
        ],
        rows.collect::<Vec<_>>(),
    )
}
