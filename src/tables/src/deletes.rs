//! Position deletes: the deleted rows of each data file.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::schema::types::SchemaDescriptor;
use roaring::RoaringTreemap;

use super::cache::PositionDeletes;
use super::error::{Error, Result};
use super::io::LakeIo;

/// The reserved field ids and the names of the columns of a [position delete
/// file](https://iceberg.apache.org/spec/#position-delete-files).
const FILE_PATH: (i32, &str) = (2_147_483_546, "file_path");
const POS: (i32, &str) = (2_147_483_545, "pos");

impl LakeIo {
    /// Reads a position delete file.
    pub(super) async fn position_deletes(&self, location: &str) -> Result<Arc<PositionDeletes>> {
        if let Some(deletes) = self.caches().deletes.get(location) {
            return Ok(deletes);
        }
        let size = self.size(location).await?;
        // This loads the footer through the cache first, because the error of the cache names the
        // file.
        self.footer(location, size).await?;
        let reader = self.parquet_reader(location, size)?;
        let deletes = read(reader, location).await?;
        let deletes = Arc::new(deletes);
        let weight = deletes
            .iter()
            .map(|(path, rows)| path.len() + rows.serialized_size())
            .sum();
        self.caches().deletes.insert(location, &deletes, weight);
        Ok(deletes)
    }
}

async fn read(reader: super::footer::LakeFileReader, location: &str) -> Result<PositionDeletes> {
    let failed = |source: ParquetError| Error::Parquet {
        location: location.to_owned(),
        source,
    };
    let builder = ParquetRecordBatchStreamBuilder::new(reader)
        .await
        .map_err(failed)?;
    let schema = builder.parquet_schema();
    let columns = [
        column(schema, FILE_PATH, location)?,
        column(schema, POS, location)?,
    ];
    let mask = ProjectionMask::roots(schema, columns);
    let path_is_first = columns[0] < columns[1];
    let mut stream = builder.with_projection(mask).build().map_err(failed)?;
    let mut deletes = PositionDeletes::new();
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        let (paths, positions) = if path_is_first {
            (batch.column(0), batch.column(1))
        } else {
            (batch.column(1), batch.column(0))
        };
        let wrong = |reason: String| Error::Schema {
            location: location.to_owned(),
            reason,
        };
        let paths = cast(paths, &DataType::Utf8).map_err(|error| wrong(error.to_string()))?;
        let positions =
            cast(positions, &DataType::Int64).map_err(|error| wrong(error.to_string()))?;
        if paths.null_count() + positions.null_count() > 0 {
            return Err(wrong("a position delete has a NULL".to_owned()));
        }
        let paths = paths.as_string::<i32>();
        let positions = positions.as_primitive::<Int64Type>();
        add(&mut deletes, paths.iter().flatten(), positions.values())
            .map_err(|position| wrong(format!("the position {position} is negative")))?;
    }
    Ok(deletes)
}

/// Adds deletes. Delete files are sorted by path, so consecutive rows usually have the same path.
/// Each run of equal paths needs one look-up.
fn add<'a>(
    deletes: &mut PositionDeletes,
    paths: impl Iterator<Item = &'a str>,
    positions: &[i64],
) -> Result<(), i64> {
    let mut rows = paths.zip(positions).peekable();
    while let Some(&(path, _)) = rows.peek() {
        if !deletes.contains_key(path) {
            deletes.insert(path.to_owned(), RoaringTreemap::new());
        }
        let Some(deleted) = deletes.get_mut(path) else {
            break;
        };
        while let Some((_, &position)) = rows.next_if(|(next, _)| *next == path) {
            deleted.insert(u64::try_from(position).map_err(|_| position)?);
        }
    }
    Ok(())
}

/// Returns the index of the top-level column with a reserved field id, or else with its name.
fn column(schema: &SchemaDescriptor, (id, name): (i32, &str), location: &str) -> Result<usize> {
    let fields = schema.root_schema().get_fields();
    let by_id = fields.iter().position(|field| {
        let info = field.get_basic_info();
        info.has_id() && info.id() == id
    });
    by_id
        .or_else(|| fields.iter().position(|field| field.name() == name))
        .ok_or_else(|| Error::Schema {
            location: location.to_owned(),
            reason: format!("a position delete file has no column \"{name}\""),
        })
}

/// Returns the rows to read of a file in which the rows at `deleted` are deleted.
pub(super) fn access_plan(
    deleted: &RoaringTreemap,
    row_groups: &[RowGroupMetaData],
) -> ParquetAccessPlan {
    let mut first = 0;
    let groups = row_groups.iter().map(|group| {
        let rows = group.num_rows() as u64;
        let access = group_access(deleted, first, rows);
        first += rows;
        access
    });
    ParquetAccessPlan::new(groups.collect())
}

/// Returns the rows to read of a row group that has `rows` rows, the first at the position `first`.
fn group_access(deleted: &RoaringTreemap, first: u64, rows: u64) -> RowGroupAccess {
    let end = first + rows;
    let mut selectors: Vec<RowSelector> = Vec::new();
    let mut next = first;
    let mut iter = deleted.iter();
    iter.advance_to(first);
    for position in iter.take_while(|position| *position < end) {
        if position > next {
            selectors.push(RowSelector::select((position - next) as usize));
        }
        match selectors.last_mut() {
            Some(last) if last.skip => last.row_count += 1,
            _ => selectors.push(RowSelector::skip(1)),
        }
        next = position + 1;
    }
    if next < end {
        selectors.push(RowSelector::select((end - next) as usize));
    }
    match selectors.as_slice() {
        [] => RowGroupAccess::Scan,
        [only] if only.skip => RowGroupAccess::Skip,
        [_] => RowGroupAccess::Scan,
        _ => RowGroupAccess::Selection(RowSelection::from(selectors)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(deleted: &[u64], first: u64, rows: u64) -> RowGroupAccess {
        group_access(&deleted.iter().copied().collect(), first, rows)
    }

    #[test]
    fn only_the_deleted_rows_of_a_group_are_skipped() {
        let expected = RowSelection::from(vec![
            RowSelector::select(2),
            RowSelector::skip(2),
            RowSelector::select(5),
            RowSelector::skip(1),
        ]);
        assert_eq!(
            access(&[9, 12, 13, 19, 20], 10, 10),
            RowGroupAccess::Selection(expected)
        );
    }

    #[test]
    fn a_group_is_read_whole_or_not_at_all_where_it_can_be() {
        assert_eq!(access(&[0, 30], 10, 20), RowGroupAccess::Scan);
        assert_eq!(access(&[9, 10, 11, 12], 10, 2), RowGroupAccess::Skip);
    }
}
