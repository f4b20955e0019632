//! What objects say of each other in their options: the instance of a catalog integration, the
//! location and the role of an external volume.

use crate::Kind;
use crate::account::Account;
use crate::object::Object;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;

/// The `CATALOG_SOURCE` that is the catalog of a PostgreSQL instance.
pub const SNOWFLAKE_POSTGRES: &str = "SNOWFLAKE_POSTGRES";

/// Returns whether an integration's source is the catalog of a PostgreSQL instance.
pub fn is_postgres_catalog(one: &Object) -> bool {
    one.properties.text("CATALOG_SOURCE").as_deref() == Some(SNOWFLAKE_POSTGRES)
}

/// Returns the PostgreSQL instance whose catalog an integration reads.
///
/// # Errors
/// If there is no instance of that name.
pub fn catalog_instance(account: &Account, integration: &Object) -> SqlResult<Object> {
    let config = integration.properties.options("REST_CONFIG");
    let name = config.and_then(|config| config.name("POSTGRES_INSTANCE"));
    let name = name.ok_or_else(|| SqlError::bad_value("", "POSTGRES_INSTANCE"))?;
    account.find(Kind::PostgresInstance, name)
}

/// Returns the catalog integration that a table names.
///
/// # Errors
/// If it does not exist or is not enabled.
pub fn enabled_catalog(account: &Account, name: &ObjectName) -> SqlResult<Object> {
    let found = account.get(Kind::CatalogIntegration, name);
    let found = found.filter(|one| one.properties.is_true("ENABLED"));
    found.ok_or_else(|| {
        SqlError::compilation(
            code::OBJECT_NOT_FOUND,
            format_args!(
                "Catalog integration {name} either does not exist or is not of type CATALOG. Please verify that catalog integration is valid."
            ),
        )
    })
}

/// Returns the base URL of a volume's active location, ending in a slash. The first location is the
/// active one, because all are in S3 in one region.
pub fn volume_url(volume: &Object) -> String {
    let locations = volume.properties.options_list("STORAGE_LOCATIONS");
    let url = locations
        .first()
        .and_then(|one| one.text("STORAGE_BASE_URL"));
    let url = url.unwrap_or_default();
    format!("{}/", url.trim_end_matches('/'))
}

/// Returns the ARN of the role of a volume's active location.
pub fn volume_role(volume: &Object) -> Option<String> {
    let locations = volume.properties.options_list("STORAGE_LOCATIONS");
    locations.first()?.text("STORAGE_AWS_ROLE_ARN")
}

/// Returns the name of a volume's active location.
pub fn active_location(volume: &Object) -> String {
    let locations = volume.properties.options_list("STORAGE_LOCATIONS");
    let name = locations.first().and_then(|one| one.text("NAME"));
    name.unwrap_or_default()
}
