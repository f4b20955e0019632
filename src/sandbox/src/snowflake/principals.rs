//! The users of Snowflake's AWS account, as whom it assumes roles, and the roles that it has
//! assumed.
//!
//! The users' keys are in `snowflake/principals.json` (0600), by ARN.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Error, StateDir, aws};
use icebox_account::host::Role;
use icebox_aws::RoleCredentials;
use icebox_aws::client::{AssumeRole, Client, Error as AwsError};
use icebox_pglake::storage::KeyPair;
use icebox_s3_client::S3Config;
use icebox_tables::LakeIo;

/// The session name of assumed roles.
const SESSION: &str = "snowflake";

/// The principals, and the object store as seen through each role.
pub struct Principals {
    state: StateDir,
    /// The AWS endpoint, with the keys of the root user of Snowflake's account.
    s3: S3Config,
    keys: Mutex<BTreeMap<String, KeyPair>>,
    lakes: Mutex<HashMap<Role, (Arc<RoleCredentials>, LakeIo)>>,
    /// Locked while a user is created, so that only one is created at a time.
    making: tokio::sync::Mutex<()>,
}

impl Principals {
    pub fn open(state: &StateDir, s3: S3Config) -> Result<Self, Error> {
        let keys: Option<BTreeMap<String, KeyPair>> = state.read_json(&file(state))?;
        Ok(Self {
            state: state.clone(),
            s3,
            keys: Mutex::new(keys.unwrap_or_default()),
            lakes: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        })
    }

    pub fn keys(&self, arn: &str) -> Option<KeyPair> {
        let keys = self.keys.lock();
        keys.get(arn).cloned()
    }

    /// Creates the user with this ARN if it does not exist.
    ///
    /// # Errors
    /// Any error of IAM, or that the keys cannot be persisted.
    pub async fn add(&self, arn: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let _one = self.making.lock().await;
        if self.keys(arn).is_some() {
            return Ok(());
        }
        let name = arn.rsplit('/').next().unwrap_or(arn);
        let iam = aws::client(&self.s3);
        let credentials = match iam.create_principal(name).await {
            // The user was created by a process that ended before it could persist the keys.
            Err(AwsError::Aws { code, .. }) if code == "EntityAlreadyExists" => {
                iam.create_access_key(name).await?
            }
            other => other?.1,
        };
        let new = KeyPair {
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
        };
        let mut keys = self.keys.lock();
        keys.insert(arn.to_owned(), new);
        self.state.write_json(&file(&self.state), &*keys)?;
        Ok(())
    }

    /// Returns the object store as seen through a role. The error is the message of STS.
    pub async fn lake(&self, role: &Role) -> Result<LakeIo, String> {
        let (credentials, lake) = self.known(role)?;
        match credentials.get().await {
            Ok(_) => Ok(lake),
            Err(AwsError::Aws { message, .. }) => Err(message),
            Err(error) => Err(icebox_base::chain(&error)),
        }
    }

    fn known(&self, role: &Role) -> Result<(Arc<RoleCredentials>, LakeIo), String> {
        let mut lakes = self.lakes.lock();
        if let Some(known) = lakes.get(role) {
            return Ok(known.clone());
        }
        let keys = self.keys(&role.user_arn).ok_or_else(|| {
            format!(
                "User: {} is not authorized to perform: sts:AssumeRole on resource: {}",
                role.user_arn, role.role_arn
            )
        })?;
        let client = Client::new(
            self.s3.endpoint.clone(),
            self.s3.region.clone(),
            keys.into(),
        );
        let wish = AssumeRole {
            role_arn: role.role_arn.clone(),
            session_name: SESSION.to_owned(),
            external_id: Some(role.external_id.clone()),
            ..AssumeRole::default()
        };
        let credentials = Arc::new(RoleCredentials::new(client, wish));
        let lake = LakeIo::s3_with_credentials(self.s3.clone(), credentials.clone());
        let known = (credentials, lake);
        lakes.insert(role.clone(), known.clone());
        Ok(known)
    }
}

fn file(state: &StateDir) -> PathBuf {
    state.snowflake_dir().join("principals.json")
}
