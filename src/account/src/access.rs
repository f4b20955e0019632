//! Access of objects to their buckets: through the role of an external volume or of a storage
//! integration, assumed as the principal of that object.

use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{ObjectStoreExt, PutPayload};
use serde_json::{Map, Value, json};

use super::account::Account;
use super::object::properties::Properties;
use super::object::{Kind, Object, State, catalog_integration, external_volume};
use crate::host::Role;
use icebox_sql::error::{self, SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_tables::LakeIo;

/// Returns the role of a storage integration or an external volume; `None` if it has none.
pub fn role(object: &Object) -> Option<Role> {
    let State::Principal(principal) = &object.state else {
        return None;
    };
    let role_arn = match object.properties.text("STORAGE_AWS_ROLE_ARN") {
        Some(arn) => arn,
        None => external_volume::role_arn(object)?,
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
        return Ok(account.world.lake().clone());
    };
    let lake = account.world.lake_through(&role).await;
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
        external_volume::active(volume),
    );
    SqlError::compilation(code::VOLUME_NOT_ACCESSIBLE, text.trim_end())
}

/// Returns the object store as reached through a storage integration's role.
///
/// # Errors
/// If the role cannot be assumed.
pub async fn through_integration(account: &Account, integration: &Object) -> SqlResult<LakeIo> {
    let Some(role) = role(integration) else {
        return Ok(account.world.lake().clone());
    };
    let lake = account.world.lake_through(&role).await;
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
        if let Some(catalog) = catalog.filter(catalog_integration::is_postgres) {
            return of_catalog(account, &catalog).await;
        }
        match properties.name("EXTERNAL_VOLUME") {
            Some(name) => {
                let volume = account.find(Kind::ExternalVolume, name)?;
                through_volume(account, &volume).await
            }
            None => Ok(account.world.lake().clone()),
        }
    }
    .boxed()
}

/// Returns the object store as the reader of a PostgreSQL instance's catalog uses it.
pub async fn of_catalog(account: &Account, catalog: &Object) -> SqlResult<LakeIo> {
    let instance = catalog_integration::instance(account, catalog).ok();
    let name = instance.and_then(|one| one.properties.name("STORAGE_INTEGRATION").cloned());
    match name {
        Some(name) => {
            let integration = account.find(Kind::StorageIntegration, &name)?;
            through_integration(account, &integration).await
        }
        None => Ok(account.world.lake().clone()),
    }
}

/// The actions that were tried on a location, in order, each with its result.
struct Tried(Vec<(&'static str, Result<(), String>)>);

impl Tried {
    fn is_good(&self) -> bool {
        self.0.iter().all(|(_, result)| result.is_ok())
    }

    fn of(&self, action: &str) -> Option<&Result<(), String>> {
        self.0
            .iter()
            .find(|(name, _)| *name == action)
            .map(|(_, result)| result)
    }
}

/// Writes, reads, lists and deletes a probe file below a location.
async fn try_out(lake: &LakeIo, location: &str) -> Result<Tried, String> {
    let name = format!("{location}snowflake_access_check_{}", uuid::Uuid::new_v4());
    let (store, key) = lake
        .resolve(&name)
        .map_err(|error| icebox_base::chain(&error))?;
    let (_, folder) = lake
        .resolve(location)
        .map_err(|error| icebox_base::chain(&error))?;
    let said = |error: object_store::Error| error::cause(&icebox_base::chain(&error));
    let write = store.put(&key, PutPayload::from_static(b"check")).await;
    let read = match &write {
        Ok(_) => store.get(&key).await.map(drop),
        // The probe file was not written. NotFound shows that the role may read.
        Err(_) => match store.head(&key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => other.map(drop),
        },
    };
    let list = store.list_with_delimiter(Some(&folder)).await.map(drop);
    let delete = store.delete(&key).await;
    Ok(Tried(vec![
        ("READ", read.map_err(said)),
        ("WRITE", write.map(drop).map_err(said)),
        ("LIST", list.map_err(said)),
        ("DELETE", delete.map_err(said)),
    ]))
}

/// Runs `SYSTEM$VALIDATE_STORAGE_INTEGRATION`, which returns JSON: `status`, `actions` with a
/// status each, and `message`.
///
/// # Errors
/// If there is no such integration, or the location is not one that it allows.
pub async fn validate_integration(
    account: &Account,
    name: &ObjectName,
    location: &str,
    wanted: &str,
) -> SqlResult<String> {
    let integration = account.find(Kind::StorageIntegration, name)?;
    super::object::storage_integration::check_location(&integration, location)?;
    let wanted = wanted.to_uppercase();
    const ACTIONS: [&str; 4] = ["READ", "WRITE", "LIST", "DELETE"];
    if wanted != "ALL" && !ACTIONS.contains(&wanted.as_str()) {
        return Err(SqlError::bad_value(wanted, "action"));
    }
    let location = format!("{}/", location.trim_end_matches('/'));
    let tried = match through_integration(account, &integration).await {
        Ok(lake) => try_out(&lake, &location).await,
        Err(error) => Err(error.message.replace("SQL compilation error:\n", "")),
    };
    let shown = |result: &Result<(), String>| match result {
        Ok(()) => json!({"status": "success"}),
        Err(message) => json!({"status": "failure", "message": message}),
    };
    let answer = match tried {
        Err(message) => json!({"status": "failure", "actions": {}, "message": message}),
        Ok(mut tried) => {
            tried
                .0
                .retain(|(action, _)| wanted == "ALL" || wanted == *action);
            let actions: Map<String, Value> = tried
                .0
                .iter()
                .map(|(action, result)| ((*action).to_owned(), shown(result)))
                .collect();
            if tried.is_good() {
                json!({"status": "success", "actions": actions})
            } else {
                json!({
                    "status": "failure",
                    "actions": actions,
                    "message": "Some of the integration checks failed.",
                })
            }
        }
    };
    Ok(answer.to_string())
}

/// Runs `SYSTEM$VERIFY_EXTERNAL_VOLUME`, which returns JSON.
///
/// # Errors
/// If there is no such volume.
pub async fn verify_volume(account: &Account, name: &ObjectName) -> SqlResult<String> {
    let volume = account.find(Kind::ExternalVolume, name)?;
    let location = external_volume::base_url(&volume);
    let (role_result, tried) = match through_volume(account, &volume).await {
        Ok(lake) => ("PASSED".to_owned(), Some(try_out(&lake, &location).await)),
        Err(error) => (error.message.replace("SQL compilation error:\n", ""), None),
    };
    let tried = match tried {
        Some(Ok(tried)) => tried,
        Some(Err(message)) => Tried(vec![("READ", Err(message))]),
        None => Tried(Vec::new()),
    };
    let result = |action| match tried.of(action) {
        Some(Ok(())) => "PASSED".to_owned(),
        Some(Err(message)) => message.clone(),
        None => "SKIPPED".to_owned(),
    };
    let principal = role(&volume).map(|role| {
        format!(
            "STORAGE_AWS_IAM_USER_ARN: {}; STORAGE_AWS_EXTERNAL_ID: {}",
            role.user_arn, role.external_id
        )
    });
    let allows_writes = volume.properties.is_true("ALLOW_WRITES");
    let needed: &[&str] = if allows_writes {
        &["READ", "WRITE", "LIST", "DELETE"]
    } else {
        &["READ", "LIST"]
    };
    let is_good = needed
        .iter()
        .all(|action| matches!(tried.of(action), Some(Ok(()))));
    Ok(json!({
        "success": is_good,
        "storageLocationSelectionResult": "PASSED",
        "storageLocationName": external_volume::active(&volume),
        "servicePrincipalProperties": principal,
        "location": location,
        "storageAccount": null,
        "region": "us-east-1",
        "writeResult": if allows_writes { result("WRITE") } else { "SKIPPED".to_owned() },
        "readResult": result("READ"),
        "listResult": result("LIST"),
        "deleteResult": if allows_writes { result("DELETE") } else { "SKIPPED".to_owned() },
        "awsRoleArnValidationResult": role_result,
        "azureGetUserDelegationKeyResult": "SKIPPED",
    })
    .to_string())
}
