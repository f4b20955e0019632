//! Polling of the catalogs of PostgreSQL instances: for tables with `AUTO_REFRESH`, and for the
//! schemas and tables of linked databases. Both go by the account's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::account::Account;
use super::object::properties::{Properties, Value};
use super::object::{
    Kind, Object, State, catalog_integration, database, iceberg_table, postgres_instance,
};
use super::postgres_catalog::{self, Entry};
use icebox_schedule::Hold;
use icebox_sql::error::SqlResult;
use icebox_sql::names::{Ident, ObjectName};

/// The results of polls, and the signal that there may be something new to poll.
#[derive(Default)]
pub struct Polls {
    changed: Notify,
    links: Mutex<BTreeMap<u64, Link>>,
}

/// The last attempt to synchronize a database with its catalog.
#[derive(Clone, Debug)]
pub struct Link {
    pub at: DateTime<Utc>,
    pub error: Option<String>,
}

impl Polls {
    /// Signals that there may be something new to poll.
    pub fn ring(&self) {
        self.changed.notify_one();
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<u64, Link>> {
        self.links.lock()
    }

    /// Returns the last attempt to synchronize a database, which is given by its id.
    pub fn link(&self, database: u64) -> Option<Link> {
        self.links().get(&database).cloned()
    }
}

/// Polls until the future is dropped.
pub async fn run(account: Arc<Account>) {
    // The last poll by object id. A new object is first polled one interval after it was seen.
    let mut polled: BTreeMap<u64, DateTime<Utc>> = BTreeMap::new();
    // While a hold exists, the clock does not advance: a poll ends at the time when it was due.
    let mut held: Option<Hold> = None;
    loop {
        let now = account.now();
        let all = followers(&account);
        polled.retain(|id, _| all.iter().any(|one| one.object.id == *id));
        let (mut next, mut due) = (None, Vec::new());
        for follower in all {
            let last = polled.entry(follower.object.id).or_insert(now);
            let interval = follower.interval;
            if *last + interval <= now {
                *last = now;
                due.push(follower);
            }
            let at = *last + interval;
            next = Some(next.map_or(at, |next: DateTime<Utc>| next.min(at)));
        }
        poll(&account, due).await;
        let sleep = async {
            match next {
                Some(next) => account.world.clock().sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        let mut sleep = pin!(sleep);
        // The next sleep is registered before the hold is dropped, so that the clock cannot advance
        // past it.
        let at_once = futures::poll!(sleep.as_mut());
        drop(held.take());
        if let Poll::Ready(hold) = at_once {
            held = Some(hold);
            continue;
        }
        tokio::select! {
            hold = sleep => held = Some(hold),
            () = account.polls.changed.notified() => {}
        }
    }
}

/// An object that follows a catalog.
struct Follower {
    kind: Kind,
    object: Object,
    catalog: Object,
    interval: Duration,
}

fn followers(account: &Account) -> Vec<Follower> {
    let follower = |kind, object: Object, name: &ObjectName, interval: Option<u64>| {
        let catalog = account.get(Kind::CatalogIntegration, name)?;
        let interval = interval.or_else(|| catalog.properties.integer("REFRESH_INTERVAL_SECONDS"));
        catalog_integration::is_postgres(&catalog).then_some(Follower {
            kind,
            object,
            catalog,
            interval: Duration::from_secs(interval.unwrap_or(30)),
        })
    };
    let tables = account.list(Kind::Table, &[]).into_iter();
    let tables = tables.filter(|table| table.properties.is_true("AUTO_REFRESH"));
    let tables = tables.filter_map(|table| {
        let catalog = table.properties.name("CATALOG")?.clone();
        follower(Kind::Table, table, &catalog, None)
    });
    let databases = account.list(Kind::Database, &[]).into_iter();
    let databases = databases.filter_map(|object| {
        let link = database::link(&object)?.clone();
        let interval = link.integer("SYNC_INTERVAL_SECONDS");
        follower(Kind::Database, object, link.name("CATALOG")?, interval)
    });
    tables.chain(databases).collect()
}

/// Synchronizes these objects with their catalogs. Each catalog is read once.
async fn poll(account: &Account, followers: Vec<Follower>) {
    let mut read: BTreeMap<ObjectName, SqlResult<Vec<Entry>>> = BTreeMap::new();
    for follower in followers {
        let name = &follower.catalog.name;
        if !read.contains_key(name) {
            let entries = postgres_catalog::read(account, &follower.catalog).await;
            read.insert(name.clone(), entries);
        }
        let entries = &read[name];
        match follower.kind {
            Kind::Database => sync_read(account, &follower.object, entries).await,
            _ => iceberg_table::follow(account, &follower.object, entries).await,
        }
    }
}

/// Synchronizes a linked database with its catalog now.
///
/// # Errors
/// If the catalog cannot be read.
pub async fn sync(account: &Account, object: &Object) -> SqlResult<()> {
    let Some(link) = database::link(object) else {
        return Ok(());
    };
    let Some(name) = link.name("CATALOG") else {
        return Ok(());
    };
    let catalog = catalog_integration::find(account, name)?;
    let entries = postgres_catalog::read(account, &catalog).await;
    sync_read(account, object, &entries).await;
    entries.map(drop)
}

/// Synchronizes a database that is linked to the sandbox's own server, so that a query sees the
/// server's tables as they are now. Other databases wait for their next poll.
pub async fn sync_own(account: &Account, database: &Ident) {
    let name = ObjectName(vec![database.clone()]);
    let Some(object) = account.get(Kind::Database, &name) else {
        return;
    };
    let catalog = database::link(&object).and_then(|link| link.name("CATALOG"));
    let catalog = catalog.and_then(|name| account.get(Kind::CatalogIntegration, name));
    let instance =
        catalog.and_then(|catalog| catalog_integration::instance(account, &catalog).ok());
    if instance.is_some_and(|instance| postgres_instance::is_own(&instance)) {
        // SYSTEM$CATALOG_LINK_STATUS shows an error.
        let _ = sync(account, &object).await;
    }
}

async fn sync_read(account: &Account, object: &Object, entries: &SqlResult<Vec<Entry>>) {
    let synced = match entries {
        Ok(entries) => follow(account, object, entries).await,
        Err(error) => Err(error.clone()),
    };
    let link = Link {
        at: account.now(),
        error: synced.err().map(|error| error.message),
    };
    if let Some(error) = &link.error {
        tracing::warn!(database = %object.name, error, "a linked catalog cannot be followed");
    }
    account.polls.links().insert(object.id, link);
}

/// Updates the schemas and tables of a linked database to those of its catalog.
async fn follow(account: &Account, object: &Object, entries: &[Entry]) -> SqlResult<()> {
    let Some(link) = database::link(object) else {
        return Ok(());
    };
    let database = object.name.last();
    let mut wanted: BTreeSet<ObjectName> = BTreeSet::new();
    wanted.extend(furnish(account, object)?);
    let mut failed = Ok(());
    for entry in entries {
        let Some(schema) = schema(account, object, &entry.namespace)? else {
            continue;
        };
        let mut table = schema.clone();
        table.0.push(database::ident_of(object, &entry.table_name));
        // A table that cannot be read stays as it was. The others are still updated.
        if let Err(error) = put(account, object, link, &table, entry).await {
            failed = Err(error);
        }
        wanted.extend([schema, table]);
    }
    let within = [database.clone()];
    for kind in [Kind::Table, Kind::Schema] {
        for gone in account.list(kind, &within) {
            if !wanted.contains(&gone.name) {
                account.remove(kind, &gone.name)?;
            }
        }
    }
    failed
}

/// Creates the schema that every linked database has: `public`, which every PostgreSQL database
/// begins with.
pub fn furnish(account: &Account, database: &Object) -> SqlResult<Option<ObjectName>> {
    schema(account, database, "public")
}

/// Returns the schema of a namespace, which is created if it does not exist; `None` if the link
/// excludes the namespace.
fn schema(account: &Account, database: &Object, namespace: &str) -> SqlResult<Option<ObjectName>> {
    if !database::link(database).is_some_and(|link| is_allowed(link, namespace)) {
        return Ok(None);
    }
    let name = database::ident_of(database, namespace);
    let name = ObjectName(vec![database.name.last().clone(), name]);
    if account.get(Kind::Schema, &name).is_none() {
        let (none, state) = (Properties::default(), State::None);
        let owner = database.owner.clone();
        account.create(Kind::Schema, name.clone(), owner, none, state, false)?;
    }
    Ok(Some(name))
}

async fn put(
    account: &Account,
    database: &Object,
    link: &Properties,
    name: &ObjectName,
    entry: &Entry,
) -> SqlResult<()> {
    let location = &entry.metadata_location;
    if let Some(known) = account.get(Kind::Table, name) {
        return match iceberg_table::of(&known) {
            Some(table) if table.metadata_location == *location => Ok(()),
            _ => iceberg_table::move_to(account, &known, location).await,
        };
    }
    let mut properties = Properties::default();
    let text = |text: &String| Value::Text(text.clone());
    properties.set("CATALOG_TABLE_NAME", text(&entry.table_name));
    properties.set("CATALOG_NAMESPACE", text(&entry.namespace));
    if let Some(catalog) = link.get("CATALOG") {
        properties.set("CATALOG", catalog.clone());
    }
    let refresh = iceberg_table::read(account, &properties, location).await?;
    let state = State::IcebergTable(iceberg_table::IcebergTable::at(refresh));
    let owner: Ident = database.owner.clone();
    let made = account.create(Kind::Table, name.clone(), owner, properties, state, false);
    made.map(drop)
}

/// Returns whether a linked database includes a namespace.
fn is_allowed(link: &Properties, namespace: &str) -> bool {
    let allowed = link.texts("ALLOWED_NAMESPACES");
    let is_in = |list: &[String]| list.iter().any(|one| one == namespace);
    (allowed.is_empty() || is_in(allowed)) && !is_in(link.texts("BLOCKED_NAMESPACES"))
}
