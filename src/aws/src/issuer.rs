//! Creates sessions at MinIO, which has keys and policies of its own and does not ask this IAM.
//! MinIO's root user assumes a role for each session, with one policy that says what the session
//! may do, and MinIO enforces that policy.
//!
//! MinIO keeps the policy that a session was created with. If the policies have changed since then,
//! or if the client uses a long-term key, another session replaces the client's key: see
//! [`Issuer::behind`]. The callers of the sessions are known only while this process runs.

use std::collections::HashMap;

use chrono::{TimeDelta, Utc};
use parking_lot::{Mutex, MutexGuard};

use super::caller::Caller;
use super::client::{AssumeRole, Client, Error};
use super::credentials::Credentials;
use super::policy::Policy;
use super::secret::same;
use super::session::Session;
use super::{Fault, Secret};
use crate::minio::flatten::{Inexpressible, standalone};

/// How long an expired session is remembered, so that its requests are refused as expired.
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// The shortest duration of a MinIO session, in seconds.
const SHORTEST: u32 = 900;

/// Creates sessions at MinIO.
pub(super) struct Issuer {
    root: Client,
    made: Mutex<HashMap<String, Made>>,
    /// The sessions that replace a client's key, by that access key id.
    behind: Mutex<HashMap<String, Behind>>,
}

struct Made {
    secret: Secret,
    token: Secret,
    session: Session,
    /// The version of IAM's state that the policies were read from.
    version: u64,
}

struct Behind {
    credentials: Credentials,
    version: u64,
}

impl Issuer {
    /// Creates an issuer from a MinIO client that has the root user's keys.
    pub fn new(root: Client) -> Self {
        Self {
            root,
            behind: Mutex::default(),
            made: Mutex::default(),
        }
    }

    /// Creates a session of `caller`, whose own policies are `policies`, and returns its
    /// credentials. `version` is the version of IAM's state that the policies were read from.
    ///
    /// # Errors
    /// `ValidationError` or `PackedPolicyTooLarge` if the policies cannot be expressed for MinIO, or if
    /// MinIO rejects them. `ServiceFailure` if MinIO does not create the session.
    pub async fn make(
        &self,
        caller: &Caller,
        policies: &[Policy],
        session: &Session,
        version: u64,
    ) -> Result<Credentials, Fault> {
        let credentials = self.ask(caller, policies, session).await?;
        let Some(token) = credentials.session_token.clone() else {
            return Err(Fault::service_failure(
                "The S3 server's session has no token.",
            ));
        };
        let made = Made {
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
        let mut all = lock(&self.made);
        all.retain(|_, made| made.session.expires + REMEMBERED > now);
        all.insert(key, made);
        Ok(credentials)
    }

    /// Returns whether a known session was created with another version of IAM's state than
    /// `version`.
    pub fn is_outdated(&self, access_key_id: &str, version: u64) -> bool {
        let is_old = |made: &Made| made.version != version;
        lock(&self.made).get(access_key_id).is_some_and(is_old)
    }

    /// Returns the credentials of a session with the current policies, which replaces the client's
    /// access key. The session is cached by that key.
    ///
    /// # Errors
    /// The errors of [`Self::make`].
    pub async fn behind(
        &self,
        access_key_id: &str,
        caller: &Caller,
        policies: &[Policy],
        session: &Session,
        version: u64,
    ) -> Result<Credentials, Fault> {
        let is_good = |one: &&Behind| one.version == version && one.credentials.are_good();
        let found = lock(&self.behind)
            .get(access_key_id)
            .filter(is_good)
            .map(|one| one.credentials.clone());
        if let Some(found) = found {
            return Ok(found);
        }
        let credentials = self.ask(caller, policies, session).await?;
        let one = Behind {
            credentials: credentials.clone(),
            version,
        };
        let mut all = lock(&self.behind);
        all.retain(|_, one| one.credentials.are_good());
        all.insert(access_key_id.to_owned(), one);
        Ok(credentials)
    }

    async fn ask(
        &self,
        caller: &Caller,
        policies: &[Policy],
        session: &Session,
    ) -> Result<Credentials, Fault> {
        let mut known = caller.context();
        known.insert("aws:securetransport".to_owned(), vec!["false".to_owned()]);
        let policy = standalone(policies, session.policy.as_ref(), &known).map_err(untold)?;
        let left = (session.expires - Utc::now()).num_milliseconds();
        let seconds = u32::try_from(left.max(0))
            .unwrap_or(u32::MAX)
            .div_ceil(1000);
        let wish = AssumeRole {
            // MinIO ignores the role ARN.
            role_arn: format!("arn:aws:iam::{}:role/session", caller.account),
            session_name: caller.session_name().unwrap_or("session").to_owned(),
            external_id: None,
            duration: Some(seconds.max(SHORTEST)),
            policy: Some(policy),
        };
        self.root
            .assume_role(&wish)
            .await
            .map_err(|error| match error {
                Error::Aws { message, .. } => Fault::validation(format!(
                    "The S3 server does not take the policies of this session: {message}"
                )),
                error => Fault::service_failure(format!("The S3 server made no session: {error}")),
            })
    }

    pub fn secret_of(&self, access_key_id: &str) -> Option<Secret> {
        Some(lock(&self.made).get(access_key_id)?.secret.clone())
    }

    /// Returns the session of an access key, if `token` is its session token.
    pub fn session(&self, access_key_id: &str, token: &str) -> Option<Session> {
        let all = lock(&self.made);
        let made = all.get(access_key_id)?;
        same(made.token.expose(), token).then(|| made.session.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

fn untold(error: Inexpressible) -> Fault {
    let text = format!("The S3 server cannot be told what this session may do: {error}.");
    match error {
        Inexpressible::TooLong(_) => Fault::packed_policy_too_large(text),
        _ => Fault::validation(text),
    }
}
