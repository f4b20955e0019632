//! The account's tables as DataFusion reads them: with Snowflake's names and types.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::access;
use super::object::Object;
use super::session::Session;
use crate::{Kind, State};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::query::{Moment, TimeTravel};
use icebox_sql::rows::Rows;
use icebox_sql::types::{DataType, TYPE_KEY};
use icebox_tables::{LakeTable, LakeTableProvider};

/// Returns the provider of a table, as it is now or at a point in time.
pub fn provider<'a>(
    session: &'a Session,
    object: &'a Object,
    at: Option<&'a TimeTravel>,
) -> BoxFuture<'a, SqlResult<Arc<LakeTableProvider>>> {
    async move {
        let location = metadata_location(object);
        let location = location.ok_or_else(|| SqlError::no_object(&object.name))?;
        let account = session.account();
        let native = match &object.state {
            State::Table(table) => Some(table),
            _ => None,
        };
        let lake = if native.is_some() {
            account.table(account.host.lake(), location).await?
        } else {
            let lake = access::of_table(account, &object.properties).await?;
            account.table(&lake, location).await?
        };
        let provider = match at {
            None => LakeTableProvider::new(lake),
            Some(at) => {
                let snapshot = snapshot(session, &lake, object, at)?;
                LakeTableProvider::at_snapshot(lake, snapshot)
                    .map_err(|error| SqlError::internal(&error))?
            }
        };
        Ok(Arc::new(match native {
            // Iceberg cannot express all SQL types, so the columns carry theirs as metadata.
            Some(table) => provider.with_field_metadata(TYPE_KEY, |name| {
                let mut columns = table.columns.iter();
                let column = columns.find(|column| column.name.as_str() == name);
                column.map(|column| column.ty.clone())
            }),
            // Column names of a file are converted to upper case.
            None => provider.renamed(str::to_uppercase),
        }))
    }
    .boxed()
}

/// Returns the location of a table's metadata file.
fn metadata_location(object: &Object) -> Option<&str> {
    match &object.state {
        State::Table(table) => Some(&table.metadata_location),
        State::IcebergTable(table) => Some(&table.metadata_location),
        _ => None,
    }
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct TableColumn {
    /// The table's full name.
    pub table: ObjectName,
    pub name: String,
    /// Counts from 1.
    pub position: u64,
    pub ty: DataType,
    pub is_nullable: bool,
}

/// Returns the columns of a table.
///
/// # Errors
/// If its metadata cannot be read.
pub async fn columns(session: &Session, object: &Object) -> SqlResult<Vec<TableColumn>> {
    let provider = provider(session, object, None).await?;
    let schema = TableProvider::schema(provider.as_ref());
    let fields = schema.fields().iter().zip(1..);
    let columns = fields.map(|(field, position)| TableColumn {
        table: object.name.clone(),
        name: field.name().clone(),
        position,
        ty: DataType::of_field(field),
        is_nullable: field.is_nullable(),
    });
    Ok(columns.collect())
}

/// Builds DESCRIBE TABLE's result set.
pub fn describe_columns(columns: &[TableColumn]) -> Rows {
    let cell = |text: &str| Some(text.to_owned());
    let rows = columns.iter().map(|column| {
        [
            cell(&column.name),
            Some(column.ty.to_string()),
            cell("COLUMN"),
            cell(if column.is_nullable { "Y" } else { "N" }),
            None,
            cell("N"),
            cell("N"),
            None,
            None,
            None,
            None,
            None,
        ]
    });
    Rows::texts(
        &[
            "name",
            "type",
            "kind",
            "null?",
            "default",
            "primary key",
            "unique key",
            "check",
            "expression",
            "comment",
            "policy name",
            "privacy domain",
        ],
        rows,
    )
}

/// Returns the id of the snapshot that a table had at a point in time.
fn snapshot(
    session: &Session,
    lake: &LakeTable,
    object: &Object,
    at: &TimeTravel,
) -> SqlResult<i64> {
    let now = session.account().now();
    let snapshots = lake.snapshots();
    let moment = match &at.moment {
        Moment::Version(version) => {
            let id = version.cast_to(&arrow::datatypes::DataType::Int64);
            let Ok(ScalarValue::Int64(Some(id))) = id else {
                return Err(SqlError::bad_value(version, "VERSION"));
            };
            let found = snapshots.iter().position(|one| one.snapshot_id() == id);
            let index = found.and_then(|index| index.checked_sub(usize::from(at.before)));
            let found = index.map(|index| snapshots[index].snapshot_id());
            return found.ok_or_else(|| not_available(object));
        }
        Moment::Timestamp(value, ty) => timestamp(value, *ty)?,
        Moment::Offset(value) => {
            let seconds = value.cast_to(&arrow::datatypes::DataType::Float64);
            let Ok(ScalarValue::Float64(Some(seconds))) = seconds else {
                return Err(SqlError::bad_value(value, "OFFSET"));
            };
            now + chrono::Duration::milliseconds((seconds * 1000.0) as i64)
        }
        Moment::Statement(_) | Moment::Stream(_) => {
            return Err(SqlError::unsupported(
                "AT(STATEMENT => …) and AT(STREAM => …)",
            ));
        }
    };
    let moment = moment.timestamp_millis();
    let found = snapshots.iter().rev().find(|one| {
        if at.before {
            one.timestamp_ms() < moment
        } else {
            one.timestamp_ms() <= moment
        }
    });
    let found = found.map(|one| one.snapshot_id());
    found.ok_or_else(|| not_available(object))
}

fn timestamp(value: &ScalarValue, ty: DataType) -> SqlResult<DateTime<Utc>> {
    let nanoseconds = arrow::datatypes::DataType::Timestamp(
        arrow::datatypes::TimeUnit::Nanosecond,
        Some("UTC".into()),
    );
    match value.cast_to(&nanoseconds) {
        Ok(ScalarValue::TimestampNanosecond(Some(at), _)) => Ok(DateTime::from_timestamp_nanos(at)),
        _ => Err(SqlError::bad_value(format!("{value} ({ty})"), "TIMESTAMP")),
    }
}

fn not_available(object: &Object) -> SqlError {
    let kind = match Kind::Table.of(object) {
        Kind::IcebergTable => "Iceberg table",
        _ => "table",
    };
    let text = format!(
        "Time travel data is not available for {kind} {}. The requested time is either beyond the allowed time travel period or before the object creation time.",
        object.name.last()
    );
    SqlError::new(code::TIME_TRAVEL_UNAVAILABLE, text)
}
