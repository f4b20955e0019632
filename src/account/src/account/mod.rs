//! The objects of an account, in memory and on disk.
//!
//! ```text
//! <state directory>/snowflake/
//!   objects/<id>.json   one file per object, written anew whenever it changes
//! ```
//!
//! Files are replaced whole, so a killed process never leaves half a file.

mod poll_state;
mod run_queue;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::host::Host;
use crate::notices::Notices;
use crate::object::properties::Properties;
use crate::object::{Object, Scope};
use crate::{Kind, State};
use icebox_base::private_file;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::query::Engine;
use icebox_tables::{LakeIo, LakeTable};

pub use poll_state::{PollState, SyncAttempt};
pub use run_queue::RunQueue;

/// An account: its objects, and the host that it runs on.
pub struct Account {
    objects: RwLock<Objects>,
    directory: PathBuf,
    pub host: Arc<dyn Host>,
    pub history: History,
    pub notices: Notices,
    pub tasks: RunQueue,
    pub polls: PollState,
    engine: Engine,
    sessions: AtomicU64,
    /// Loaded tables, by the id of the store they are read through and by metadata file.
    tables: Mutex<HashMap<(usize, String), Arc<LakeTable>>>,
    /// The write locks of tables: writers of one table run one after another.
    writers: Mutex<HashMap<ObjectName, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Default)]
struct Objects {
    /// The objects by namespace and name. A kind stands for its namespace.
    by_name: BTreeMap<(Kind, ObjectName), Object>,
    /// Dropped objects for UNDROP with their namespaces, newest last. They are lost when the
    /// process ends.
    dropped: Vec<(Kind, Object)>,
    last_id: u64,
}

/// An error in the files of an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "cannot parse {path}: it is not an object file of icebox. Move the file elsewhere to start without that object"
    )]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot create the first objects of an account")]
    Defaults(#[source] SqlError),
    #[error("cannot start a query engine")]
    Engine(#[source] datafusion::error::DataFusionError),
}

/// The file of an object.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    /// The object's namespace.
    kind: Kind,
    object: T,
}

impl Account {
    /// Opens the account whose files are in `directory`, which is created if it does not exist.
    pub fn open(directory: &Path, host: Arc<dyn Host>) -> Result<Self, AccountError> {
        let folder = directory.join("objects");
        let read = |path: &Path| {
            let path = path.to_path_buf();
            move |source| AccountError::Read { path, source }
        };
        std::fs::create_dir_all(&folder).map_err(read(&folder))?;
        let mut objects = Objects::default();
        for file in std::fs::read_dir(&folder).map_err(read(&folder))? {
            let path = file.map_err(read(&folder))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(read(&path))?;
            let Stored { kind, object } = serde_json::from_slice::<Stored<Object>>(&bytes)
                .map_err(|source| AccountError::Parse { path, source })?;
            objects.last_id = objects.last_id.max(object.id);
            let key = (kind.namespace(), object.name.clone());
            objects.by_name.insert(key, object);
        }
        let is_new = objects.by_name.is_empty();
        let account = Self {
            objects: RwLock::new(objects),
            directory: folder,
            engine: Engine::new(
                runtime(host.lake())?,
                icebox_tables::distinct_aggregate::optimizer_rules(),
            ),
            host,
            history: History::default(),
            notices: Notices::default(),
            sessions: AtomicU64::new(0),
            tasks: RunQueue::default(),
            polls: PollState::default(),
            tables: Mutex::default(),
            writers: Mutex::default(),
        };
        if is_new {
            account.create_defaults().map_err(AccountError::Defaults)?;
        }
        Ok(account)
    }

    /// Creates what every new account has: the system roles and a warehouse.
    fn create_defaults(&self) -> SqlResult<()> {
        let owner = Ident::unquoted("ACCOUNTADMIN");
        let make = |kind: Kind, name: &str, state: State| {
            let mut properties = Properties::default();
            properties.complete(kind.info().properties)?;
            let name = ObjectName(vec![Ident::unquoted(name)]);
            self.create(kind, name, owner.clone(), properties, state, false)
        };
        for role in [
            "ACCOUNTADMIN",
            "SECURITYADMIN",
            "USERADMIN",
            "SYSADMIN",
            "PUBLIC",
        ] {
            make(Kind::Role, role, State::None)?;
        }
        let state = State::Warehouse(Default::default());
        make(Kind::Warehouse, "COMPUTE_WH", state).map(drop)
    }

    fn read(&self) -> RwLockReadGuard<'_, Objects> {
        self.objects.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects> {
        self.objects.write()
    }

    /// Returns the object of a name in a kind's namespace.
    pub fn get(&self, kind: Kind, name: &ObjectName) -> Option<Object> {
        let key = (kind.namespace(), name.clone());
        self.read().by_name.get(&key).cloned()
    }

    /// Returns the object of a name in a kind's namespace.
    ///
    /// # Errors
    /// Snowflake's error if there is no such object.
    pub fn find(&self, kind: Kind, name: &ObjectName) -> SqlResult<Object> {
        self.get(kind, name).ok_or_else(|| kind.missing(name))
    }

    /// Returns the objects of a kind whose names begin with these parts, ordered by name.
    pub fn list(&self, kind: Kind, within: &[Ident]) -> Vec<Object> {
        let mut objects = self.list_namespace(kind, within);
        objects.retain(|object| kind.of(object) == kind);
        objects
    }

    /// Returns the objects of a kind's namespace whose names begin with these parts, ordered by
    /// name.
    pub fn list_namespace(&self, kind: Kind, within: &[Ident]) -> Vec<Object> {
        let namespace = kind.namespace();
        let objects = self.read();
        let found = objects
            .by_name
            .range((namespace, ObjectName(within.to_vec()))..)
            .take_while(|((one, name), _)| *one == namespace && name.0.starts_with(within));
        found.map(|(_, object)| object.clone()).collect()
    }

    /// Creates an object, in place of an existing one of the same name if `replace` is true.
    pub fn create(
        &self,
        kind: Kind,
        name: ObjectName,
        owner: Ident,
        properties: Properties,
        state: State,
        replace: bool,
    ) -> SqlResult<Object> {
        let mut objects = self.write();
        objects.check_container(kind, &name)?;
        let key = (kind.namespace(), name.clone());
        if let Some(old) = objects.by_name.get(&key).cloned() {
            if !replace {
                return Err(SqlError::exists(name.last()));
            }
            self.delete_file(&old)?;
            objects.by_name.remove(&key);
            objects.keep_dropped([(key.0, old)]);
            // The contents of a container are dropped with it.
            self.drop_contents(&mut objects, kind, &name)?;
        }
        objects.last_id += 1;
        let now = self.now();
        let object = Object {
            name,
            id: objects.last_id,
            owner,
            created_on: now,
            updated_on: now,
            properties,
            state,
            is_current: false,
        };
        self.persist(kind, &object)?;
        objects.by_name.insert(key, object.clone());
        Ok(object)
    }

    /// Changes an object. If `change` fails, the object stays as it was.
    pub fn update<T>(
        &self,
        kind: Kind,
        name: &ObjectName,
        change: impl FnOnce(&mut Object) -> SqlResult<T>,
    ) -> SqlResult<T> {
        let mut objects = self.write();
        let object = objects.by_name.get_mut(&(kind.namespace(), name.clone()));
        let object = object.ok_or_else(|| kind.missing(name))?;
        let mut changed = object.clone();
        let answer = change(&mut changed)?;
        self.persist(kind, &changed)?;
        *object = changed;
        Ok(answer)
    }

    /// Renames an object, within its container or into another one.
    pub fn rename(&self, kind: Kind, from: &ObjectName, to: ObjectName) -> SqlResult<()> {
        let namespace = kind.namespace();
        let mut objects = self.write();
        objects.check_container(kind, &to)?;
        if objects.by_name.contains_key(&(namespace, to.clone())) {
            return Err(SqlError::exists(to.last()));
        }
        let object = objects.by_name.get(&(namespace, from.clone()));
        let mut object = object.cloned().ok_or_else(|| kind.missing(from))?;
        object.name = to.clone();
        object.updated_on = self.now();
        self.persist(kind, &object)?;
        objects.by_name.remove(&(namespace, from.clone()));
        objects.by_name.insert((namespace, to), object);
        Ok(())
    }

    /// Drops an object with all that it contains.
    pub fn drop_object(&self, kind: Kind, name: &ObjectName) -> SqlResult<()> {
        let namespace = kind.namespace();
        let mut objects = self.write();
        if !objects.by_name.contains_key(&(namespace, name.clone())) {
            return Err(kind.missing(name));
        }
        self.drop_contents(&mut objects, kind, name)?;
        if let Some(object) = objects.by_name.remove(&(namespace, name.clone())) {
            self.delete_file(&object)?;
            objects.keep_dropped([(namespace, object)]);
        }
        Ok(())
    }

    fn drop_contents(&self, objects: &mut Objects, kind: Kind, name: &ObjectName) -> SqlResult<()> {
        let keys = objects.by_name.keys();
        let is_inside = |(namespace, other): &&(Kind, ObjectName)| {
            namespace.is_inside(kind) && other.0.starts_with(&name.0)
        };
        let keys: Vec<_> = keys.filter(is_inside).cloned().collect();
        let mut dropped = Vec::new();
        for key in keys {
            if let Some(object) = objects.by_name.remove(&key) {
                self.delete_file(&object)?;
                dropped.push((key.0, object));
            }
        }
        objects.keep_dropped(dropped);
        Ok(())
    }

    /// Restores the most recently dropped object of a name. For a container it also restores the
    /// most recently dropped object of every name inside.
    pub fn undrop(&self, kind: Kind, name: &ObjectName) -> SqlResult<()> {
        let namespace = kind.namespace();
        let mut objects = self.write();
        objects.check_container(kind, name)?;
        if objects.by_name.contains_key(&(namespace, name.clone())) {
            return Err(SqlError::exists(name.last()));
        }
        let position = objects
            .dropped
            .iter()
            .rposition(|(one, object)| *one == namespace && object.name == *name);
        let position = position.ok_or_else(|| kind.missing(name))?;
        let mut restored = vec![objects.dropped.remove(position)];
        if kind.is_container() {
            // The most recently dropped object of every name inside the container.
            let mut index = objects.dropped.len();
            while index > 0 {
                index -= 1;
                let (one, object) = &objects.dropped[index];
                let belongs = one.is_inside(kind) && object.name.0.starts_with(&name.0);
                if belongs
                    && !restored
                        .iter()
                        .any(|(k, o)| k == one && o.name == object.name)
                {
                    restored.push(objects.dropped.remove(index));
                }
            }
        }
        for (namespace, object) in restored {
            self.persist(namespace, &object)?;
            objects
                .by_name
                .insert((namespace, object.name.clone()), object);
        }
        Ok(())
    }

    /// Returns the query engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the table at a metadata file. A metadata file never changes, so tables are cached;
    /// the cache is cleared when it is full.
    pub async fn table(&self, lake: &LakeIo, location: &str) -> SqlResult<Arc<LakeTable>> {
        const MOST: usize = 256;
        let key = (lake.identity(), location.to_owned());
        let tables = || self.tables.lock();
        let known = tables().get(&key).cloned();
        if let Some(table) = known {
            return Ok(table);
        }
        let table = LakeTable::load(lake, location).await;
        let table = Arc::new(table.map_err(|error| SqlError::internal(&error))?);
        let mut tables = tables();
        if tables.len() >= MOST {
            tables.clear();
        }
        tables.insert(key, Arc::clone(&table));
        Ok(table)
    }

    /// Returns the lock that a writer of a table holds.
    pub fn write_lock(&self, name: &ObjectName) -> Arc<tokio::sync::Mutex<()>> {
        let mut writers = self.writers.lock();
        Arc::clone(writers.entry(name.clone()).or_default())
    }

    /// Returns a new session's number.
    pub fn next_session_id(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Requests a run of a root task now.
    pub fn run_task_now(&self, name: &ObjectName) {
        self.tasks.request_run(name);
    }

    /// Returns the time of the account's clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.host.clock().now()
    }

    fn path(&self, object: &Object) -> PathBuf {
        self.directory.join(format!("{:08}.json", object.id))
    }

    fn persist(&self, kind: Kind, object: &Object) -> SqlResult<()> {
        let path = self.path(object);
        let kind = kind.namespace();
        let write = || {
            let bytes = serde_json::to_vec_pretty(&Stored { kind, object })?;
            private_file::replace(&path, &bytes)
        };
        write().map_err(|error: std::io::Error| not_written(&path, &error))
    }

    fn delete_file(&self, object: &Object) -> SqlResult<()> {
        let path = self.path(object);
        private_file::remove(&path).map_err(|error| not_written(&path, &error))
    }
}

/// The greatest number of dropped objects that are kept for UNDROP.
const MOST_DROPPED: usize = 1000;

impl Objects {
    /// Keeps dropped objects for UNDROP.
    fn keep_dropped(&mut self, dropped: impl IntoIterator<Item = (Kind, Object)>) {
        self.dropped.extend(dropped);
        let old = self.dropped.len().saturating_sub(MOST_DROPPED);
        self.dropped.drain(..old);
    }

    /// Checks that the database and the schema of a name exist.
    fn check_container(&self, kind: Kind, name: &ObjectName) -> SqlResult<()> {
        let has = |kind, parts: &[Ident]| {
            let container = ObjectName(parts.to_vec());
            if self.by_name.contains_key(&(kind, container.clone())) {
                Ok(())
            } else {
                Err(Kind::missing(kind, &container))
            }
        };
        match kind.scope() {
            Scope::Account => Ok(()),
            Scope::Database => has(Kind::Database, &name.0[..1]),
            Scope::Schema => {
                has(Kind::Database, &name.0[..1])?;
                has(Kind::Schema, &name.0[..2])
            }
        }
    }
}

/// Builds DataFusion's runtime environment on the lake's object stores.
fn runtime(lake: &LakeIo) -> Result<Arc<RuntimeEnv>, AccountError> {
    let builder = RuntimeEnvBuilder::new().with_object_store_registry(lake.registry());
    builder.build_arc().map_err(AccountError::Engine)
}

fn not_written(path: &Path, error: &std::io::Error) -> SqlError {
    let text = format!("cannot write {}: {error}", path.display());
    SqlError::new(code::INTERNAL, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Iceberg tables have been in files of the kind `table` from the first version.
    #[test]
    fn a_file_tells_the_kinds_of_a_namespace_apart_by_state() {
        let text = r#"{"kind": "table", "object": {
            "name": ["SHOP", "PUBLIC", "ORDERS"], "id": 7, "owner": "ACCOUNTADMIN",
            "created_on": "2026-03-01T12:00:00Z", "updated_on": "2026-03-01T12:00:00Z",
            "properties": {"AUTO_REFRESH": {"boolean": true}},
            "state": {"type": "iceberg_table", "metadata_location": "s3://lake/v1.json", "refreshes": []}
        }}"#;
        let Stored { kind, object } = serde_json::from_str::<Stored<Object>>(text).unwrap();
        assert_eq!(kind, Kind::Table);
        assert_eq!(kind.of(&object), Kind::IcebergTable);
        let kind = Kind::IcebergTable.namespace();
        let written = serde_json::to_value(Stored { kind, object }).unwrap();
        assert_eq!(written["kind"], "table");
        assert_eq!(written["object"]["state"]["type"], "iceberg_table");
    }
}
