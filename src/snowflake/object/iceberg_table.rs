//! Iceberg tables that others write: a metadata file on an external volume, moved on by REFRESH.

use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::external_volume;
use super::properties::{self, Properties, Property, PropertyType};
use super::{Create, Kind, Object, State, catalog_integration};
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::names::ObjectName;
use crate::snowflake::rows::Rows;
use crate::snowflake::session::Session;
use crate::snowflake::syntax::Cursor;
use crate::tables::LakeTable;

pub const PROPERTIES: &[Property] = &[
    Property::new("EXTERNAL_VOLUME", PropertyType::Name),
    Property::new("CATALOG", PropertyType::Name),
    Property::new("METADATA_FILE_PATH", PropertyType::Text),
    Property::new("CATALOG_TABLE_NAME", PropertyType::Text),
    Property::new("CATALOG_NAMESPACE", PropertyType::Text),
    Property::new("AUTO_REFRESH", PropertyType::Boolean),
    Property::new("REPLACE_INVALID_CHARACTERS", PropertyType::Boolean),
    properties::COMMENT,
];

/// Refreshes that a table remembers.
const HISTORY: usize = 1000;

/// Where a table is now, and where it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IcebergTable {
    /// The metadata file's URL.
    pub metadata_location: String,
    /// The oldest first; the last is the present one.
    pub refreshes: Vec<Refresh>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refresh {
    pub at: DateTime<Utc>,
    pub metadata_location: String,
    pub snapshot_id: Option<i64>,
    pub sequence_number: i64,
    pub schema_id: i32,
}

pub fn of(object: &Object) -> Option<&IcebergTable> {
    match &object.state {
        State::IcebergTable(table) => Some(table),
        _ => None,
    }
}

/// The URL of a path on a table's volume. The path is below the volume's base URL and cannot leave it.
fn location(session: &Session, properties: &Properties, path: &str) -> SqlResult<String> {
    let volume = properties.name("EXTERNAL_VOLUME").ok_or_else(|| {
        SqlError::compilation(
            393_923,
            "42601",
            "Iceberg table must have the table parameter EXTERNAL_VOLUME defined on the table, schema, database, or account.",
        )
    })?;
    let volume = session.account().find(Kind::ExternalVolume, volume)?;
    let leaves = path.split('/').any(|part| matches!(part, ".." | "."));
    if path.starts_with('/') || path.contains("://") || leaves || path.is_empty() {
        let text = format!(
            "invalid value [{path}] for parameter 'METADATA_FILE_PATH': it must be a path below the base URL of the external volume {}, {}, without a leading slash",
            volume.name,
            external_volume::base_url(&volume)
        );
        return Err(SqlError::compilation(1008, "22023", text));
    }
    Ok(format!("{}{path}", external_volume::base_url(&volume)))
}

/// Reads a metadata file, and tells of a refresh to it.
fn read<'a>(session: &'a Session, location: &'a str) -> BoxFuture<'a, SqlResult<Refresh>> {
    async move {
    let lake = session.account().world.lake();
    let table = LakeTable::load(lake, location).await.map_err(|error| {
        let text = format!(
            "Remote file '{location}' was not found. There are several potential causes. The file might not exist. The required credentials may be missing or invalid. ({})",
            crate::chain(&error)
        );
        SqlError::new(91016, "02000", text)
    })?;
    let metadata = table.metadata();
    Ok(Refresh {
        at: session.account().now(),
        metadata_location: location.to_owned(),
        snapshot_id: metadata.current_snapshot_id(),
        sequence_number: metadata.last_sequence_number(),
        schema_id: metadata.current_schema_id(),
    })
    }
    .boxed()
}

/// `CREATE ICEBERG TABLE name …` of an external catalog.
pub async fn create(session: &Session, create: Create, cursor: &mut Cursor<'_>) -> SqlResult<Rows> {
    let properties = Properties::parse_new(cursor, PROPERTIES)?;
    cursor.expect_end()?;
    if session.is_there(Kind::Table, &create)? {
        return session.create(Kind::Table, &create, properties, State::None);
    }
    let catalog = properties
        .name("CATALOG")
        .ok_or_else(|| SqlError::compilation(2029, "42601", "Missing option(s): CATALOG"))?;
    let catalog = catalog_integration::find(session, catalog)?;
    let source = catalog.properties.text("CATALOG_SOURCE");
    if source.as_deref() == Some(catalog_integration::SNOWFLAKE_POSTGRES) {
        return Err(SqlError::unsupported("CATALOG_SOURCE = SNOWFLAKE_POSTGRES"));
    }
    let path = properties.text("METADATA_FILE_PATH").ok_or_else(|| {
        SqlError::compilation(2029, "42601", "Missing option(s): METADATA_FILE_PATH")
    })?;
    let location = location(session, &properties, &path)?;
    let refresh = read(session, &location).await?;
    let state = State::IcebergTable(IcebergTable {
        metadata_location: location,
        refreshes: vec![refresh],
    });
    session.create(Kind::Table, &create, properties, state)
}

/// `ALTER ICEBERG TABLE name REFRESH ['path']`: the table becomes what the file says, newer or older. Without a path it is
/// read again from where it is.
pub fn refresh<'a>(
    session: &'a Session,
    object: &'a Object,
    path: Option<&'a str>,
) -> BoxFuture<'a, SqlResult<Rows>> {
    async move {
    let Some(table) = of(object) else {
        let text = format!(
            "ALTER command failed. The provided table must be an Iceberg table with an external catalog integration to perform the command ICEBERG_TABLE_REFRESH. The type of table {} is NOT_ICEBERG.",
            object.name.last()
        );
        return Err(SqlError::compilation(1420, "42601", text));
    };
    let location = match path {
        Some(path) => location(session, &object.properties, path)?,
        None => table.metadata_location.clone(),
    };
    let refresh = read(session, &location).await?;
    session
        .account()
        .update(Kind::Table, &object.name, |object| {
            if let State::IcebergTable(table) = &mut object.state {
                table.metadata_location = location;
                table.refreshes.push(refresh);
                let old = table.refreshes.len().saturating_sub(HISTORY);
                table.refreshes.drain(..old);
            }
            Ok(())
        })?;
    Ok(Rows::status("Statement executed successfully."))
    }
    .boxed()
}

/// `SYSTEM$GET_ICEBERG_TABLE_INFORMATION`.
pub fn information(session: &Session, name: &ObjectName) -> SqlResult<String> {
    let full = session.full_name(Kind::Table, name)?;
    let object = session.account().find(Kind::Table, &full)?;
    let table = of(&object).ok_or_else(|| Kind::Table.missing(&full))?;
    let answer = serde_json::json!({
        "metadataLocation": table.metadata_location,
        "status": "success",
    });
    Ok(answer.to_string())
}

/// The table as it is now.
pub async fn open(session: &Session, location: &str) -> SqlResult<Arc<LakeTable>> {
    let lake = session.account().world.lake();
    let table = LakeTable::load(lake, location).await;
    table
        .map(Arc::new)
        .map_err(|error| SqlError::internal(&error))
}
