//! Creates sessions at MinIO, which has keys and policies of its own and does not ask this IAM.
//! MinIO's root user assumes a role for each session, with one policy that says what the session
//! may do, and MinIO enforces that policy.
//!
//! MinIO keeps the policy that a session was created with. If the policies have changed since then,
//! or if the client uses a long-term key, another session replaces the client's key: see
//! [`MinioSessions::replacement`]. The callers of the sessions are known only while this process
//! runs.

use std::collections::HashMap;

use chrono::{TimeDelta, Utc};
use parking_lot::Mutex;

use super::flatten::{FlattenError, flatten};
use crate::caller::Caller;
use crate::client::{AssumeRole, Client, Error};
use crate::credentials::Credentials;
use crate::policy::Policy;
use crate::secret::constant_time_eq;
use crate::session::Session;
use crate::{Fault, Secret};

/// How long an expired session is kept, so that its requests are refused as expired.
const KEEP_EXPIRED: TimeDelta = TimeDelta::days(1);

/// The shortest duration of a MinIO session, in seconds.
const MIN_DURATION: u32 = 900;

/// The sessions that were created at MinIO, by access key id.
pub struct MinioSessions {
    /// A client with the keys of MinIO's root user.
    root: Client,
    issued: Mutex<HashMap<String, IssuedSession>>,
    /// The sessions that replace a client's key, by that access key id.
    replacements: Mutex<HashMap<String, Replacement>>,
}

struct IssuedSession {
    secret: Secret,
    token: Secret,
    session: Session,
    /// The version of IAM's state that the policies were read from.
    version: u64,
}

struct Replacement {
    credentials: Credentials,
    version: u64,
}

impl MinioSessions {
    /// Creates sessions with a MinIO client that has the root user's keys.
    pub fn new(root: Client) -> Self {
        Self {
            root,
            issued: Mutex::default(),
            replacements: Mutex::default(),
        }
    }

    /// Creates a session of `caller`, whose own policies are `policies`, and returns its
    /// credentials. `version` is the version of IAM's state that the policies were read from.
    ///
    /// # Errors
    /// `ValidationError` or `PackedPolicyTooLarge` if the policies cannot be expressed for MinIO,
    /// or if MinIO rejects them. `ServiceFailure` if MinIO does not create the session.
    pub async fn create(
        &self,
        caller: &Caller,
        policies: &[Policy],
        session: &Session,
        version: u64,
    ) -> Result<Credentials, Fault> {
        let credentials = self.create_at_minio(caller, policies, session).await?;
        let Some(token) = credentials.session_token.clone() else {
            return Err(Fault::service_failure("MinIO's session has no token."));
        };
        let issued = IssuedSession {
            secret: credentials.secret_access_key.clone(),
            token,
            session: Session {
                key: credentials.access_key_id.clone(),
                expires: credentials.expires.unwrap_or(session.expires),
                ..session.clone()
            },
            version,
        };
        let key = credentials.access_key_id.clone();
        let now = Utc::now();
        let mut all = self.issued.lock();
        all.retain(|_, issued| issued.session.expires + KEEP_EXPIRED > now);
        all.insert(key, issued);
        Ok(credentials)
    }

    /// Returns whether a known session was created with another version of IAM's state than
    /// `version`.
    pub fn is_outdated(&self, access_key_id: &str, version: u64) -> bool {
        let issued = self.issued.lock();
        let known = issued.get(access_key_id);
        known.is_some_and(|issued| issued.version != version)
    }

    /// Returns the credentials of a session with the current policies, which replaces the client's
    /// access key. The session is cached by that key.
    ///
    /// # Errors
    /// The errors of [`Self::create`].
    pub async fn replacement(
        &self,
        access_key_id: &str,
        caller: &Caller,
        policies: &[Policy],
        session: &Session,
        version: u64,
    ) -> Result<Credentials, Fault> {
        let is_current =
            |known: &&Replacement| known.version == version && known.credentials.are_fresh();
        let cached = self
            .replacements
            .lock()
            .get(access_key_id)
            .filter(is_current)
            .map(|known| known.credentials.clone());
        if let Some(cached) = cached {
            return Ok(cached);
        }
        let credentials = self.create_at_minio(caller, policies, session).await?;
        let replacement = Replacement {
            credentials: credentials.clone(),
            version,
        };
        let mut all = self.replacements.lock();
        all.retain(|_, known| known.credentials.are_fresh());
        all.insert(access_key_id.to_owned(), replacement);
        Ok(credentials)
    }

    async fn create_at_minio(
        &self,
        caller: &Caller,
        policies: &[Policy],
        session: &Session,
    ) -> Result<Credentials, Fault> {
        let mut known = caller.context();
        known.insert("aws:securetransport".to_owned(), vec!["false".to_owned()]);
        let policy = flatten(policies, session.policy.as_ref(), &known);
        let policy = policy.map_err(inexpressible_fault)?;
        let left = (session.expires - Utc::now()).num_milliseconds();
        let seconds = u32::try_from(left.max(0))
            .unwrap_or(u32::MAX)
            .div_ceil(1000);
        let params = AssumeRole {
            // MinIO ignores the role ARN.
            role_arn: format!("arn:aws:iam::{}:role/session", caller.account),
            session_name: caller.session_name().unwrap_or("session").to_owned(),
            external_id: None,
            duration: Some(seconds.max(MIN_DURATION)),
            policy: Some(policy),
        };
        self.root
            .assume_role(&params)
            .await
            .map_err(|error| match error {
                Error::Aws { message, .. } => Fault::validation(format!(
                    "MinIO rejected the policy of this session: {message}"
                )),
                error => Fault::service_failure(format!("MinIO did not create a session: {error}")),
            })
    }

    pub fn secret_of(&self, access_key_id: &str) -> Option<Secret> {
        Some(self.issued.lock().get(access_key_id)?.secret.clone())
    }

    /// Returns the session of an access key, if `token` is its session token.
    pub fn session(&self, access_key_id: &str, token: &str) -> Option<Session> {
        let all = self.issued.lock();
        let issued = all.get(access_key_id)?;
        constant_time_eq(issued.token.expose(), token).then(|| issued.session.clone())
    }
}

fn inexpressible_fault(error: FlattenError) -> Fault {
    let text = format!("The policies of this session cannot be expressed for MinIO: {error}.");
    match error {
        FlattenError::TooLong(_) => Fault::packed_policy_too_large(text),
        _ => Fault::validation(text),
    }
}
