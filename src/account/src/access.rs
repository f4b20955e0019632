//! Access of objects to their buckets: through the role of an external volume or of a storage
//! integration, assumed as the principal of that object.

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::account::Account;
use crate::host::Role;
use crate::object::Object;
use crate::object::properties::Properties;
use crate::{Kind, State, references};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_tables::LakeIo;

/// Returns the role of a storage integration or an external volume; `None` if it has none.
pub fn role(object: &Object) -> Option<Role> {
    let State::Principal(principal) = &object.state else {
        return None;
    };
    let role_arn = match object.properties.text("STORAGE_AWS_ROLE_ARN") {
        Some(arn) => arn,
        None => references::volume_role(object)?,
    };
    Some(Role {
        user_arn: principal.user_arn.clone(),
        external_id: principal.external_id.clone(),
        role_arn,
    })
}

/// Says what to check when a role cannot be assumed.
fn advice(role: &Role, object: &Object) -> String {
    format!(
        "Check that the trust policy of {} allows the principal {} with the external id {} (DESCRIBE shows those of {}).",
        role.role_arn, role.user_arn, role.external_id, object.name
    )
}

/// Returns the object store as reached through a volume's role.
///
/// # Errors
/// If the role cannot be assumed, with the text of Snowflake's first use of a volume.
pub async fn through_volume(account: &Account, volume: &Object) -> SqlResult<LakeIo> {
    let Some(role) = role(volume) else {
        return Ok(account.host.lake().clone());
    };
    let lake = account.host.lake_through(&role).await;
    lake.map_err(|said| {
        let cause = format!("Error assuming AWS_ROLE: {said}");
        volume_failed(volume, &cause, &advice(&role, volume))
    })
}

/// Returns the error of a volume's first use.
pub fn volume_failed(volume: &Object, cause: &str, advice: &str) -> SqlError {
    let text = format!(
        "A test file read on the external volume {} active storage location {} failed with the message '{cause}'. {advice}",
        volume.name,
        references::active_location(volume),
    );
    SqlError::compilation(code::VOLUME_NOT_ACCESSIBLE, text.trim_end())
}

/// Returns the object store as reached through a storage integration's role.
///
/// # Errors
/// If the role cannot be assumed.
pub async fn through_integration(account: &Account, integration: &Object) -> SqlResult<LakeIo> {
    let Some(role) = role(integration) else {
        return Ok(account.host.lake().clone());
    };
    let lake = account.host.lake_through(&role).await;
    lake.map_err(|said| {
        let text = format!(
            "Error assuming AWS_ROLE:\n{said}\n{}",
            advice(&role, integration)
        );
        SqlError::compilation(code::VOLUME_NOT_ACCESSIBLE, text)
    })
}

/// Returns the object store as a table's reader uses it: through the table's external volume, or,
/// for a table of a PostgreSQL instance's catalog, through the instance's storage integration.
pub fn of_table<'a>(
    account: &'a Account,
    properties: &'a Properties,
) -> BoxFuture<'a, SqlResult<LakeIo>> {
    async move {
        let catalog = properties.name("CATALOG");
        let catalog = catalog.and_then(|name| account.get(Kind::CatalogIntegration, name));
        if let Some(catalog) = catalog.filter(references::is_postgres_catalog) {
            return of_catalog(account, &catalog).await;
        }
        match properties.name("EXTERNAL_VOLUME") {
            Some(name) => {
                let volume = account.find(Kind::ExternalVolume, name)?;
                through_volume(account, &volume).await
            }
            None => Ok(account.host.lake().clone()),
        }
    }
    .boxed()
}

/// Returns the object store as the reader of a PostgreSQL instance's catalog uses it.
pub async fn of_catalog(account: &Account, catalog: &Object) -> SqlResult<LakeIo> {
    let instance = references::catalog_instance(account, catalog).ok();
    let name = instance.and_then(|one| one.properties.name("STORAGE_INTEGRATION").cloned());
    match name {
        Some(name) => {
            let integration = account.find(Kind::StorageIntegration, &name)?;
            through_integration(account, &integration).await
        }
        None => Ok(account.host.lake().clone()),
    }
}
