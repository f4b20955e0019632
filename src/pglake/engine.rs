//! PLACEHOLDER for the lake engine: listens on its socket and hangs up. Replaced at merge.

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::objectstore::S3Config;

pub struct EngineConfig {
    pub socket_dir: PathBuf,
    pub s3: S3Config,
    pub postgres_socket_dir: PathBuf,
    pub postgres_port: u16,
    pub postgres_user: String,
    pub postgres_password: String,
}

/// The socket that `postgres_fdw` connects to, named as libpq wants it.
pub const SOCKET: &str = ".s.PGSQL.5332";

pub async fn serve(
    config: EngineConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let path = config.socket_dir.join(SOCKET);
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path)?;
    // PostgreSQL may run as another user; the directory keeps everyone else out.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
    tokio::select! {
        () = shutdown => {}
        () = async { loop { let _ = listener.accept().await; } } => {}
    }
    let _ = std::fs::remove_file(&path);
    Ok(())
}
