//! icebox's S3 server, with IAM and STS on the same port.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::component::{BoxError, IceboxComponent, Isolation, Shutdown};
use icebox_aws::{Account, audit};
use icebox_s3::{Server, ServerConfig};

/// The S3 server.
#[derive(Serialize, Deserialize)]
pub struct S3 {
    pub root: PathBuf,
    pub listen: SocketAddr,
    /// The address for other machines.
    pub public: Option<IpAddr>,
    pub region: String,
    /// The AWS accounts; the first is the user's.
    pub accounts: Vec<Account>,
    /// The directory in which users, roles and policies are persisted.
    pub iam: PathBuf,
    /// The directory of the audit trail.
    pub audit: PathBuf,
}

#[async_trait]
#[typetag::serde(name = "s3")]
impl IceboxComponent for S3 {
    async fn run(&self, _isolation: Isolation, shutdown: Shutdown) -> Result<(), BoxError> {
        let config = ServerConfig {
            root: self.root.clone(),
            listen: self.listen,
            public: self.public,
            region: self.region.clone(),
            accounts: self.accounts.clone(),
            iam: self.iam.clone(),
            audit: Some(audit::Settings::new(self.audit.clone())),
        };
        Ok(Server::bind(config).await?.run(shutdown).await?)
    }
}
