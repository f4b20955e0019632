//! What an account needs of the world outside of it.

use async_trait::async_trait;

use super::error::SqlResult;
use super::object::network_policy::Access;
use super::schedule::Clock;
use crate::aws::audit;
use crate::tables::LakeIo;

/// The sandbox as the Snowflake side sees it.
#[async_trait]
pub trait World: Send + Sync + 'static {
    /// The sandbox's time, which may run faster than the wall's.
    fn clock(&self) -> &Clock;

    /// The object store as the account's own: for native tables, and for what needs no role.
    fn lake(&self) -> &LakeIo;

    /// The object store through a role, which is taken on now if need be. The error is what AWS says.
    async fn lake_through(&self, role: &Role) -> Result<LakeIo, String>;

    /// What AWS was asked and answered; `None` where nobody writes that down.
    fn audit(&self) -> Option<audit::Reader>;

    /// Where native tables are kept: a location that ends in a slash.
    fn storage(&self) -> String;

    /// The account's short name, part of external ids.
    fn account_locator(&self) -> String;

    /// The ARN of a new user as whom Snowflake takes on roles; for PostgreSQL, that of the one there is.
    fn iam_user(&self, is_postgres: bool) -> String;

    /// Makes such a user known to AWS.
    async fn add_iam_user(&self, arn: &str) -> SqlResult<()>;

    /// Starts a new server and waits until it answers. It lets nobody in yet.
    async fn create_postgres(&self, request: &NewPostgres) -> SqlResult<Postgres>;

    /// Stops a server; its data stays.
    async fn suspend_postgres(&self, id: u64) -> SqlResult<()>;

    /// Starts a stopped server. It may have another address than before, and lets nobody in yet.
    async fn resume_postgres(&self, id: u64) -> SqlResult<Postgres>;

    /// Gives one of the roles that a running server was made with another password, and returns that.
    async fn reset_postgres(&self, id: u64, role: &str) -> SqlResult<String>;

    /// Stops a server and removes its data.
    async fn drop_postgres(&self, id: u64) -> SqlResult<()>;

    /// Says who may connect to a server; nobody, unless something is allowed.
    async fn allow_postgres(&self, id: u64, access: &Access) -> SqlResult<()>;

    /// Says through which role a server writes its Iceberg tables; through none, it cannot.
    async fn grant_postgres(&self, id: u64, grant: Option<&Grant>) -> SqlResult<()>;
}

/// A role, and as whom it is taken on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Role {
    /// The principal.
    pub user_arn: String,
    pub external_id: String,
    pub role_arn: String,
}

/// What a server's storage integration lets it do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The integration's name.
    pub integration: String,
    pub role: Role,
    /// Where it may write: `s3://bucket/path/`.
    pub location: String,
}

/// A server to make.
#[derive(Clone, Debug)]
pub struct NewPostgres {
    pub id: u64,
    /// The instance's name.
    pub name: String,
    /// The major version, if one was asked for.
    pub version: Option<u64>,
}

/// A server that was made.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// Clients connect to this host, on [`Postgres::port`].
    pub host: String,
    pub port: u16,
    /// Roles and their passwords.
    pub passwords: Vec<(String, String)>,
    /// Such as `15.18`.
    pub version: String,
    /// The server's certificate (PEM).
    pub certificate: String,
}
