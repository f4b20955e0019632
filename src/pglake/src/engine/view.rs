//! Tables as a statement sees them: a committed version, with the uncommitted changes of the
//! transaction.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::catalog::Catalog;
use super::error::{Error, Result};
use crate::columns::{Column, ColumnKind};
use icebox_tables::commit::TableVersion;
use icebox_tables::{LakeIo, LakeTable, LakeTableProvider};

/// A column of a table: its name, which is the same in PostgreSQL and in Iceberg, and its type.
#[derive(Clone, Debug)]
pub(super) struct BoundColumn {
    pub name: String,
    /// The PostgreSQL type, as `format_type` prints it.
    pub type_name: String,
    pub kind: ColumnKind,
}

impl BoundColumn {
    pub(super) fn bind(columns: &[Column]) -> Result<Arc<Vec<Self>>> {
        let bind = |column: &Column| {
            let kind = column
                .kind()
                .map_err(|error| Error::from(crate::columns::FieldError::from(error)))?;
            Ok(Self {
                name: column.name.clone(),
                type_name: column.type_name.clone(),
                kind,
            })
        };
        columns
            .iter()
            .map(bind)
            .collect::<Result<_>>()
            .map(Arc::new)
    }
}

/// A table as a query scans it.
#[derive(Clone)]
pub(super) struct TableView {
    pub provider: LakeTableProvider,
    pub columns: Arc<Vec<BoundColumn>>,
}

/// A committed version, with the table and columns that scans and commits need.
pub(super) struct Loaded {
    pub version: TableVersion,
    pub table: Arc<LakeTable>,
    pub columns: Arc<Vec<BoundColumn>>,
}

impl Loaded {
    pub(super) async fn new(
        io: &LakeIo,
        version: TableVersion,
        columns: Arc<Vec<BoundColumn>>,
    ) -> Result<Self> {
        let metadata = version.metadata.clone();
        let table = Arc::new(LakeTable::from_metadata(io, &version.location, metadata).await?);
        Ok(Self {
            version,
            table,
            columns,
        })
    }
}

/// The most recently used version of each table of a database. Metadata files are immutable, so a
/// cached version is valid for its location.
#[derive(Default)]
pub(super) struct Versions {
    by_table: Mutex<HashMap<u32, Arc<Loaded>>>,
}

impl Versions {
    /// Returns the version at `location`, from memory or from the object store.
    pub(super) async fn load(
        &self,
        io: &LakeIo,
        catalog: &Catalog,
        table: u32,
        location: &str,
    ) -> Result<Arc<Loaded>> {
        if let Some(loaded) = self
            .by_table
            .lock()
            .await
            .get(&table)
            .filter(|loaded| loaded.version.location == location)
        {
            return Ok(loaded.clone());
        }
        let version = TableVersion::load(&io.file_io(), location).await?;
        let columns = BoundColumn::bind(&catalog.columns(table).await?)?;
        let loaded = Arc::new(Loaded::new(io, version, columns).await?);
        self.put(table, loaded.clone()).await;
        Ok(loaded)
    }

    /// Caches a version that was just written, because the next statement usually needs it.
    pub(super) async fn put(&self, table: u32, loaded: Arc<Loaded>) {
        self.by_table.lock().await.insert(table, loaded);
    }
}
