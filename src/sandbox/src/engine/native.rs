//! The engine `native`: a PostgreSQL of this machine that has the real `pg_lake`, its
//! `pgduck_server`, and icebox's S3 server. The installation is not changed.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::SUPERUSER;
use super::local::{EngineParts, LocalSandbox};
use super::pgduck::{PgDuck, secret_sync_component};
use super::{Available, Context, Plan, Provider, Unavailable};
use crate::services::PgDuckAddress;
use crate::{Error, Options};
use icebox_pglake::duckdb_secret::Secret;
use icebox_pglake::{EngineSocket, secret_sync};
use icebox_postgres::client::conninfo_value;
use icebox_postgres::installation::{packaged, path};
use icebox_postgres::{Installation, configuration};

/// The major versions of PostgreSQL that `pg_lake` is built for.
const VERSIONS: RangeInclusive<u32> = 16..=18;
const SERVER: &str = "pgduck_server";
const INSTALL: &str = "see \"Engines\" in icebox's README: packages of pg_lake for PostgreSQL 16 to 18 \
                       (postgresql-18-pg-lake and the like)";

pub struct Native;

impl Provider for Native {
    fn find(&self, options: &Options, _is_library: bool) -> Result<Available, Unavailable> {
        let places: Vec<PathBuf> = path().chain(packaged()).collect();
        let mut refused = Vec::new();
        for found in Installation::all(options.pg_bin.as_deref()) {
            let usable = found.and_then(|found| Ok((server_of(&found, &places)?, found)));
            match usable {
                Ok((server, installation)) => {
                    return Ok(Available {
                        reason: format!(
                            "PostgreSQL {} with pg_lake in {}, and {}",
                            installation.short_version(),
                            installation.bin_dir.display(),
                            server.display()
                        ),
                        plan: Box::new(|context| plan(installation, server, context)),
                    });
                }
                Err(reason) => refused.push(reason),
            }
        }
        if refused.is_empty() {
            refused.push("`postgres` is neither on PATH nor where packages have it".to_owned());
        }
        Err(Unavailable {
            reason: format!("no PostgreSQL with pg_lake ({})", refused.join("; ")),
            fix: Some(INSTALL.to_owned()),
        })
    }
}

/// Finds the `pgduck_server` that belongs to an installation with `pg_lake`: beside its programs,
/// or else in one of these directories. The error says what is missing.
fn server_of(installation: &Installation, places: &[PathBuf]) -> Result<PathBuf, String> {
    let bin_dir = &installation.bin_dir;
    let because = |reason: String| Err(format!("{}: {reason}", bin_dir.display()));
    if !VERSIONS.contains(&installation.major) {
        return because(format!(
            "version {} is not one of {} to {}",
            installation.short_version(),
            VERSIONS.start(),
            VERSIONS.end()
        ));
    }
    let control = installation.share_dir.join("extension/pg_lake.control");
    if !control.exists() {
        return because(format!("there is no {}", control.display()));
    }
    let is_program = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    let server = std::iter::once(bin_dir)
        .chain(places)
        .map(|dir| dir.join(SERVER))
        .find(|path| is_program(path));
    match server {
        Some(server) => Ok(server),
        None => because(format!(
            "it has pg_lake, but `{SERVER}` is neither there nor on PATH"
        )),
    }
}

fn plan(installation: Installation, server: PathBuf, context: &Context<'_>) -> Result<Plan, Error> {
    let local = LocalSandbox::new(installation, context)?;
    let socket = EngineSocket::in_dir(local.sockets.join("pgduck"));
    let host = local.postgres_sockets.to_string_lossy();
    let pgduck = PgDuck {
        program: server,
        socket: socket.clone(),
        dir: local.postgres_dir.clone(),
        account: local.account.clone(),
        secret: match local.shared_lake() {
            Some(_) => secret_sync::pending_secret(&local.s3),
            None => Secret {
                bucket: None,
                s3: local.s3.clone(),
            },
        },
        postgres: format!(
            "host={} port={} user={SUPERUSER} password={}",
            conninfo_value(&host),
            local.postgres_port,
            conninfo_value(local.lake_password())
        ),
    };
    let settings = vec![
        ("pg_lake_engine.host", socket.to_string()),
        // With these two settings, tables have the layout of the guide and a catalog that Snowflake
        // can follow.
        ("pg_lake_iceberg.default_catalog", "object_store".to_owned()),
        (
            "pg_lake_iceberg.object_store_catalog_location_prefix",
            format!("s3://{}", local.bucket()),
        ),
    ];
    let program = local.installation.program("postgres");
    let mut engine = vec![pgduck.component()];
    if let Some(shared_lake) = local.shared_lake() {
        let server = PgDuckAddress::Socket {
            dir: socket.dir.clone(),
        };
        let sts_endpoint = local.s3.endpoint.clone();
        engine.push(secret_sync_component(
            server,
            local.s3.clone(),
            sts_endpoint,
            shared_lake,
        )?);
    }
    local.plan(EngineParts {
        program,
        preload: &[configuration::PG_EXTENSION_BASE, configuration::PG_CRON],
        settings,
        engine,
        has_secret_sync: true,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Makes an installation as the search sees one, without a server that runs.
    fn installation(root: &Path, major: u32) -> Installation {
        for dir in ["bin", "share/extension", "lib"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        Installation {
            bin_dir: root.join("bin"),
            version: format!("{major}.1 (Debian {major}.1-1)"),
            major,
            share_dir: root.join("share"),
            pkglib_dir: root.join("lib"),
            has_pg_cron: true,
            has_contrib: true,
        }
    }

    fn add_pg_lake(found: &Installation) {
        std::fs::write(found.share_dir.join("extension/pg_lake.control"), "").unwrap();
    }

    fn add_server(dir: &Path, mode: u32) -> PathBuf {
        std::fs::create_dir_all(dir).unwrap();
        let path = dir.join(SERVER);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn what_is_missing_is_said_one_thing_after_the_other() {
        let root = tempfile::tempdir().unwrap();
        let old = installation(&root.path().join("old"), 15);
        add_pg_lake(&old);
        let error = server_of(&old, &[]).unwrap_err();
        assert!(
            error.ends_with("version 15.1 is not one of 16 to 18"),
            "{error}"
        );
        assert!(server_of(&installation(&root.path().join("new"), 19), &[]).is_err());

        let plain = installation(&root.path().join("plain"), 17);
        let error = server_of(&plain, &[]).unwrap_err();
        assert!(error.contains("there is no"), "{error}");
        assert!(error.contains("share/extension/pg_lake.control"), "{error}");

        add_pg_lake(&plain);
        let error = server_of(&plain, &[root.path().join("nowhere")]).unwrap_err();
        assert!(
            error.contains("`pgduck_server` is neither there"),
            "{error}"
        );
    }

    #[test]
    fn the_server_beside_postgres_comes_first_and_must_be_a_program() {
        let root = tempfile::tempdir().unwrap();
        let found = installation(&root.path().join("installation"), 18);
        add_pg_lake(&found);
        let elsewhere = root.path().join("elsewhere");
        let places = [root.path().join("empty"), elsewhere.clone()];
        let other = add_server(&elsewhere, 0o755);
        assert_eq!(server_of(&found, &places).unwrap(), other);
        let beside = add_server(&found.bin_dir, 0o644);
        assert_eq!(server_of(&found, &places).unwrap(), other);
        add_server(&found.bin_dir, 0o755);
        assert_eq!(server_of(&found, &places).unwrap(), beside);
    }

    #[test]
    fn the_reason_names_every_place_and_how_to_get_it() {
        let empty = tempfile::tempdir().unwrap();
        let options = Options {
            pg_bin: Some(empty.path().to_path_buf()),
            ..Options::default()
        };
        let missing = Native.find(&options, false).err().unwrap().to_string();
        assert!(
            missing.contains(&empty.path().display().to_string()),
            "{missing}"
        );
        assert!(missing.contains("postgresql-18-pg-lake"), "{missing}");
    }
}
