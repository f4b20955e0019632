//! The lake engine of the engine `embedded`.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::component::{BoxError, IceboxComponent, Isolation, Shutdown};
use icebox_pglake::engine;
use icebox_pglake::storage::GrantedCredentials;
use icebox_s3_client::S3Config;
use icebox_tables::LakeIo;

/// The lake engine, on a Unix socket.
#[derive(Serialize, Deserialize)]
pub struct LakeEngine {
    pub socket_dir: PathBuf,
    pub s3: S3Config,
    pub postgres_socket_dir: PathBuf,
    pub postgres_port: u16,
    pub postgres_user: String,
    pub postgres_password: String,
    /// The file with the grant of its storage integration, see
    /// [`pglake::storage`](icebox_pglake::storage). `None`: it uses the keys of `s3`.
    pub grant: Option<PathBuf>,
}

#[async_trait]
#[typetag::serde(name = "lake-engine")]
impl IceboxComponent for LakeEngine {
    async fn run(&self, _isolation: Isolation, shutdown: Shutdown) -> Result<(), BoxError> {
        let s3 = self.s3.clone();
        let io = match &self.grant {
            None => LakeIo::s3(s3),
            Some(path) => {
                let (endpoint, region) = (s3.endpoint.clone(), s3.region.clone());
                let granted = GrantedCredentials::new(endpoint, region, path.clone());
                LakeIo::s3_with_credentials(s3, Arc::new(granted))
            }
        };
        let mut postgres = tokio_postgres::Config::new();
        postgres
            .host_path(&self.postgres_socket_dir)
            .port(self.postgres_port)
            .user(&self.postgres_user)
            .password(&self.postgres_password);
        let config = engine::EngineConfig {
            options: engine::options::Options {
                unix_socket_directory: self.socket_dir.clone(),
                // PostgreSQL may run as another user; the directory keeps everyone else out.
                unix_socket_permissions: 0o777,
                ..Default::default()
            },
            lakes: engine::LakeAccess::Fixed(io),
            postgres,
        };
        Ok(engine::serve(config, shutdown).await?)
    }
}
