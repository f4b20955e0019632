//! A `pgduck_server` in a container. Its socket cannot be reached from outside, so statements run
//! through `psql` in the container.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use testcontainers::bollard::exec::{CreateExecOptions, StartExecResults};
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;

use super::daemon::is_not_found;
use super::{Daemon, Error};
use icebox_base::chain;
use icebox_pglake::{EngineSocket, secret_sync};

/// The time between two checks of the server. Each check is a request to the container engine.
const LOOK: Duration = Duration::from_millis(250);

/// The shell command that runs `psql`. Debian keeps PostgreSQL's programs in a directory of their
/// own. A terse error quotes no line of the statement, which contains keys.
const PSQL: &str = r#"PATH=$PATH$(printf ':%s' /usr/lib/postgresql/*/bin)
exec psql -X -q -v ON_ERROR_STOP=1 -v VERBOSITY=terse -h "$0" -p "$1" -U icebox -d postgres"#;

/// The place of a `pgduck_server` that runs in a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PgDuckInContainer {
    /// The container engine's socket.
    pub socket: PathBuf,
    /// The container that has `psql` and the directory of the server's socket.
    pub container: String,
    /// The container that the server is in.
    pub server: String,
    /// The directory of the server's socket, in the container.
    pub socket_dir: PathBuf,
    #[serde(skip)]
    pub daemon: OnceCell<Daemon>,
}

impl PgDuckInContainer {
    async fn daemon(&self) -> Result<&Daemon, Error> {
        self.daemon
            .get_or_try_init(|| Daemon::connect(&self.socket))
            .await
    }

    /// Returns the id of a container and the time of its start; `None` if it does not run.
    async fn find(&self, name: &str) -> Result<Option<String>, Error> {
        let daemon = self.daemon().await?;
        let found = match daemon.client.inspect_container(name, None).await {
            Err(error) if is_not_found(&error) => return Ok(None),
            found => found.map_err(|error| Error::request("look for a container", error))?,
        };
        let id = found.id.unwrap_or_default();
        let state = found.state.filter(|state| state.running == Some(true));
        Ok(state.map(|state| format!("{id} {}", state.started_at.unwrap_or_default())))
    }

    /// Runs a command in the container with this standard input. Returns its exit code and its
    /// output.
    async fn exec(&self, command: Vec<String>, input: &str) -> Result<(i64, String), Error> {
        let client = &self.daemon().await?.client;
        let failed = |error| Error::request("run psql in a container", error);
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            user: Some("0".to_owned()),
            cmd: Some(command),
            ..CreateExecOptions::default()
        };
        let exec = client.create_exec(&self.container, options).await;
        let id = exec.map_err(failed)?.id;
        let started = client.start_exec(&id, None).await.map_err(failed)?;
        let mut printed = String::new();
        if let StartExecResults::Attached {
            mut output,
            input: mut standard_input,
        } = started
        {
            // A command that has already ended reads nothing. Its exit code says why.
            let _ = standard_input.write_all(input.as_bytes()).await;
            let _ = standard_input.flush().await;
            while let Some(Ok(part)) = output.next().await {
                printed.push_str(&part.to_string());
            }
        }
        let ended = client.inspect_exec(&id).await.map_err(failed)?;
        Ok((ended.exit_code.unwrap_or(-1), printed))
    }
}

#[async_trait]
impl secret_sync::Server for PgDuckInContainer {
    async fn started(&self) -> Result<Option<String>, String> {
        let find = async {
            let server = self.find(&self.server).await?;
            let container = if self.server == self.container {
                server.clone()
            } else {
                self.find(&self.container).await?
            };
            // The server is reached through both containers.
            Ok(container.and(server))
        };
        find.await.map_err(|error: Error| chain(&error))
    }

    async fn run(&self, statement: &str) -> Result<(), String> {
        let dir = self.socket_dir.display().to_string();
        let port = EngineSocket::PORT.to_string();
        let command = ["bash", "-c", PSQL, &dir, &port].map(str::to_owned);
        // The statement `\q` ends psql: not every container engine passes on the end of the input.
        let input = format!("{statement}\n\\q\n");
        match self.exec(command.to_vec(), &input).await {
            Ok((0, _)) => Ok(()),
            Ok((code, printed)) => {
                let said = printed.lines().next().unwrap_or_default();
                Err(format!("psql ended with {code}: {said}"))
            }
            Err(error) => Err(chain(&error)),
        }
    }

    fn poll_interval(&self) -> Duration {
        LOOK
    }
}
