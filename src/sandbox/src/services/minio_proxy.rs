//! IAM and STS in front of an S3 server that is not icebox's.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::aws;
use crate::component::{BoxError, IceboxComponent, Isolation, Shutdown};
use icebox_aws::{Account, Iam, audit};
use icebox_base::connections::Listeners;
use icebox_s3_client::S3Config;

/// The MinIO proxy.
#[derive(Serialize, Deserialize)]
pub struct MinioProxy {
    pub listen: SocketAddr,
    /// The address for other machines.
    pub public: Option<IpAddr>,
    /// The S3 server, with its root user's keys.
    pub s3: S3Config,
    /// The AWS accounts; the first is the user's.
    pub accounts: Vec<Account>,
    /// The directory in which users, roles and policies are persisted.
    pub iam: PathBuf,
    /// The directory of the audit trail.
    pub audit: PathBuf,
}

#[async_trait]
#[typetag::serde(name = "aws")]
impl IceboxComponent for MinioProxy {
    async fn run(&self, _isolation: Isolation, shutdown: Shutdown) -> Result<(), BoxError> {
        let iam = Iam::with_minio(aws::client(&self.s3), &self.iam, self.accounts.clone())?;
        let audit = audit::Audit::open(audit::Settings::new(self.audit.clone()))?;
        let listeners = Listeners::bind(self.listen, self.public).await?;
        icebox_aws::MinioProxy::new(iam, Some(audit), &self.s3.endpoint)?
            .serve(listeners, shutdown)
            .await;
        Ok(())
    }
}
