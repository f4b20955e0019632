//! The settings that are chosen at the first start and kept: ports, names, keys and passwords.

use std::net::{Ipv4Addr, SocketAddrV4};

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::aws::{self, AccountState};
use super::network::{self, Port, local};
use super::{Error, Options, StateDir};
use icebox_aws::{Account, AccountId};
use icebox_s3_client::S3Config;

/// The name of the bucket, unless another one is asked for.
const BUCKET: &str = "icebox-lake";

/// The content of the file `settings.json`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Settings {
    /// PostgreSQL's address; `None` is 127.0.0.1.
    postgres_ip: Option<Ipv4Addr>,
    postgres_port: Option<u16>,
    s3_port: Option<u16>,
    snowflake_port: Option<u16>,
    /// The port of an S3 server in a container. Clients use [`Self::s3_address`] instead.
    #[serde(default, alias = "store_port")]
    minio_port: Option<u16>,
    /// The S3 endpoint of the sandbox whose lake this one is on; `None` if it has its own.
    s3_endpoint: Option<String>,
    pub bucket: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The password of `icebox_lake`, icebox's own superuser.
    pub lake_password: String,
    /// The password of `snowflake_admin`.
    pub admin_password: String,
    /// The password of `application`.
    pub application_password: String,
    /// The password of the Snowflake side's user.
    #[serde(default = "password")]
    pub snowflake_password: String,
    /// The root key pair of Snowflake's own AWS account.
    #[serde(default = "key_id")]
    pub snowflake_access_key_id: String,
    #[serde(default = "key")]
    pub snowflake_secret_access_key: String,
    /// The address at which this start listens for other machines; not kept.
    #[serde(skip)]
    pub listen: Option<Ipv4Addr>,
    /// The initial content of the user's AWS account.
    #[serde(default)]
    pub account: AccountState,
}

/// The sandbox's ports, held for as long as this value lives.
#[derive(Debug)]
pub struct Ports(#[expect(dead_code, reason = "held")] Vec<Port>);

impl Settings {
    /// Loads the kept settings, or generates new ones. Applies `options`, chooses ports that are
    /// free now, and writes the settings back.
    pub fn load(state: &StateDir, options: &Options) -> Result<(Self, Ports), Error> {
        let mut settings = state
            .read_json(&state.settings())?
            .unwrap_or_else(Self::generate);
        if let Some(bucket) = &options.bucket {
            if !icebox_s3::is_bucket_name(bucket) {
                return Err(Error::BucketName {
                    name: bucket.clone(),
                });
            }
            settings.bucket.clone_from(bucket);
        }
        settings.listen = options.listen;
        if let Some(account) = options.account {
            settings.account = account;
        }
        let ports = match &options.shared_lake {
            None => settings.choose_ports(options)?,
            Some(shared_lake) => {
                settings.attach(&shared_lake.s3, &shared_lake.bucket);
                vec![settings.choose_address()?]
            }
        };
        state.write_json(&state.settings(), &settings)?;
        Ok((settings, Ports(ports)))
    }

    /// Chooses the ports of a sandbox with its own lake, all on 127.0.0.1.
    fn choose_ports(&mut self, options: &Options) -> Result<Vec<Port>, Error> {
        let choose = |asked: Option<u16>, option, kept: &mut Option<u16>, usual: Option<u16>| {
            let port = match asked {
                Some(port) => Port::exactly(port, option),
                None => Port::any(kept.or(usual).map(local)),
            }?;
            *kept = Some(port.number());
            Ok::<_, Error>(port)
        };
        Ok(vec![
            choose(
                options.pg_port,
                "--pg-port",
                &mut self.postgres_port,
                Some(network::POSTGRES),
            )?,
            choose(options.s3_port, "--s3-port", &mut self.s3_port, None)?,
            choose(
                options.snowflake_port,
                "--snowflake-port",
                &mut self.snowflake_port,
                None,
            )?,
            choose(None, "", &mut self.minio_port, None)?,
        ])
    }

    /// Chooses the address of a server on the lake of another sandbox: the last one, or one with
    /// PostgreSQL's usual port, if it is free.
    fn choose_address(&mut self) -> Result<Port, Error> {
        let kept = self.postgres_port.map(|_| self.postgres_address());
        let usual = network::postgres_addresses().filter(|_| cfg!(target_os = "linux"));
        let port = Port::any(kept.into_iter().chain(usual))?;
        (self.postgres_ip, self.postgres_port) = (Some(*port.address.ip()), Some(port.number()));
        Ok(port)
    }

    fn attach(&mut self, s3: &S3Config, bucket: &str) {
        self.s3_endpoint = Some(s3.endpoint.clone());
        self.region.clone_from(&s3.region);
        self.access_key_id.clone_from(&s3.access_key_id);
        self.secret_access_key.clone_from(&s3.secret_access_key);
        self.bucket = bucket.to_owned();
    }

    pub fn postgres_address(&self) -> SocketAddrV4 {
        let ip = self.postgres_ip.unwrap_or(Ipv4Addr::LOCALHOST);
        SocketAddrV4::new(ip, chosen(self.postgres_port))
    }

    /// Returns the address of the sandbox's own AWS endpoint, which serves S3 too; `None` if it is
    /// on the lake of another sandbox.
    pub fn s3_address(&self) -> Option<SocketAddrV4> {
        self.s3_endpoint
            .is_none()
            .then(|| local(chosen(self.s3_port)))
    }

    /// Returns the address on this machine of an S3 server in a container.
    pub fn minio_address(&self) -> SocketAddrV4 {
        local(chosen(self.minio_port))
    }

    pub fn snowflake_address(&self) -> SocketAddrV4 {
        local(chosen(self.snowflake_port))
    }

    /// Returns the AWS accounts of the sandbox, the user's first.
    pub fn aws_accounts(&self) -> Vec<Account> {
        let account = |id, key: &String, secret: &String| Account {
            id,
            root_access_key_id: key.clone(),
            root_secret_access_key: secret.clone().into(),
            root_may_assume_any_role: false,
        };
        vec![
            account(
                AccountId::LOCAL,
                &self.access_key_id,
                &self.secret_access_key,
            ),
            account(
                aws::snowflake_account(),
                &self.snowflake_access_key_id,
                &self.snowflake_secret_access_key,
            ),
        ]
    }

    /// Returns the S3 service with the keys of the root user of Snowflake's account.
    pub fn s3_of_snowflake(&self) -> S3Config {
        S3Config {
            access_key_id: self.snowflake_access_key_id.clone(),
            secret_access_key: self.snowflake_secret_access_key.clone(),
            ..self.s3()
        }
    }

    pub fn s3(&self) -> S3Config {
        let endpoint = match &self.s3_endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("http://{}", local(chosen(self.s3_port))),
        };
        S3Config {
            endpoint,
            region: self.region.clone(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            session_token: None,
        }
    }

    fn generate() -> Self {
        Self {
            postgres_ip: None,
            postgres_port: None,
            s3_port: None,
            snowflake_port: None,
            minio_port: None,
            s3_endpoint: None,
            bucket: BUCKET.to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: key_id(),
            secret_access_key: key(),
            lake_password: password(),
            admin_password: password(),
            application_password: password(),
            snowflake_password: password(),
            snowflake_access_key_id: key_id(),
            snowflake_secret_access_key: key(),
            listen: None,
            account: AccountState::default(),
        }
    }
}

fn chosen(port: Option<u16>) -> u16 {
    port.expect("loading the settings chooses the ports")
}

fn key_id() -> String {
    format!("ICEBOX{}", secret(14).to_ascii_uppercase())
}

fn key() -> String {
    secret(40)
}

pub fn password() -> String {
    secret(32)
}

/// Returns random letters and digits, which need no quoting anywhere. The thread's generator is
/// cryptographically secure.
fn secret(length: usize) -> String {
    rand::rng()
        .sample_iter(rand::distr::Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}
