//! Writes: the guide's sync, single rows, many rows, and deletion.

use std::time::{Duration, Instant};

use super::shared_sandbox::{AccessMethod, SharedSandbox};
use super::{Error, Measurement, Report, Samples, Unit};
use icebox_retail::{Simulator, Tables, sync as sync_tables};

/// The number of transactions in a sync.
const BATCH: u64 = 500;
const SYNC_WARMUPS: usize = 3;
const SYNC_RUNS: usize = 12;

const INSERT_WARMUPS: usize = 5;
const INSERTS: usize = 200;
/// The number of inserts into a new table and into an old one that are compared.
const INSERT_SPAN: usize = 40;
/// The factor by which an insert into an old table may be slower than one into a new table. The
/// excess is noise.
const INSERT_GROWTH: f64 = 1.25;

const BULK_RUNS: usize = 3;

/// Measures a sync of 500 transactions and their items by the guide's statements. The peer syncs to
/// heap tables.
pub(super) async fn sync(shared: &mut SharedSandbox<'_>, report: &mut Report) -> Result<(), Error> {
    shared.say("syncing batches of 500 transactions");
    shared
        .make_transactions("copy_transactions", AccessMethod::Heap)
        .await?;
    shared
        .make_items("copy_transaction_items", AccessMethod::Heap)
        .await?;
    let lake = Tables::default();
    let heap = Tables {
        iceberg_transactions: "copy_transactions".into(),
        iceberg_items: "copy_transaction_items".into(),
        ..Tables::default()
    };
    let (mut lake_times, mut heap_times) = (Vec::new(), Vec::new());
    for run in 0..SYNC_WARMUPS + SYNC_RUNS {
        for (tables, times) in [(&heap, &mut heap_times), (&lake, &mut lake_times)] {
            let simulator = Simulator {
                transactions: BATCH,
                sync: false,
                ..Simulator::default()
            };
            simulator.run(&mut shared.client, |_| {}).await?;
            let begun = Instant::now();
            let result = sync_tables(&mut shared.client, tables).await;
            result.map_err(Error::statement("syncing"))?;
            if run >= SYNC_WARMUPS {
                times.push(begun.elapsed().as_secs_f64());
            }
        }
    }
    let (lake, heap) = (Samples::new(lake_times), Samples::new(heap_times));
    report.add(
        Measurement::new("sync", "sync of 500 transactions", Unit::Seconds, &lake)
            .goal(0.150)
            .against("heap to heap", heap.median())
            .yardstick(0.28, 0.28),
    );
    Ok(())
}

/// Measures inserts of single rows, each a transaction and a snapshot.
pub(super) async fn insert(
    shared: &mut SharedSandbox<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    shared.say(&format!("inserting single rows, also after {INSERTS}"));
    // The tables take turns, because a machine's speed changes from one second to the next.
    let tables = ["single_heap", "single_new", "single_old"];
    for (table, method) in tables.into_iter().zip([
        AccessMethod::Heap,
        AccessMethod::Iceberg,
        AccessMethod::Iceberg,
    ]) {
        shared.make_items(table, method).await?;
    }
    for id in 0..INSERTS {
        insert_one("single_old", id, shared).await?;
    }
    let mut times = tables.map(|_| Vec::new());
    for id in 0..INSERT_WARMUPS + INSERT_SPAN {
        for (table, times) in tables.into_iter().zip(&mut times) {
            let took = insert_one(table, id, shared).await?;
            if id >= INSERT_WARMUPS {
                times.push(took);
            }
        }
    }
    let [heap, new, old] = times.map(Samples::new);
    let heap = heap.median();
    report.add(
        Measurement::new("insert.new", "one row, in a new table", Unit::Seconds, &new)
            .against("heap", heap)
            .yardstick(0.110, 0.200),
    );
    report.add(
        Measurement::new(
            "insert.old",
            "one row, after 200 of them",
            Unit::Seconds,
            &old,
        )
        .goal(new.median() * INSERT_GROWTH)
        .against("a new table", new.median())
        .against("heap", heap)
        .yardstick(0.681, 0.681),
    );
    Ok(())
}

/// Inserts one row in a transaction of its own, and returns the seconds it took.
async fn insert_one(table: &str, id: usize, shared: &SharedSandbox<'_>) -> Result<f64, Error> {
    let sql = format!(
        "INSERT INTO {table} VALUES ({id}, {id}, 1, 2, 14.99, 29.98, timestamp '2026-01-01')"
    );
    Ok(shared.time(&sql).await?.as_secs_f64())
}

/// Measures one INSERT of all items from a heap table. The peer writes to a heap table.
pub(super) async fn bulk(shared: &mut SharedSandbox<'_>, report: &mut Report) -> Result<(), Error> {
    shared.heap().await?;
    shared.say(&format!("writing {} rows", shared.rows));
    shared.bulk("bulk_warm", AccessMethod::Iceberg).await?;
    shared.prepare("DROP TABLE bulk_warm").await?;
    let (mut heap, mut lake) = (Vec::new(), Vec::new());
    for run in 0..BULK_RUNS {
        heap.push(
            shared
                .bulk(&table(AccessMethod::Heap, run), AccessMethod::Heap)
                .await?
                .as_secs_f64(),
        );
        lake.push(
            shared
                .bulk(&table(AccessMethod::Iceberg, run), AccessMethod::Iceberg)
                .await?
                .as_secs_f64(),
        );
    }
    let heap = Samples::new(heap).rate(shared.rows);
    let lake = Samples::new(lake).rate(shared.rows);
    report.add(
        Measurement::new(
            "bulk",
            "INSERT ... SELECT from heap",
            Unit::RowsPerSecond,
            &lake,
        )
        .goal(350_000.0)
        .against("heap to heap", heap.median())
        .yardstick(1e6 / 3.1, 1e6 / 3.1),
    );
    Ok(())
}

/// Measures the deletion of every other row, in deleted rows per second. The tables are those that
/// [`bulk`] has written; they are written here if it did not run.
pub(super) async fn delete(
    shared: &mut SharedSandbox<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    shared.heap().await?;
    let (mut heap, mut lake) = (Vec::new(), Vec::new());
    for run in 0..BULK_RUNS {
        for (method, times) in [
            (AccessMethod::Heap, &mut heap),
            (AccessMethod::Iceberg, &mut lake),
        ] {
            let table = table(method, run);
            if !shared.has_table(&table).await? {
                shared.bulk(&table, method).await?;
            }
            shared.say(&format!("deleting every other row of {table}"));
            shared.prepare("CHECKPOINT").await?;
            let took: Duration = shared
                .time(&format!("DELETE FROM {table} WHERE item_id % 2 = 0"))
                .await?;
            times.push(took.as_secs_f64());
        }
    }
    let deleted = (shared.rows / 2).max(1);
    let heap = Samples::new(heap).rate(deleted);
    let lake = Samples::new(lake).rate(deleted);
    report.add(
        Measurement::new(
            "delete",
            "DELETE of every other row",
            Unit::RowsPerSecond,
            &lake,
        )
        .against("heap", heap.median())
        .yardstick(1_050_000.0 / 4.5, 1_050_000.0 / 4.5),
    );
    Ok(())
}

fn table(method: AccessMethod, run: usize) -> String {
    match method {
        AccessMethod::Heap => format!("bulk_heap_{run}"),
        AccessMethod::Iceberg => format!("bulk_iceberg_{run}"),
    }
}
