//! The guide's sync: it copies rows that are not in the Iceberg tables yet, and marks them.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

/// The tables' names, as SQL writes them (qualified or quoted where they need it).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tables {
    pub stores: String,
    pub products: String,
    pub customers: String,
    pub transactions: String,
    pub items: String,
    /// The Iceberg table to which the sync copies transactions.
    pub iceberg_transactions: String,
    /// The Iceberg table to which the sync copies their items.
    pub iceberg_items: String,
}

impl Default for Tables {
    /// Returns the guide's names.
    fn default() -> Self {
        Self {
            stores: "stores".into(),
            products: "products".into(),
            customers: "customers".into(),
            transactions: "transactions".into(),
            items: "transaction_items".into(),
            iceberg_transactions: "iceberg_transactions".into(),
            iceberg_items: "iceberg_transaction_items".into(),
        }
    }
}

/// The numbers of rows that one sync copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Synced {
    pub transactions: u64,
    pub items: u64,
}

/// Runs the guide's two sync statements in one transaction.
///
/// The statements alone are not safe beside another sync of the same tables (the guide schedules
/// one a minute). Both would read the same unmarked rows, and the second would wait for the first
/// only when it writes, so each row would be in Iceberg twice. So the heap tables are locked first,
/// against other syncs and writers but not against readers. A statement that waits for this lock,
/// such as that of the scheduled sync, takes its snapshot afterwards and sees which rows are
/// marked.
pub async fn sync(client: &mut Client, tables: &Tables) -> Result<Synced, tokio_postgres::Error> {
    let statement = |template: &str, source: &str, target: &str| {
        template
            .replace("{source}", source)
            .replace("{target}", target)
    };
    let transactions = statement(
        include_str!("sql/sync_transactions.sql"),
        &tables.transactions,
        &tables.iceberg_transactions,
    );
    let items = statement(
        include_str!("sql/sync_items.sql"),
        &tables.items,
        &tables.iceberg_items,
    );
    let transaction = client.transaction().await?;
    transaction
        .batch_execute(&format!(
            "LOCK TABLE {}, {} IN SHARE ROW EXCLUSIVE MODE",
            tables.transactions, tables.items
        ))
        .await?;
    let synced = Synced {
        transactions: transaction.execute(&transactions, &[]).await?,
        items: transaction.execute(&items, &[]).await?,
    };
    transaction.commit().await?;
    Ok(synced)
}
