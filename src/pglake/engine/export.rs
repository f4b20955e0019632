//! The catalog in the object store: `<prefix>/frompg/catalog/<database>/catalog.json` names every table of a database and its
//! metadata file, for engines that do not ask PostgreSQL. The real `pg_lake` has a worker that writes it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde::Serialize;

use super::catalog::Catalog;
use super::error::Result;
use crate::tables::LakeIo;

/// How far the files may be behind.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// The longest wait between two tries that fail: each may be a refusal in somebody's audit trail.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What separates a table's prefix from where it is below it.
const TABLES: &str = "/frompg/tables/";

/// A table as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Entry {
    pub metadata_location: String,
    pub table_name: String,
    pub namespace: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct File<'a> {
    catalog_snapshot_time: String,
    tables: &'a [Entry],
}

/// Keeps the files of one database.
#[derive(Default)]
pub(super) struct Exporter {
    /// What was written, by prefix.
    written: BTreeMap<String, Vec<Entry>>,
    /// When it may be tried again after a failure, and how long the next wait is.
    pause: Option<(Instant, Duration)>,
}

impl Exporter {
    /// Writes what has changed. A failure is logged once, and is mended by a later call.
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
            .map_or(EVERY, |(_, wait)| (wait * 2).min(LONGEST_PAUSE));
        self.pause = Some((Instant::now() + wait, wait));
    }

    async fn write(&mut self, io: &LakeIo, catalog: &Catalog) -> Result<()> {
        let mut files: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        // One whose tables are all gone says so.
        for prefix in self.written.keys() {
            files.insert(prefix.clone(), Vec::new());
        }
        for entry in catalog.tables().await? {
            if let Some((prefix, _)) = entry.metadata_location.split_once(TABLES) {
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
