//! The sandbox as the Snowflake side sees it.

use std::sync::Arc;

use async_trait::async_trait;

use super::instances::Instances;
use super::{ACCOUNT, Config, STORAGE};
use crate::chain;
use crate::sandbox::supervisor::Isolation;
use crate::sandbox::{Error, SandboxInfo, StateDir};
use crate::snowflake::account::Account;
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::object::network_policy::Access;
use crate::snowflake::object::postgres_instance;
use crate::snowflake::schedule::Clock;
use crate::snowflake::world::{NewPostgres, Postgres, World};
use crate::tables::LakeIo;

pub struct SandboxWorld {
    clock: Clock,
    lake: LakeIo,
    instances: Instances,
}

impl SandboxWorld {
    pub fn new(
        config: Config,
        state: &StateDir,
        isolation: Isolation,
        clock: Clock,
    ) -> SandboxWorld {
        SandboxWorld {
            clock,
            lake: LakeIo::s3(config.s3.clone()),
            instances: Instances::new(
                state.clone(),
                config.engine,
                config.pg_bin,
                isolation,
                config.s3,
                config.bucket,
            ),
        }
    }

    /// Starts the servers again that ran when the account was last open.
    pub async fn start_instances(&self, account: &Arc<Account>) {
        postgres_instance::resume_all(account).await;
    }

    pub async fn stop_instances(&self) {
        self.instances.stop_all().await;
    }
}

#[async_trait]
impl World for SandboxWorld {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn lake(&self) -> &LakeIo {
        &self.lake
    }

    fn storage(&self) -> String {
        format!("s3://{STORAGE}/")
    }

    fn account_locator(&self) -> String {
        ACCOUNT.to_owned()
    }

    fn iam_user(&self, is_postgres: bool) -> String {
        let user = match is_postgres {
            true => "snowflake-postgres-integration-management",
            false => "icebox-s",
        };
        format!("arn:aws:iam::231580209547:user/{user}")
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
                "POSTGRES_VERSION = {wanted} is not here: this sandbox runs PostgreSQL {is}. Leave the option out, or start the sandbox with --pg-bin and the directory of a PostgreSQL {wanted}."
            );
            return Err(SqlError::compilation(1008, "22023", text));
        }
        told(&info)
    }

    async fn suspend_postgres(&self, id: u64) -> SqlResult<()> {
        self.instances.stop(id).await;
        Ok(())
    }

    async fn resume_postgres(&self, id: u64) -> SqlResult<Postgres> {
        let info = self.instances.start(id).await;
        told(&info.map_err(|error| not_possible("start", &id.to_string(), &error))?)
    }

    async fn drop_postgres(&self, id: u64) -> SqlResult<()> {
        let removed = self.instances.remove(id).await;
        removed.map_err(|error| not_possible("remove", &id.to_string(), &error))
    }

    async fn allow_postgres(&self, id: u64, access: &Access) -> SqlResult<()> {
        let texts = |blocks: &[_]| blocks.iter().map(ToString::to_string).collect();
        let (allowed, blocked) = (texts(&access.allowed), texts(&access.blocked));
        let done = self.instances.allow(id, allowed, blocked).await;
        done.map_err(|error| not_possible("set the network policy of", &id.to_string(), &*error))
    }
}

fn told(info: &SandboxInfo) -> SqlResult<Postgres> {
    let certificate = match &info.postgres.ca_file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            let text = format!("cannot read {}: {error}", path.display());
            SqlError::new(603, "XX000", text)
        })?,
        None => String::new(),
    };
    let password = |user: &str, password: &String| (user.to_owned(), password.clone());
    Ok(Postgres {
        host: info.postgres.host.clone(),
        port: info.postgres.port,
        passwords: vec![
            password("application", &info.application_password),
            password("snowflake_admin", &info.postgres.password),
        ],
        version: info.postgres_version.clone(),
        certificate,
    })
}

fn not_possible(action: &str, name: &str, error: &(dyn std::error::Error + 'static)) -> SqlError {
    let text = format!("Cannot {action} Postgres instance {name}: {}", chain(error));
    SqlError::new(604_060, "58000", text)
}
