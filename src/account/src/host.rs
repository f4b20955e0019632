//! What an account needs of its host, the sandbox.

use std::fmt;
use std::net::Ipv4Addr;

use async_trait::async_trait;

use icebox_aws::audit;
use icebox_schedule::Clock;
use icebox_sql::error::SqlResult;
use icebox_tables::LakeIo;

/// The sandbox that hosts an account.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Returns the sandbox's clock, which may run faster than real time.
    fn clock(&self) -> &Clock;

    /// Returns the object store with the account's own access: for native tables, and for objects
    /// that need no role.
    fn lake(&self) -> &LakeIo;

    /// Returns the object store as reached through a role, which is assumed now if needed. The
    /// error is AWS's message.
    async fn lake_through(&self, role: &Role) -> Result<LakeIo, String>;

    /// Returns a reader of the AWS audit trail; `None` where none is recorded.
    fn audit(&self) -> Option<audit::Reader>;

    /// Returns the location of native tables, which ends in a slash.
    fn storage(&self) -> String;

    /// Returns the account locator, its short name, which is part of external ids.
    fn account_locator(&self) -> String;

    /// Returns the ARN of a new IAM user as which Snowflake assumes roles. For PostgreSQL it is the
    /// one user that all instances share.
    fn iam_user(&self, is_postgres: bool) -> String;

    /// Creates the IAM user of an ARN in the sandbox's AWS account.
    async fn add_iam_user(&self, arn: &str) -> SqlResult<()>;

    /// Starts a new server and waits until it answers. It accepts no connections yet.
    async fn create_postgres(&self, request: &NewPostgres) -> SqlResult<Postgres>;

    /// Stops a server. Its data stays.
    async fn suspend_postgres(&self, id: u64) -> SqlResult<()>;

    /// Starts a stopped server. Its address may be another than before, and it accepts no
    /// connections yet.
    async fn resume_postgres(&self, id: u64) -> SqlResult<Postgres>;

    /// Sets a new password for one of the roles that a running server was created with, and returns
    /// it.
    async fn reset_postgres(&self, id: u64, role: &str) -> SqlResult<String>;

    /// Stops a server and removes its data.
    async fn drop_postgres(&self, id: u64) -> SqlResult<()>;

    /// Sets who may connect to a server: nobody, unless something is allowed.
    async fn allow_postgres(&self, id: u64, access: &Access) -> SqlResult<()>;

    /// Sets the role through which a server writes its Iceberg tables. Without a grant it cannot
    /// write any.
    async fn grant_postgres(&self, id: u64, grant: Option<&Grant>) -> SqlResult<()>;
}

/// A role, and the principal that assumes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Role {
    /// The principal.
    pub user_arn: String,
    pub external_id: String,
    pub role_arn: String,
}

/// What a storage integration grants to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The integration's name.
    pub integration: String,
    pub role: Role,
    /// Where the server may write: `s3://bucket/path/`.
    pub location: String,
}

/// A request for a new server.
#[derive(Clone, Debug)]
pub struct NewPostgres {
    pub id: u64,
    /// The instance's name.
    pub name: String,
    /// The major version, if one was requested.
    pub version: Option<u64>,
}

/// A running server.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// The host that clients connect to, on [`Postgres::port`].
    pub host: String,
    pub port: u16,
    /// Roles with their passwords.
    pub passwords: Vec<(String, String)>,
    /// The full version, such as `15.18`.
    pub version: String,
    /// The server's certificate (PEM).
    pub certificate: String,
}

/// Who may connect to a server: `blocked` is checked first, then `allowed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub allowed: Vec<AddressBlock>,
    pub blocked: Vec<AddressBlock>,
}

/// A block of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressBlock {
    pub address: Ipv4Addr,
    /// The length of the prefix.
    pub bits: u8,
}

impl AddressBlock {
    /// Parses `1.2.3.4` or `1.2.3.0/24`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, bits.parse().ok()?),
            None => (text, 32),
        };
        let address = address.trim().parse().ok()?;
        (bits <= 32).then_some(Self { address, bits })
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_addresses() {
        assert_eq!(
            AddressBlock::parse("0.0.0.0/0").unwrap().to_string(),
            "0.0.0.0/0"
        );
        assert_eq!(
            AddressBlock::parse("10.1.2.3").unwrap().to_string(),
            "10.1.2.3/32"
        );
        for bad in ["", "10.1.2", "10.1.2.3/33", "10.1.2.3/x", "::1", "host"] {
            assert_eq!(AddressBlock::parse(bad), None, "{bad}");
        }
    }
}
