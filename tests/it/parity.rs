//! Parity, its retail data, and the scenario runner.

mod analytics;
mod comparison;
mod decoding;
mod retail;
mod scenario;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use datafusion::prelude::SessionContext;

use icebox_parity::{ArrowEngine, SourceError};

/// Returns the path of a file or folder of the scenario `retail-lakehouse`.
fn retail_lakehouse(path: &str) -> PathBuf {
    Path::new(crate::support::ROOT)
        .join("scenarios/retail-lakehouse")
        .join(path)
}

/// A DataFusion engine on tables in memory.
struct InMemory(SessionContext);

#[async_trait]
impl ArrowEngine for InMemory {
    async fn query(
        &self,
        sql: &str,
    ) -> Result<(arrow::datatypes::SchemaRef, Vec<RecordBatch>), SourceError> {
        let engine =
            |error: datafusion::error::DataFusionError| SourceError::Engine(error.to_string());
        let frame = self.0.sql(sql).await.map_err(engine)?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        Ok((schema, frame.collect().await.map_err(engine)?))
    }
}

/// Copies a table into memory, with the types of its Iceberg twin.
async fn load(context: &SessionContext, client: &tokio_postgres::Client, table: &str, name: &str) {
    use arrow::array::{Decimal128Array, Int32Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use tokio_postgres::types::Type;

    let statement = client
        .prepare(&format!("SELECT * FROM {table}"))
        .await
        .unwrap();
    let rows = client.query(&statement, &[]).await.unwrap();
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (index, column) in statement.columns().iter().enumerate() {
        let array: ArrayRef = match *column.type_() {
            Type::INT4 => Arc::new(
                rows.iter()
                    .map(|row| row.get::<_, Option<i32>>(index))
                    .collect::<Int32Array>(),
            ),
            Type::TEXT => Arc::new(
                rows.iter()
                    .map(|row| row.get::<_, Option<String>>(index))
                    .collect::<StringArray>(),
            ),
            Type::TIMESTAMP => {
                let micros =
                    |timestamp: chrono::NaiveDateTime| timestamp.and_utc().timestamp_micros();
                Arc::new(
                    rows.iter()
                        .map(|row| {
                            row.get::<_, Option<chrono::NaiveDateTime>>(index)
                                .map(micros)
                        })
                        .collect::<TimestampMicrosecondArray>(),
                )
            }
            Type::NUMERIC => {
                // The driver has no decimal type, so the amounts are read as cents in text.
                let sql = format!(
                    "SELECT ({} * 100)::bigint::text FROM {table}",
                    column.name()
                );
                let cents = client.query(&sql, &[]).await.unwrap();
                let values = cents.iter().map(|row| {
                    row.get::<_, Option<String>>(0)
                        .map(|cents| cents.parse().unwrap())
                });
                let precision = if column.name() == "unit_price" {
                    10
                } else {
                    12
                };
                let array: Decimal128Array = values.collect();
                Arc::new(array.with_precision_and_scale(precision, 2).unwrap())
            }
            ref other => panic!("{table}.{} has type {other}", column.name()),
        };
        let data_type: DataType = array.data_type().clone();
        fields.push(Field::new(column.name(), data_type, true));
        arrays.push(array);
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    context.register_batch(name, batch).unwrap();
}
