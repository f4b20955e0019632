//! `SYSTEM$VALIDATE_STORAGE_INTEGRATION` and `SYSTEM$VERIFY_EXTERNAL_VOLUME`: whether an object
//! gives access to its bucket.

use object_store::{ObjectStoreExt, PutPayload};
use serde_json::{Map, Value, json};

use crate::account::Account;
use crate::kind::storage_integration;
use crate::{Kind, access, references};
use icebox_sql::error::{self, SqlError, SqlResult};
use icebox_sql::names::ObjectName;
use icebox_tables::LakeIo;

/// The actions that were tried on a location, in order, each with its result.
struct Checks(Vec<(&'static str, Result<(), String>)>);

impl Checks {
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
async fn probe(lake: &LakeIo, location: &str) -> Result<Checks, String> {
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
    Ok(Checks(vec![
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
    storage_integration::check_location(&integration, location)?;
    let wanted = wanted.to_uppercase();
    const ACTIONS: [&str; 4] = ["READ", "WRITE", "LIST", "DELETE"];
    if wanted != "ALL" && !ACTIONS.contains(&wanted.as_str()) {
        return Err(SqlError::bad_value(wanted, "action"));
    }
    let location = format!("{}/", location.trim_end_matches('/'));
    let checks = match access::through_integration(account, &integration).await {
        Ok(lake) => probe(&lake, &location).await,
        Err(error) => Err(error.message.replace("SQL compilation error:\n", "")),
    };
    let shown = |result: &Result<(), String>| match result {
        Ok(()) => json!({"status": "success"}),
        Err(message) => json!({"status": "failure", "message": message}),
    };
    let answer = match checks {
        Err(message) => json!({"status": "failure", "actions": {}, "message": message}),
        Ok(mut checks) => {
            checks
                .0
                .retain(|(action, _)| wanted == "ALL" || wanted == *action);
            let actions: Map<String, Value> = checks
                .0
                .iter()
                .map(|(action, result)| ((*action).to_owned(), shown(result)))
                .collect();
            if checks.is_good() {
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
    let location = references::volume_url(&volume);
    let (role_result, checks) = match access::through_volume(account, &volume).await {
        Ok(lake) => ("PASSED".to_owned(), Some(probe(&lake, &location).await)),
        Err(error) => (error.message.replace("SQL compilation error:\n", ""), None),
    };
    let checks = match checks {
        Some(Ok(checks)) => checks,
        Some(Err(message)) => Checks(vec![("READ", Err(message))]),
        None => Checks(Vec::new()),
    };
    let result = |action| match checks.of(action) {
        Some(Ok(())) => "PASSED".to_owned(),
        Some(Err(message)) => message.clone(),
        None => "SKIPPED".to_owned(),
    };
    let principal = access::role(&volume).map(|role| {
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
        .all(|action| matches!(checks.of(action), Some(Ok(()))));
    Ok(json!({
        "success": is_good,
        "storageLocationSelectionResult": "PASSED",
        "storageLocationName": references::active_location(&volume),
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
