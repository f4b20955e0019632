//! The Snowflake side of a sandbox: the reader, which sees every table of the catalog at its newest
//! metadata; and a session, whose tables are those that its statements created.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::Mutex;

use icebox_parity::{ArrowEngine, ArrowSource, Source, SourceError};
use icebox_postgres::connect;
use icebox_reader::{Reader, follow};
use icebox_rest::client::Client;
use icebox_sandbox::SandboxInfo;
use icebox_tables::LakeIo;

/// A session on the Snowflake side, which runs one statement at a time.
pub struct SnowflakeSession(Mutex<Client>);

impl SnowflakeSession {
    pub fn new(client: Client) -> Self {
        Self(Mutex::new(client))
    }
}

#[async_trait]
impl ArrowEngine for SnowflakeSession {
    async fn query(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SourceError> {
        let rows = self.0.lock().await.rows(sql).await;
        let rows = rows.map_err(|error| SourceError::engine(&error))?;
        Ok((rows.schema, rows.batches))
    }
}

/// Opens a reader on the present state of the catalog. `iceberg_prefix` is the prefix of logical
/// table names in the catalog.
pub async fn snowflake_side(
    info: &SandboxInfo,
    iceberg_prefix: &str,
) -> Result<Box<dyn Source>, SourceError> {
    let client = connect(&info.postgres)
        .await
        .map_err(|error| SourceError::engine(&error))?;
    let reader =
        Reader::new(LakeIo::s3(info.s3.clone())).map_err(|error| SourceError::engine(&error))?;
    follow(&reader, &client)
        .await
        .map_err(|error| SourceError::engine(&error))?;
    Ok(Box::new(ArrowSource::new(
        "snowflake",
        iceberg_prefix,
        reader,
    )))
}
