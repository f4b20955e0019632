//! Files of the stand-in extension `pg_lake`, as PostgreSQL's extension directory holds them.

use std::fs;
use std::io;
use std::path::Path;

use super::EngineSocket;

const CONTROL: &str = include_str!("extension/pg_lake.control");
const SCRIPT: &str = include_str!("extension/pg_lake--1.0.sql");

/// Writes the extension's files into `dir`, the folder `extension` of a share directory.
///
/// `CREATE EXTENSION` takes the lake engine's socket from the setting `pg_lake_engine.host`, as the
/// real extension does. Where that is not set, it takes `socket`.
pub fn install(dir: &Path, socket: &EngineSocket) -> io::Result<()> {
    let host = socket.to_string().replace('\'', "''");
    let script = SCRIPT.replace("@ENGINE_HOST@", &host);
    for (name, contents) in [("pg_lake.control", CONTROL), ("pg_lake--1.0.sql", &script)] {
        let path = dir.join(name);
        // A link points to a file of the installation, which must not be overwritten.
        if path.is_symlink() {
            fs::remove_file(&path)?;
        }
        fs::write(&path, contents)?;
    }
    Ok(())
}
