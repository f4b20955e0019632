//! The sandbox that experiments share. It has the guide's tables, and large tables that are created
//! when they are needed.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::Error;
use super::sandbox::ThrowAwaySandboxes;
use icebox_postgres::connect;
use icebox_sandbox::{SandboxInfo, StateDir};

const NAME: &str = "shared";

/// The scenario's SQL files that create the guide's tables and seed rows.
const GUIDE: [(&str, &str); 4] = [
    (
        "setting up pg_lake",
        include_str!("../../../scenarios/retail-lakehouse/postgres/01-enable-pg_lake.sql"),
    ),
    (
        "making heap tables",
        include_str!("../../../scenarios/retail-lakehouse/postgres/02-heap-tables.sql"),
    ),
    (
        "seeding heap tables",
        include_str!("../../../scenarios/retail-lakehouse/postgres/03-seed.sql"),
    ),
    (
        "making Iceberg tables",
        include_str!("../../../scenarios/retail-lakehouse/postgres/04-iceberg-tables.sql"),
    ),
];

pub(super) struct SharedSandbox<'a> {
    sandboxes: &'a ThrowAwaySandboxes,
    info: SandboxInfo,
    /// A connection as `snowflake_admin`.
    pub(super) client: Client,
    /// The number of rows of the large tables.
    pub(super) rows: u64,
    progress: &'a (dyn Fn(&str) + Sync),
    has_heap: bool,
}

/// The access method of a table.
#[derive(Clone, Copy)]
pub(super) enum AccessMethod {
    Heap,
    Iceberg,
}

impl AccessMethod {
    fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Iceberg => "iceberg",
        }
    }
}

impl<'a> SharedSandbox<'a> {
    pub(super) async fn open(
        sandboxes: &'a ThrowAwaySandboxes,
        rows: u64,
        progress: &'a (dyn Fn(&str) + Sync),
    ) -> Result<SharedSandbox<'a>, Error> {
        progress("starting a sandbox with the guide's tables");
        sandboxes.up(NAME, NAME, &[]).await?;
        let info = sandboxes.info(NAME)?;
        let client = connect(&info.postgres).await?;
        for (doing, sql) in GUIDE {
            let sql = sql
                .replace("${database}", &info.postgres.dbname)
                .replace("${bucket}", &info.bucket);
            client
                .batch_execute(&sql)
                .await
                .map_err(Error::statement(doing))?;
        }
        Ok(SharedSandbox {
            sandboxes,
            info,
            client,
            rows,
            progress,
            has_heap: false,
        })
    }

    pub(super) fn info(&self) -> &SandboxInfo {
        &self.info
    }

    pub(super) fn state(&self) -> Result<StateDir, Error> {
        self.sandboxes.state(NAME)
    }

    /// Returns a folder for files that are removed with the sandbox.
    pub(super) fn directory(&self) -> &std::path::Path {
        self.sandboxes.directory()
    }

    pub(super) fn say(&self, what: &str) {
        (self.progress)(what);
    }

    /// Runs statements that are not timed.
    pub(super) async fn prepare(&self, sql: &str) -> Result<(), Error> {
        let result = self.client.batch_execute(sql).await;
        result.map_err(Error::statement(format!("preparing: {sql}")))
    }

    /// Runs one statement, and returns how long it took.
    pub(super) async fn time(&self, sql: &str) -> Result<Duration, Error> {
        let begun = Instant::now();
        let result = self.client.batch_execute(sql).await;
        result.map_err(Error::statement(format!("measuring: {sql}")))?;
        Ok(begun.elapsed())
    }

    /// Creates the large heap tables if they do not exist. Their names are `heap_` and the guide's
    /// name.
    pub(super) async fn heap(&mut self) -> Result<(), Error> {
        if self.has_heap {
            return Ok(());
        }
        self.say(&format!("filling heap tables with {} rows", self.rows));
        let sql = include_str!("sql/heap.sql").replace("${rows}", &self.rows.to_string());
        self.prepare(&sql).await?;
        self.has_heap = true;
        for table in ["stores", "products", "transactions", "transaction_items"] {
            self.prepare(&format!("VACUUM ANALYZE heap_{table}"))
                .await?;
        }
        Ok(())
    }

    /// Creates an empty table with the columns of `transaction_items`.
    pub(super) async fn make_items(&self, table: &str, method: AccessMethod) -> Result<(), Error> {
        self.make(include_str!("sql/items.sql"), table, method)
            .await
    }

    /// Creates an empty table with the columns of `transactions`.
    pub(super) async fn make_transactions(
        &self,
        table: &str,
        method: AccessMethod,
    ) -> Result<(), Error> {
        self.make(include_str!("sql/transactions.sql"), table, method)
            .await
    }

    async fn make(&self, template: &str, table: &str, method: AccessMethod) -> Result<(), Error> {
        let sql = template
            .replace("${table}", table)
            .replace("${method}", method.name());
        self.prepare(&sql).await
    }

    /// Fills a new table with all items, and returns how long the INSERT … SELECT took.
    /// [`heap`](Self::heap) must be called first.
    pub(super) async fn bulk(&self, table: &str, method: AccessMethod) -> Result<Duration, Error> {
        self.make_items(table, method).await?;
        // Writing out what earlier work left behind must not be measured.
        self.prepare("CHECKPOINT").await?;
        self.time(&format!(
            "INSERT INTO {table} SELECT item_id, txn_id, product_id, quantity, unit_price, line_total, synced_at \
             FROM heap_transaction_items"
        ))
        .await
    }

    /// Returns whether a table of this name exists.
    pub(super) async fn has_table(&self, table: &str) -> Result<bool, Error> {
        let found = self
            .client
            .query_one("SELECT to_regclass($1) IS NOT NULL", &[&table])
            .await
            .and_then(|row| row.try_get(0));
        found.map_err(Error::statement("looking for a table"))
    }
}
