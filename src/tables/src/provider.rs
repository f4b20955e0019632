//! Iceberg tables as DataFusion table providers.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{ColumnStatistics, DFSchema, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, col};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;

use super::deletes::access_plan;
use super::error::Result;
use super::footer::{LakeReaderFactory, scan_path};
use super::io::LakeIo;
use super::position_scan::{
    self, FILE_COLUMN, POSITION_COLUMN, PositionScanExec, file_field, position_field,
};
use super::scan_files::{CONCURRENT_READS, ScanFile, file_groups, live_files};
use super::table::LakeTable;
use super::{error, schema};
use crate::column_projection::ColumnProjection;
use crate::uncommitted::{LiveBatch, UncommittedChanges};

/// An Iceberg table for DataFusion, pinned to one metadata file and one of its snapshots.
///
/// A scan skips files whose partition or column bounds exclude matching rows, and then row groups
/// by their statistics. Deleted rows are never decoded. Row counts are exact statistics, so
/// `count(*)` reads no data file. The text columns of [`new`](Self::new) are `Utf8View` rather than
/// the `Utf8` of [`LakeTable::arrow_schema`]: joins and groups on text cost half as much.
#[derive(Clone, Debug)]
pub struct LakeTableProvider {
    table: Arc<LakeTable>,
    snapshot_id: Option<i64>,
    /// The table's columns, without the position columns.
    columns: SchemaRef,
    /// The table's columns, followed by the two position columns if they were requested.
    schema: SchemaRef,
    ids: ColumnProjection,
    uncommitted: Arc<UncommittedChanges>,
    live_batches: Arc<Vec<LiveBatch>>,
    with_positions: bool,
    /// The columns under their names in the Iceberg schema, if they have been renamed.
    iceberg_columns: Option<SchemaRef>,
}

impl LakeTableProvider {
    /// Creates a provider of the current snapshot.
    pub fn new(table: Arc<LakeTable>) -> Self {
        let columns = Arc::new(schema::with_views(table.arrow_schema()));
        let ids = field_ids(&table, table.schema(), &columns);
        Self::build(table, None, columns, ids)
    }

    /// Creates a provider of an older snapshot, with the schema of that snapshot.
    ///
    /// # Errors
    /// The metadata file has no such snapshot.
    pub fn at_snapshot(table: Arc<LakeTable>, snapshot_id: i64) -> Result<Self> {
        let iceberg_schema = table.schema_at(Some(snapshot_id))?;
        let columns = schema::to_arrow(&iceberg_schema).map_err(|source| error::Error::Plan {
            location: table.metadata_location().to_owned(),
            source: Box::new(source),
        })?;
        let ids = field_ids(&table, &iceberg_schema, &columns);
        Ok(Self::build(
            table,
            Some(snapshot_id),
            Arc::new(columns),
            ids,
        ))
    }

    fn build(
        table: Arc<LakeTable>,
        snapshot_id: Option<i64>,
        columns: SchemaRef,
        ids: ColumnProjection,
    ) -> Self {
        Self {
            table,
            snapshot_id,
            schema: Arc::clone(&columns),
            columns,
            ids,
            uncommitted: Arc::default(),
            live_batches: Arc::default(),
            with_positions: false,
            iceberg_columns: None,
        }
    }

    /// Adds the uncommitted changes of a transaction to the table.
    ///
    /// # Errors
    /// A batch does not fit the table's schema.
    pub fn with_uncommitted(mut self, uncommitted: UncommittedChanges) -> DataFusionResult<Self> {
        self.live_batches = Arc::new(uncommitted.live_batches(&self.columns)?);
        self.uncommitted = Arc::new(uncommitted);
        Ok(self)
    }

    /// Renames the columns. A column keeps its name if the new one is already taken.
    pub fn renamed(mut self, rename: impl Fn(&str) -> String) -> Self {
        self.iceberg_columns = Some(Arc::clone(&self.columns));
        let mut taken = HashSet::new();
        self.with_fields(|field| {
            let name = rename(field.name());
            if taken.insert(name.clone()) {
                field.with_name(name)
            } else {
                field
            }
        })
    }

    /// Adds an entry to the metadata of the columns for which `note` returns a text.
    pub fn with_field_metadata(self, key: &str, note: impl Fn(&str) -> Option<String>) -> Self {
        self.with_fields(|field| {
            let mut metadata = field.metadata().clone();
            metadata.extend(note(field.name()).map(|note| (key.to_owned(), note)));
            field.with_metadata(metadata)
        })
    }

    /// Replaces each column's name or metadata.
    fn with_fields(mut self, change: impl FnMut(Field) -> Field) -> Self {
        let fields = self.columns.fields().iter();
        let fields = fields.map(|field| Field::clone(field)).map(change);
        let columns =
            Schema::new_with_metadata(fields.collect::<Vec<_>>(), self.columns.metadata().clone());
        self.columns = Arc::new(columns);
        self.schema = Arc::clone(&self.columns);
        self
    }

    /// Returns the filters with the columns' names in the Iceberg schema.
    fn in_iceberg_names(&self, filters: &[Expr]) -> DataFusionResult<Vec<Expr>> {
        let Some(stored) = &self.iceberg_columns else {
            return Ok(filters.to_vec());
        };
        let rename = |filter: &Expr| {
            let renamed = filter.clone().transform(|one| match &one {
                Expr::Column(column) => match self.columns.index_of(&column.name) {
                    Ok(index) => Ok(Transformed::yes(Expr::Column(
                        datafusion::common::Column::new_unqualified(stored.field(index).name()),
                    ))),
                    Err(_) => Ok(Transformed::no(one)),
                },
                _ => Ok(Transformed::no(one)),
            });
            renamed.map(|renamed| renamed.data)
        };
        filters.iter().map(rename).collect()
    }

    /// Adds two columns: [`FILE_COLUMN`] and [`POSITION_COLUMN`].
    pub fn with_positions(mut self) -> Self {
        let mut fields: Vec<_> = self.columns.fields().iter().cloned().collect();
        fields.push(Arc::new(file_field()));
        fields.push(Arc::new(position_field()));
        self.schema = Arc::new(Schema::new_with_metadata(
            fields,
            self.columns.metadata().clone(),
        ));
        self.with_positions = true;
        self
    }

    /// Returns the rows that pass `filter`, with the columns of `projection` (indexes into the
    /// table schema; `None` is all) and then [`FILE_COLUMN`] and [`POSITION_COLUMN`]. UPDATE and
    /// DELETE by position need these.
    ///
    /// `context` supplies functions and settings. The table need not be registered in it.
    pub async fn rows_with_positions(
        &self,
        context: &SessionContext,
        projection: Option<&[usize]>,
        filter: Option<Expr>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let mut names: Vec<&str> = match projection {
            Some(indexes) => indexes
                .iter()
                .map(|&index| self.columns.field(index).name().as_str())
                .collect(),
            None => self
                .columns
                .fields()
                .iter()
                .map(|f| f.name().as_str())
                .collect(),
        };
        names.extend([FILE_COLUMN, POSITION_COLUMN]);
        let mut rows = context.read_table(Arc::new(self.clone().with_positions()))?;
        if let Some(filter) = filter {
            rows = rows.filter(filter)?;
        }
        let columns = names
            .into_iter()
            .map(|name| col(datafusion::common::Column::new_unqualified(name)));
        rows.select(columns.collect::<Vec<_>>())?
            .execute_stream()
            .await
    }

    /// The number of rows of the current snapshot, if it is known without reading any file. It may
    /// be too high, because it includes deleted rows, but never too low.
    pub fn known_rows(&self) -> Option<u64> {
        self.table.known_rows()
    }

    /// The table that this provider reads.
    pub fn table(&self) -> &Arc<LakeTable> {
        &self.table
    }

    fn io(&self) -> &LakeIo {
        self.table.io()
    }

    async fn scan_files(
        &self,
        state: &dyn Session,
        files: Vec<ScanFile>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let rows = files.iter().map(ScanFile::live_rows).sum::<u64>() as usize;
        let files = stream::iter(files)
            .map(|file| self.partitioned_file(file))
            .buffered(CONCURRENT_READS)
            .try_collect::<Vec<_>>()
            .await?;
        let mut options = TableParquetOptions {
            global: state.config().options().execution.parquet.clone(),
            ..Default::default()
        };
        // Reads Spark's legacy timestamps (INT96) as microseconds, as in Iceberg.
        options.global.coerce_int96 = Some("us".to_owned());
        let source = ParquetSource::new(Arc::clone(&self.columns))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(LakeReaderFactory {
                io: self.io().clone(),
            }));
        let statistics = Statistics {
            num_rows: Precision::Exact(rows),
            ..Statistics::new_unknown(&self.columns)
        };
        let groups = file_groups(files, state.config().target_partitions());
        // A store for this URL exists in every runtime. It is never used, see LakeReaderFactory.
        let url = ObjectStoreUrl::local_filesystem();
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_expr_adapter(Some(Arc::new(self.ids.clone())))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    async fn partitioned_file(&self, scan: ScanFile) -> Result<PartitionedFile> {
        let ScanFile { file, deleted } = scan;
        let meta = ObjectMeta {
            location: scan_path(&file.location)?,
            last_modified: DateTime::UNIX_EPOCH,
            size: file.size,
            e_tag: None,
            version: None,
        };
        let rows = file.record_count - deleted.len();
        let statistics = Statistics {
            num_rows: Precision::Exact(rows as usize),
            total_byte_size: Precision::Inexact(file.size as usize),
            column_statistics: vec![ColumnStatistics::new_unknown(); self.columns.fields().len()],
        };
        let mut partitioned =
            PartitionedFile::new_from_meta(meta).with_statistics(Arc::new(statistics));
        if !deleted.is_empty() {
            let footer = self.io().footer(&file.location, file.size).await?;
            let plan = access_plan(&deleted, footer.metadata.row_groups());
            partitioned = partitioned.with_extensions(Arc::new(plan));
        }
        Ok(partitioned)
    }
}

fn field_ids(
    table: &LakeTable,
    iceberg_schema: &iceberg::spec::Schema,
    columns: &Schema,
) -> ColumnProjection {
    let defaults = schema::initial_defaults(iceberg_schema, columns);
    ColumnProjection::new(defaults, table.name_mapping())
}

#[async_trait]
impl TableProvider for LakeTableProvider {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let filters_in_iceberg_names = self.in_iceberg_names(filters)?;
        let planned = self
            .table
            .scan(self.snapshot_id, &filters_in_iceberg_names)
            .await?;
        let files = live_files(self.io(), &planned, &self.uncommitted).await?;
        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !files.is_empty() {
            inputs.push(if self.with_positions {
                let predicate = physical_filter(state, filters, &self.schema)?;
                let partitions = state.config().target_partitions();
                let selections =
                    position_scan::partition_row_groups(self.io(), files, partitions).await?;
                Arc::new(PositionScanExec::new(
                    self.io().clone(),
                    self.ids.clone(),
                    &self.schema,
                    projection,
                    predicate,
                    selections,
                )?)
            } else {
                self.scan_files(state, files, projection, limit).await?
            });
        }
        if !self.live_batches.is_empty() {
            let batches = self
                .live_batches
                .iter()
                .map(|live| {
                    if self.with_positions {
                        position_scan::with_positions(live, &self.schema)
                    } else {
                        Ok(live.batch.clone())
                    }
                })
                .collect::<DataFusionResult<Vec<_>>>()?;
            let memory = MemorySourceConfig::try_new_exec(
                &[batches],
                Arc::clone(&self.schema),
                projection.cloned(),
            )?;
            inputs.push(memory);
        }
        match inputs.len() {
            0 => Ok(Arc::new(EmptyExec::new(
                datafusion::physical_plan::project_schema(&self.schema, projection)?,
            ))),
            1 => Ok(inputs.swap_remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }
}

fn physical_filter(
    state: &dyn Session,
    filters: &[Expr],
    schema: &SchemaRef,
) -> DataFusionResult<Option<Arc<dyn PhysicalExpr>>> {
    let Some(filter) = conjunction(filters.to_vec()) else {
        return Ok(None);
    };
    let schema = DFSchema::try_from(schema.as_ref().clone())?;
    state.create_physical_expr(filter, &schema).map(Some)
}
