//! The S3 secrets of an engine that is configured by statements, as `pgduck_server` is.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use parking_lot::Mutex;

use super::error::{Error, Result};
use crate::duckdb_secret::{self, Conflict, Secret, Secrets};
use crate::storage::{self, Refusal};
use icebox_tables::{LakeIo, Service};

/// The secrets, and the access to object stores that follows from them.
pub struct SecretStore {
    secrets: Mutex<Secrets>,
    io: LakeIo,
}

impl SecretStore {
    pub fn new(secrets: Secrets) -> Self {
        Self {
            io: LakeIo::s3_services(secrets.iter().map(service)),
            secrets: Mutex::new(secrets),
        }
    }

    /// Returns the access to the object stores. Later changes of the secrets apply to it.
    pub fn io(&self) -> LakeIo {
        self.io.clone()
    }

    /// Applies all changes of a message about secrets, or none of them, and returns the command
    /// tag. Returns `None` if the message is about something else.
    pub(super) fn run(&self, sql: &str) -> Result<Option<&'static str>> {
        let changes = duckdb_secret::changes(sql);
        let Some(changes) =
            changes.map_err(|error| Error::new("42601", icebox_base::chain(&error)))?
        else {
            return Ok(None);
        };
        let mut secrets = self.secrets.lock();
        let mut changed = secrets.clone();
        for change in changes {
            changed.apply(change)?;
        }
        self.io.set_services(changed.iter().map(service).collect());
        *secrets = changed;
        Ok(Some("SECRET"))
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        let sqlstate = match conflict {
            Conflict::Exists { .. } => "42710",
            Conflict::Missing { .. } => "42704",
        };
        Self::new(sqlstate, conflict.to_string())
    }
}

fn service(secret: &Secret) -> Service {
    let refusing = |why| Arc::new(RefusedCredentials(why)) as _;
    Service {
        bucket: secret.bucket.clone(),
        s3: secret.s3.clone(),
        credentials: secret.refusal().map(refusing),
    }
}

/// A credential provider that always fails with the reason of a secret without rights.
#[derive(Debug)]
struct RefusedCredentials(Refusal);

#[async_trait]
impl CredentialProvider for RefusedCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        icebox_aws::for_store(Err(storage::Error::Reported(self.0.clone())))
    }
}
