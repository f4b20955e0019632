//! PostgreSQL servers beside a sandbox's own, on its lake: one for each POSTGRES INSTANCE.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::component::{BoxError, Isolation};
use crate::supervisor;
use crate::thread::{SandboxThread, Start};
use crate::{Engine, Error, Options, SandboxInfo, SharedLake, StateDir};
use icebox_pglake::secret_sync;
use icebox_pglake::storage::{self, StorageGrant};
use icebox_postgres::configuration::AllowedClients;
use icebox_postgres::server::{quote_identifier, quote_literal};
use icebox_postgres::{Endpoint, connect};
use icebox_s3_client::S3Config;

/// The time an instance has to use a new grant.
const GRANT_TIMEOUT: Duration = Duration::from_secs(5);

/// The servers that run, and what is needed to start others.
pub struct Instances {
    /// The state directory of the sandbox itself.
    state: StateDir,
    options: Options,
    isolation: Isolation,
    s3: S3Config,
    bucket: String,
    running: Mutex<BTreeMap<u64, Instance>>,
}

struct Instance {
    sandbox: SandboxThread,
    clients: AllowedClients,
}

impl Instances {
    pub fn new(
        state: StateDir,
        engine: Engine,
        pg_bin: Option<PathBuf>,
        isolation: Isolation,
        s3: S3Config,
        bucket: String,
    ) -> Self {
        let options = Options {
            engine,
            pg_bin,
            ..Options::default()
        };
        Self {
            state,
            options,
            isolation,
            s3,
            bucket,
            running: Mutex::default(),
        }
    }

    /// Starts a server; a new one if there is none with this id. It accepts no clients but icebox.
    pub async fn start(&self, id: u64) -> Result<SandboxInfo, Error> {
        let clients = AllowedClients::new(Vec::new(), Vec::new());
        let state = StateDir::new(&self.state_dir(id))?;
        let options = Options {
            shared_lake: Some(SharedLake {
                lake: self.state.root().to_path_buf(),
                s3: self.s3.clone(),
                bucket: self.bucket.clone(),
                clients: clients.clone(),
                grant: state.storage_grant(),
            }),
            ..self.options.clone()
        };
        let start = Start {
            state,
            options,
            isolation: Some(self.isolation.clone()),
            extend: |_, _, _| {},
            report: Arc::new(|_| {}),
            is_temporary: false,
        };
        let mut running = self.running.lock().await;
        if let Some(instance) = running.get(&id) {
            return Ok(instance.sandbox.info().clone());
        }
        let sandbox = start.run().await?;
        let info = sandbox.info().clone();
        running.insert(id, Instance { sandbox, clients });
        Ok(info)
    }

    /// Stops a server. Its data stays.
    pub async fn stop(&self, id: u64) {
        let instance = self.running.lock().await.remove(&id);
        if let Some(instance) = instance {
            instance.sandbox.stop().await;
        }
    }

    pub async fn stop_all(&self) {
        let running = std::mem::take(&mut *self.running.lock().await);
        futures::future::join_all(running.into_values().map(|one| one.sandbox.stop())).await;
    }

    /// Stops a server and removes its data.
    pub async fn remove(&self, id: u64) -> Result<(), Error> {
        self.stop(id).await;
        supervisor::remove(&StateDir::new(&self.state_dir(id))?).await
    }

    /// Sets the blocks of addresses whose clients are accepted or blocked. Open sessions are kept.
    pub async fn allow(
        &self,
        id: u64,
        allowed: Vec<String>,
        blocked: Vec<String>,
    ) -> Result<(), BoxError> {
        let running = self.running.lock().await;
        let Some(instance) = running.get(&id) else {
            // It gets the rules when it starts again.
            return Ok(());
        };
        instance.clients.set(allowed, blocked);
        let superuser = instance.sandbox.info().superuser();
        let access_rules = instance.sandbox.changes().access_rules;
        let rules = access_rules(&superuser.user, &instance.clients);
        write_rules(&superuser, &rules).await
    }

    /// Sets the password of a role of a running server.
    pub async fn set_password(&self, id: u64, role: &str, password: &str) -> Result<(), BoxError> {
        let superuser = {
            let running = self.running.lock().await;
            let instance = running.get(&id).ok_or("the instance is not running")?;
            instance.sandbox.info().superuser()
        };
        let (role, password) = (quote_identifier(role), quote_literal(password));
        let sql = format!("ALTER ROLE {role} PASSWORD {password}");
        Ok(connect(&superuser).await?.batch_execute(&sql).await?)
    }

    /// Sets the role by which a server reaches the lake from now on. Without a grant it has no
    /// access.
    pub async fn grant(&self, id: u64, grant: Option<&StorageGrant>) -> Result<(), BoxError> {
        let path = StateDir::new(&self.state_dir(id))?.storage_grant();
        storage::write(&path, grant)?;
        let has_secret_sync = {
            let running = self.running.lock().await;
            let instance = running.get(&id);
            instance.is_some_and(|instance| instance.sandbox.changes().has_secret_sync)
        };
        if has_secret_sync {
            let holds = async {
                while !secret_sync::is_applied(&path) {
                    tokio::time::sleep(Duration::from_millis(4)).await;
                }
            };
            // The secret sync keeps trying while pgduck_server does not answer.
            if tokio::time::timeout(GRANT_TIMEOUT, holds).await.is_err() {
                tracing::warn!(
                    id,
                    "the instance does not use its new storage integration yet"
                );
            }
        }
        Ok(())
    }

    fn state_dir(&self, id: u64) -> PathBuf {
        self.state.instances_dir().join(id.to_string())
    }
}

/// Writes new access rules on a running server, and waits until they apply to new connections.
async fn write_rules(superuser: &Endpoint, rules: &str) -> Result<(), BoxError> {
    let client = connect(superuser).await?;
    let file: String = client.query_one("SHOW hba_file", &[]).await?.try_get(0)?;
    let lines: Vec<String> = rules.lines().map(quote_literal).collect();
    // The rules contain neither tabs nor backslashes, which COPY would escape.
    let sql = format!(
        "COPY (SELECT unnest(ARRAY[{}])) TO {}",
        lines.join(", "),
        quote_literal(&file)
    );
    client.batch_execute(&sql).await?;
    let loaded = "SELECT pg_conf_load_time()::text";
    let before: String = client.query_one(loaded, &[]).await?.try_get(0)?;
    client.batch_execute("SELECT pg_reload_conf()").await?;
    for _ in 0..500 {
        let now: String = client.query_one(loaded, &[]).await?.try_get(0)?;
        if now != before {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Err("the server did not load its new access rules within a second".into())
}
