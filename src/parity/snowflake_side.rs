//! The Snowflake side of a sandbox: the reader, which sees every table of the catalog at its newest
//! metadata; and a session, whose tables are those that its statements created.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{ArrowEngine, ArrowSource, Source, SourceError};
use crate::postgres::connect;
use crate::sandbox::SandboxInfo;
use crate::snowflake::client::Client;
use crate::snowflake::{Reader, follow};
use crate::tables::LakeIo;

#[async_trait]
impl ArrowEngine for Reader {
    async fn query(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SourceError> {
        Reader::query(self, sql)
            .await
            .map_err(|error| SourceError::engine(&error))
    }
}

/// A session on the Snowflake side, which runs one statement at a time.
pub struct Worksheet(Mutex<Client>);

impl Worksheet {
    pub fn new(client: Client) -> Worksheet {
        Worksheet(Mutex::new(client))
    }
}

#[async_trait]
impl ArrowEngine for Worksheet {
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
