//! What is chosen at the first start and kept: ports, names, keys and passwords.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::network::Port;
use super::{Error, Options, StateDir};
use crate::objectstore;

/// The bucket, unless asked for by name.
const BUCKET: &str = "icebox-lake";

/// The file `settings.json`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Settings {
    pub postgres_port: Option<u16>,
    pub s3_port: Option<u16>,
    pub bucket: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Of `icebox_lake`, icebox's own superuser.
    pub lake_password: String,
    /// Of `snowflake_admin`.
    pub admin_password: String,
    /// Of `application`.
    pub application_password: String,
}

/// The sandbox's ports, held for as long as this lives.
#[derive(Debug)]
pub struct Ports {
    pub postgres: Port,
    pub s3: Port,
}

impl Settings {
    /// The kept settings, or new ones; with what `options` ask for, and ports that are free now. Written back.
    pub fn load(state: &StateDir, options: &Options) -> Result<(Settings, Ports), Error> {
        let mut settings = state
            .read_json(&state.settings())?
            .unwrap_or_else(Settings::generate);
        if let Some(bucket) = &options.bucket {
            if !objectstore::is_bucket_name(bucket) {
                return Err(Error::BucketName {
                    name: bucket.clone(),
                });
            }
            settings.bucket.clone_from(bucket);
        }
        let choose = |asked: Option<u16>, option, kept: Option<u16>, usual: &[u16]| match asked {
            Some(port) => Port::exactly(port, option),
            None => Port::any(kept.as_ref().map_or(usual, std::slice::from_ref)),
        };
        let ports = Ports {
            postgres: choose(
                options.pg_port,
                "--pg-port",
                settings.postgres_port,
                &[5432],
            )?,
            s3: choose(options.s3_port, "--s3-port", settings.s3_port, &[])?,
        };
        settings.postgres_port = Some(ports.postgres.number);
        settings.s3_port = Some(ports.s3.number);
        state.write_json(&state.settings(), &settings)?;
        Ok((settings, ports))
    }

    pub fn postgres_port(&self) -> u16 {
        self.postgres_port
            .expect("loading the settings chooses the ports")
    }

    pub fn s3_port(&self) -> u16 {
        self.s3_port
            .expect("loading the settings chooses the ports")
    }

    fn generate() -> Settings {
        Settings {
            postgres_port: None,
            s3_port: None,
            bucket: BUCKET.to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: format!("ICEBOX{}", secret(14).to_ascii_uppercase()),
            secret_access_key: secret(40),
            lake_password: secret(32),
            admin_password: secret(32),
            application_password: secret(32),
        }
    }
}

/// Letters and digits only, so that it needs no quoting anywhere. The thread's generator is cryptographically secure.
fn secret(length: usize) -> String {
    rand::rng()
        .sample_iter(rand::distr::Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}
