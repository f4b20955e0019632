//! Sessions of another S3 service, MinIO, whose keys and policies IAM's here do not reach: its root user takes them on, each with one
//! policy that says what the session may do, and the service holds it to that.
//!
//! The service holds a session to the policies that it was made with. Where these have changed, and for a key that lasts, there is another
//! session behind the key: see [`Issuer::behind`]. Whom a key was given to is known as long as this process lives.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{TimeDelta, Utc};

use super::caller::Caller;
use super::client::{AssumeRole, Client, Credentials, Error};
use super::policy::Policy;
use super::policy::standalone::{Inexpressible, standalone};
use super::secret::same;
use super::session::Session;
use super::{Fault, Secret};

/// How long one that has ended is told of as such.
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// The shortest session, in seconds.
const SHORTEST: u32 = 900;

/// Has sessions made by another service.
pub(super) struct Issuer {
    root: Client,
    made: Mutex<HashMap<String, Made>>,
    /// Sessions of the service that stand behind a key, by that.
    behind: Mutex<HashMap<String, Behind>>,
}

struct Made {
    secret: Secret,
    token: Secret,
    session: Session,
    /// Of IAM's state.
    version: u64,
}

struct Behind {
    credentials: Credentials,
    version: u64,
}

impl Issuer {
    /// By a client of that service with its root user's keys.
    pub fn new(root: Client) -> Self {
        Self {
            root,
            behind: Mutex::default(),
            made: Mutex::default(),
        }
    }

    /// Credentials for a session of `caller`, whose own policies these are.
    ///
    /// # Errors
    /// ValidationError, PackedPolicyTooLarge: the service cannot be told what the session may do. ServiceFailure: it does not answer.
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

    /// Whether a session that was made is held to policies of before `version`.
    pub fn is_outdated(&self, access_key_id: &str, version: u64) -> bool {
        let is_old = |made: &Made| made.version != version;
        lock(&self.made).get(access_key_id).is_some_and(is_old)
    }

    /// Credentials for requests that come with another key: of a session with the policies of now.
    ///
    /// # Errors
    /// As [`Self::make`].
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
            // Nobody looks at it.
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

    /// The session of an access key, if this is its token.
    pub fn session(&self, access_key_id: &str, token: &str) -> Option<Session> {
        let all = lock(&self.made);
        let made = all.get(access_key_id)?;
        same(made.token.expose(), token).then(|| made.session.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn untold(error: Inexpressible) -> Fault {
    let text = format!("The S3 server cannot be told what this session may do: {error}.");
    match error {
        Inexpressible::TooLong(_) => Fault::packed_policy_too_large(text),
        _ => Fault::validation(text),
    }
}
