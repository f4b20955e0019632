//! Sessions of another S3 service, MinIO, whose keys and policies IAM's here do not reach: its root user takes them on, each with one
//! policy that says what the session may do, and the service holds it to that.
//!
//! A session keeps the policies that it was made with. Whom a key was given to is known as long as this process lives; the service
//! itself knows its sessions on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{TimeDelta, Utc};

use super::caller::Caller;
use super::client::{AssumeRole, Client, Credentials, Error};
use super::policy::standalone::{Inexpressible, standalone};
use super::policy::{Policy, Purpose};
use super::secret::same;
use super::session::Session;
use super::{Fault, Secret};

/// How long one that has ended is told of as such.
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// What a root user may do.
const EVERYTHING: &str = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;

/// Has sessions made by another service.
pub(super) struct Issuer {
    root: Client,
    made: Mutex<HashMap<String, Made>>,
}

struct Made {
    secret: Secret,
    token: Secret,
    session: Session,
}

impl Issuer {
    /// By a client of that service with its root user's keys.
    pub fn new(root: Client) -> Self {
        Self {
            root,
            made: Mutex::default(),
        }
    }

    /// Credentials for a session of `caller`, whose own policies these are; `None`: it is a root user. To be called where blocking is
    /// allowed.
    ///
    /// # Errors
    /// ValidationError, PackedPolicyTooLarge: the service cannot be told what the session may do. ServiceFailure: it does not answer.
    pub fn make(
        &self,
        caller: &Caller,
        policies: Option<&[Policy]>,
        session: &Session,
    ) -> Result<Credentials, Fault> {
        let mut known = caller.context();
        known.insert("aws:securetransport".to_owned(), vec!["false".to_owned()]);
        let everything = [Policy::parse(EVERYTHING, Purpose::Identity)?];
        let policies = policies.unwrap_or(&everything);
        let policy = standalone(policies, session.policy.as_ref(), &known).map_err(untold)?;
        let wish = AssumeRole {
            // Nobody looks at it.
            role_arn: format!("arn:aws:iam::{}:role/session", caller.account),
            session_name: caller.session_name().unwrap_or("session").to_owned(),
            external_id: None,
            duration: u32::try_from((session.expires - session.issued).num_seconds()).ok(),
            policy: Some(policy),
        };
        let answer = tokio::runtime::Handle::current().block_on(self.root.assume_role(&wish));
        let credentials = answer.map_err(|error| match error {
            Error::Aws { message, .. } => Fault::validation(format!(
                "The S3 server does not take the policies of this session: {message}"
            )),
            error => Fault::service_failure(format!("The S3 server made no session: {error}")),
        })?;
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
        };
        self.with(|all| {
            let now = Utc::now();
            all.retain(|_, made| made.session.expires + REMEMBERED > now);
            all.insert(credentials.access_key_id.clone(), made);
        });
        Ok(credentials)
    }

    pub fn secret_of(&self, access_key_id: &str) -> Option<Secret> {
        self.with(|all| Some(all.get(access_key_id)?.secret.clone()))
    }

    /// The session of an access key, if this is its token.
    pub fn session(&self, access_key_id: &str, token: &str) -> Option<Session> {
        self.with(|all| {
            let made = all.get(access_key_id)?;
            same(made.token.expose(), token).then(|| made.session.clone())
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<String, Made>) -> T) -> T {
        look(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn untold(error: Inexpressible) -> Fault {
    let text = format!("The S3 server cannot be told what this session may do: {error}.");
    match error {
        Inexpressible::TooLong(_) => Fault::packed_policy_too_large(text),
        _ => Fault::validation(text),
    }
}
