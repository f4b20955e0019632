//! The objects of an account, in memory and on disk.
//!
//! ```text
//! <state directory>/snowflake/
//!   objects/<id>.json   one file per object, written anew whenever it changes
//! ```
//!
//! Files are replaced whole, so a killed process never leaves half a file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::{Deserialize, Serialize};

use super::history::History;
use super::notices::Notices;
use super::object::properties::Properties;
use super::object::{Kind, Object, Scope, State};
use super::polling::Polls;
use super::tasks::Queue;
use crate::host::World;
use icebox_base::private_file;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::query::Engine;
use icebox_tables::{LakeIo, LakeTable};

/// An account: its objects, and the host that it runs on.
pub struct Account {
    objects: RwLock<Objects>,
    directory: PathBuf,
    pub world: Arc<dyn World>,
    pub history: History,
    pub notices: Notices,
    pub tasks: Queue,
    pub polls: Polls,
    engine: Engine,
    sessions: AtomicU64,
    /// Loaded tables, by the id of the store they are read through and by metadata file.
    tables: Mutex<HashMap<(usize, String), Arc<LakeTable>>>,
    /// The write locks of tables: writers of one table run one after another.
    writers: Mutex<HashMap<ObjectName, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Default)]
struct Objects {
    by_name: BTreeMap<(Kind, ObjectName), Object>,
    /// Dropped objects for UNDROP, newest last. They are lost when the process ends.
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
    #[error("{path} is not what icebox writes there; move it away to go on without that object")]
    Bad {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot make the first objects of an account")]
    Furnish(#[source] SqlError),
    #[error("cannot start a query engine")]
    Engine(#[source] datafusion::error::DataFusionError),
}

#[derive(Serialize, Deserialize)]
struct Stored<T> {
    kind: Kind,
    object: T,
}

impl Account {
    /// Opens the account whose files are in `directory`, which is created if it does not exist.
    pub fn open(directory: &Path, world: Arc<dyn World>) -> Result<Self, AccountError> {
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
                .map_err(|source| AccountError::Bad { path, source })?;
            objects.last_id = objects.last_id.max(object.id);
            objects.by_name.insert((kind, object.name.clone()), object);
        }
        let is_new = objects.by_name.is_empty();
        let account = Self {
            objects: RwLock::new(objects),
            directory: folder,
            engine: Engine::new(
                runtime(world.lake())?,
                icebox_tables::distinct_aggregate::optimizer_rules(),
            ),
            world,
            history: History::default(),
            notices: Notices::default(),
            sessions: AtomicU64::new(0),
            tasks: Queue::default(),
            polls: Polls::default(),
            tables: Mutex::default(),
            writers: Mutex::default(),
        };
        if is_new {
            account.furnish().map_err(AccountError::Furnish)?;
        }
        Ok(account)
    }

    /// Creates what every new account has: the system roles and a warehouse.
    fn furnish(&self) -> SqlResult<()> {
        let owner = Ident::unquoted("ACCOUNTADMIN");
        let make = |kind: Kind, name: &str, state: State| {
            let mut properties = Properties::default();
            properties.complete(kind.about().properties)?;
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

    pub fn get(&self, kind: Kind, name: &ObjectName) -> Option<Object> {
        self.read().by_name.get(&(kind, name.clone())).cloned()
    }

    /// Returns an object.
    ///
    /// # Errors
    /// Snowflake's error if there is no such object.
    pub fn find(&self, kind: Kind, name: &ObjectName) -> SqlResult<Object> {
        self.get(kind, name).ok_or_else(|| kind.missing(name))
    }

    /// Returns the objects of a kind whose names begin with these parts, ordered by name.
    pub fn list(&self, kind: Kind, within: &[Ident]) -> Vec<Object> {
        let objects = self.read();
        let of_kind = objects
            .by_name
            .range((kind, ObjectName(within.to_vec()))..)
            .take_while(|((one, name), _)| *one == kind && name.0.starts_with(within));
        of_kind.map(|(_, object)| object.clone()).collect()
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
        let key = (kind, name.clone());
        if let Some(old) = objects.by_name.get(&key).cloned() {
            if !replace {
                return Err(SqlError::exists(name.last()));
            }
            self.forget(&old)?;
            objects.by_name.remove(&key);
            objects.retire([(kind, old)]);
            // The contents of a container are dropped with it.
            self.remove_inside(&mut objects, kind, &name)?;
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
        self.keep(kind, &object)?;
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
        let object = objects.by_name.get_mut(&(kind, name.clone()));
        let object = object.ok_or_else(|| kind.missing(name))?;
        let mut changed = object.clone();
        let answer = change(&mut changed)?;
        self.keep(kind, &changed)?;
        *object = changed;
        Ok(answer)
    }

    /// Renames an object, within its container or into another one.
    pub fn rename(&self, kind: Kind, from: &ObjectName, to: ObjectName) -> SqlResult<()> {
        let mut objects = self.write();
        objects.check_container(kind, &to)?;
        if objects.by_name.contains_key(&(kind, to.clone())) {
            return Err(SqlError::exists(to.last()));
        }
        let object = objects.by_name.get(&(kind, from.clone()));
        let mut object = object.cloned().ok_or_else(|| kind.missing(from))?;
        object.name = to.clone();
        object.updated_on = self.now();
        self.keep(kind, &object)?;
        objects.by_name.remove(&(kind, from.clone()));
        objects.by_name.insert((kind, to), object);
        Ok(())
    }

    /// Drops an object with all that it contains. Returns the dropped objects.
    pub fn remove(&self, kind: Kind, name: &ObjectName) -> SqlResult<Vec<(Kind, Object)>> {
        let mut objects = self.write();
        if !objects.by_name.contains_key(&(kind, name.clone())) {
            return Err(kind.missing(name));
        }
        let mut gone = self.remove_inside(&mut objects, kind, name)?;
        if let Some(object) = objects.by_name.remove(&(kind, name.clone())) {
            self.forget(&object)?;
            objects.retire([(kind, object.clone())]);
            gone.push((kind, object));
        }
        Ok(gone)
    }

    fn remove_inside(
        &self,
        objects: &mut Objects,
        kind: Kind,
        name: &ObjectName,
    ) -> SqlResult<Vec<(Kind, Object)>> {
        if !kind.is_container() {
            return Ok(Vec::new());
        }
        let keys = objects.by_name.keys();
        let is_inside = |(one, other): &&(Kind, ObjectName)| {
            one.is_inside(kind) && other.0.starts_with(&name.0)
        };
        let keys: Vec<_> = keys.filter(is_inside).cloned().collect();
        let mut gone = Vec::new();
        for key in keys {
            if let Some(object) = objects.by_name.remove(&key) {
                self.forget(&object)?;
                gone.push((key.0, object));
            }
        }
        objects.retire(gone.iter().cloned());
        Ok(gone)
    }

    /// Restores the most recently dropped object of a name. For a container it also restores the
    /// most recently dropped object of every name inside.
    pub fn undrop(&self, kind: Kind, name: &ObjectName) -> SqlResult<()> {
        let mut objects = self.write();
        objects.check_container(kind, name)?;
        if objects.by_name.contains_key(&(kind, name.clone())) {
            return Err(SqlError::exists(name.last()));
        }
        let position = objects
            .dropped
            .iter()
            .rposition(|(one, object)| *one == kind && object.name == *name);
        let position = position.ok_or_else(|| kind.missing(name))?;
        let mut back = vec![objects.dropped.remove(position)];
        if kind.is_container() {
            // The most recently dropped object of every name inside the container.
            let mut index = objects.dropped.len();
            while index > 0 {
                index -= 1;
                let (one, object) = &objects.dropped[index];
                let belongs = one.is_inside(kind) && object.name.0.starts_with(&name.0);
                if belongs && !back.iter().any(|(k, o)| k == one && o.name == object.name) {
                    back.push(objects.dropped.remove(index));
                }
            }
        }
        for (kind, object) in back {
            self.keep(kind, &object)?;
            objects.by_name.insert((kind, object.name.clone()), object);
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
        self.tasks.ask(name);
    }

    /// Returns the time of the account's clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.world.clock().now()
    }

    fn path(&self, object: &Object) -> PathBuf {
        self.directory.join(format!("{:08}.json", object.id))
    }

    fn keep(&self, kind: Kind, object: &Object) -> SqlResult<()> {
        let path = self.path(object);
        let write = || {
            let bytes = serde_json::to_vec_pretty(&Stored { kind, object })?;
            private_file::replace(&path, &bytes)
        };
        write().map_err(|error: std::io::Error| not_kept(&path, &error))
    }

    fn forget(&self, object: &Object) -> SqlResult<()> {
        let path = self.path(object);
        private_file::remove(&path).map_err(|error| not_kept(&path, &error))
    }
}

/// The greatest number of dropped objects that are kept for UNDROP.
const MOST_DROPPED: usize = 1000;

impl Objects {
    /// Keeps dropped objects for UNDROP.
    fn retire(&mut self, gone: impl IntoIterator<Item = (Kind, Object)>) {
        self.dropped.extend(gone);
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

fn not_kept(path: &Path, error: &std::io::Error) -> SqlError {
    let text = format!("cannot write {}: {error}", path.display());
    SqlError::new(code::INTERNAL, text)
}
