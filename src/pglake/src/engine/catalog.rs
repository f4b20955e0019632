//! The engine's queries to PostgreSQL: where the tables of a database are, and the state of the
//! backends.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};

use super::error::{Error, Result};
use crate::columns::Column;

/// The settings of the engine's own connections to PostgreSQL.
#[derive(Clone, Debug)]
pub struct LocalPostgres(pub tokio_postgres::Config);

impl LocalPostgres {
    /// Opens a connection with the session settings that `postgres_fdw` uses for its remote
    /// sessions.
    pub async fn connect(&self, database: &str) -> Result<Client> {
        let (client, connection) = self
            .0
            .clone()
            .dbname(database)
            .application_name("icebox lake engine")
            .connect(NoTls)
            .await?;
        tokio::spawn(connection);
        client
            .batch_execute(
                "SET search_path = pg_catalog; SET timezone = 'GMT'; SET datestyle = ISO;
                 SET intervalstyle = postgres; SET extra_float_digits = 3",
            )
            .await?;
        Ok(client)
    }
}

/// The catalog as a local statement sees it.
#[derive(Debug)]
pub struct CatalogSnapshot {
    /// The metadata location of each table, by OID.
    pub locations: HashMap<u32, String>,
    /// `backend_xmin` of the backend: the oldest transaction that its snapshot takes as running.
    pub oldest_running: Option<String>,
    /// Whether that transaction has ended.
    pub has_oldest_ended: bool,
}

/// A committed table with its metadata file, as the catalog in the object store lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableEntry {
    pub metadata_location: String,
    pub table_name: String,
    pub namespace: String,
}

/// A metadata location to record for a table.
#[derive(Debug)]
pub struct PendingLocation {
    pub table: u32,
    pub base_location: String,
    pub metadata_location: String,
    /// Whether the table is new. Then locations recorded under its OID belong to an older table,
    /// and are discarded.
    pub is_created: bool,
}

/// The catalog of one database.
pub struct Catalog {
    postgres: LocalPostgres,
    database: String,
    client: Mutex<Option<Arc<Client>>>,
    /// Idle connections for queries that PostgreSQL evaluates.
    idle: Mutex<Vec<Client>>,
}

/// The number of idle connections that are kept for the next queries that PostgreSQL evaluates.
const IDLE_CONNECTIONS: usize = 4;

impl Catalog {
    pub fn new(postgres: LocalPostgres, database: &str) -> Self {
        Self {
            postgres,
            database: database.to_owned(),
            client: Mutex::default(),
            idle: Mutex::default(),
        }
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    /// Returns the committed tables with their metadata files; none where the extension is not
    /// installed.
    pub async fn tables(&self) -> Result<Vec<TableEntry>> {
        let client = self.client().await?;
        let view = "SELECT to_regclass('pg_catalog.iceberg_tables') IS NOT NULL";
        if !client.query_one(view, &[]).await?.get::<_, bool>(0) {
            return Ok(Vec::new());
        }
        let sql = "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables";
        let rows = client.query_typed(sql, &[]).await?;
        let entry = |row: &tokio_postgres::Row| TableEntry {
            namespace: row.get(0),
            table_name: row.get(1),
            metadata_location: row.get(2),
        };
        Ok(rows.iter().map(entry).collect())
    }

    async fn connect(&self) -> Result<Client> {
        self.postgres.connect(&self.database).await
    }

    /// Returns a connection to the same database for the caller alone, without temporary objects.
    pub async fn take_connection(&self) -> Result<Client> {
        loop {
            let Some(client) = self.idle.lock().await.pop() else {
                return self.connect().await;
            };
            if !client.is_closed() {
                return Ok(client);
            }
        }
    }

    /// Returns a connection for reuse. The remaining rows of a query that still runs on it are
    /// discarded. The connection is closed if it cannot drop its temporary objects.
    pub async fn give_back(&self, client: Client) {
        if client.batch_execute("DISCARD TEMP").await.is_ok() {
            let mut idle = self.idle.lock().await;
            if idle.len() < IDLE_CONNECTIONS {
                idle.push(client);
            }
        }
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let client = Arc::new(self.connect().await?);
        *slot = Some(client.clone());
        Ok(client)
    }

    /// Closes the connections that are not in use.
    pub async fn disconnect(&self) {
        *self.client.lock().await = None;
        self.idle.lock().await.clear();
    }

    /// Returns the currently committed locations, and the state of the calling backend.
    pub async fn snapshot(&self, backend: Option<i32>) -> Result<CatalogSnapshot> {
        let client = self.client().await?;
        let rows = client
            .query_typed(
                "SELECT l.table_oid, l.metadata_location, a.backend_xmin::text,
                        coalesce(pg_visible_in_snapshot(lake_engine.full_xid(a.backend_xmin), pg_current_snapshot()), false)
                 FROM (SELECT 1) one
                 LEFT JOIN lake_engine.current_locations() l ON l.metadata_location IS NOT NULL
                 LEFT JOIN pg_stat_get_activity($1) a ON true",
                &[(&backend.unwrap_or(0), tokio_postgres::types::Type::INT4)],
            )
            .await?;
        let (oldest_running, has_oldest_ended) = rows
            .first()
            .map_or((None, false), |row| (row.get(2), row.get(3)));
        let locations = rows
            .iter()
            .filter_map(|row| {
                Some((
                    row.get::<_, Option<u32>>(0)?,
                    row.get::<_, Option<String>>(1)?,
                ))
            })
            .collect();
        Ok(CatalogSnapshot {
            locations,
            oldest_running,
            has_oldest_ended,
        })
    }

    /// Returns the committed columns of a table.
    pub async fn columns(&self, table: u32) -> Result<Vec<Column>> {
        let client = self.client().await?;
        let rows = client
            .query_typed(
                "SELECT lake_engine.columns_of($1)",
                &[(&table, tokio_postgres::types::Type::OID)],
            )
            .await?;
        let json: serde_json::Value = rows.first().map(|row| row.get(0)).unwrap_or_default();
        serde_json::from_value(json)
            .map_err(|error| Error::internal(format!("columns of table {table}: {error}")))
    }

    /// Returns the committed name of a table.
    pub async fn relation_name(&self, table: u32) -> Result<String> {
        let client = self.client().await?;
        let row = client
            .query_one(
                "SELECT relname::text FROM pg_class WHERE oid = $1",
                &[&table],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Records the locations that become valid when the backend's transaction has committed.
    ///
    /// # Errors
    /// The backend has no transaction id.
    pub async fn record(&self, backend: i32, locations: &[PendingLocation]) -> Result<()> {
        let client = self.client().await?;
        let tables: Vec<u32> = locations.iter().map(|location| location.table).collect();
        let bases: Vec<&str> = locations
            .iter()
            .map(|location| location.base_location.as_str())
            .collect();
        let files: Vec<&str> = locations
            .iter()
            .map(|location| location.metadata_location.as_str())
            .collect();
        let created: Vec<bool> = locations
            .iter()
            .map(|location| location.is_created)
            .collect();
        let recorded = client
            .execute(
                "WITH xid AS (
                   SELECT lake_engine.full_xid(backend_xid) AS xid
                   FROM pg_stat_get_activity($1) WHERE backend_xid IS NOT NULL)
                 INSERT INTO lake_engine.locations AS l
                   (table_oid, base_location, pending_metadata_location, pending_xid)
                 SELECT n.table_oid, n.base, n.file, xid
                 FROM xid, unnest($2::oid[], $3::text[], $4::text[]) n(table_oid, base, file)
                 ON CONFLICT (table_oid) DO UPDATE SET
                   (metadata_location, previous_metadata_location) = (
                     SELECT CASE WHEN fresh THEN NULL WHEN landed THEN l.pending_metadata_location
                                 ELSE l.metadata_location END,
                            CASE WHEN fresh THEN NULL WHEN landed THEN l.metadata_location
                                 ELSE l.previous_metadata_location END
                     FROM (SELECT coalesce(pg_xact_status(l.pending_xid) = 'committed', false) AS landed,
                                  ($5::bool[])[array_position($2::oid[], l.table_oid)] AS fresh) state),
                   base_location = excluded.base_location,
                   pending_metadata_location = excluded.pending_metadata_location,
                   pending_xid = excluded.pending_xid",
                &[&backend, &tables, &bases, &files, &created],
            )
            .await?;
        if recorded != locations.len() as u64 {
            return Err(Error::internal(format!(
                "backend {backend} has no transaction id, so its changes to Iceberg tables cannot be recorded"
            )));
        }
        Ok(())
    }
}
