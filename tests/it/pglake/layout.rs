//! The objects in the bucket: keys, metadata, snapshots, manifests with their statistics, and data
//! files.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::sandbox::{BUCKET, TestSandbox};
use crate::support::until;
use icebox_tables::LakeIo;

/// Replaces the random parts of a location, such as UUIDs and OIDs, by words.
fn without_random_parts(location: &str) -> String {
    let mut named_parts = String::new();
    for segment in location.split('/') {
        let hex =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (stem, extension) = segment
            .split_once('.')
            .map_or((segment, String::new()), |(a, b)| (a, format!(".{b}")));
        let uuid = |text: &str| {
            text.len() == 36 && text.split('-').all(hex) && text.split('-').count() == 5
        };
        let named = if uuid(stem) {
            "UUID".to_owned()
        } else if segment.len() == 2 && hex(segment) {
            "HH".to_owned()
        } else if segment.bytes().all(|byte| byte.is_ascii_digit()) && !segment.is_empty() {
            "OID".to_owned()
        } else if let Some((number, rest)) = stem
            .split_once('-')
            .filter(|(number, rest)| number.len() == 5 && uuid(rest))
        {
            let _ = rest;
            format!("{number}-UUID")
        } else if stem.len() > 37 && uuid(&stem[..36]) {
            format!("UUID{}", &stem[36..])
        } else if stem.starts_with("snap-") && uuid(&stem[stem.len() - 36..]) {
            "snap-ID-1-UUID".to_owned()
        } else {
            stem.to_owned()
        };
        named_parts.push('/');
        named_parts.push_str(&named);
        named_parts.push_str(&extension);
    }
    named_parts.trim_start_matches('/').to_owned()
}

/// Changes of a table of 1,000 rows, as in `dml.txt`: the files after each, and the operation of
/// its snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn small_changes_are_deletes_by_position_and_large_ones_rewrite() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    db.run("CREATE TABLE m (id int, k text, v numeric(12,2)) USING iceberg")
        .await;
    for (statement, data, deletes, operation) in [
        (
            "INSERT INTO m SELECT i, 'k' || i % 10, i * 1.5 FROM generate_series(1, 1000) i",
            &[1000][..],
            &[][..],
            "append",
        ),
        ("DELETE FROM m WHERE id = 5", &[1000], &[1], "delete"),
        (
            "UPDATE m SET v = 0 WHERE id = 6",
            &[1, 1000],
            &[1, 1],
            "overwrite",
        ),
        (
            "DELETE FROM m WHERE id % 10 < 3",
            &[1, 698],
            &[],
            "overwrite",
        ),
        (
            "DELETE FROM m WHERE id IN (14, 15) RETURNING id, k, v",
            &[1, 698],
            &[2],
            "delete",
        ),
        (
            "UPDATE m SET k = 'zz' WHERE id BETWEEN 100 AND 105 RETURNING *",
            &[1, 3, 698],
            &[2, 3],
            "overwrite",
        ),
        ("UPDATE m SET v = v + 1", &[697], &[], "overwrite"),
        ("DELETE FROM m", &[], &[], "delete"),
    ] {
        db.run(statement).await;
        let (files, metadata) = test.files(&db.metadata_location("m").await).await;
        let mut rows = [Vec::new(), Vec::new()];
        for file in &files {
            rows[usize::from(file.is_delete)].push(file.rows);
        }
        rows.iter_mut().for_each(|rows| rows.sort_unstable());
        assert_eq!(rows[0], data, "{statement}");
        assert_eq!(rows[1], deletes, "{statement}");
        let snapshots = metadata["snapshots"].as_array().unwrap();
        let current = snapshots
            .iter()
            .find(|snapshot| snapshot["snapshot-id"] == metadata["current-snapshot-id"]);
        assert_eq!(
            current.unwrap()["summary"]["operation"],
            operation,
            "{statement}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_metadata_and_statistics() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    db.run("CREATE TABLE t (id int NOT NULL, name text, n numeric(9,2), at timestamptz, tags text[], iv interval) USING iceberg").await;
    let created = db.metadata_location("t").await;
    let table = format!("{BUCKET}/frompg/tables/postgres/public/t/OID");
    assert_eq!(
        without_random_parts(&created),
        format!("s3://{table}/metadata/00000-UUID.metadata.json")
    );
    let empty = test.metadata(&created).await;
    assert_eq!(empty["format-version"], 2);
    assert_eq!(
        empty["location"],
        created.split("/metadata/").next().unwrap()
    );
    assert_eq!(empty["last-sequence-number"], 0);
    assert!(
        empty["current-snapshot-id"].is_null() || empty["current-snapshot-id"] == -1,
        "{empty:#}"
    );
    // The columns have the first field ids; the fields nested in them have the ids after.
    let fields = &empty["schemas"][0]["fields"];
    let ids: Vec<i64> = fields
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["id"].as_i64().unwrap())
        .collect();
    let distinct: BTreeSet<i64> = ids.iter().copied().collect();
    assert_eq!(distinct, (1..=6).collect(), "{ids:?}");
    assert_eq!(fields[0]["required"], true);
    assert_eq!(fields[1]["required"], false);
    let last = empty["last-column-id"].as_i64().unwrap();
    assert_eq!(
        last, 10,
        "six columns, one element, three parts of an interval"
    );

    db.run(
        "SET timezone = 'UTC'; INSERT INTO t SELECT i, 'name ' || i, i / 4.0, '2024-01-01'::timestamptz + i * interval '1 hour',
           ARRAY['a', NULL], '1 day' FROM generate_series(1, 300) i; INSERT INTO t (id, name) VALUES (-5, NULL)",
    )
    .await;
    let location = db.metadata_location("t").await;
    let (files, metadata) = test.files(&location).await;
    // Both inserts are in one message, and therefore in one transaction and one file.
    assert_eq!(files.len(), 1);
    assert_eq!(
        without_random_parts(&files[0].location),
        format!("s3://{table}/data/HH/UUID/data_0.parquet")
    );
    assert_eq!(files[0].rows, 301);
    assert_eq!(files[0].bounds["id"], ("-5".to_owned(), "300".to_owned()));
    assert_eq!(files[0].bounds["n"].1, "75.00");
    assert_eq!(files[0].bounds["name"].0, "name 1");
    assert_eq!(files[0].nulls["name"], 1);
    assert_eq!(files[0].nulls["id"], 0);
    let snapshot = &metadata["snapshots"][0];
    assert_eq!(snapshot["sequence-number"], 1);
    assert_eq!(snapshot["schema-id"], 0);
    assert_eq!(
        without_random_parts(snapshot["manifest-list"].as_str().unwrap()),
        format!("s3://{table}/metadata/snap-ID-1-UUID.avro")
    );
    assert_eq!(metadata["snapshot-log"].as_array().unwrap().len(), 1);
    assert_eq!(metadata["metadata-log"][0]["metadata-file"], created);

    db.run("DELETE FROM t WHERE id = 7").await;
    let (files, _) = test.files(&db.metadata_location("t").await).await;
    let delete = files.iter().find(|file| file.is_delete).unwrap();
    assert_eq!(
        without_random_parts(&delete.location),
        format!("s3://{table}/data/HH/UUID.parquet")
    );
    assert_eq!(delete.rows, 1);
    // There are no objects that the table's metadata does not reference.
    let mut kinds: Vec<String> = test
        .stored_paths("/public/t/")
        .await
        .iter()
        .map(|key| {
            without_random_parts(&key[key.find("/data/").or(key.find("/metadata/")).unwrap() + 1..])
        })
        .collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "data/HH/UUID.parquet",
            "data/HH/UUID/data_0.parquet",
            "metadata/00000-UUID.metadata.json",
            "metadata/00001-UUID.metadata.json",
            "metadata/00002-UUID.metadata.json",
            "metadata/UUID-m0.avro",
            "metadata/UUID-m0.avro",
            "metadata/snap-ID-1-UUID.avro",
            "metadata/snap-ID-1-UUID.avro",
        ]
    );
    // DuckDB's and icebox's readers match columns by field id. PostgreSQL must do the same after a
    // rename.
    db.run("ALTER TABLE t RENAME name TO label; ALTER TABLE t RENAME TO t2; CREATE SCHEMA s; ALTER TABLE t2 SET SCHEMA s").await;
    let renamed = db
        .one("SELECT table_namespace, table_name, metadata_location FROM iceberg_tables")
        .await;
    assert!(
        renamed.starts_with("s|t2|s3://lake/frompg/tables/postgres/public/t/"),
        "{renamed}"
    );
    db.assert_rows("SELECT label FROM s.t2 WHERE id = 8", &["name 8"])
        .await;
}

/// The real `pg_lake` writes this catalog file for engines that do not query PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_in_the_object_store_follows() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    let location = format!("s3://{BUCKET}/frompg/catalog/postgres/catalog.json");
    let follows = async |what: &str| {
        let wanted = db.rows("SELECT table_namespace, table_name, metadata_location FROM iceberg_tables ORDER BY 3").await;
        until(what, Duration::from_secs(10), async || {
            let io = LakeIo::s3(test.info().s3.clone());
            let Ok(bytes) = io.read(&location).await else {
                return false;
            };
            let catalog: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert!(catalog["catalog-snapshot-time"].is_string(), "{catalog}");
            let tables = catalog["tables"].as_array().unwrap().iter();
            let rows = tables.map(|table| {
                let part = |name: &str| table[name].as_str().unwrap();
                format!(
                    "{}|{}|{}",
                    part("namespace"),
                    part("table-name"),
                    part("metadata-location")
                )
            });
            rows.collect::<Vec<_>>() == wanted
        })
        .await;
    };
    db.run("CREATE SCHEMA s; CREATE TABLE a (x int) USING iceberg; CREATE TABLE s.b (x int) USING iceberg").await;
    follows("new tables are there").await;
    db.run("INSERT INTO a VALUES (1)").await;
    follows("a table is at its newest metadata").await;
    db.run("ALTER TABLE s.b RENAME TO c; DROP TABLE a").await;
    follows("names have changed").await;
    db.run("DROP TABLE s.c").await;
    follows("nothing is left").await;
}
