//! A reader that follows a PostgreSQL catalog: it has every Iceberg table at the metadata file that
//! the catalog names now.

use datafusion::common::TableReference;
use tokio_postgres::Client;

use super::reader::{self, Reader};

/// The query for the catalog's tables. It uses only columns that `pg_lake`'s own view has too.
const CATALOG: &str = "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables";

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("cannot read the catalog view iceberg_tables; has CREATE EXTENSION pg_lake been run?")]
    Catalog(#[source] tokio_postgres::Error),
    #[error(transparent)]
    Reader(#[from] reader::Error),
}

/// Updates the tables of `reader` to those of the catalog: registers new ones as `schema.table`,
/// refreshes changed ones, and deregisters dropped ones.
pub async fn follow(reader: &Reader, client: &Client) -> Result<(), FollowError> {
    let rows = client
        .query(CATALOG, &[])
        .await
        .map_err(FollowError::Catalog)?;
    let mut gone = reader.tables();
    for row in rows {
        let (namespace, name, location): (String, String, String) =
            (row.get(0), row.get(1), row.get(2));
        let name = TableReference::partial(namespace, name);
        let known = gone
            .iter()
            .position(|table| table.name == name)
            .map(|index| gone.swap_remove(index));
        match known {
            Some(table) if table.metadata_location == location => {}
            Some(_) => reader.refresh(name, &location).await?,
            None => reader.register(name, &location).await?,
        }
    }
    for table in gone {
        reader.deregister(table.name);
    }
    Ok(())
}
