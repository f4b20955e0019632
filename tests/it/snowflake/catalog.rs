//! The guide's architecture without metadata paths: tables and databases that follow PostgreSQL's
//! catalog.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::host::{Fixture, locations, run, script, shown, value};
use icebox_account::tasks;

const CATALOG: &str = "s3://retail-lake/frompg/catalog/postgres/catalog.json";

pub const SETUP: &str = "
    CREATE STORAGE INTEGRATION PG TYPE = POSTGRES_EXTERNAL_STORAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE
      STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::000000000000:role/lake' STORAGE_ALLOWED_LOCATIONS = ('s3://retail-lake/');
    CREATE POSTGRES INSTANCE LAB COMPUTE_FAMILY = 'STANDARD_M' STORAGE_SIZE_GB = 10 AUTHENTICATION_AUTHORITY = POSTGRES;
    ALTER POSTGRES INSTANCE LAB SET STORAGE_INTEGRATION = PG;
    CREATE CATALOG INTEGRATION PG_CATALOG CATALOG_SOURCE = SNOWFLAKE_POSTGRES TABLE_FORMAT = ICEBERG
      REST_CONFIG = (POSTGRES_INSTANCE = 'LAB' CATALOG_NAME = 'postgres' ACCESS_DELEGATION_MODE = VENDED_CREDENTIALS) ENABLED = TRUE;
    CREATE DATABASE OWN";

/// Writes `pg_lake`'s catalog file with these tables: namespace, name and metadata location.
pub async fn put_catalog(fixture: &Fixture, tables: &[(&str, &str, String)]) {
    let tables = tables.iter().map(|(namespace, name, location)| {
        json!({"namespace": namespace, "table-name": name, "metadata-location": location})
    });
    let file = json!({"catalog-snapshot-time": 0, "tables": tables.collect::<Vec<_>>()});
    fixture
        .lake
        .put(CATALOG, file.to_string().into_bytes())
        .await;
}

/// Returns the newest and the oldest metadata file of a captured table.
pub async fn newest_and_oldest(fixture: &Fixture, table: &str) -> [String; 2] {
    use futures::TryStreamExt;
    let found = locations().into_iter().find(|(name, ..)| name == table);
    let (_, oid, newest) = found.unwrap();
    let folder = format!("postgres/public/{table}/{oid}/metadata");
    let path = object_store::path::Path::from(folder.clone());
    let listed: Vec<_> = fixture
        .lake
        .store
        .list(Some(&path))
        .try_collect()
        .await
        .unwrap();
    let mut files: Vec<_> = listed
        .iter()
        .filter_map(|meta| meta.location.filename())
        .filter(|file| file.ends_with(".metadata.json"))
        .collect();
    files.sort_unstable();
    [&newest, files[0]].map(|file| format!("s3://retail-lake/{folder}/{file}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_the_catalog_is_refreshed_by_hand_and_by_itself() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    script(&session, SETUP).await;
    let [newest, oldest] = newest_and_oldest(&fixture, "iceberg_transactions").await;
    put_catalog(
        &fixture,
        &[("public", "iceberg_transactions", oldest.clone())],
    )
    .await;
    let create = "CREATE ICEBERG TABLE TX CATALOG = 'PG_CATALOG' CATALOG_TABLE_NAME = 'iceberg_transactions' CATALOG_NAMESPACE = 'public'";
    script(&session, create).await;
    let count = "SELECT COUNT(*) FROM TX";
    let before = value(&session, count).await;
    assert_ne!(before, "5000");
    assert_eq!(
        script(&session, "DESC CATALOG INTEGRATION PG_CATALOG ->> SELECT \"property_value\" FROM $1 WHERE \"property\" = 'REST_CONFIG'").await,
        [["{CATALOG_NAME=postgres, ACCESS_DELEGATION_MODE=VENDED_CREDENTIALS, POSTGRES_INSTANCE=LAB}"]]
    );

    put_catalog(
        &fixture,
        &[("public", "iceberg_transactions", newest.clone())],
    )
    .await;
    assert_eq!(value(&session, count).await, before);
    script(&session, "ALTER ICEBERG TABLE TX REFRESH").await;
    assert_eq!(value(&session, count).await, "5000");
    let refreshes = "SELECT METADATA_FILE_NAME, IS_CURRENT_SNAPSHOT, SNAPSHOT_SUMMARY:\"operation\"::VARCHAR \
                     FROM TABLE(INFORMATION_SCHEMA.ICEBERG_TABLE_SNAPSHOT_REFRESH_HISTORY(TABLE_NAME => 'TX'))";
    let rows = script(&session, refreshes).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0][..2], [newest.clone(), "true".to_owned()]);
    assert_eq!(rows[1][0], oldest);
    assert_ne!(rows[0][2], "NULL");
    let path = run(&session, "ALTER ICEBERG TABLE TX REFRESH 'some/path'").await;
    assert!(path.unwrap_err().message.contains("REFRESH without a path"));

    // The table refreshes by itself, at the catalog's interval.
    script(&session, "ALTER ICEBERG TABLE TX SET AUTO_REFRESH = TRUE").await;
    let runner = tokio::spawn(tasks::run(Arc::clone(&fixture.account)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    put_catalog(
        &fixture,
        &[("public", "iceberg_transactions", oldest.clone())],
    )
    .await;
    fixture.host.clock.advance(Duration::from_secs(31)).await;
    assert_eq!(value(&session, count).await, before);
    let status = "SELECT PARSE_JSON(SYSTEM$AUTO_REFRESH_STATUS('TX')):executionState::VARCHAR";
    assert_eq!(value(&session, status).await, "RUNNING");
    // A table that is missing in the catalog keeps its rows, and its status is STALLED.
    put_catalog(&fixture, &[]).await;
    fixture.host.clock.advance(Duration::from_secs(31)).await;
    assert_eq!(value(&session, status).await, "STALLED");
    assert_eq!(value(&session, count).await, before);
    put_catalog(&fixture, &[("public", "iceberg_transactions", newest)]).await;
    fixture.host.clock.advance(Duration::from_secs(31)).await;
    assert_eq!(value(&session, status).await, "RUNNING");
    assert_eq!(value(&session, count).await, "5000");
    runner.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_database_has_the_tables_of_its_catalog() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    script(&session, SETUP).await;
    let [stores, _] = newest_and_oldest(&fixture, "iceberg_stores").await;
    let [products, _] = newest_and_oldest(&fixture, "iceberg_products").await;
    put_catalog(&fixture, &[("public", "iceberg_stores", stores.clone())]).await;
    let link = "CREATE DATABASE LINKED LINKED_CATALOG = (CATALOG = 'PG_CATALOG', ALLOWED_WRITE_OPERATIONS = NONE)";
    script(&session, link).await;
    assert_eq!(
        value(
            &session,
            "SELECT COUNT(*) FROM LINKED.\"public\".\"iceberg_stores\""
        )
        .await,
        "5"
    );
    let runner = tokio::spawn(tasks::run(Arc::clone(&fixture.account)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let both = [
        ("other", "iceberg_products", products),
        ("public", "iceberg_stores", stores),
    ];
    put_catalog(&fixture, &both).await;
    fixture.host.clock.advance(Duration::from_secs(31)).await;
    let tables = "SHOW ICEBERG TABLES IN DATABASE LINKED ->> SELECT \"schema_name\", \"name\", \"catalog_namespace\" FROM $1";
    assert_eq!(
        script(&session, tables).await,
        [
            ["other", "iceberg_products", "other"],
            ["public", "iceberg_stores", "public"]
        ]
    );
    put_catalog(&fixture, &both[..1]).await;
    fixture.host.clock.advance(Duration::from_secs(31)).await;
    assert_eq!(script(&session, tables).await.len(), 1);
    assert_eq!(
        shown(
            &run(
                &session,
                "SHOW SCHEMAS IN DATABASE LINKED ->> SELECT \"name\" FROM $1"
            )
            .await
            .unwrap()
        ),
        [["INFORMATION_SCHEMA"], ["other"], ["public"]]
    );
    for sql in [
        "CREATE TABLE LINKED.\"other\".T (A NUMBER)",
        "DROP TABLE LINKED.\"other\".\"iceberg_products\"",
        "CREATE SCHEMA LINKED.MINE",
    ] {
        let error = run(&session, sql).await.unwrap_err();
        assert_eq!(
            (error.code, error.state),
            (94124, "22023"),
            "{sql}: {error}"
        );
    }
    let status = "SELECT PARSE_JSON(SYSTEM$CATALOG_LINK_STATUS('LINKED')):executionState::VARCHAR";
    assert_eq!(value(&session, status).await, "RUNNING");
    fixture.lake.put(CATALOG, b"no json".to_vec()).await;
    fixture.host.clock.advance(Duration::from_secs(31)).await;
    assert_eq!(value(&session, status).await, "FAILED");
    assert_eq!(script(&session, tables).await.len(), 1);
    // A linked database that ignores case needs no quotes around the catalog's names.
    put_catalog(&fixture, &both).await;
    script(&session, "CREATE DATABASE LOOSE LINKED_CATALOG = (CATALOG = 'PG_CATALOG', ALLOWED_WRITE_OPERATIONS = NONE, BLOCKED_NAMESPACES = ('other')) CATALOG_CASE_SENSITIVITY = CASE_INSENSITIVE").await;
    assert_eq!(
        value(&session, "SELECT COUNT(*) FROM loose.public.iceberg_stores").await,
        "5"
    );
    assert_eq!(
        script(&session, "SHOW TABLES IN DATABASE LOOSE")
            .await
            .len(),
        1
    );
    runner.abort();
}
