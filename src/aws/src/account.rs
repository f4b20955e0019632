//! AWS accounts and their ids.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Secret;

/// An AWS account id: twelve digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(Cow<'static, str>);

/// The error for a text that is not an account id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an AWS account id, which has twelve digits")]
pub struct BadAccountId(String);

impl AccountId {
    /// The account id of a server whose configuration names no account.
    pub const LOCAL: Self = Self(Cow::Borrowed("000000000000"));

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountId {
    type Err = BadAccountId;

    fn from_str(text: &str) -> Result<Self, BadAccountId> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(BadAccountId(text.to_owned()))
        }
    }
}

impl TryFrom<String> for AccountId {
    type Error = BadAccountId;

    fn try_from(text: String) -> Result<Self, BadAccountId> {
        text.parse()
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.0.into_owned()
    }
}

/// An account and the access key of its root user, who may do everything in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub root_access_key_id: String,
    pub root_secret_access_key: Secret,
    /// Whether the root user may assume any role, existing or not, as MinIO's root user can. The
    /// session may do whatever its session policy allows. With this, icebox's S3 server can take
    /// the place of MinIO, whose users and policies are not managed with AWS's IAM API.
    #[serde(default)]
    pub root_may_assume_any_role: bool,
}
