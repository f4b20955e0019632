//! The catalog in the object store, for engines that do not query PostgreSQL.
//! `<prefix>/frompg/catalog/<database>/catalog.json` lists every table of a database with its
//! metadata file. In the real `pg_lake` a background worker writes it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde::Serialize;

use super::catalog::{Catalog, TableEntry};
use super::error::Result;
use icebox_tables::LakeIo;

/// The interval at which changes are exported.
pub(super) const EXPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The longest interval between failing attempts. Each may add a refusal to an audit trail.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The part of a location that separates the prefix from the table's path.
const TABLES_FOLDER: &str = "/frompg/tables/";

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct File<'a> {
    catalog_snapshot_time: String,
    tables: &'a [TableEntry],
}

/// The exporter of one database's catalog files.
#[derive(Default)]
pub(super) struct Exporter {
    /// The tables last written, by prefix.
    written: BTreeMap<String, Vec<TableEntry>>,
    /// After a failure: when to try again, and the current interval.
    pause: Option<(Instant, Duration)>,
}

impl Exporter {
    /// Writes the files whose tables have changed. A failure is logged once and retried by a later
    /// call.
    pub async fn run(&mut self, io: &LakeIo, catalog: &Catalog) {
        if self.pause.is_some_and(|(until, _)| Instant::now() < until) {
            return;
        }
        let Err(error) = self.write(io, catalog).await else {
            self.pause = None;
            return;
        };
        if self.pause.is_none() {
            tracing::warn!(%error, "the catalog in the object store cannot be brought up to date");
        }
        let wait = self
            .pause
            .map_or(EXPORT_INTERVAL, |(_, wait)| (wait * 2).min(LONGEST_PAUSE));
        self.pause = Some((Instant::now() + wait, wait));
    }

    async fn write(&mut self, io: &LakeIo, catalog: &Catalog) -> Result<()> {
        let mut files: BTreeMap<String, Vec<TableEntry>> = BTreeMap::new();
        // A prefix whose tables are all gone gets an empty list.
        for prefix in self.written.keys() {
            files.insert(prefix.clone(), Vec::new());
        }
        for entry in catalog.tables().await? {
            if let Some((prefix, _)) = entry.metadata_location.split_once(TABLES_FOLDER) {
                files.entry(prefix.to_owned()).or_default().push(entry);
            }
        }
        for (prefix, mut tables) in files {
            tables.sort();
            if self.written.get(&prefix) == Some(&tables) {
                continue;
            }
            let file = File {
                catalog_snapshot_time: Utc::now().to_rfc3339(),
                tables: &tables,
            };
            let bytes = serde_json::to_vec(&file).unwrap_or_default();
            let location = format!(
                "{prefix}/frompg/catalog/{}/catalog.json",
                catalog.database()
            );
            let output = io.file_io().new_output(location)?;
            output.write(bytes.into()).await?;
            self.written.insert(prefix, tables);
        }
        Ok(())
    }
}
