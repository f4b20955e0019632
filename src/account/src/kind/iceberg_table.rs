//! Iceberg tables that other engines write. They have a metadata file on an external volume, which
//! REFRESH replaces, or are tables of a PostgreSQL instance's catalog.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::table::kind_of_new;
use super::{Created, Ddl, KindInfo, ObjectKind};
use crate::account::Account;
use crate::lake::{self, describe_columns};
use crate::object::columns::{
    COMMENT, CREATED_ON, DATABASE_NAME, NAME, OWNER, OWNER_ROLE_TYPE, SCHEMA_NAME, column, optional,
};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Create, Object, Scope, ddl};
use crate::postgres_catalog::{self, Entry};
use crate::session::Session;
use crate::{Kind, State, access, references};
use icebox_sql::error::{SqlError, SqlResult, cause, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;

const AUTO_REFRESH: Property = Property::new("AUTO_REFRESH", PropertyType::Boolean);
const REPLACE_INVALID: Property =
    Property::new("REPLACE_INVALID_CHARACTERS", PropertyType::Boolean);

const PROPERTIES: &[Property] = &[
    Property::new("EXTERNAL_VOLUME", PropertyType::Name),
    Property::new("CATALOG", PropertyType::Name),
    Property::new("METADATA_FILE_PATH", PropertyType::Text),
    Property::new("CATALOG_TABLE_NAME", PropertyType::Text),
    Property::new("CATALOG_NAMESPACE", PropertyType::Text),
    AUTO_REFRESH,
    REPLACE_INVALID,
    properties::COMMENT,
];

/// The options that ALTER ICEBERG TABLE … SET may change.
const ALTERABLE: &[Property] = &[AUTO_REFRESH, REPLACE_INVALID, properties::COMMENT];

pub struct IcebergTableKind;

const INFO: KindInfo = KindInfo {
    namespace: Kind::Table,
    properties: PROPERTIES,
    alterable: Some(ALTERABLE),
    show: &[
        CREATED_ON,
        NAME,
        DATABASE_NAME,
        SCHEMA_NAME,
        OWNER,
        column("external_volume_name", |table| {
            property(table, "EXTERNAL_VOLUME")
        }),
        column("catalog_name", |table| property(table, "CATALOG")),
        column("iceberg_table_type", |_| "UNMANAGED".into()),
        column("catalog_table_name", |table| {
            property(table, "CATALOG_TABLE_NAME")
        }),
        column("catalog_namespace", |table| {
            property(table, "CATALOG_NAMESPACE")
        }),
        column("base_location", |_| "".into()),
        column("can_write_metadata", |_| "Y".into()),
        COMMENT,
        column("name_mapping", |_| ScalarValue::Utf8(None)),
        OWNER_ROLE_TYPE,
        column("catalog_sync_name", |_| "".into()),
        column("auto_refresh_status", |table| {
            optional(auto_refresh_status(table))
        }),
        column("partition_specs", |_| "[]".into()),
        column("current_partition_spec_id", |_| "0".into()),
        column("iceberg_table_format_version", |_| "2".into()),
    ],
    can_undrop: true,
    ddl: Some(Ddl {
        object_type: "ICEBERG_TABLE",
        statement: |account, table, name| Some(create_statement(account, table, name)),
    }),
    ..KindInfo::new(
        Kind::IcebergTable,
        &["ICEBERG TABLE"],
        "ICEBERG TABLES",
        Scope::Schema,
        "Table",
    )
};

fn property(table: &Object, name: &str) -> ScalarValue {
    ScalarValue::Utf8(table.properties.text(name))
}

/// The greatest number of refreshes in a table's history.
const HISTORY: usize = 1000;

/// The present metadata file of a table, and its history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IcebergTable {
    /// The URL of the metadata file.
    pub metadata_location: String,
    /// The refreshes, oldest first. The last one gave the present state.
    pub refreshes: Vec<Refresh>,
    /// Why the last `AUTO_REFRESH` failed.
    #[serde(default)]
    pub stalled: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refresh {
    pub at: DateTime<Utc>,
    pub metadata_location: String,
    pub snapshot_id: Option<i64>,
    pub sequence_number: i64,
    pub schema_id: i32,
    /// The writer's summary of the snapshot, such as `total-records`.
    #[serde(default)]
    pub summary: BTreeMap<String, String>,
}

impl IcebergTable {
    /// Returns a table whose history begins with this refresh.
    pub fn at(refresh: Refresh) -> Self {
        Self {
            metadata_location: refresh.metadata_location.clone(),
            refreshes: vec![refresh],
            stalled: None,
        }
    }

    /// Returns the number of rows and the size of the data files in bytes, from the writer's
    /// summary.
    pub fn size(&self) -> Option<(u64, u64)> {
        let summary = &self.refreshes.last()?.summary;
        let number = |name| {
            summary
                .get(name)
                .and_then(|text: &String| text.parse().ok())
        };
        let deleted: u64 = number("total-position-deletes").unwrap_or(0);
        let rows: u64 = number("total-records")?;
        Some((
            rows.saturating_sub(deleted),
            number("total-files-size").unwrap_or(0),
        ))
    }
}

/// Returns the URL of a path on a table's volume. The path is relative to the volume's base URL and
/// must not leave it.
fn on_volume(account: &Account, properties: &Properties, path: &str) -> SqlResult<String> {
    let volume = properties.name("EXTERNAL_VOLUME").ok_or_else(|| {
        SqlError::compilation(
            code::NO_EXTERNAL_VOLUME,
            "Iceberg table must have the table parameter EXTERNAL_VOLUME defined on the table, schema, database, or account.",
        )
    })?;
    let volume = account.find(Kind::ExternalVolume, volume)?;
    let base = references::volume_url(&volume);
    let leaves = path.split('/').any(|part| matches!(part, ".." | "."));
    if path.starts_with('/') || path.contains("://") || leaves || path.is_empty() {
        let text = format!(
            "invalid value [{path}] for parameter 'METADATA_FILE_PATH': it must be a path below the base URL of the external volume {}, {base}, without a leading slash",
            volume.name,
        );
        return Err(SqlError::compilation(code::INVALID_VALUE, text));
    }
    Ok(format!("{base}{path}"))
}

/// Returns the catalog integration that the options of a table name.
fn catalog(account: &Account, properties: &Properties) -> SqlResult<Object> {
    let name = properties.name("CATALOG");
    let name = name
        .ok_or_else(|| SqlError::compilation(code::MISSING_OPTION, "Missing option(s): CATALOG"))?;
    references::enabled_catalog(account, name)
}

/// Returns the entry of a table in a PostgreSQL catalog.
fn entry<'a>(
    catalog: &Object,
    properties: &Properties,
    entries: &'a [Entry],
) -> SqlResult<&'a Entry> {
    let missing = |option| {
        let text = format!("Missing option(s): {option}");
        SqlError::compilation(code::MISSING_OPTION, text)
    };
    let table = properties.text("CATALOG_TABLE_NAME");
    let table = table.ok_or_else(|| missing("CATALOG_TABLE_NAME"))?;
    let namespace = properties.text("CATALOG_NAMESPACE");
    let namespace = namespace.or_else(|| catalog.properties.text("CATALOG_NAMESPACE"));
    let namespace = namespace.ok_or_else(|| missing("CATALOG_NAMESPACE"))?;
    postgres_catalog::find(entries, &namespace, &table)
}

/// Checks that there is no option that belongs to the other kind of catalog.
fn check_options(catalog: &Object, properties: &Properties) -> SqlResult<()> {
    const OF_POSTGRES: &[&str] = &["CATALOG_TABLE_NAME", "CATALOG_NAMESPACE"];
    const OF_FILES: &[&str] = &["METADATA_FILE_PATH"];
    let (wrong, right) = if references::is_postgres_catalog(catalog) {
        (OF_FILES, OF_POSTGRES)
    } else {
        (OF_POSTGRES, OF_FILES)
    };
    let found = wrong.iter().find(|name| properties.get(name).is_some());
    let Some(found) = found else {
        return Ok(());
    };
    let text = format!(
        "invalid property '{found}' for a table of the catalog integration {}, whose CATALOG_SOURCE is {}; use {} instead",
        catalog.name,
        catalog
            .properties
            .text("CATALOG_SOURCE")
            .unwrap_or_default(),
        right.join(" and ")
    );
    Err(SqlError::compilation(code::INVALID_VALUE, text))
}

/// Returns the metadata location of a table that is created or refreshed: the one in the catalog,
/// or the one at `path` on the volume. It is `None` if the catalog has no files and no path is
/// given.
async fn metadata_location_of(
    account: &Account,
    properties: &Properties,
    path: Option<&str>,
) -> SqlResult<Option<String>> {
    let catalog = catalog(account, properties)?;
    if !references::is_postgres_catalog(&catalog) {
        let location = path.map(|path| on_volume(account, properties, path));
        return location.transpose();
    }
    if let Some(path) = path {
        let text = format!(
            "invalid metadata file path '{path}': the metadata file of the table comes from the catalog {}; use REFRESH without a path",
            catalog.name
        );
        return Err(SqlError::compilation(code::INVALID_VALUE, text));
    }
    let entries = postgres_catalog::read(account, &catalog).await?;
    let entry = entry(&catalog, properties, &entries)?;
    Ok(Some(entry.metadata_location.clone()))
}

/// Reads a metadata file with the access that a table with these options has, and returns the
/// refresh to it.
pub fn read<'a>(
    account: &'a Account,
    properties: &'a Properties,
    location: &'a str,
) -> BoxFuture<'a, SqlResult<Refresh>> {
    async move {
        let lake = access::of_table(account, properties).await?;
        let table = account.table(&lake, location).await.map_err(|error| {
            let volume = properties.name("EXTERNAL_VOLUME");
            let volume = volume.and_then(|name| account.get(Kind::ExternalVolume, name));
            if let Some(volume) = volume
                && error.message.contains("AccessDenied")
            {
                let advice = "Check the policies of its role.";
                return access::volume_failed(&volume, &cause(&error.message), advice);
            }
            let text = format!(
                "Remote file '{location}' was not found. There are several potential causes. The file might not exist. The required credentials may be missing or invalid. ({})",
                error.message
            );
            SqlError::new(code::METADATA_FILE_NOT_FOUND, text)
        })?;
        let metadata = table.metadata();
        let mut summary = BTreeMap::new();
        if let Some(snapshot) = metadata.current_snapshot() {
            let said = snapshot.summary();
            summary.extend(said.additional_properties.clone());
            let operation = said.operation.as_str().to_owned();
            summary.insert("operation".to_owned(), operation);
        }
        Ok(Refresh {
            at: account.now(),
            metadata_location: location.to_owned(),
            snapshot_id: metadata.current_snapshot_id(),
            sequence_number: metadata.last_sequence_number(),
            schema_id: metadata.current_schema_id(),
            summary,
        })
    }
    .boxed()
}

/// Sets a table to the state of a metadata file, and adds the refresh to its history.
pub async fn set_metadata(account: &Account, object: &Object, location: &str) -> SqlResult<()> {
    let refresh = read(account, &object.properties, location).await?;
    account.update(Kind::IcebergTable, &object.name, |object| {
        if let Some(table) = object.state_mut::<IcebergTable>() {
            table.metadata_location = location.to_owned();
            table.stalled = None;
            table.refreshes.push(refresh);
            let old = table.refreshes.len().saturating_sub(HISTORY);
            table.refreshes.drain(..old);
        }
        Ok(())
    })
}

/// Refreshes a table with `AUTO_REFRESH` from its catalog, whose tables are `entries`. An error is
/// recorded with the table.
pub async fn auto_refresh(account: &Account, object: &Object, entries: &SqlResult<Vec<Entry>>) {
    let refreshed = async {
        let catalog = catalog(account, &object.properties)?;
        let entries = entries.as_ref().map_err(Clone::clone)?;
        let entry = entry(&catalog, &object.properties, entries)?;
        match object.state::<IcebergTable>() {
            Some(table) if table.metadata_location != entry.metadata_location => {
                set_metadata(account, object, &entry.metadata_location).await
            }
            _ => Ok(()),
        }
    };
    let stalled = refreshed.await.err().map(|error| error.message);
    if object
        .state::<IcebergTable>()
        .is_none_or(|table| table.stalled == stalled)
    {
        return;
    }
    if let Some(reason) = &stalled {
        tracing::warn!(table = %object.name, reason, "AUTO_REFRESH has stalled");
    }
    // If the table was dropped meanwhile, there is nothing to record.
    let _ = account.update(Kind::IcebergTable, &object.name, |object| {
        if let Some(table) = object.state_mut::<IcebergTable>() {
            table.stalled = stalled;
        }
        Ok(())
    });
}

/// Returns the status of `AUTO_REFRESH`, as JSON; `None` where it is off.
pub fn auto_refresh_status(object: &Object) -> Option<String> {
    let table = object
        .state::<IcebergTable>()
        .filter(|_| object.properties.is_true("AUTO_REFRESH"))?;
    let last = table.refreshes.last();
    let mut status = json!({
        "executionState": if table.stalled.is_some() { "STALLED" } else { "RUNNING" },
        "pendingSnapshotCount": 0,
        "currentMetadataFile": table.metadata_location,
        // A text, because the id has more digits than many JSON readers keep in a number.
        "currentSnapshotId": last.and_then(|last| last.snapshot_id).map(|id| id.to_string()),
        "lastUpdatedTime": last.map(|last| last.at.to_rfc3339()),
    });
    if let Some(reason) = &table.stalled {
        status["invalidExecutionStateReason"] = json!(reason);
    }
    Some(status.to_string())
}

/// Runs `SYSTEM$GET_ICEBERG_TABLE_INFORMATION`.
pub fn information(session: &Session, name: &ObjectName) -> SqlResult<String> {
    let full = session.full_name(Kind::IcebergTable, name)?;
    let object = session.account().find(Kind::IcebergTable, &full)?;
    let table = object
        .state::<IcebergTable>()
        .ok_or_else(|| Kind::IcebergTable.missing(&full))?;
    let answer = json!({
        "metadataLocation": table.metadata_location,
        "status": "success",
    });
    Ok(answer.to_string())
}

/// Returns the statement that recreates a table at its present metadata file.
fn create_statement(account: &Account, object: &Object, name: &str) -> String {
    let mut properties = object.properties.clone();
    let volume = properties.name("EXTERNAL_VOLUME");
    let volume = volume.and_then(|volume| account.get(Kind::ExternalVolume, volume));
    if let (Some(volume), Some(table)) = (volume, object.state::<IcebergTable>()) {
        let base = references::volume_url(&volume);
        if let Some(path) = table.metadata_location.strip_prefix(&base) {
            let path = properties::Value::Text(path.to_owned());
            properties.set("METADATA_FILE_PATH", path);
        }
    }
    let options = ddl::options(&properties, PROPERTIES, "\n ");
    format!("create or replace ICEBERG TABLE {name}{options}")
}

#[async_trait]
impl ObjectKind for IcebergTableKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn missing(&self, name: &ObjectName) -> SqlError {
        SqlError::no_object(name)
    }

    fn kind_of_new(&self, cursor: &Cursor<'_>) -> Kind {
        kind_of_new(cursor)
    }

    /// Creates a table of an external catalog.
    async fn create(
        &self,
        session: &Session,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Created> {
        let properties = Properties::parse_new(cursor, PROPERTIES)?;
        cursor.expect_end()?;
        if session.is_skipped(Kind::IcebergTable, &create)? {
            let rows = session.create(Kind::IcebergTable, &create, properties, State::None)?;
            return Ok(Created::Done(rows));
        }
        let account = session.account();
        check_options(&catalog(account, &properties)?, &properties)?;
        let path = properties.text("METADATA_FILE_PATH");
        let location = metadata_location_of(account, &properties, path.as_deref()).await?;
        let location = location.ok_or_else(|| {
            SqlError::compilation(
                code::MISSING_OPTION,
                "Missing option(s): METADATA_FILE_PATH",
            )
        })?;
        let table = IcebergTable::at(read(account, &properties, &location).await?);
        let rows = session.create(Kind::IcebergTable, &create, properties, table.into())?;
        account.polls.notify();
        Ok(Created::Done(rows))
    }

    fn check_altered_as(&self, said: Kind, name: &ObjectName) -> SqlResult<()> {
        if said == Kind::IcebergTable {
            return Ok(());
        }
        let text = format!(
            "SQL Compilation Error: The table {} is an Iceberg table. Iceberg tables should use ALTER ICEBERG TABLE commands.",
            name.last()
        );
        Err(SqlError::new(code::INVALID_PROPERTY, text))
    }

    /// Runs `REFRESH ['path']`. The table takes the state of the metadata file, newer or older.
    /// Without a path it takes the state that its catalog has, or its present metadata file is read
    /// again.
    async fn alter(
        &self,
        session: &Session,
        object: Object,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Rows> {
        cursor.expect("REFRESH")?;
        let path = if cursor.is_at_end() {
            None
        } else {
            Some(cursor.string()?)
        };
        cursor.expect_end()?;
        let account = session.account();
        let known = object.state::<IcebergTable>();
        let known = known.ok_or_else(|| self.missing(&object.name))?;
        let location = metadata_location_of(account, &object.properties, path.as_deref()).await?;
        let location = location.unwrap_or_else(|| known.metadata_location.clone());
        set_metadata(account, &object, &location).await?;
        Ok(Rows::succeeded())
    }

    async fn altered(&self, session: &Session, _: &Object) -> SqlResult<()> {
        session.account().polls.notify();
        Ok(())
    }

    async fn describe(&self, session: &Session, object: &Object) -> SqlResult<Rows> {
        Ok(describe_columns(&lake::columns(session, object).await?))
    }
}
