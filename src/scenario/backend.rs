//! What a scenario runs on.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio_postgres::Client;
use tokio_postgres::error::ErrorPosition;

use crate::parity::{
    Answer, PostgresSource, Query, QueryError, QueryReport, Report, Source, SourceError,
    decode_postgres, postgres_message, verify,
};
use crate::postgres::client::{ConnectError, Endpoint, connect};
use crate::retail::{Progress, RetailError, Simulator, Summary};

/// Where a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Postgres,
    Snowflake,
}

/// A statement that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementFailure {
    /// The engine's own words.
    pub message: String,
    /// Where in the statement, in characters from 0, if the engine says so.
    pub offset: Option<usize>,
}

/// The engines that a scenario's steps talk to.
#[async_trait]
pub trait Backend: Send {
    /// Called before the statements of a file, so that the Snowflake side can look for newer metadata.
    async fn begin_file(&mut self, side: Side) -> Result<(), SourceError>;

    /// Runs one statement in the side's session; `None` where it is not one that gives rows.
    async fn execute(&mut self, side: Side, sql: &str) -> Result<Option<Answer>, StatementFailure>;

    async fn simulate(
        &mut self,
        simulator: &Simulator,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Summary, SimulateError>;

    async fn verify(
        &mut self,
        queries: &[Query],
        iceberg_prefix: &str,
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

/// Opens the Snowflake side on the newest metadata of every table, for queries on logical names with a prefix.
pub type OpenSource =
    Box<dyn Fn(String) -> BoxFuture<'static, Result<Box<dyn Source>, SourceError>> + Send + Sync>;

/// A running sandbox.
pub struct SandboxBackend {
    endpoint: Endpoint,
    /// The session of the scenario's PostgreSQL statements.
    session: Arc<Client>,
    open_snowflake: OpenSource,
    /// Opened by the file that runs now.
    snowflake: Option<Box<dyn Source>>,
}

impl SandboxBackend {
    pub async fn connect(
        endpoint: Endpoint,
        open_snowflake: OpenSource,
    ) -> Result<Self, ConnectError> {
        let session = Arc::new(connect(&endpoint).await?);
        Ok(Self {
            endpoint,
            session,
            open_snowflake,
            snowflake: None,
        })
    }
}

#[async_trait]
impl Backend for SandboxBackend {
    async fn begin_file(&mut self, side: Side) -> Result<(), SourceError> {
        if side == Side::Snowflake {
            // Statements name their tables themselves.
            self.snowflake = Some((self.open_snowflake)(String::new()).await?);
        }
        Ok(())
    }

    async fn execute(&mut self, side: Side, sql: &str) -> Result<Option<Answer>, StatementFailure> {
        match (side, &self.snowflake) {
            (Side::Postgres, _) => execute_postgres(&self.session, sql).await,
            (Side::Snowflake, Some(source)) => match source.answer(sql).await {
                Ok(answer) => Ok(Some(answer)),
                Err(error) => Err(StatementFailure {
                    message: error.to_string(),
                    offset: None,
                }),
            },
            (Side::Snowflake, None) => Err(StatementFailure {
                message: "the Snowflake side is not open".into(),
                offset: None,
            }),
        }
    }

    async fn simulate(
        &mut self,
        simulator: &Simulator,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Summary, SimulateError> {
        // In a session of its own, which the scenario's settings do not touch.
        let mut client = connect(&self.endpoint).await?;
        Ok(simulator.run(&mut client, progress).await?)
    }

    async fn verify(
        &mut self,
        queries: &[Query],
        iceberg_prefix: &str,
        progress: &mut (dyn for<'r> FnMut(&'r QueryReport) + Send),
    ) -> Result<Report, VerifyError> {
        let sources: Vec<Box<dyn Source>> = vec![
            Box::new(PostgresSource::new("heap", "", self.session.clone())),
            Box::new(PostgresSource::new(
                "pg_lake",
                iceberg_prefix,
                self.session.clone(),
            )),
            (self.open_snowflake)(iceberg_prefix.to_owned()).await?,
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
