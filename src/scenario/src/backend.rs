//! The backend on which a scenario runs.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tempfile::NamedTempFile;
use tokio_postgres::Client;
use tokio_postgres::error::ErrorPosition;

use super::{Server, SnowflakeTables};
use crate::snowflake_side::{SnowflakeSession, snowflake_side};
use icebox_parity::{
    Answer, ArrowEngine, ArrowSource, PostgresSource, Query, QueryError, QueryReport, Report,
    Source, SourceError, decode_arrow, decode_postgres, postgres_message, verify,
};
use icebox_postgres::client::{ConnectError, Endpoint, connect};
use icebox_rest::client::ClientError;
use icebox_retail::{Progress, RetailError, Simulator, Summary};
use icebox_sandbox::{SandboxInfo, Side};

/// The failure of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementFailure {
    /// The engine's own error message.
    pub message: String,
    /// The position in the statement, in characters from 0, if the engine reports one.
    pub offset: Option<usize>,
}

/// The engines that a scenario's steps talk to.
#[async_trait]
pub trait Backend: Send {
    /// Runs one statement in the side's session. `None` if it is not a statement that returns rows.
    async fn execute(&mut self, side: Side, sql: &str) -> Result<Option<Answer>, StatementFailure>;

    /// Connects to a server. From now on, it is the scenario's PostgreSQL.
    async fn connect(&mut self, server: &Server) -> Result<(), ConnectError>;

    async fn simulate(
        &mut self,
        simulator: &Simulator,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Summary, SimulateError>;

    async fn verify(
        &mut self,
        queries: &[Query],
        iceberg_prefix: &str,
        tables: SnowflakeTables,
        progress: &mut (dyn for<'r> FnMut(&'r QueryReport) + Send),
    ) -> Result<Report, VerifyError>;
}

#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Retail(#[from] RetailError),
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the Snowflake side cannot be read")]
    Snowflake(#[from] SourceError),
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// A function that opens the Snowflake side on the newest metadata of every table, for queries on
/// logical names with a prefix.
pub type OpenSource =
    Box<dyn Fn(String) -> BoxFuture<'static, Result<Box<dyn Source>, SourceError>> + Send + Sync>;

/// The backend for a running sandbox.
pub struct SandboxBackend {
    endpoint: Endpoint,
    /// The session of the scenario's PostgreSQL statements.
    session: Arc<Client>,
    open_snowflake: OpenSource,
    /// The session of the scenario's statements for the Snowflake side.
    worksheet: Arc<dyn ArrowEngine>,
    /// The certificate of the server that a step has connected to.
    certificate: Option<NamedTempFile>,
}

/// The reason why a sandbox cannot run a scenario.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Postgres(#[from] ConnectError),
    #[error(transparent)]
    Snowflake(#[from] ClientError),
    #[error("this sandbox has no Snowflake side; run `icebox down`, then `icebox up`, to add it")]
    NoSnowflake,
}

impl SandboxBackend {
    /// Opens sessions on both sides of a running sandbox.
    pub async fn open(info: &SandboxInfo) -> Result<Self, OpenError> {
        let snowflake = info.snowflake.as_ref().ok_or(OpenError::NoSnowflake)?;
        let worksheet = SnowflakeSession::new(snowflake.connect(Some(&snowflake.database)).await?);
        let info_of_reader = info.clone();
        let reader = move |prefix: String| {
            let info = info_of_reader.clone();
            Box::pin(async move { snowflake_side(&info, &prefix).await }) as _
        };
        let postgres = info.postgres.clone();
        Ok(Self::connect(postgres, Box::new(reader), Arc::new(worksheet)).await?)
    }

    pub async fn connect(
        endpoint: Endpoint,
        open_snowflake: OpenSource,
        worksheet: Arc<dyn ArrowEngine>,
    ) -> Result<Self, ConnectError> {
        let session = Arc::new(connect(&endpoint).await?);
        Ok(Self {
            endpoint,
            session,
            open_snowflake,
            worksheet,
            certificate: None,
        })
    }
}

#[async_trait]
impl Backend for SandboxBackend {
    async fn execute(&mut self, side: Side, sql: &str) -> Result<Option<Answer>, StatementFailure> {
        if side == Side::Postgres {
            return execute_postgres(&self.session, sql).await;
        }
        let failure = |error: SourceError| StatementFailure {
            message: error.to_string(),
            offset: None,
        };
        let (schema, batches) = self.worksheet.query(sql).await.map_err(failure)?;
        let answer = decode_arrow(&schema, &batches);
        answer.map(Some).map_err(|error| failure(error.into()))
    }

    async fn connect(&mut self, server: &Server) -> Result<(), ConnectError> {
        let written = |certificate: &String| {
            let file = NamedTempFile::new()?;
            std::fs::write(file.path(), certificate)?;
            Ok(file)
        };
        let file = server.certificate.as_ref().map(written).transpose();
        let file = file.map_err(|source| ConnectError::Certificate {
            path: std::env::temp_dir(),
            source,
        })?;
        let endpoint = Endpoint {
            host: server.host.clone(),
            port: server.port,
            dbname: server.database.clone(),
            user: server.user.clone(),
            password: server.password.clone(),
            ca_file: file.as_ref().map(|file| file.path().to_owned()),
        };
        self.session = Arc::new(connect(&endpoint).await?);
        (self.endpoint, self.certificate) = (endpoint, file);
        Ok(())
    }

    async fn simulate(
        &mut self,
        simulator: &Simulator,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Summary, SimulateError> {
        // The simulator has a session of its own, which the scenario's settings do not affect.
        let mut client = connect(&self.endpoint).await?;
        Ok(simulator.run(&mut client, progress).await?)
    }

    async fn verify(
        &mut self,
        queries: &[Query],
        iceberg_prefix: &str,
        tables: SnowflakeTables,
        progress: &mut (dyn for<'r> FnMut(&'r QueryReport) + Send),
    ) -> Result<Report, VerifyError> {
        let snowflake = match tables {
            SnowflakeTables::NewestMetadata => {
                (self.open_snowflake)(iceberg_prefix.to_owned()).await?
            }
            SnowflakeTables::Session => {
                let worksheet = Arc::clone(&self.worksheet);
                Box::new(ArrowSource::new("snowflake", iceberg_prefix, worksheet))
            }
        };
        let sources: Vec<Box<dyn Source>> = vec![
            Box::new(PostgresSource::new("heap", "", self.session.clone())),
            Box::new(PostgresSource::new(
                "pg_lake",
                iceberg_prefix,
                self.session.clone(),
            )),
            snowflake,
        ];
        Ok(verify(queries, &sources, progress).await?)
    }
}

/// Runs one statement through the extended protocol, so that its rows come with their types.
async fn execute_postgres(client: &Client, sql: &str) -> Result<Option<Answer>, StatementFailure> {
    let failure = |error: tokio_postgres::Error| StatementFailure {
        message: postgres_message(&error),
        offset: match error.as_db_error().and_then(|error| error.position()) {
            Some(ErrorPosition::Original(position)) => Some(*position as usize - 1),
            _ => None,
        },
    };
    let statement = client.prepare(sql).await.map_err(failure)?;
    if statement.columns().is_empty() {
        client.execute(&statement, &[]).await.map_err(failure)?;
        return Ok(None);
    }
    let rows = client.query(&statement, &[]).await.map_err(failure)?;
    match decode_postgres(statement.columns(), &rows) {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => Err(StatementFailure {
            message: error.to_string(),
            offset: None,
        }),
    }
}
