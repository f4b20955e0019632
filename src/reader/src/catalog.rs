//! The reader's tables as a DataFusion catalog with case-insensitive names.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{ResolvedTableReference, TableReference};
use datafusion::error::Result;
use parking_lot::RwLock;

use icebox_tables::LakeTableProvider;

/// The database and the schema of a name that has none.
pub(super) const DEFAULT_CATALOG: &str = "lake";
pub(super) const DEFAULT_SCHEMA: &str = "public";

/// The key of a table: its database, schema and name in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    catalog: String,
    schema: String,
    table: String,
}

impl Key {
    pub(super) fn new(name: impl Into<TableReference>) -> Self {
        let name = name.into().resolve(DEFAULT_CATALOG, DEFAULT_SCHEMA);
        let ResolvedTableReference {
            catalog,
            schema,
            table,
        } = name;
        Self {
            catalog: catalog.to_lowercase(),
            schema: schema.to_lowercase(),
            table: table.to_lowercase(),
        }
    }
}

/// A registered table: the name that it was registered under, and the provider of its present
/// metadata file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: TableReference,
    pub(super) provider: Arc<LakeTableProvider>,
}

/// The registered tables by name. Clones share them. A plan keeps the provider that it was made
/// with, so replacing an entry never affects a running query.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    entries: Arc<RwLock<BTreeMap<Key, Entry>>>,
}

impl Tables {
    pub(super) fn get(&self, key: &Key) -> Option<Entry> {
        let entries = self.entries.read();
        entries.get(key).cloned()
    }

    pub(super) fn insert(&self, key: Key, entry: Entry) {
        let mut entries = self.entries.write();
        entries.insert(key, entry);
    }

    /// Replaces the provider of an entry. Returns false if there is no such entry (any more).
    pub(super) fn replace(&self, key: &Key, provider: Arc<LakeTableProvider>) -> bool {
        let mut entries = self.entries.write();
        match entries.get_mut(key) {
            Some(entry) => {
                entry.provider = provider;
                true
            }
            None => false,
        }
    }

    pub(super) fn remove(&self, key: &Key) -> Option<Entry> {
        let mut entries = self.entries.write();
        entries.remove(key)
    }

    pub(super) fn all(&self) -> Vec<Entry> {
        let entries = self.entries.read();
        entries.values().cloned().collect()
    }

    fn names(&self, part: impl Fn(&Key) -> Option<&String>) -> Vec<String> {
        let entries = self.entries.read();
        let names: BTreeSet<&String> = entries.keys().filter_map(part).collect();
        names.into_iter().cloned().collect()
    }
}

/// The list of all databases.
#[derive(Debug)]
pub(super) struct Catalogs(pub(super) Tables);

impl CatalogProviderList for Catalogs {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn register_catalog(
        &self,
        _name: String,
        _catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        // A database exists as soon as a table in it is registered.
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        self.0.names(|key| Some(&key.catalog))
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        Some(Arc::new(Catalog {
            tables: self.0.clone(),
            name: name.to_lowercase(),
        }))
    }
}

#[derive(Debug)]
struct Catalog {
    tables: Tables,
    name: String,
}

impl CatalogProvider for Catalog {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema_names(&self) -> Vec<String> {
        self.tables
            .names(|key| (key.catalog == self.name).then_some(&key.schema))
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(Schema {
            tables: self.tables.clone(),
            catalog: self.name.clone(),
            name: name.to_lowercase(),
        }))
    }
}

#[derive(Debug)]
struct Schema {
    tables: Tables,
    catalog: String,
    name: String,
}

impl Schema {
    fn key(&self, table: &str) -> Key {
        Key {
            catalog: self.catalog.clone(),
            schema: self.name.clone(),
            table: table.to_lowercase(),
        }
    }
}

#[async_trait]
impl SchemaProvider for Schema {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_names(&self) -> Vec<String> {
        self.tables.names(|key| {
            (key.catalog == self.catalog && key.schema == self.name).then_some(&key.table)
        })
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let entry = self.tables.get(&self.key(name));
        Ok(entry.map(|entry| entry.provider as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.get(&self.key(name)).is_some()
    }
}
