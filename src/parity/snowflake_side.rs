//! The Snowflake side of a sandbox: the reader on every table of the catalog, at its newest metadata.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::sql::TableReference;

use super::{ArrowEngine, ArrowSource, Source, SourceError, postgres_message};
use crate::postgres::connect;
use crate::sandbox::SandboxInfo;
use crate::snowflake::Reader;
use crate::tables::LakeIo;

/// Every column is one that the real view has too.
const CATALOG: &str = "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables";

#[async_trait]
impl ArrowEngine for Reader {
    async fn query(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SourceError> {
        Reader::query(self, sql)
            .await
            .map_err(|error| SourceError::engine(&error))
    }
}

/// Opens a reader on what the catalog says now; `iceberg_prefix` is what precedes a logical table name in it.
pub async fn snowflake_side(
    info: &SandboxInfo,
    iceberg_prefix: &str,
) -> Result<Box<dyn Source>, SourceError> {
    let client = connect(&info.postgres)
        .await
        .map_err(|error| SourceError::engine(&error))?;
    let tables = client.query(CATALOG, &[]).await.map_err(|error| {
        SourceError::Engine(format!(
            "cannot read iceberg_tables: {}",
            postgres_message(&error)
        ))
    })?;
    let reader =
        Reader::new(LakeIo::s3(info.s3.clone())).map_err(|error| SourceError::engine(&error))?;
    for table in tables {
        let (namespace, name, location): (String, String, String) =
            (table.get(0), table.get(1), table.get(2));
        let qualified = TableReference::partial(namespace, name);
        reader
            .register(qualified, &location)
            .await
            .map_err(|error| SourceError::engine(&error))?;
    }
    Ok(Box::new(ArrowSource::new(
        "snowflake",
        iceberg_prefix,
        reader,
    )))
}
