//! The caller of a request: its account, identity and session.

use std::collections::HashMap;

use super::session::Session;
use super::{AccountId, arn};

/// The caller of an authenticated request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub account: AccountId,
    pub(super) identity: Identity,
    pub(super) access_key_id: String,
    /// The session, if the caller uses temporary credentials.
    pub(super) session: Option<Session>,
}

/// The principal within the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    Root,
    User {
        name: String,
        path: String,
        id: String,
    },
    Role {
        name: String,
        path: String,
        id: String,
        session_name: String,
    },
}

/// The reason why credentials are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error("no active access key has that id")]
    UnknownKey,
    #[error("the session token does not belong to the access key")]
    BadToken,
    #[error("the temporary credentials have expired")]
    Expired,
}

impl Caller {
    /// Returns the caller's ARN: that of the root user, the user or the role session.
    pub(super) fn arn(&self) -> String {
        match &self.identity {
            Identity::Root => arn::root(&self.account),
            Identity::User { name, path, .. } => arn::iam(&self.account, "user", path, name),
            Identity::Role {
                name, session_name, ..
            } => arn::assumed_role(&self.account, name, session_name),
        }
    }

    /// Returns the ARN by which policies name the caller. For a role session this is the role's
    /// ARN, otherwise it is [`Self::arn`].
    pub fn principal_arn(&self) -> String {
        match &self.identity {
            Identity::Role { name, path, .. } => arn::iam(&self.account, "role", path, name),
            _ => self.arn(),
        }
    }

    /// Returns the unique id of the user or role, or the account id for the root user.
    pub(super) fn unique_id(&self) -> &str {
        match &self.identity {
            Identity::Root => self.account.as_str(),
            Identity::User { id, .. } | Identity::Role { id, .. } => id,
        }
    }

    /// Returns the value of the condition key `aws:userid`.
    pub(super) fn user_id(&self) -> String {
        match &self.identity {
            Identity::Role {
                id, session_name, ..
            } => format!("{id}:{session_name}"),
            _ => self.unique_id().to_owned(),
        }
    }

    /// Returns the role session name, if the caller is a role session.
    pub(super) fn session_name(&self) -> Option<&str> {
        match &self.identity {
            Identity::Role { session_name, .. } => Some(session_name),
            _ => None,
        }
    }

    /// Returns the source identity, which the first session of a role chain sets.
    pub(super) fn source_identity(&self) -> Option<&str> {
        self.session.as_ref()?.source_identity.as_deref()
    }

    pub(super) fn is_session(&self) -> bool {
        self.session.is_some()
    }

    /// Returns the condition keys that come from the caller
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>).
    pub(super) fn context(&self) -> HashMap<String, Vec<String>> {
        let kind = match self.identity {
            Identity::Root => "Account",
            Identity::User { .. } => "User",
            Identity::Role { .. } => "AssumedRole",
        };
        let mut context = HashMap::new();
        let mut put = |key: &str, value: String| context.insert(key.to_owned(), vec![value]);
        put("aws:principalarn", self.principal_arn());
        put("aws:principalaccount", self.account.to_string());
        put("aws:principaltype", kind.to_owned());
        put("aws:userid", self.user_id());
        if let Identity::User { name, .. } = &self.identity {
            put("aws:username", name.clone());
        }
        if let Some(session) = &self.session {
            put("aws:tokenissuetime", session.issued.to_rfc3339());
            if let Some(source) = &session.source_identity {
                put("aws:sourceidentity", source.clone());
            }
        }
        context
    }
}
