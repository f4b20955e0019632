//! Scans that return the file and position of each row.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::project_schema;
use datafusion::datasource::physical_plan::ParquetFileMetrics;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccessPlanFilter};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask, RowNumber};

use super::deletes::access_plan;
use super::error;
use super::io::LakeIo;
use super::scan_files::{CONCURRENT_READS, ScanFile};
use crate::column_projection::{ColumnProjection, ColumnSource, constant};
use crate::uncommitted::{BATCHES_LOCATION, LiveBatch};

/// The name of the column with the location of a row's data file, as a dictionary of strings.
pub const FILE_COLUMN: &str = "_file";
/// The name of the column with a row's position in its data file, from 0 as in position deletes.
pub const POSITION_COLUMN: &str = "_pos";

pub(super) fn file_field() -> Field {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Field::new(FILE_COLUMN, dictionary, false)
}

pub(super) fn position_field() -> Field {
    Field::new(POSITION_COLUMN, DataType::Int64, false)
}

/// A selection of row groups of one file, which one partition reads.
#[derive(Clone, Debug)]
pub(super) struct RowGroupSelection {
    location: Arc<str>,
    size: u64,
    access: ParquetAccessPlan,
}

/// Divides the files' row groups into at most `target_partitions` partitions with about the same
/// number of rows.
pub(super) async fn partition_row_groups(
    io: &LakeIo,
    files: Vec<ScanFile>,
    target_partitions: usize,
) -> error::Result<Vec<Vec<RowGroupSelection>>> {
    let files = stream::iter(files)
        .map(|scan| async move {
            let footer = io.footer(&scan.file.location, scan.file.size).await?;
            Ok::<_, error::Error>((scan, footer))
        })
        .buffered(CONCURRENT_READS)
        .try_collect::<Vec<_>>()
        .await?;
    let total: u64 = files.iter().map(|(scan, _)| scan.file.record_count).sum();
    let share = total.div_ceil(target_partitions.max(1) as u64).max(1);
    let mut partitions: Vec<Vec<RowGroupSelection>> = Vec::new();
    let mut partition: Vec<RowGroupSelection> = Vec::new();
    let mut rows_in_partition = 0;
    for (scan, footer) in files {
        let groups = footer.metadata.row_groups();
        let whole = access_plan(&scan.deleted, groups);
        let nothing = RowGroupSelection {
            location: scan.file.location.as_str().into(),
            size: scan.file.size,
            access: ParquetAccessPlan::new_none(groups.len()),
        };
        let mut selection = nothing.clone();
        for (index, group) in groups.iter().enumerate() {
            if rows_in_partition >= share && partitions.len() + 1 < target_partitions {
                partition.push(std::mem::replace(&mut selection, nothing.clone()));
                partitions.push(std::mem::take(&mut partition));
                rows_in_partition = 0;
            }
            selection.access.set(index, whole.inner()[index].clone());
            rows_in_partition += group.num_rows() as u64;
        }
        partition.push(selection);
    }
    partitions.push(partition);
    for partition in &mut partitions {
        partition.retain(|selection| !selection.access.row_group_indexes().is_empty());
    }
    partitions.retain(|partition| !partition.is_empty());
    Ok(partitions)
}

/// Adds the two position columns to in-memory rows.
pub(super) fn with_positions(live: &LiveBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = live.batch.columns().to_vec();
    columns.push(file_column(BATCHES_LOCATION, live.positions.len())?);
    columns.push(Arc::new(Int64Array::from(live.positions.clone())));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn file_column(location: &str, rows: usize) -> Result<ArrayRef> {
    let keys = Int32Array::from(vec![0; rows]);
    let values = Arc::new(StringArray::from(vec![location]));
    Ok(Arc::new(DictionaryArray::try_new(keys, values)?))
}

/// An execution plan that reads data files with the location and the position of every row. The
/// predicate only skips row groups; it does not filter rows.
#[derive(Debug)]
pub(super) struct PositionScanExec {
    io: LakeIo,
    ids: ColumnProjection,
    /// The table's columns, then the file column and the position column.
    schema: SchemaRef,
    projection: Vec<usize>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    partitions: Vec<Vec<RowGroupSelection>>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl PositionScanExec {
    pub(super) fn new(
        io: LakeIo,
        ids: ColumnProjection,
        schema: &SchemaRef,
        projection: Option<&Vec<usize>>,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        partitions: Vec<Vec<RowGroupSelection>>,
    ) -> Result<Self> {
        let projected = project_schema(schema, projection)?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(projected),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            io,
            ids,
            schema: Arc::clone(schema),
            projection: match projection {
                Some(projection) => projection.clone(),
                None => (0..schema.fields().len()).collect(),
            },
            predicate,
            partitions,
            metrics: ExecutionPlanMetricsSet::new(),
            properties: Arc::new(properties),
        })
    }

    fn reader(&self, partition: usize, batch_size: usize) -> PartitionReader {
        let columns = self.schema.fields().len() - 2;
        let predicate = self.predicate.clone().filter(|predicate| {
            // A predicate on position columns cannot be evaluated on a file's statistics.
            let columns = datafusion::physical_expr::utils::collect_columns(predicate);
            columns
                .iter()
                .all(|column: &Column| ![FILE_COLUMN, POSITION_COLUMN].contains(&column.name()))
        });
        PartitionReader {
            io: self.io.clone(),
            ids: self.ids.clone(),
            table: Arc::new(Schema::new(self.schema.fields()[..columns].to_vec())),
            output: self.schema(),
            projection: self.projection.clone(),
            predicate,
            batch_size,
            partition,
            metrics: self.metrics.clone(),
        }
    }
}

impl DisplayAs for PositionScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selections = self.partitions.iter().map(Vec::len).sum::<usize>();
        write!(f, "PositionScanExec: selections={selections}")?;
        match &self.predicate {
            Some(predicate) => write!(f, ", predicate={predicate}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for PositionScanExec {
    fn name(&self) -> &'static str {
        "PositionScanExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let reader = Arc::new(self.reader(partition, context.session_config().batch_size()));
        let batches = stream::iter(self.partitions[partition].clone())
            .then(move |selection| {
                let reader = Arc::clone(&reader);
                async move { reader.read(selection).await }
            })
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}

/// Reads the selections of one partition.
struct PartitionReader {
    io: LakeIo,
    ids: ColumnProjection,
    /// The table's columns, without the position columns.
    table: SchemaRef,
    output: SchemaRef,
    /// Indexes into the table's columns, followed by the file column and the position column.
    projection: Vec<usize>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    batch_size: usize,
    partition: usize,
    metrics: ExecutionPlanMetricsSet,
}

/// The source of an output column.
enum OutputColumn {
    FromColumn {
        /// The column's index in the batch as it was read.
        index: usize,
        file_field: Arc<Field>,
        table_field: Arc<Field>,
    },
    Constant(datafusion::common::ScalarValue),
    File,
    Position,
}

impl PartitionReader {
    async fn read(
        self: Arc<Self>,
        selection: RowGroupSelection,
    ) -> Result<impl Stream<Item = Result<RecordBatch>> + use<>> {
        let parquet_error = |source| error::Error::Parquet {
            location: selection.location.to_string(),
            source,
        };
        let footer = self.io.footer(&selection.location, selection.size).await?;
        let plain =
            ArrowReaderMetadata::try_new(Arc::clone(&footer.metadata), ArrowReaderOptions::new())
                .map_err(parquet_error)?;
        let file_schema = Arc::clone(plain.schema());
        let access = self.pruned(&selection, &plain)?;

        let number = position_field().with_extension_type(RowNumber);
        let options = ArrowReaderOptions::new()
            .with_virtual_columns(vec![Arc::new(number)])
            .map_err(parquet_error)?;
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(&footer.metadata), options)
            .map_err(parquet_error)?;

        let (roots, output_columns) = self.output_columns(&file_schema)?;
        let reader = self
            .io
            .parquet_reader(&selection.location, selection.size)?;
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let mut builder = builder
            .with_projection(mask)
            .with_batch_size(self.batch_size)
            .with_row_groups(access.row_group_indexes());
        if let Some(rows) = access.into_overall_row_selection(footer.metadata.row_groups())? {
            builder = builder.with_row_selection(rows);
        }
        let stream = builder.build().map_err(parquet_error)?;
        let location = Arc::clone(&selection.location);
        Ok(stream
            .map_err(DataFusionError::from)
            .map(move |batch| self.output(&batch?, &output_columns, &location)))
    }

    /// Returns the selection's row groups without those whose statistics exclude every row.
    fn pruned(
        &self,
        selection: &RowGroupSelection,
        metadata: &ArrowReaderMetadata,
    ) -> Result<ParquetAccessPlan> {
        let access = selection.access.clone();
        let Some(predicate) = &self.predicate else {
            return Ok(access);
        };
        let file_schema = metadata.schema();
        let adapter = self
            .ids
            .create(Arc::clone(&self.table), Arc::clone(file_schema))?;
        let predicate = adapter.rewrite(Arc::clone(predicate))?;
        // Not every expression can be evaluated on statistics.
        let Ok(predicate) = PruningPredicate::try_new(predicate, Arc::clone(file_schema)) else {
            return Ok(access);
        };
        let metrics = ParquetFileMetrics::new(self.partition, &selection.location, &self.metrics);
        let mut filter = RowGroupAccessPlanFilter::new(access);
        filter.prune_by_statistics(
            file_schema,
            metadata.parquet_schema(),
            metadata.metadata().row_groups(),
            &predicate,
            &metrics,
        );
        Ok(filter.build())
    }

    /// Returns the indexes of the file's columns to read, in order, and the source of each output
    /// column.
    fn output_columns(&self, file_schema: &Schema) -> Result<(Vec<usize>, Vec<OutputColumn>)> {
        let sources = self.ids.resolve(&self.table, file_schema);
        let of_table = || {
            self.projection
                .iter()
                .filter_map(|&i| Some((i, sources.get(i)?)))
        };
        let mut roots: Vec<usize> = of_table()
            .filter_map(|(_, source)| match source {
                ColumnSource::Column { index, .. } => Some(*index),
                ColumnSource::Constant(_) => None,
            })
            .collect();
        roots.sort_unstable();
        roots.dedup();
        let make = |&index: &usize| -> Result<OutputColumn> {
            let Some(source) = sources.get(index) else {
                return Ok(match index - sources.len() {
                    0 => OutputColumn::File,
                    _ => OutputColumn::Position,
                });
            };
            let table_field = Arc::clone(&self.table.fields()[index]);
            Ok(match source {
                ColumnSource::Constant(default) => {
                    OutputColumn::Constant(constant(default.clone(), &table_field)?)
                }
                ColumnSource::Column { index, file_field } => OutputColumn::FromColumn {
                    index: roots.partition_point(|root| root < index),
                    file_field: Arc::clone(file_field),
                    table_field,
                },
            })
        };
        let output_columns = self.projection.iter().map(make).collect::<Result<_>>()?;
        Ok((roots, output_columns))
    }

    fn output(
        &self,
        batch: &RecordBatch,
        output_columns: &[OutputColumn],
        location: &str,
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let array = |column: &OutputColumn| match column {
            OutputColumn::FromColumn {
                index,
                file_field,
                table_field,
            } => self
                .ids
                .convert(batch.column(*index), file_field, table_field),
            OutputColumn::Constant(value) => value.to_array_of_size(rows),
            OutputColumn::File => file_column(location, rows),
            // The row number follows the file's own columns.
            OutputColumn::Position => Ok(Arc::clone(batch.column(batch.num_columns() - 1))),
        };
        let columns = output_columns
            .iter()
            .map(array)
            .collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.output),
            columns,
            &options,
        )?)
    }
}
