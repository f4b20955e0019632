//! What a new account has beside Snowflake's own objects: the sandbox's PostgreSQL as the instance
//! ICEBOX, and a database ICEBOX that is linked to its Iceberg tables.

use std::sync::Arc;

use icebox_account::Kind;
use icebox_account::account::Account;
use icebox_account::host::Postgres;
use icebox_account::kind::postgres_instance;
use icebox_account::session::Session;
use icebox_account::statement::{self, Statement};
use icebox_sql::error::SqlResult;
use icebox_sql::names::{Ident, ObjectName};

/// The name of the instance and of the database, and the prefix of the integrations' names.
pub const NAME: &str = "ICEBOX";

/// Creates these objects, unless the instance exists.
pub async fn create_default_objects(
    account: &Arc<Account>,
    server: &Postgres,
    bucket: &str,
    role_arn: &str,
) -> SqlResult<()> {
    let name = ObjectName(vec![Ident::unquoted(NAME)]);
    if account.get(Kind::PostgresInstance, &name).is_some() {
        return Ok(());
    }
    let session = Session::new(Arc::clone(account), Ident::unquoted("SYSTEM"));
    postgres_instance::adopt(&session, name, server).await?;
    for sql in [
        format!(
            "CREATE OR REPLACE STORAGE INTEGRATION {NAME}_STORAGE TYPE = POSTGRES_EXTERNAL_STORAGE STORAGE_PROVIDER = 'S3' \
             ENABLED = TRUE STORAGE_AWS_ROLE_ARN = '{role_arn}' STORAGE_ALLOWED_LOCATIONS = ('s3://{bucket}/')"
        ),
        format!("ALTER POSTGRES INSTANCE {NAME} SET STORAGE_INTEGRATION = {NAME}_STORAGE"),
        format!(
            "CREATE OR REPLACE CATALOG INTEGRATION {NAME}_CATALOG CATALOG_SOURCE = SNOWFLAKE_POSTGRES TABLE_FORMAT = ICEBERG \
             REST_CONFIG = (POSTGRES_INSTANCE = '{NAME}' CATALOG_NAME = 'postgres' ACCESS_DELEGATION_MODE = VENDED_CREDENTIALS) \
             ENABLED = TRUE"
        ),
        format!(
            "CREATE DATABASE IF NOT EXISTS {NAME} LINKED_CATALOG = (CATALOG = '{NAME}_CATALOG', ALLOWED_WRITE_OPERATIONS = NONE) \
             CATALOG_CASE_SENSITIVITY = CASE_INSENSITIVE"
        ),
    ] {
        statement::run(&session, &Statement::new(&sql)).await?;
    }
    Ok(())
}
