//! The schemas and tables of linked databases, which follow those of their catalogs.

use std::collections::BTreeSet;

use super::iceberg_table::{self, IcebergTable};
use super::postgres_instance::is_own;
use crate::account::{Account, SyncAttempt};
use crate::object::Object;
use crate::object::properties::{Properties, Value};
use crate::postgres_catalog::{self, Entry};
use crate::{Kind, State, linked_database, references};
use icebox_sql::error::SqlResult;
use icebox_sql::names::{Ident, ObjectName};

/// Synchronizes a linked database with its catalog now.
///
/// # Errors
/// If the catalog cannot be read.
pub async fn sync(account: &Account, object: &Object) -> SqlResult<()> {
    let Some(link) = linked_database::link(object) else {
        return Ok(());
    };
    let Some(name) = link.name("CATALOG") else {
        return Ok(());
    };
    let catalog = references::enabled_catalog(account, name)?;
    let entries = postgres_catalog::read(account, &catalog).await;
    sync_database(account, object, &entries).await;
    entries.map(drop)
}

/// Synchronizes a database that is linked to the sandbox's own server, so that a query sees the
/// server's tables as they are now. Other databases wait for their next poll.
pub async fn sync_own(account: &Account, database: &Ident) {
    let name = ObjectName(vec![database.clone()]);
    let Some(object) = account.get(Kind::Database, &name) else {
        return;
    };
    let catalog = linked_database::link(&object).and_then(|link| link.name("CATALOG"));
    let catalog = catalog.and_then(|name| account.get(Kind::CatalogIntegration, name));
    let instance = catalog.and_then(|catalog| references::catalog_instance(account, &catalog).ok());
    if instance.is_some_and(|instance| is_own(&instance)) {
        // SYSTEM$CATALOG_LINK_STATUS shows an error.
        let _ = sync(account, &object).await;
    }
}

/// Synchronizes a linked database with its catalog, whose tables are `entries`, and records the
/// attempt.
pub async fn sync_database(account: &Account, object: &Object, entries: &SqlResult<Vec<Entry>>) {
    let synced = match entries {
        Ok(entries) => update_contents(account, object, entries).await,
        Err(error) => Err(error.clone()),
    };
    let attempt = SyncAttempt {
        at: account.now(),
        error: synced.err().map(|error| error.message),
    };
    if let Some(error) = &attempt.error {
        tracing::warn!(database = %object.name, error, "a linked catalog cannot be followed");
    }
    account.polls.record_sync(object.id, attempt);
}

/// Updates the schemas and tables of a linked database to those of its catalog.
async fn update_contents(account: &Account, object: &Object, entries: &[Entry]) -> SqlResult<()> {
    let Some(link) = linked_database::link(object) else {
        return Ok(());
    };
    let database = object.name.last();
    let mut wanted: BTreeSet<ObjectName> = BTreeSet::new();
    wanted.extend(create_public_schema(account, object)?);
    let mut failed = Ok(());
    for entry in entries {
        let Some(schema) = schema(account, object, &entry.namespace)? else {
            continue;
        };
        let mut table = schema.clone();
        table
            .0
            .push(linked_database::ident_of(object, &entry.table_name));
        // A table that cannot be read stays as it was. The others are still updated.
        if let Err(error) = put_table(account, object, link, &table, entry).await {
            failed = Err(error);
        }
        wanted.extend([schema, table]);
    }
    let within = [database.clone()];
    for kind in [Kind::IcebergTable, Kind::Schema] {
        for gone in account.list(kind, &within) {
            if !wanted.contains(&gone.name) {
                account.drop_object(kind, &gone.name)?;
            }
        }
    }
    failed
}

/// Creates the schema that every linked database has: `public`, which every PostgreSQL database
/// begins with.
pub fn create_public_schema(account: &Account, database: &Object) -> SqlResult<Option<ObjectName>> {
    schema(account, database, "public")
}

/// Returns the schema of a namespace, which is created if it does not exist; `None` if the link
/// excludes the namespace.
fn schema(account: &Account, database: &Object, namespace: &str) -> SqlResult<Option<ObjectName>> {
    if !linked_database::link(database).is_some_and(|link| is_allowed(link, namespace)) {
        return Ok(None);
    }
    let name = linked_database::ident_of(database, namespace);
    let name = ObjectName(vec![database.name.last().clone(), name]);
    if account.get(Kind::Schema, &name).is_none() {
        let (none, state) = (Properties::default(), State::None);
        let owner = database.owner.clone();
        account.create(Kind::Schema, name.clone(), owner, none, state, false)?;
    }
    Ok(Some(name))
}

/// Creates the table of an entry, or sets it to the metadata file that the entry has.
async fn put_table(
    account: &Account,
    database: &Object,
    link: &Properties,
    name: &ObjectName,
    entry: &Entry,
) -> SqlResult<()> {
    let location = &entry.metadata_location;
    if let Some(known) = account.get(Kind::IcebergTable, name) {
        return match known.state::<IcebergTable>() {
            Some(table) if table.metadata_location == *location => Ok(()),
            _ => iceberg_table::set_metadata(account, &known, location).await,
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
    let state = State::from(IcebergTable::at(refresh));
    let owner: Ident = database.owner.clone();
    let made = account.create(
        Kind::IcebergTable,
        name.clone(),
        owner,
        properties,
        state,
        false,
    );
    made.map(drop)
}

/// Returns whether a linked database includes a namespace.
fn is_allowed(link: &Properties, namespace: &str) -> bool {
    let allowed = link.texts("ALLOWED_NAMESPACES");
    let is_in = |list: &[String]| list.iter().any(|one| one == namespace);
    (allowed.is_empty() || is_in(allowed)) && !is_in(link.texts("BLOCKED_NAMESPACES"))
}
