//! AWS for the sandbox: accounts with IAM users, roles and policies, STS, and the access decisions
//! that follow from them.
//!
//! [`Iam`] holds the state and decides. [`Endpoint`] serves the query protocol of IAM and STS over
//! HTTP, so that any AWS SDK can be its client; [`client`] is a small typed client. The S3 server
//! asks [`Iam`] about every request. Decisions are written to the [`audit`] trail.
//!
//! There can be several accounts, because access crosses accounts: a role in the user's account
//! trusts a principal in Snowflake's account.

mod account;
mod arn;
pub mod audit;
mod authorize;
mod aws_managed;
mod caller;
pub mod client;
mod credentials;
mod endpoint;
mod fault;
mod id;
mod issuer;
mod minio;
mod operations;
pub mod policy;
mod role;
mod secret;
mod service;
mod session;
mod signature;
mod state;
mod trust;
mod xml;

pub use account::{Account, AccountId, BadAccountId};
pub use arn::{bucket_arn, object_arn};
pub use authorize::{Decision, PolicyKind, Reason};
pub use caller::{Caller, Identity, Refused};
pub use endpoint::{Endpoint, RequestMeta};
pub use fault::Fault;
pub use minio::Front;
pub use role::RoleCredentials;
pub use role::for_store;
pub use secret::Secret;
pub use secret::same;
pub use service::{Error, Iam, Result, state_file};
