//! Files of the stand-in extension `pg_lake`, as PostgreSQL's extension directory holds them.

use std::fs;
use std::io;
use std::path::Path;

use super::EngineSocket;

const CONTROL: &str = include_str!("extension/pg_lake.control");
/// The parts of the script, in the order in which it runs them.
const SCRIPT: [&str; 9] = [
    include_str!("extension/server.sql"),
    include_str!("extension/catalog.sql"),
    include_str!("extension/requests.sql"),
    include_str!("extension/tables.sql"),
    include_str!("extension/rows.sql"),
    include_str!("extension/create.sql"),
    include_str!("extension/alter.sql"),
    include_str!("extension/drop.sql"),
    include_str!("extension/event_triggers.sql"),
];

/// Writes the extension's files into `dir`, the folder `extension` of a share directory.
///
/// `CREATE EXTENSION` takes the lake engine's socket from the setting `pg_lake_engine.host`, as the
/// real extension does. Where that is not set, it takes `socket`.
pub fn install(dir: &Path, socket: &EngineSocket) -> io::Result<()> {
    let host = socket.to_string().replace('\'', "''");
    let script = SCRIPT.join("\n").replace("@ENGINE_HOST@", &host);
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
