//! Cached Parquet footers and small files.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetObjectReader};
use parquet::basic::Type as PhysicalType;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{
    FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader,
    RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::schema::types::ColumnDescPtr;

use super::cache::Footer;
use super::error::{Error, Result};
use super::io::LakeIo;

/// Files up to this size are fetched with one request and cached whole. A lake that is synced often
/// has many of them.
const SMALL_FILE_BYTES: u64 = 256 << 10;

/// The number of bytes that the first request for a larger file reads from its end. Most footers
/// fit.
const FOOTER_GUESS_BYTES: usize = 64 << 10;

impl LakeIo {
    /// Returns the footer of the Parquet file of `size` bytes at `location`.
    pub(super) async fn footer(&self, location: &str, size: u64) -> Result<Arc<Footer>> {
        if let Some(footer) = self.caches().footers.get(location) {
            return Ok(footer);
        }
        let failed = |source| Error::Parquet {
            location: location.to_owned(),
            source,
        };
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        let (metadata, whole) = if size <= SMALL_FILE_BYTES {
            let whole = self.read(location).await?;
            let metadata = reader.parse_and_finish(&whole).map_err(failed)?;
            (metadata, Some(whole))
        } else {
            let (store, key) = self.resolve(location)?;
            let mut object = ParquetObjectReader::new(store, key).with_file_size(size);
            let metadata = reader
                .with_prefetch_hint(Some(FOOTER_GUESS_BYTES))
                .load_and_finish(&mut object, size)
                .await
                .map_err(failed)?;
            (metadata, None)
        };
        let metadata = Arc::new(for_scans(metadata).map_err(failed)?);
        let weight = metadata.memory_size() + whole.as_ref().map_or(0, Bytes::len);
        let footer = Arc::new(Footer { metadata, whole });
        self.caches().footers.insert(location, &footer, weight);
        Ok(footer)
    }

    /// Returns a reader of the Parquet file of `size` bytes at `location`.
    pub(super) fn parquet_reader(&self, location: &str, size: u64) -> Result<LakeFileReader> {
        let (store, key) = self.resolve(location)?;
        Ok(LakeFileReader {
            io: self.clone(),
            store,
            key,
            location: location.to_owned(),
            size,
            footer: None,
        })
    }
}

/// Removes what would mislead a scan from the metadata:
///
/// - The Arrow schema that some writers embed. Without it the Arrow type of a column depends on its
///   Parquet type alone, whoever wrote the file.
/// - The statistics of floating-point columns. They ignore NaN, which SQL treats as the greatest
///   number, so pruning by them would lose rows (`ColumnOrder` in [parquet.thrift]).
///
/// [parquet.thrift]:
/// https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
fn for_scans(metadata: ParquetMetaData) -> ParquetResult<ParquetMetaData> {
    let file = metadata.file_metadata();
    let pairs = file.key_value_metadata().map(|pairs| {
        pairs
            .iter()
            .filter(|pair| pair.key != ARROW_SCHEMA_META_KEY)
            .cloned()
            .collect()
    });
    let stripped = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        pairs,
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    let is_float = |column: &ColumnDescPtr| {
        matches!(
            column.physical_type(),
            PhysicalType::FLOAT | PhysicalType::DOUBLE
        )
    };
    let floats: Vec<bool> = file.schema_descr().columns().iter().map(is_float).collect();
    let without_statistics = |group: &RowGroupMetaData| {
        let columns = group.columns().iter().zip(&floats);
        let columns = columns.map(|(column, is_float)| {
            if *is_float {
                column.clone().into_builder().clear_statistics().build()
            } else {
                Ok(column.clone())
            }
        });
        let columns = columns.collect::<ParquetResult<Vec<_>>>()?;
        group
            .clone()
            .into_builder()
            .set_column_metadata(columns)
            .build()
    };
    let groups = metadata.row_groups().iter().map(without_statistics);
    let groups = groups.collect::<ParquetResult<Vec<_>>>()?;
    let column_index = metadata.column_index().cloned().map(|mut index| {
        for columns in &mut index {
            for (column, _) in columns.iter_mut().zip(&floats).filter(|(_, float)| **float) {
                *column = ColumnIndexMetaData::NONE;
            }
        }
        index
    });
    Ok(ParquetMetaDataBuilder::new(stripped)
        .set_row_groups(groups)
        .set_column_index(column_index)
        .set_offset_index(metadata.offset_index().cloned())
        .build())
}

/// A reader of a Parquet file in a lake. It takes the footer from the cache, and small files whole.
pub(super) struct LakeFileReader {
    io: LakeIo,
    store: Arc<dyn ObjectStore>,
    key: Path,
    location: String,
    size: u64,
    footer: Option<Arc<Footer>>,
}

impl LakeFileReader {
    fn whole(&self) -> Option<&Bytes> {
        self.footer.as_ref()?.whole.as_ref()
    }

    /// Returns ranges of the file, from the cache as far as possible. Queries repeat the same
    /// ranges, those of column chunks and pages, so ranges are cached as requested.
    async fn fetch(&self, ranges: &[Range<u64>]) -> ParquetResult<Vec<Bytes>> {
        let cache = &self.io.caches().ranges;
        if !cache.is_enabled() {
            let bytes = self.store.get_ranges(&self.key, ranges).await;
            return bytes.map_err(|error| self.failed(error));
        }
        let name = |range: &Range<u64>| format!("{}#{}-{}", self.location, range.start, range.end);
        let mut found: Vec<_> = ranges.iter().map(|range| cache.get(&name(range))).collect();
        let (missing, slots): (Vec<_>, Vec<_>) = ranges
            .iter()
            .cloned()
            .zip(&mut found)
            .filter(|(_, slot)| slot.is_none())
            .unzip();
        if !missing.is_empty() {
            let fetched = self.store.get_ranges(&self.key, &missing).await;
            let fetched = fetched.map_err(|error| self.failed(error))?;
            for ((range, slot), bytes) in missing.iter().zip(slots).zip(fetched) {
                // The bytes are copied, because they may be a slice of a much larger response that
                // would stay in memory.
                let kept = Arc::new(Bytes::copy_from_slice(&bytes));
                cache.insert(&name(range), &kept, kept.len());
                *slot = Some(kept);
            }
        }
        Ok(found
            .into_iter()
            .flatten()
            .map(|bytes| Bytes::clone(&bytes))
            .collect())
    }

    fn failed(&self, source: object_store::Error) -> ParquetError {
        ParquetError::External(Box::new(Error::Storage {
            doing: "read",
            location: self.location.clone(),
            source,
        }))
    }
}

impl AsyncFileReader for LakeFileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            if let Some(whole) = self.whole() {
                return slice(whole, &range, &self.location);
            }
            let mut bytes = self.fetch(std::slice::from_ref(&range)).await?;
            Ok(bytes.swap_remove(0))
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            if let Some(whole) = self.whole() {
                return ranges
                    .iter()
                    .map(|range| slice(whole, range, &self.location))
                    .collect();
            }
            self.fetch(&ranges).await
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let footer = self.io.footer(&self.location, self.size).await;
            let footer = footer.map_err(|error| ParquetError::External(Box::new(error)))?;
            let metadata = Arc::clone(&footer.metadata);
            self.footer = Some(footer);
            Ok(metadata)
        }
        .boxed()
    }
}

fn slice(whole: &Bytes, range: &Range<u64>, location: &str) -> ParquetResult<Bytes> {
    let (start, end) = (range.start as usize, range.end as usize);
    if start > end || end > whole.len() {
        return Err(ParquetError::EOF(format!(
            "bytes {start}..{end} of `{location}`, which has {}",
            whole.len()
        )));
    }
    Ok(whole.slice(start..end))
}

/// Provides DataFusion's Parquet scan with the readers of a [`LakeIo`].
///
/// A table's files may be in several buckets, but a scan knows only one object store. So a scan
/// names its files by [`scan_path`]. This factory converts the path back to the location, and the
/// scan's own object store is never used.
#[derive(Debug)]
pub(super) struct LakeReaderFactory {
    pub(super) io: LakeIo,
}

/// Converts a file's location to its path in a scan. The first segment is the scheme, the second
/// the bucket.
pub(super) fn scan_path(location: &str) -> Result<Path> {
    let separator = if location.starts_with("file:///") {
        ":///"
    } else {
        "://"
    };
    let path = location.replacen(separator, "/", 1);
    Path::parse(&path).map_err(|error| Error::Location {
        location: location.to_owned(),
        reason: error.to_string(),
    })
}

fn location_of(path: &Path) -> String {
    let path = path.as_ref();
    match path.strip_prefix("file/") {
        Some(path) => format!("file:///{path}"),
        None => path.replacen('/', "://", 1),
    }
}

impl ParquetFileReaderFactory for LakeReaderFactory {
    fn create_reader(
        &self,
        _partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>, DataFusionError> {
        let location = location_of(&file.object_meta.location);
        let reader = self.io.parquet_reader(&location, file.object_meta.size)?;
        Ok(Box::new(reader))
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn what_was_read_is_kept_where_that_is_asked_for() {
        let store = Arc::new(object_store::memory::InMemory::new());
        let key = Path::from("a");
        store.put(&key, "0123456789".into()).await.unwrap();
        let plain = LakeIo::with_stores([("memory://m", Arc::clone(&store) as _)]);
        let read = |io: &LakeIo| io.parquet_reader("memory://m/a", 10).unwrap();
        let mut kept = read(&plain.caching_data());
        assert_eq!(kept.get_bytes(2..4).await.unwrap(), "23");
        let both = kept.get_byte_ranges(vec![6..9, 2..4]).await.unwrap();
        assert_eq!(both, ["678", "23"]);
        store.delete(&key).await.unwrap();
        let again = kept.get_byte_ranges(vec![2..4, 6..9]).await.unwrap();
        assert_eq!(again, ["23", "678"]);
        assert!(kept.get_bytes(0..1).await.is_err());
        assert!(read(&plain).get_bytes(2..4).await.is_err());
    }

    #[test]
    fn a_scan_path_leads_back_to_its_location() {
        for location in [
            "s3://b/a%20b/c.parquet",
            "memory://m/c.parquet",
            "file:///a/c.parquet",
        ] {
            assert_eq!(location_of(&scan_path(location).unwrap()), location);
        }
    }
}
