//! `icebox install-stand-in`: adds the stand-in extension `pg_lake` to a PostgreSQL installation
//! that is not icebox's, such as that of a container image.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::Command;
use icebox_pglake::{EngineSocket, extension};
use icebox_sandbox::StateDir;

/// Add icebox's stand-in for `pg_lake` to a PostgreSQL installation.
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// PostgreSQL's share directory, which contains the folder `extension` (`pg_config`
    /// --sharedir).
    #[arg(long, value_name = "DIR")]
    share: PathBuf,
    /// Where the extension looks for `pgduck_server`'s socket if `pg_lake_engine.host` is not set.
    #[arg(long, value_name = "DIR", default_value = "/tmp")]
    socket_dir: PathBuf,
    /// The port in the name of that socket.
    #[arg(long, default_value_t = EngineSocket::PORT)]
    port: u16,
}

impl Command for Args {
    fn run(self, _state: &StateDir) -> anyhow::Result<ExitCode> {
        let dir = self.share.join("extension");
        anyhow::ensure!(
            dir.is_dir(),
            "{} is not a share directory of PostgreSQL: it has no folder `extension`",
            self.share.display()
        );
        let socket = EngineSocket {
            dir: self.socket_dir.clone(),
            port: self.port,
        };
        extension::install(&dir, &socket)
            .with_context(|| format!("cannot write the extension into {}", dir.display()))?;
        println!(
            "installed icebox's stand-in for pg_lake in {}",
            dir.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}
