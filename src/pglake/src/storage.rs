//! How a PostgreSQL instance reaches its lake: it assumes the role of its storage integration.
//!
//! The role is stored in a file, the grant. ALTER POSTGRES INSTANCE … SET `STORAGE_INTEGRATION`
//! [replaces](fn@write) the file. [`GrantedCredentials`] check the file at each use, so a change
//! needs neither a notification nor a restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use icebox_aws as aws;
use icebox_aws::client::{self, AssumeRole, Client, Credentials};
use icebox_aws::{RoleCredentials, Secret};
use icebox_base::private_file::{self, Version};

/// The role session's duration in seconds that Snowflake requests: 12 hours, the longest that AWS
/// allows.
pub const SESSION_SECONDS: u32 = 12 * 60 * 60;

/// The role that a PostgreSQL instance may assume, and the principal that assumes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StorageGrant {
    /// The keys of the integration's IAM user.
    pub principal: KeyPair,
    pub role_arn: String,
    pub external_id: String,
    pub session_name: String,
    /// The duration of the role session in seconds; [`SESSION_SECONDS`] in the cloud.
    pub duration: u32,
    /// The session policy, which limits the session to the integration's allowed location.
    pub policy: Option<String>,
    /// The integration's name.
    pub integration: String,
}

/// A long-term key pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyPair {
    pub access_key_id: String,
    pub secret_access_key: Secret,
}

impl From<KeyPair> for Credentials {
    fn from(keys: KeyPair) -> Self {
        Self::new(keys.access_key_id, keys.secret_access_key)
    }
}

/// The reason why there are no credentials. The messages are for the user of PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this Postgres instance has no storage integration, so it cannot reach object storage")]
    NoIntegration,
    #[error("cannot read the storage integration of this Postgres instance from {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "the storage integration {integration} cannot assume the role {role_arn} with the external id {external_id}: {source}"
    )]
    Refused {
        integration: String,
        role_arn: String,
        external_id: String,
        source: Box<client::Error>,
    },
    #[error("{0}")]
    Reported(Refusal),
}

/// The message and hint of an [`Error`], as they are sent to another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub message: String,
    /// What the user can do about it.
    pub hint: String,
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint(),
        }
    }
}

impl Error {
    /// Finds an error of this type among the causes of a failed lake operation.
    pub fn find_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |error| error.source())
            .find_map(|error| error.downcast_ref())
    }

    /// Whether the service could not be reached, as opposed to having refused the request.
    pub fn is_connection(&self) -> bool {
        let Self::Refused { source, .. } = self else {
            return false;
        };
        matches!(**source, client::Error::Unreachable { .. })
    }

    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let (integration, role_arn, external_id, source) = match self {
            Self::Reported(refusal) => return refusal.hint.clone(),
            Self::NoIntegration => {
                return "Give it one on the Snowflake side: ALTER POSTGRES INSTANCE <name> SET STORAGE_INTEGRATION = <integration>, \
                        an integration with TYPE = POSTGRES_EXTERNAL_STORAGE."
                    .to_owned();
            }
            Self::Unreadable { .. } => {
                return "Set it again on the Snowflake side: ALTER POSTGRES INSTANCE <name> SET STORAGE_INTEGRATION = <integration>."
                    .to_owned();
            }
            Self::Refused {
                integration,
                role_arn,
                external_id,
                source,
            } => (integration, role_arn, external_id, source),
        };
        match &**source {
            client::Error::Aws { message, .. } if message.contains("DurationSeconds exceeds") => {
                let role = role_arn.rsplit('/').next().unwrap_or(role_arn);
                format!(
                    "Set the role's maximum session duration to 12 hours: \
                     aws iam update-role --role-name {role} --max-session-duration {SESSION_SECONDS}."
                )
            }
            client::Error::Aws { code, .. } if code == "AccessDenied" => format!(
                "Check that the role exists and that its trust policy allows sts:AssumeRole to the user above with \
                 sts:ExternalId {external_id}; DESCRIBE STORAGE INTEGRATION {integration} shows both, and aws iam \
                 update-assume-role-policy changes the trust policy."
            ),
            client::Error::Aws { .. } => format!(
                "Check the role and the location of the storage integration: DESCRIBE STORAGE INTEGRATION {integration}."
            ),
            client::Error::Unreachable { .. } | client::Error::Answer { .. } => {
                "Is the sandbox's S3 server up? (icebox status)".to_owned()
            }
        }
    }
}

/// Writes a grant atomically and with mode 0600; `None` removes it.
///
/// # Errors
/// The file cannot be written or removed.
pub fn write(path: &Path, grant: Option<&StorageGrant>) -> io::Result<()> {
    let Some(grant) = grant else {
        return private_file::remove(path);
    };
    private_file::replace(path, &serde_json::to_vec_pretty(grant)?)
}

/// Reads a grant; `None` where there is none.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn read(path: &Path) -> Result<Option<StorageGrant>, Error> {
    let failed = |source| Error::Unreadable {
        path: path.to_owned(),
        source,
    };
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Credentials for the role of a grant's file. The file is checked each time credentials are
/// needed.
#[derive(Debug)]
pub struct GrantedCredentials {
    endpoint: String,
    region: String,
    path: PathBuf,
    /// The file with the policies of the roles, see [`RoleCredentials::until_changed`].
    policies: Option<PathBuf>,
    current: Mutex<Option<Arc<LoadedGrant>>>,
}

/// A grant as it was read from its file.
#[derive(Debug)]
struct LoadedGrant {
    version: Version,
    grant: StorageGrant,
    role: RoleCredentials,
}

impl GrantedCredentials {
    /// Creates credentials for the grant at `path`, which need not exist yet. `endpoint` is that of
    /// STS.
    pub fn new(
        endpoint: impl Into<String>,
        region: impl Into<String>,
        path: impl Into<PathBuf>,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            region: region.into(),
            path: path.into(),
            policies: None,
            current: Mutex::default(),
        }
    }

    /// Assumes the role again when the file `policies` changes, see
    /// [`RoleCredentials::until_changed`].
    pub fn renewed_on_change_of(self, policies: Option<PathBuf>) -> Self {
        Self { policies, ..self }
    }

    /// Returns credentials that stay valid for a while.
    ///
    /// # Errors
    /// [`Error`]. The next call checks the file and requests credentials again.
    pub async fn get(&self) -> Result<Credentials, Error> {
        let granted = self.granted().await?;
        granted.role.get().await.map_err(|source| Error::Refused {
            integration: granted.grant.integration.clone(),
            role_arn: granted.grant.role_arn.clone(),
            external_id: granted.grant.external_id.clone(),
            source: Box::new(source),
        })
    }

    async fn granted(&self) -> Result<Arc<LoadedGrant>, Error> {
        let version = Version::of_file(&self.path).map_err(|source| Error::Unreadable {
            path: self.path.clone(),
            source,
        })?;
        let mut current = self.current.lock().await;
        let Some(version) = version else {
            *current = None;
            return Err(Error::NoIntegration);
        };
        if let Some(granted) = &*current
            && granted.version == version
        {
            return Ok(Arc::clone(granted));
        }
        // If the file was replaced after `version` was taken, the next call reads it again.
        let grant = read(&self.path)?.ok_or(Error::NoIntegration)?;
        let granted = Arc::new(LoadedGrant {
            version,
            role: self.role(&grant),
            grant,
        });
        *current = Some(Arc::clone(&granted));
        Ok(granted)
    }

    fn role(&self, grant: &StorageGrant) -> RoleCredentials {
        let principal = grant.principal.clone().into();
        let request = AssumeRole {
            role_arn: grant.role_arn.clone(),
            session_name: grant.session_name.clone(),
            external_id: Some(grant.external_id.clone()),
            duration: Some(grant.duration),
            policy: grant.policy.clone(),
        };
        RoleCredentials::new(
            Client::new(&self.endpoint, &self.region, principal),
            request,
        )
        .until_changed(self.policies.clone())
    }
}

#[async_trait]
impl CredentialProvider for GrantedCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        aws::for_store(self.get().await)
    }
}
