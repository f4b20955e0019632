//! Credentials of a role, which is assumed when they are needed and again before they expire.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use super::client::{self, AssumeRole, Client};
use super::credentials::Credentials;
use icebox_base::private_file::Version;

/// The credentials of a role that a principal assumes.
#[derive(Debug)]
pub struct RoleCredentials {
    client: Client,
    params: AssumeRole,
    /// The file of the role's policies: see [`Self::until_changed`].
    policies: Option<PathBuf>,
    current: Mutex<Option<Session>>,
}

#[derive(Debug)]
struct Session {
    credentials: Credentials,
    /// The version of the policy file that the session was created with.
    policies: Option<Version>,
}

impl RoleCredentials {
    /// Creates the credentials of a role. `client` has the principal's own credentials.
    pub fn new(client: Client, params: AssumeRole) -> Self {
        Self {
            client,
            params,
            policies: None,
            current: Mutex::default(),
        }
    }

    /// Assumes the role again whenever `policies` changes, the file that contains the role's
    /// policies. This is for an S3 service that enforces the policies that a session was created
    /// with.
    pub fn until_changed(self, policies: Option<PathBuf>) -> Self {
        Self { policies, ..self }
    }

    /// Returns the current credentials. The role is assumed again if they expire within a minute.
    ///
    /// # Errors
    /// The errors of STS, such as `AccessDenied`. The next call tries again.
    pub async fn get(&self) -> client::Result<Credentials> {
        let mut current = self.current.lock().await;
        // A file that cannot be read counts as missing. The service then reports the problem.
        let policies = self
            .policies
            .as_deref()
            .and_then(|path| Version::of_file(path).ok()?);
        if let Some(Session {
            credentials,
            policies: with,
        }) = &*current
            && *with == policies
            && credentials.are_fresh()
        {
            return Ok(credentials.clone());
        }
        let credentials = self.client.assume_role(&self.params).await?;
        *current = Some(Session {
            credentials: credentials.clone(),
            policies,
        });
        Ok(credentials)
    }
}

#[async_trait]
impl CredentialProvider for RoleCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        for_store(self.get().await)
    }
}

/// Converts credentials, or the error that there are none, for a client of the crate
/// `object_store`.
pub fn for_store<E: std::error::Error + Send + Sync + 'static>(
    credentials: Result<Credentials, E>,
) -> object_store::Result<Arc<AwsCredential>> {
    match credentials {
        Ok(credentials) => Ok(Arc::new(credentials.into())),
        Err(error) => Err(object_store::Error::Generic {
            store: "S3",
            source: error.into(),
        }),
    }
}

impl From<Credentials> for AwsCredential {
    fn from(credentials: Credentials) -> Self {
        let token = credentials.session_token;
        Self {
            key_id: credentials.access_key_id,
            secret_key: credentials.secret_access_key.expose().to_owned(),
            token: token.map(|token| token.expose().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{SecondsFormat, Utc};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Starts an STS that answers each request with a new key, which expires after `lasts`.
    async fn sts(lasts: chrono::TimeDelta) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            for number in 1.. {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await.expect("a request");
                let until = (Utc::now() + lasts).to_rfc3339_opts(SecondsFormat::Secs, true);
                let body = format!(
                    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>KEY{number}</AccessKeyId>\
                     <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{until}</Expiration>\
                     </Credentials></AssumeRoleResult></AssumeRoleResponse>"
                );
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                stream
                    .write_all((head + &body).as_bytes())
                    .await
                    .expect("an answer");
            }
        });
        Client::new(
            endpoint,
            "us-east-1",
            Credentials::new("KEY".to_owned(), "s".to_owned()),
        )
    }

    async fn key(role: &RoleCredentials) -> String {
        role.get().await.expect("credentials").access_key_id
    }

    #[tokio::test]
    async fn credentials_are_kept_until_shortly_before_their_end() {
        let role = RoleCredentials::new(
            sts(chrono::TimeDelta::minutes(15)).await,
            AssumeRole::default(),
        );
        assert_eq!([key(&role).await, key(&role).await], ["KEY1", "KEY1"]);
        let role = RoleCredentials::new(
            sts(chrono::TimeDelta::seconds(50)).await,
            AssumeRole::default(),
        );
        assert_eq!([key(&role).await, key(&role).await], ["KEY1", "KEY2"]);
    }

    #[tokio::test]
    async fn credentials_are_taken_anew_where_the_policies_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let policies = dir.path().join("policies.json");
        let role = RoleCredentials::new(
            sts(chrono::TimeDelta::minutes(15)).await,
            AssumeRole::default(),
        )
        .until_changed(Some(policies.clone()));
        assert_eq!([key(&role).await, key(&role).await], ["KEY1", "KEY1"]);
        icebox_base::private_file::replace(&policies, b"{}").expect("it is written");
        assert_eq!([key(&role).await, key(&role).await], ["KEY2", "KEY2"]);
        icebox_base::private_file::replace(&policies, b"{ }").expect("it is written");
        assert_eq!(key(&role).await, "KEY3");
    }
}
