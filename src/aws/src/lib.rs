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
mod iam;
mod id;
mod minio;
mod operations;
mod policy;
mod proxy;
mod role;
mod secret;
mod session;
mod signature;
mod state;
mod trust;
mod xml;

pub use account::{Account, AccountId};
pub use arn::{bucket_arn, object_arn};
pub use authorize::Decision;
pub use caller::{Caller, CredentialsError};
pub use endpoint::{Endpoint, RequestMeta};
pub use iam::{Error, Iam, Result, state_file};
pub use proxy::MinioProxy;
pub use role::{RoleCredentials, for_store};
pub use secret::{Secret, constant_time_eq};

use fault::Fault;
