//! The reader as an engine: it sees every table of a catalog at the metadata file that it was
//! given.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::arrow::ArrowEngine;
use crate::verify::SourceError;
use icebox_reader::Reader;

#[async_trait]
impl ArrowEngine for Reader {
    async fn query(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SourceError> {
        Self::query(self, sql)
            .await
            .map_err(|error| SourceError::engine(&error))
    }
}
