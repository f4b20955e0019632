//! The sandbox as the host of the Snowflake side.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use super::instances::Instances;
use super::principals::Principals;
use super::{ACCOUNT, STORAGE, SnowflakeSide};
use crate::component::Isolation;
use crate::{Error, SandboxInfo, StateDir, aws, settings};
use icebox_account::account::Account;
use icebox_account::host::{Access, Grant, Host, NewPostgres, Postgres, Role};
use icebox_account::kind::postgres_instance::{self, OWN};
use icebox_aws::audit;
use icebox_base::chain;
use icebox_pglake::storage::{self, KeyPair, StorageGrant};
use icebox_postgres::Endpoint;
use icebox_schedule::Clock;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_tables::LakeIo;

pub struct SandboxHost {
    clock: Clock,
    lake: LakeIo,
    /// The directory of the audit trail.
    audit: PathBuf,
    principals: Principals,
    /// The endpoint of the sandbox's own server, and its version.
    postgres: (Endpoint, String),
    instances: Instances,
}

impl SandboxHost {
    pub fn new(
        config: SnowflakeSide,
        state: &StateDir,
        isolation: Isolation,
        clock: Clock,
    ) -> Result<Self, Error> {
        Ok(Self {
            clock,
            lake: LakeIo::s3(config.s3),
            audit: state.audit_dir(),
            principals: Principals::open(state, config.aws)?,
            postgres: (config.postgres, config.postgres_version),
            instances: Instances::new(
                state.clone(),
                config.engine,
                config.pg_bin,
                isolation,
                config.instances_s3,
                config.bucket,
            ),
        })
    }

    /// Starts the servers that were not suspended when the account was last open.
    pub async fn start_instances(&self, account: &Arc<Account>) {
        postgres_instance::resume_all(account).await;
    }

    /// Returns the sandbox's own server.
    pub fn own_postgres(&self) -> SqlResult<Postgres> {
        let (endpoint, version) = &self.postgres;
        Ok(Postgres {
            host: endpoint.host.clone(),
            port: endpoint.port,
            passwords: Vec::new(),
            version: version.clone(),
            certificate: certificate(endpoint)?,
        })
    }

    /// Returns the keys of the principal that assumes the grant's role.
    fn keys_of(&self, grant: &Grant) -> SqlResult<KeyPair> {
        let arn = &grant.role.user_arn;
        self.principals.keys(arn).ok_or_else(|| {
            let text = format!("The principal {arn} is not known.");
            SqlError::new(code::INTERNAL, text)
        })
    }

    pub async fn stop_instances(&self) {
        self.instances.stop_all().await;
    }
}

#[async_trait]
impl Host for SandboxHost {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn lake(&self) -> &LakeIo {
        &self.lake
    }

    fn audit(&self) -> Option<audit::Reader> {
        Some(audit::Reader::open(&self.audit))
    }

    fn storage(&self) -> String {
        format!("s3://{STORAGE}/")
    }

    fn account_locator(&self) -> String {
        ACCOUNT.to_owned()
    }

    fn iam_user(&self, is_postgres: bool) -> String {
        let user = if is_postgres {
            "snowflake-postgres-integration-management".to_owned()
        } else {
            format!("{:08x}-s", rand::random::<u32>())
        };
        format!("arn:aws:iam::{}:user/{user}", aws::snowflake_account())
    }

    async fn add_iam_user(&self, arn: &str) -> SqlResult<()> {
        let added = self.principals.add(arn).await;
        added.map_err(|error| {
            let text = format!("Cannot make the principal {arn}: {}", chain(&*error));
            SqlError::new(code::INTERNAL, text)
        })
    }

    async fn lake_through(&self, role: &Role) -> Result<LakeIo, String> {
        self.principals.lake(role).await
    }

    async fn create_postgres(&self, request: &NewPostgres) -> SqlResult<Postgres> {
        let failed = |error: Error| not_possible("create", &request.name, &error);
        let info = self.instances.start(request.id).await.map_err(failed)?;
        let is = info.postgres_version.split('.').next().unwrap_or_default();
        if let Some(wanted) = request.version
            && is != wanted.to_string()
        {
            self.instances.remove(request.id).await.map_err(failed)?;
            let text = format!(
                "POSTGRES_VERSION = {wanted} is not available: this sandbox runs PostgreSQL {is}. \
                 Leave the option out, or start the sandbox with --pg-bin and the directory of a \
                 PostgreSQL {wanted}."
            );
            return Err(SqlError::compilation(code::INVALID_VALUE, text));
        }
        postgres_of(&info)
    }

    async fn suspend_postgres(&self, id: u64) -> SqlResult<()> {
        if id == OWN {
            return Err(own_server_error("suspended"));
        }
        self.instances.stop(id).await;
        Ok(())
    }

    async fn resume_postgres(&self, id: u64) -> SqlResult<Postgres> {
        if id == OWN {
            return self.own_postgres();
        }
        let info = self.instances.start(id).await;
        postgres_of(&info.map_err(|error| not_possible("start", &id.to_string(), &error))?)
    }

    async fn reset_postgres(&self, id: u64, role: &str) -> SqlResult<String> {
        if id == OWN {
            let text = format!(
                "The Postgres instance {} is the sandbox's own server, whose passwords are those of `icebox env`.",
                super::ready::NAME
            );
            return Err(SqlError::new(code::INSTANCE_OPERATION_FAILED, text));
        }
        let password = settings::password();
        let reset = self.instances.set_password(id, role, &password).await;
        reset.map_err(|error| not_possible("reset access to", &id.to_string(), &*error))?;
        Ok(password)
    }

    async fn drop_postgres(&self, id: u64) -> SqlResult<()> {
        if id == OWN {
            return Err(own_server_error("dropped"));
        }
        let removed = self.instances.remove(id).await;
        removed.map_err(|error| not_possible("remove", &id.to_string(), &error))
    }

    /// Sets which clients may connect. The sandbox's own server accepts all clients of this
    /// machine.
    async fn allow_postgres(&self, id: u64, access: &Access) -> SqlResult<()> {
        if id == OWN {
            return Ok(());
        }
        let texts = |blocks: &[_]| blocks.iter().map(ToString::to_string).collect();
        let (allowed, blocked) = (texts(&access.allowed), texts(&access.blocked));
        let done = self.instances.allow(id, allowed, blocked).await;
        done.map_err(|error| not_possible("set the network policy of", &id.to_string(), &*error))
    }

    async fn grant_postgres(&self, id: u64, grant: Option<&Grant>) -> SqlResult<()> {
        if id == OWN {
            return Ok(());
        }
        let with_keys = |grant| Ok(storage_grant(self.keys_of(grant)?, id, grant));
        let grant: Option<StorageGrant> = grant.map(with_keys).transpose()?;
        let written = self.instances.grant(id, grant.as_ref()).await;
        written.map_err(|error| {
            not_possible("set the storage integration of", &id.to_string(), &*error)
        })
    }
}

/// Returns a storage grant with these keys. A session policy limits it to the grant's location.
fn storage_grant(principal: KeyPair, id: u64, grant: &Grant) -> StorageGrant {
    let role = &grant.role;
    let place = grant.location.trim_start_matches("s3://");
    let bucket = place.split('/').next().unwrap_or(place);
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": format!("arn:aws:s3:::{place}*")},
        {"Effect": "Allow", "Action": "s3:*", "Resource": format!("arn:aws:s3:::{bucket}")},
    ]});
    StorageGrant {
        principal,
        role_arn: role.role_arn.clone(),
        external_id: role.external_id.clone(),
        session_name: format!("postgres-instance-{id}"),
        duration: storage::SESSION_SECONDS,
        policy: Some(policy.to_string()),
        integration: grant.integration.clone(),
    }
}

fn own_server_error(done: &str) -> SqlError {
    let text = format!(
        "The Postgres instance {} is the sandbox's own server and cannot be {done}; `icebox down` stops it.",
        super::ready::NAME
    );
    SqlError::new(code::INSTANCE_OPERATION_FAILED, text)
}

/// Returns a server's certificate (PEM).
fn certificate(endpoint: &Endpoint) -> SqlResult<String> {
    let Some(path) = &endpoint.ca_file else {
        return Ok(String::new());
    };
    std::fs::read_to_string(path).map_err(|error| {
        let text = format!("cannot read {}: {error}", path.display());
        SqlError::new(code::INTERNAL, text)
    })
}

fn postgres_of(info: &SandboxInfo) -> SqlResult<Postgres> {
    let password = |user: &str, password: &String| (user.to_owned(), password.clone());
    Ok(Postgres {
        host: info.postgres.host.clone(),
        port: info.postgres.port,
        passwords: vec![
            password("application", &info.application_password),
            password("snowflake_admin", &info.postgres.password),
        ],
        version: info.postgres_version.clone(),
        certificate: certificate(&info.postgres)?,
    })
}

fn not_possible(action: &str, name: &str, error: &(dyn std::error::Error + 'static)) -> SqlError {
    let text = format!("Cannot {action} Postgres instance {name}: {}", chain(error));
    SqlError::new(code::INSTANCE_OPERATION_FAILED, text)
}
