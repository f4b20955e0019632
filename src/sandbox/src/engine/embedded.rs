//! The engine `embedded`: a plain PostgreSQL of this machine, icebox's stand-in for `pg_lake`, and
//! icebox's S3 server.

use std::sync::Arc;

use super::SUPERUSER;
use super::local::{EngineParts, LocalSandbox};
use super::{Available, Context, Plan, Provider, Unavailable};
use crate::component::{Component, Launch, Probe, STOP, Step};
use crate::services::LakeEngine;
use crate::{Error, Options};
use icebox_pglake::{EngineSocket, prefix};
use icebox_postgres::installation::INSTALL;
use icebox_postgres::{Error as PostgresError, Installation, configuration};

pub struct Embedded;

impl Provider for Embedded {
    fn find(&self, options: &Options, _is_library: bool) -> Result<Available, Unavailable> {
        let installation =
            Installation::find(options.pg_bin.as_deref()).map_err(|error| Unavailable {
                reason: match error {
                    PostgresError::NotFound { reason, .. } => reason,
                    error => error.to_string(),
                },
                fix: Some(INSTALL.to_owned()),
            })?;
        if !installation.has_contrib {
            return Err(Unavailable {
                reason: format!(
                    "PostgreSQL {} in {} lacks contrib (postgres_fdw and dblink)",
                    installation.short_version(),
                    installation.bin_dir.display()
                ),
                fix: Some("sudo apt-get install postgresql-contrib".to_owned()),
            });
        }
        let reason = format!(
            "PostgreSQL {} in {}, with icebox's stand-in for pg_lake",
            installation.short_version(),
            installation.bin_dir.display()
        );
        Ok(Available {
            reason,
            plan: Box::new(|context| plan(installation, context)),
        })
    }
}

fn plan(installation: Installation, context: &Context<'_>) -> Result<Plan, Error> {
    let local = LocalSandbox::new(installation, context)?;
    let socket = EngineSocket::in_dir(local.sockets.join("engine"));
    let prefix_dir = local.postgres_dir.join("prefix");
    let bin_dir = prefix::prepare(&local.installation, &prefix_dir, &socket).map_err(|source| {
        Error::NotUp {
            component: "pg_lake",
            source: source.into(),
        }
    })?;
    let engine = lake_engine(&local, &socket);
    local.plan(EngineParts {
        program: bin_dir.join("postgres"),
        preload: &[configuration::PG_CRON],
        settings: Vec::new(),
        engine: vec![engine],
        // The lake engine reads the grant each time.
        has_secret_sync: false,
    })
}

fn lake_engine(local: &LocalSandbox<'_>, socket: &EngineSocket) -> Component {
    Component {
        name: "lake-engine",
        endpoint: socket.path().display().to_string(),
        launch: Launch::Icebox(Arc::new(LakeEngine {
            socket_dir: socket.dir.clone(),
            s3: local.s3.clone(),
            postgres_socket_dir: local.postgres_sockets.clone(),
            postgres_port: local.postgres_port,
            postgres_user: SUPERUSER.to_owned(),
            postgres_password: local.lake_password().to_owned(),
            grant: local
                .shared_lake()
                .map(|shared_lake| shared_lake.grant.clone()),
        })),
        prepare: None,
        ready: vec![Step::Probe(Probe::UnixSocket(socket.path()))],
        stop: STOP,
    }
}
