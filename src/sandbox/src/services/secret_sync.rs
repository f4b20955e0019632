//! The secret sync, which keeps the S3 secret of a `pgduck_server` up to date with a grant.

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::component::{BoxError, IceboxComponent, Isolation, Shutdown};
use crate::container::PgDuckInContainer;
use icebox_pglake::{EngineSocket, secret_sync};
use icebox_s3_client::S3Config;

/// The secret sync of one `pgduck_server`.
#[derive(Serialize, Deserialize)]
pub struct SecretSync {
    pub server: PgDuckAddress,
    /// The S3 service as that server reaches it, without keys.
    pub s3: S3Config,
    pub sts_endpoint: String,
    /// The file with the grant, see [`pglake::storage`](icebox_pglake::storage).
    pub grant: PathBuf,
    /// The file with the roles' policies, see [`secret_sync::Config`].
    pub policies: PathBuf,
}

/// The way to reach a `pgduck_server`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PgDuckAddress {
    Socket { dir: PathBuf },
    Container(Box<PgDuckInContainer>),
}

#[async_trait]
#[typetag::serde(name = "lake-access")]
impl IceboxComponent for SecretSync {
    async fn run(&self, _isolation: Isolation, shutdown: Shutdown) -> Result<(), BoxError> {
        let config = secret_sync::Config {
            server: match self.server.clone() {
                PgDuckAddress::Socket { dir } => Box::new(EngineSocket::in_dir(dir)),
                PgDuckAddress::Container(inside) => inside,
            },
            s3: self.s3.clone(),
            sts_endpoint: self.sts_endpoint.clone(),
            grant: self.grant.clone(),
            policies: self.policies.clone(),
        };
        Ok(secret_sync::run(config, shutdown).await?)
    }
}
