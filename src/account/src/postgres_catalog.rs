//! The catalog file that `pg_lake` writes to its bucket with the tables of a database,
//! `frompg/catalog/<database>/catalog.json`. Catalog integrations of the source
//! `SNOWFLAKE_POSTGRES` read it.

use serde::Deserialize;

use crate::account::Account;
use crate::object::Object;
use crate::{Kind, access, references};
use icebox_sql::error::{SqlError, SqlResult, code};

/// A table in a catalog.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// The name of the schema in PostgreSQL.
    pub namespace: String,
    pub table_name: String,
    /// The URL of the metadata file.
    pub metadata_location: String,
}

#[derive(Deserialize)]
struct File {
    tables: Vec<Entry>,
}

/// Reads the tables of the catalog that an integration names, as they are now.
///
/// # Errors
/// If the PostgreSQL instance does not exist or has no bucket, or the file does not exist or cannot
/// be read.
pub async fn read(account: &Account, integration: &Object) -> SqlResult<Vec<Entry>> {
    let instance = references::catalog_instance(account, integration)?;
    let config = integration.properties.options("REST_CONFIG");
    let database = config.and_then(|config| config.text("CATALOG_NAME"));
    let database = database.unwrap_or_default();
    let path = format!("frompg/catalog/{database}/catalog.json");
    let url = format!("{}{path}", bucket(account, &instance)?);
    let failed = |cause: String| {
        let text = format!(
            "SQL execution internal error:\nFailed to read catalog file({url}), fullPath {path}: {cause}. Check that CATALOG_NAME is right: '{database}' is a database of {} with Iceberg tables. Check the settings there: pg_lake_iceberg.default_catalog is 'object_store', and pg_lake_iceberg.object_store_catalog_location_prefix is the bucket.",
            instance.name
        );
        SqlError::new(code::INTERNAL, text)
    };
    let lake = access::of_catalog(account, integration).await?;
    let bytes = lake.read(&url).await;
    let bytes = bytes.map_err(|error| failed(icebox_base::chain(&error)))?;
    let file: File = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    Ok(file.tables)
}

/// Returns the table with this namespace and name, which are matched exactly.
///
/// # Errors
/// If there is no such table.
pub fn find<'a>(entries: &'a [Entry], namespace: &str, table: &str) -> SqlResult<&'a Entry> {
    let found = entries
        .iter()
        .find(|entry| entry.namespace == namespace && entry.table_name == table);
    found.ok_or_else(|| {
        let known: Vec<_> = entries
            .iter()
            .map(|entry| format!("{}.{}", entry.namespace, entry.table_name))
            .collect();
        let text = format!(
            "Could not find Iceberg table 'Table '{table}' not found in namespace '{namespace}''. The catalog has {}; names are case-sensitive.",
            if known.is_empty() { "no tables".to_owned() } else { known.join(", ") }
        );
        SqlError::new(code::TABLE_NOT_IN_CATALOG, text)
    })
}

/// Returns the location of an instance's Iceberg tables, with a slash at the end.
fn bucket(account: &Account, instance: &Object) -> SqlResult<String> {
    let Some(name) = instance.properties.name("STORAGE_INTEGRATION") else {
        let text = format!(
            "POSTGRES INSTANCE '{}' has no storage integration, and so no catalog. Run ALTER POSTGRES INSTANCE {} SET STORAGE_INTEGRATION = …",
            instance.name, instance.name
        );
        return Err(SqlError::new(code::INSTANCE_WITHOUT_STORAGE, text));
    };
    let integration = account.find(Kind::StorageIntegration, name)?;
    let allowed = integration.properties.texts("STORAGE_ALLOWED_LOCATIONS");
    let location = allowed.first().map_or("", String::as_str);
    Ok(format!("{}/", location.trim_end_matches('/')))
}
