//! A remote transaction: its snapshot, its uncommitted changes, its savepoints and its commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use datafusion::prelude::SessionContext;
use parking_lot::Mutex;

use super::catalog::{CatalogSnapshot, PendingLocation};
use super::changes::{Changes, RowBuffer};
use super::error::{Error, Result};
use super::fetch::{self, RowsOfFile};
use super::options::Options;
use super::rowid::{FileNumbers, RowId};
use super::view::{Loaded, TableView};
use super::{Database, commit};
use icebox_tables::{BATCHES_LOCATION, LakeIo, LakeTableProvider, TableChanges};

/// The number of rows that are collected before they become a batch.
const BATCH_ROWS: usize = 32_768;

/// A table that the transaction writes.
struct WrittenTable {
    changes: Changes,
    buffer: Option<RowBuffer>,
    updates: Option<RowUpdates>,
}

/// New values of rows, collected so that all of the rows are rewritten at once.
struct RowUpdates {
    rows: Vec<RowId>,
    values: RowBuffer,
}

pub(super) struct Transaction {
    database: Arc<Database>,
    io: LakeIo,
    pub(super) context: SessionContext,
    options: Arc<Options>,
    /// The process id of the PostgreSQL backend that this transaction belongs to.
    backend: Option<i32>,
    /// The catalog as the local statement sees it.
    snapshot: Option<CatalogSnapshot>,
    pub(super) is_serializable: bool,
    tables: BTreeMap<u32, WrittenTable>,
    savepoints: Vec<(String, BTreeMap<u32, Changes>)>,
    pub(super) files: Arc<Mutex<FileNumbers>>,
}

/// The rows that a flush has rewritten, with their new values.
pub(super) struct UpdatedRows {
    pub batch: RecordBatch,
    /// For every row of the batch, the index of the update that changed it.
    pub updates: Vec<usize>,
}

impl Transaction {
    pub(super) fn begin(
        database: Arc<Database>,
        io: LakeIo,
        context: SessionContext,
        options: Arc<Options>,
        backend: Option<i32>,
    ) -> Self {
        Self {
            database,
            io,
            context,
            options,
            backend,
            snapshot: None,
            is_serializable: false,
            tables: BTreeMap::new(),
            savepoints: Vec::new(),
            files: Arc::default(),
        }
    }

    /// Returns the catalog as the local statement sees it.
    ///
    /// REPEATABLE READ and SERIALIZABLE transactions keep their first snapshot. READ COMMITTED
    /// transactions take a new one for every statement. The remote protocol marks only
    /// SERIALIZABLE. PostgreSQL's snapshot is certainly an old one when the oldest transaction that
    /// it takes as running has ended. While that transaction still runs, the snapshot may be old or
    /// new, and counts as new: READ COMMITTED is the usual level. As a result, a REPEATABLE READ
    /// transaction sees newer Iceberg rows only beside a writer that is still running.
    async fn refresh_snapshot(&mut self) -> Result<&CatalogSnapshot> {
        let fresh = self.database.catalog.snapshot(self.backend).await?;
        let keep = match &self.snapshot {
            Some(held) => {
                self.is_serializable
                    || (fresh.has_oldest_ended && held.oldest_running == fresh.oldest_running)
            }
            None => false,
        };
        match &mut self.snapshot {
            Some(held) if keep => {
                for (table, location) in fresh.locations {
                    held.locations.entry(table).or_insert(location);
                }
            }
            slot => *slot = Some(fresh),
        }
        self.snapshot
            .as_ref()
            .ok_or_else(|| Error::internal("the transaction has no snapshot of the catalog"))
    }

    /// Returns the tables as a scan sees them, by OID.
    pub(super) async fn views(
        &mut self,
        tables: impl IntoIterator<Item = u32>,
    ) -> Result<HashMap<u32, TableView>> {
        let mut views = HashMap::new();
        let mut is_fresh = false;
        for table in tables {
            if self.tables.contains_key(&table) {
                self.flush(table).await?;
                views.insert(table, self.tables[&table].changes.view().await?);
                continue;
            }
            if !is_fresh {
                self.refresh_snapshot().await?;
                is_fresh = true;
            }
            let loaded = self.committed(table).await?;
            let provider = LakeTableProvider::new(loaded.table.clone());
            views.insert(
                table,
                TableView {
                    provider,
                    columns: loaded.columns.clone(),
                },
            );
        }
        Ok(views)
    }

    async fn committed(&self, table: u32) -> Result<Arc<Loaded>> {
        let location = self
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.locations.get(&table))
            .ok_or_else(|| {
                Error::new(
                    "42P01",
                    format!("there is no committed Iceberg table with OID {table}"),
                )
            })?;
        self.database
            .versions
            .load(&self.io, &self.database.catalog, table, location)
            .await
    }

    /// Returns the changes of a table. New ones are based on the currently committed version,
    /// because this transaction is the table's only writer.
    async fn table_for_write(&mut self, table: u32) -> Result<&mut WrittenTable> {
        if !self.tables.contains_key(&table) {
            self.snapshot = Some(self.database.catalog.snapshot(self.backend).await?);
            let loaded = self.committed(table).await?;
            self.tables
                .insert(table, WrittenTable::new(Changes::new(&loaded)));
        }
        self.tables
            .get_mut(&table)
            .ok_or_else(|| not_written(table))
    }

    pub(super) async fn flushed_changes(&mut self, table: u32) -> Result<&mut Changes> {
        self.table_for_write(table).await?;
        self.flush(table).await?;
        Ok(&mut self.table_for_write(table).await?.changes)
    }

    pub(super) fn create(&mut self, table: u32, changes: Changes) {
        self.tables.insert(table, WrittenTable::new(changes));
    }

    /// Inserts rows. `values` has the values of all rows, in the order of `columns` within each
    /// row.
    pub(super) async fn insert<'a>(
        &mut self,
        table: u32,
        columns: &[String],
        rows: usize,
        values: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<()> {
        let files = self.files.clone();
        let spill_rows = self.options.spill_rows;
        let written = self.table_for_write(table).await?;
        let order = written.changes.column_indexes(columns)?;
        if written
            .buffer
            .as_ref()
            .is_some_and(|buffer| buffer.order != order)
        {
            written.flush_buffer()?;
        }
        let changes = &mut written.changes;
        let buffer = written
            .buffer
            .get_or_insert_with(|| RowBuffer::new(changes, order));
        if columns.is_empty() {
            let batch = buffer.finish(rows)?;
            changes.table.insert(batch);
            return Ok(());
        }
        buffer.append(values)?;
        if buffer.rows() >= BATCH_ROWS {
            written.flush_buffer()?;
            // A cursor that has returned a row in memory refers to it by its position there, so the
            // rows must stay in memory.
            let is_named = files.lock().has(BATCHES_LOCATION);
            if written.changes.table.can_spill(spill_rows) && !is_named {
                written.changes.table.spill().await?;
            }
        }
        Ok(())
    }

    /// Collects an update of one row.
    pub(super) async fn update(
        &mut self,
        table: u32,
        columns: &[String],
        row: RowId,
        values: impl Iterator<Item = Option<&[u8]>>,
    ) -> Result<()> {
        let written = self.table_for_write(table).await?;
        let order = written.changes.column_indexes(columns)?;
        if written
            .updates
            .as_ref()
            .is_some_and(|updates| updates.values.order != order)
        {
            self.flush(table).await?;
        }
        let written = self.table_for_write(table).await?;
        let changes = &written.changes;
        let updates = written.updates.get_or_insert_with(|| RowUpdates {
            rows: Vec::new(),
            values: RowBuffer::new(changes, order),
        });
        updates.values.append(values)?;
        updates.rows.push(row);
        Ok(())
    }

    /// Deletes a row. Returns false when it is already deleted.
    pub(super) async fn delete(&mut self, table: u32, row: RowId) -> Result<bool> {
        let location = fetch::location(&self.files, row.file)?;
        let written = self.table_for_write(table).await?;
        Ok(written.changes.table.delete(&location, row.position))
    }

    /// Returns the changes of a table that the transaction already writes.
    fn existing_changes(&self, table: u32) -> Result<&TableChanges> {
        let written = self.tables.get(&table);
        written
            .map(|written| &written.changes.table)
            .ok_or_else(|| not_written(table))
    }

    /// Returns the current values of one row, even if it is deleted.
    pub(super) async fn row(&mut self, table: u32, row: RowId) -> Result<RecordBatch> {
        self.flushed_changes(table).await?;
        let changes = self.existing_changes(table)?;
        let found = fetch::rows(&self.context, changes, &self.files, &[row]).await?;
        found
            .into_iter()
            .next()
            .map(|rows| rows.batch)
            .ok_or_else(|| Error::internal("the row does not exist"))
    }

    /// Makes a batch of the collected rows, and rewrites the updated rows.
    pub(super) async fn flush(&mut self, table: u32) -> Result<Option<UpdatedRows>> {
        let Some(written) = self.tables.get_mut(&table) else {
            return Ok(None);
        };
        written.flush_buffer()?;
        let Some(mut updates) = written.updates.take() else {
            return Ok(None);
        };
        let values = updates.values.finish_values();
        let current = fetch::rows(
            &self.context,
            self.existing_changes(table)?,
            &self.files,
            &updates.rows,
        )
        .await?;
        let Some(written) = self.tables.get_mut(&table) else {
            return Ok(None);
        };
        let mut changed = Vec::new();
        let mut sources = Vec::new();
        for RowsOfFile {
            location,
            batch,
            positions,
            request_indexes,
        } in current
        {
            let mut keep = Vec::new();
            let mut from = Vec::new();
            for (row, (position, update)) in positions.iter().zip(&request_indexes).enumerate() {
                // If two updates name the same row, only the first changes it, as in PostgreSQL.
                if written.changes.table.delete(&location, *position) {
                    keep.push(row as u32);
                    from.push(*update as u32);
                }
            }
            let keep = UInt32Array::from(keep);
            let update = UInt32Array::from(from.clone());
            let arrays = batch
                .columns()
                .iter()
                .enumerate()
                .map(|(index, old)| {
                    match updates
                        .values
                        .order
                        .iter()
                        .position(|column| *column == index)
                    {
                        Some(new) => take(&values[new], &update, None),
                        None => take(old, &keep, None),
                    }
                })
                .collect::<Result<Vec<ArrayRef>, _>>()?;
            changed.push(RecordBatch::try_new(
                written.changes.table.arrow_schema().clone(),
                arrays,
            )?);
            sources.extend(from.into_iter().map(|index| index as usize));
        }
        let batch = arrow::compute::concat_batches(written.changes.table.arrow_schema(), &changed)?;
        written.changes.table.insert(batch.clone());
        Ok(Some(UpdatedRows {
            batch,
            updates: sources,
        }))
    }

    pub(super) async fn savepoint(&mut self, name: &str) -> Result<()> {
        self.flush_all().await?;
        let tables = self
            .tables
            .iter()
            .map(|(table, written)| (*table, written.changes.clone()))
            .collect();
        self.savepoints.push((name.to_owned(), tables));
        Ok(())
    }

    pub(super) async fn release(&mut self, name: &str) -> Result<()> {
        let index = self.savepoint_index(name)?;
        self.savepoints.truncate(index);
        Ok(())
    }

    /// Restores the state at the savepoint, which remains.
    pub(super) fn rollback_to(&mut self, name: &str) -> Result<()> {
        let index = self.savepoint_index(name)?;
        self.savepoints.truncate(index + 1);
        let state = self.savepoints[index].1.clone();
        self.tables = state
            .into_iter()
            .map(|(table, changes)| (table, WrittenTable::new(changes)))
            .collect();
        Ok(())
    }

    fn savepoint_index(&self, name: &str) -> Result<usize> {
        self.savepoints
            .iter()
            .rposition(|(savepoint, _)| savepoint == name)
            .ok_or_else(|| Error::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    async fn flush_all(&mut self) -> Result<()> {
        let tables: Vec<u32> = self.tables.keys().copied().collect();
        for table in tables {
            self.flush(table).await?;
        }
        Ok(())
    }

    /// Writes the new versions of all changed tables, and records them under the backend's
    /// transaction.
    pub(super) async fn commit(mut self) -> Result<()> {
        self.flush_all().await?;
        let mut written = Vec::new();
        for (table, WrittenTable { changes, .. }) in self.tables {
            if !changes.table.is_empty() {
                written.push((
                    table,
                    commit::write(&self.io, self.options.copy_on_write_threshold, changes).await?,
                ));
            }
        }
        if written.is_empty() {
            return Ok(());
        }
        let backend = self.backend.ok_or_else(|| {
            Error::internal("only a connection of postgres_fdw may write Iceberg tables")
        })?;
        let locations: Vec<PendingLocation> = written
            .iter()
            .map(|(table, written)| PendingLocation {
                table: *table,
                base_location: written.loaded.version.metadata.location().to_owned(),
                metadata_location: written.loaded.version.location.clone(),
                is_created: written.is_created,
            })
            .collect();
        self.database.catalog.record(backend, &locations).await?;
        for (table, written) in written {
            self.database
                .versions
                .put(table, Arc::new(written.loaded))
                .await;
        }
        Ok(())
    }
}

impl WrittenTable {
    fn new(changes: Changes) -> Self {
        Self {
            changes,
            buffer: None,
            updates: None,
        }
    }

    fn flush_buffer(&mut self) -> Result<()> {
        if let Some(mut buffer) = self.buffer.take() {
            let rows = buffer.rows();
            if rows > 0 {
                self.changes.table.insert(buffer.finish(rows)?);
            }
        }
        Ok(())
    }
}

fn not_written(table: u32) -> Error {
    Error::internal(format!("the transaction does not write table {table}"))
}
