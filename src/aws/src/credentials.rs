//! Access keys, long-term and temporary.

use chrono::{DateTime, TimeDelta, Utc};

use super::Secret;

/// An access key, with the session token of temporary credentials.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
    /// The time at which temporary credentials expire.
    pub expires: Option<DateTime<Utc>>,
}

/// How long before they expire temporary credentials are replaced.
const MARGIN: TimeDelta = TimeDelta::seconds(60);

impl Credentials {
    /// Creates long-term credentials.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<Secret>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            session_token: None,
            expires: None,
        }
    }

    /// Returns whether the credentials do not expire within the next minute.
    pub(super) fn are_fresh(&self) -> bool {
        self.expires
            .is_none_or(|expires| expires > Utc::now() + MARGIN)
    }
}
