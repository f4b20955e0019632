//! The simulator, which inserts generated transactions into the heap tables in batches and syncs
//! from time to time.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{Catalog, Generator, Product, Synced, Tables, Transaction, sync};

/// The options of the simulator: how much to generate, how fast, and when to sync. The defaults are
/// those of the guide's simulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Simulator {
    /// The number of transactions to generate.
    pub transactions: u64,
    /// Transactions per database transaction; at least 1.
    pub batch_size: u64,
    /// Transactions between two syncs; 0 syncs only at the end.
    pub sync_every: u64,
    /// Transactions per second on average; by default as many as possible. Must be above zero.
    pub rate: Option<f64>,
    /// The seed that makes the rows repeatable, timestamps included (see [`Generator::new`]).
    pub seed: Option<u64>,
    /// Whether to sync at all.
    pub sync: bool,
    pub tables: Tables,
}

impl Default for Simulator {
    fn default() -> Self {
        Self {
            transactions: 5000,
            batch_size: 500,
            sync_every: 500,
            rate: None,
            seed: None,
            sync: true,
            tables: Tables::default(),
        }
    }
}

/// A message about the progress of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// A batch is committed: the transactions so far, and the number to generate.
    Inserted {
        done: u64,
        of: u64,
    },
    Synced {
        rows: Synced,
        took: Duration,
    },
}

/// The result of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub transactions: u64,
    pub items: u64,
    /// Rows that the syncs moved, including rows that were waiting before the run.
    pub synced: Synced,
    pub seconds: f64,
}

#[derive(Debug, thiserror::Error)]
pub enum RetailError {
    #[error("cannot simulate transactions: {0}")]
    Options(&'static str),
    #[error(
        "cannot simulate transactions: {table} is empty; load the seed data first (icebox run scenarios/retail-lakehouse)"
    )]
    NothingToSell { table: String },
    #[error(
        "cannot simulate transactions: the tables are not there; make them first (icebox run scenarios/retail-lakehouse)"
    )]
    NoTables(#[source] tokio_postgres::Error),
    #[error("{doing} failed after {done} transactions were committed")]
    Postgres {
        doing: &'static str,
        /// Transactions of this run that are in the heap tables.
        done: u64,
        #[source]
        source: tokio_postgres::Error,
    },
}

impl Simulator {
    /// Generates all transactions, and returns when they are committed and, unless `sync` is off,
    /// synced.
    ///
    /// After an error, what was committed stays; a later sync continues from there.
    pub async fn run(
        &self,
        client: &mut Client,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Summary, RetailError> {
        if self.batch_size == 0 {
            return Err(RetailError::Options("the batch size must be at least 1"));
        }
        if self
            .rate
            .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
        {
            return Err(RetailError::Options("the rate must be a number above 0"));
        }
        let started = Instant::now();
        let failed = |doing, done| {
            move |source| RetailError::Postgres {
                doing,
                done,
                source,
            }
        };
        let catalog = self
            .catalog(client)
            .await
            .map_err(|source| match source.code() {
                Some(&SqlState::UNDEFINED_TABLE) => RetailError::NoTables(source),
                _ => failed("reading stores, products and customers", 0)(source),
            })?;
        let empty = if catalog.stores.is_empty() {
            &self.tables.stores
        } else {
            &self.tables.products
        };
        let mut generator =
            Generator::new(catalog, self.seed).ok_or_else(|| RetailError::NothingToSell {
                table: empty.clone(),
            })?;

        let mut summary = Summary::default();
        while summary.transactions < self.transactions {
            let left = self.transactions - summary.transactions;
            let batch: Vec<_> = generator.by_ref().take(self.next_batch(left)).collect();
            let before = summary.transactions;
            summary.items += self
                .insert(client, &batch)
                .await
                .map_err(failed("inserting a batch of transactions", before))?;
            summary.transactions += batch.len() as u64;
            progress(Progress::Inserted {
                done: summary.transactions,
                of: self.transactions,
            });
            let passed = |every| summary.transactions / every > before / every;
            if self.sync && self.sync_every > 0 && passed(self.sync_every) {
                self.sync(client, &mut summary, &mut progress).await?;
            }
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64(summary.transactions as f64 / rate);
                tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
            }
        }
        if self.sync {
            self.sync(client, &mut summary, &mut progress).await?;
        }
        summary.seconds = started.elapsed().as_secs_f64();
        Ok(summary)
    }

    /// Returns the size of the next batch. A slow rate makes batches smaller, so that transactions
    /// arrive every second.
    fn next_batch(&self, left: u64) -> usize {
        let a_second = self.rate.map_or(u64::MAX, |rate| (rate as u64).max(1));
        self.batch_size.min(left).min(a_second) as usize
    }

    async fn sync(
        &self,
        client: &mut Client,
        summary: &mut Summary,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), RetailError> {
        let started = Instant::now();
        let rows = sync(client, &self.tables)
            .await
            .map_err(|source| RetailError::Postgres {
                doing: "syncing to Iceberg",
                done: summary.transactions,
                source,
            })?;
        summary.synced.transactions += rows.transactions;
        summary.synced.items += rows.items;
        progress(Progress::Synced {
            rows,
            took: started.elapsed(),
        });
        Ok(())
    }

    async fn catalog(&self, client: &Client) -> Result<Catalog, tokio_postgres::Error> {
        let Tables {
            stores,
            products,
            customers,
            ..
        } = &self.tables;
        let ids = async |column: &str, table: &str| {
            let rows = client
                .query(
                    &format!("SELECT {column} FROM {table} ORDER BY {column}"),
                    &[],
                )
                .await?;
            rows.iter()
                .map(|row| row.try_get(0))
                .collect::<Result<Vec<i32>, tokio_postgres::Error>>()
        };
        let priced = format!(
            "SELECT product_id, (unit_price * 100)::bigint FROM {products} ORDER BY product_id"
        );
        Ok(Catalog {
            stores: ids("store_id", stores).await?,
            products: client
                .query(&priced, &[])
                .await?
                .iter()
                .map(|row| {
                    Ok(Product {
                        product_id: row.try_get(0)?,
                        unit_cents: row.try_get(1)?,
                    })
                })
                .collect::<Result<_, tokio_postgres::Error>>()?,
            customers: ids("customer_id", customers).await?,
        })
    }

    /// Inserts and commits a batch; returns the number of its items.
    async fn insert(
        &self,
        client: &mut Client,
        batch: &[Transaction],
    ) -> Result<u64, tokio_postgres::Error> {
        let statement = |template: &str| {
            template
                .replace("{transactions}", &self.tables.transactions)
                .replace("{items}", &self.tables.items)
        };
        let stores: Vec<_> = batch
            .iter()
            .map(|transaction| transaction.store_id)
            .collect();
        let customers: Vec<_> = batch
            .iter()
            .map(|transaction| transaction.customer_id)
            .collect();
        let totals: Vec<_> = batch.iter().map(Transaction::total_cents).collect();
        let payments: Vec<_> = batch
            .iter()
            .map(|transaction| transaction.payment_method)
            .collect();
        let timestamps: Option<Vec<_>> = batch
            .iter()
            .map(|transaction| transaction.timestamp)
            .collect();

        let database = client.transaction().await?;
        let inserted = if let Some(timestamps) = &timestamps {
            let sql = statement(include_str!("sql/insert_transactions_at.sql"));
            database
                .query(&sql, &[&stores, &customers, &totals, &payments, timestamps])
                .await?
        } else {
            let sql = statement(include_str!("sql/insert_transactions.sql"));
            database
                .query(&sql, &[&stores, &customers, &totals, &payments])
                .await?
        };
        let mut items = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (row, transaction) in inserted.iter().zip(batch) {
            let txn_id: i32 = row.try_get(0)?;
            for item in &transaction.items {
                items.0.push(txn_id);
                items.1.push(item.product_id);
                items.2.push(item.quantity);
                items.3.push(item.unit_cents);
                items.4.push(item.line_cents());
            }
        }
        let sql = statement(include_str!("sql/insert_items.sql"));
        let count = database
            .execute(&sql, &[&items.0, &items.1, &items.2, &items.3, &items.4])
            .await?;
        database.commit().await?;
        Ok(count)
    }
}
