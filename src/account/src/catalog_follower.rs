//! Polling of the catalogs of PostgreSQL instances: for tables with `AUTO_REFRESH`, and for the
//! schemas and tables of linked databases. Both go by the account's clock.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::account::Account;
use crate::kind::{catalog_sync, iceberg_table};
use crate::object::Object;
use crate::postgres_catalog::{self, Entry};
use crate::{Kind, linked_database, references};
use icebox_schedule::Hold;
use icebox_sql::error::SqlResult;
use icebox_sql::names::ObjectName;

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
                Some(next) => account.host.clock().sleep_until(next).await,
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
            () = account.polls.changed() => {}
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
        references::is_postgres_catalog(&catalog).then_some(Follower {
            kind,
            object,
            catalog,
            interval: Duration::from_secs(interval.unwrap_or(30)),
        })
    };
    let tables = account.list(Kind::IcebergTable, &[]).into_iter();
    let tables = tables.filter(|table| table.properties.is_true("AUTO_REFRESH"));
    let tables = tables.filter_map(|table| {
        let catalog = table.properties.name("CATALOG")?.clone();
        follower(Kind::IcebergTable, table, &catalog, None)
    });
    let databases = account.list(Kind::Database, &[]).into_iter();
    let databases = databases.filter_map(|object| {
        let link = linked_database::link(&object)?.clone();
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
            Kind::Database => catalog_sync::sync_database(account, &follower.object, entries).await,
            _ => iceberg_table::auto_refresh(account, &follower.object, entries).await,
        }
    }
}
