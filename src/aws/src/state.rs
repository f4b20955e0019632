//! The state of an account, and the files that store it.
//!
//! ```text
//! <dir>/               mode 0700
//!   lock               held by the service that uses the directory
//!   session-secret     the secret that session tokens are signed with (see `session`)
//!   <account id>.json  one AccountState; mode 0600, replaced as a whole
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use super::{AccountId, Secret, arn};
use icebox_base::private_file;

/// The users, roles and managed policies of one account, by name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct AccountState {
    pub users: BTreeMap<String, User>,
    pub roles: BTreeMap<String, Role>,
    pub policies: BTreeMap<String, ManagedPolicy>,
}

/// The state of all accounts.
pub(super) type Directory = BTreeMap<AccountId, AccountState>;

/// The policies of a user or role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Grants {
    pub inline: BTreeMap<String, Policy>,
    /// ARNs of the attached managed policies.
    pub attached: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct User {
    pub name: String,
    pub path: String,
    pub id: String,
    pub created: DateTime<Utc>,
    pub keys: Vec<AccessKey>,
    pub grants: Grants,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AccessKey {
    pub id: String,
    pub secret: Secret,
    pub active: bool,
    pub created: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Role {
    pub name: String,
    pub path: String,
    pub id: String,
    pub created: DateTime<Utc>,
    pub description: Option<String>,
    /// The maximum duration of a session, in seconds.
    pub max_session: u32,
    pub trust: Trust,
    pub grants: Grants,
}

/// A trust policy, with the unique id that each user and role named in it had when it was saved. A
/// user or role that was deleted and created again has another id, so the policy does not mean it
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Trust {
    pub policy: Policy,
    pub bound: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ManagedPolicy {
    pub name: String,
    pub path: String,
    pub id: String,
    pub description: Option<String>,
    pub created: DateTime<Utc>,
    pub updated: DateTime<Utc>,
    /// The versions, oldest first; never empty.
    pub versions: Vec<PolicyVersion>,
    /// The number of the default version.
    pub default: u32,
    /// The highest version number so far; numbers are never used again.
    pub latest: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PolicyVersion {
    pub number: u32,
    pub created: DateTime<Utc>,
    pub document: Policy,
}

impl User {
    pub fn arn(&self, account: &AccountId) -> String {
        arn::iam(account, "user", &self.path, &self.name)
    }
}

impl Role {
    pub fn arn(&self, account: &AccountId) -> String {
        arn::iam(account, "role", &self.path, &self.name)
    }
}

impl ManagedPolicy {
    pub fn arn(&self, account: &AccountId) -> String {
        arn::iam(account, "policy", &self.path, &self.name)
    }

    pub fn default_document(&self) -> Option<&Policy> {
        self.version(self.default).map(|v| &v.document)
    }

    pub fn version(&self, number: u32) -> Option<&PolicyVersion> {
        self.versions.iter().find(|v| v.number == number)
    }
}

impl AccountState {
    /// Returns the number of users and roles that the policy is attached to.
    pub fn attachments(&self, policy_arn: &str) -> usize {
        let users = self.users.values().map(|u| &u.grants);
        let roles = self.roles.values().map(|r| &r.grants);
        users
            .chain(roles)
            .filter(|g| g.attached.iter().any(|a| a == policy_arn))
            .count()
    }

    pub fn policy_by_arn(&self, account: &AccountId, policy_arn: &str) -> Option<&ManagedPolicy> {
        self.policies
            .values()
            .find(|p| p.arn(account) == policy_arn)
    }

    /// Reads an account's file. A file that does not exist gives an empty account.
    pub fn load(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    pub fn save(&self, path: &Path) -> io::Result<()> {
        private_file::replace_durably(path, &serde_json::to_vec_pretty(self)?)
    }
}
