//! The captured lake, created again: runs the statements that created
//! `fixtures/pg_lake/lake.tar.gz`, and compares the objects in the bucket with those of the real
//! extension.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use iceberg::spec::{
    DataContentType, ManifestContentType, ManifestList, ManifestStatus, TableMetadata,
};
use serde::Deserialize;
use serde_json::Value as Json;

use super::answer::{normalized, send};
use super::expectations::{PgLake, matches, read_toml};
use super::{environment, in_database};
use crate::reader::lake::{Lake, Truth, text, truth};
use crate::reader::value::from_csv;
use crate::support::db::Db;
use crate::support::sandbox::TestSandbox;
use icebox_tables::LakeIo;

const BUCKET: &str = "pg-lake-capture";
const DATABASE: &str = "capture";

/// The contents of `lake.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// Statements that are refused.
    #[serde(default, rename = "refused")]
    pub refused: Vec<Refused>,
    /// Differences in the files of tables.
    #[serde(default, rename = "deviation")]
    pub deviations: Vec<Deviation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The statement, in which `*` matches any text.
    pub statement: String,
    pub applies_to: Vec<PgLake>,
    pub answer: String,
    /// The table that does not exist because of the refusal.
    pub without: Option<String>,
    pub reason: String,
    pub documented_as: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    pub tables: Vec<String>,
    /// A name from [`layout`].
    pub what: String,
    pub applies_to: Vec<PgLake>,
    /// The expected value, in which `*` matches any text.
    pub answer: String,
    pub reason: String,
    pub documented_as: String,
}

pub fn expectations() -> Expectations {
    read_toml("lake")
}

/// Returns the statements of the capture, in order. A statement marked `-- 200 times: ` is
/// expanded.
fn statements() -> Vec<String> {
    let mut found = Vec::new();
    for statement in text("statements.sql").split("\n\n") {
        let statement = statement.trim().trim_end_matches(';');
        match statement.strip_prefix("-- 200 times: ") {
            Some(repeated) => found.extend((0..200).map(|n| {
                let minutes = format!("{n} * interval '1 minute'");
                repeated
                    .replace("N minutes", &minutes)
                    .replace('N', &n.to_string())
            })),
            None if statement.is_empty() => {}
            None => found.push(statement.to_owned()),
        }
    }
    found
}

/// Describes a table's objects in the bucket by named properties, without ids, times and sizes.
async fn layout(io: &LakeIo, location: &str) -> BTreeMap<&'static str, String> {
    let bytes = io.read(location).await.unwrap();
    let json: Json = serde_json::from_slice(&bytes).unwrap();
    let metadata: TableMetadata = serde_json::from_slice(&bytes).unwrap();
    let members = |value: &Json| -> BTreeSet<String> {
        value
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys().cloned())
            .collect()
    };
    let list = |name: &str| json[name].as_array().cloned().unwrap_or_default();
    let mut snapshots = list("snapshots");
    snapshots.sort_by_key(|snapshot| snapshot["sequence-number"].as_i64());
    let joined = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(" ");
    let mut layout = BTreeMap::from([
        ("metadata members", joined(&mut members(&json).into_iter())),
        ("format version", json["format-version"].to_string()),
        ("location", normalized(json["location"].as_str().unwrap())),
        ("columns", fields(&json)),
        ("last column id", json["last-column-id"].to_string()),
        ("partition specs", without_spaces(&json["partition-specs"])),
        ("default spec", json["default-spec-id"].to_string()),
        ("sort orders", without_spaces(&json["sort-orders"])),
        ("schemas", list("schemas").len().to_string()),
        ("metadata log", list("metadata-log").len().to_string()),
        ("snapshot log", list("snapshot-log").len().to_string()),
        ("refs", joined(&mut members(&json["refs"]).into_iter())),
        (
            "operations",
            joined(
                &mut snapshots
                    .iter()
                    .map(|s| s["summary"]["operation"].as_str().unwrap_or("?").to_owned()),
            ),
        ),
        (
            "summary members",
            joined(
                &mut snapshots
                    .iter()
                    .flat_map(|s| members(&s["summary"]))
                    .collect::<BTreeSet<_>>()
                    .into_iter(),
            ),
        ),
        (
            "snapshot members",
            joined(
                &mut snapshots
                    .iter()
                    .flat_map(members)
                    .collect::<BTreeSet<_>>()
                    .into_iter(),
            ),
        ),
        (
            "sequence numbers",
            joined(&mut snapshots.iter().map(|s| s["sequence-number"].to_string())),
        ),
    ]);
    layout.insert(
        "current snapshot",
        match json["current-snapshot-id"].as_i64() {
            None => "absent".to_owned(),
            Some(-1) => "-1".to_owned(),
            Some(_) => "there".to_owned(),
        },
    );
    layout.insert(
        "first parent",
        match snapshots.first().map(|s| s["parent-snapshot-id"].as_i64()) {
            None => "no snapshot".to_owned(),
            Some(None) => "absent".to_owned(),
            Some(Some(parent)) => parent.to_string(),
        },
    );
    let (manifests, files) = contents(io, metadata).await;
    layout.insert("manifests", manifests);
    layout.insert("files", files);
    layout.insert("keys", keys(io, json["location"].as_str().unwrap()).await);
    layout
}

fn fields(json: &Json) -> String {
    let current = json["schemas"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|schema| schema["schema-id"] == json["current-schema-id"]);
    let fields = current
        .and_then(|schema| schema["fields"].as_array())
        .cloned()
        .unwrap_or_default();
    let shown = fields.iter().map(|field| {
        let default = field
            .get("initial-default")
            .map(|value| format!(" default {value}"))
            .unwrap_or_default();
        let required = if field["required"] == true {
            " required"
        } else {
            ""
        };
        format!(
            "{} {} {}{required}{default}",
            field["id"],
            field["name"],
            without_spaces(&field["type"])
        )
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn without_spaces(json: &Json) -> String {
    json.to_string().replace(' ', "")
}

/// Describes the manifests of the current snapshot by content, and its files by content and row
/// count.
async fn contents(io: &LakeIo, metadata: TableMetadata) -> (String, String) {
    let metadata = std::sync::Arc::new(metadata);
    let Some(snapshot) = metadata.current_snapshot() else {
        return ("none".to_owned(), "none".to_owned());
    };
    let file_io = io.file_io_of_table(metadata.clone());
    let list = file_io
        .new_input(snapshot.manifest_list())
        .unwrap()
        .read()
        .await
        .unwrap();
    let list = ManifestList::parse_with_version(&list, metadata.format_version()).unwrap();
    let (mut manifests, mut files) = (BTreeMap::new(), BTreeMap::new());
    for manifest in list.entries() {
        let kind = match manifest.content {
            ManifestContentType::Data => "data",
            ManifestContentType::Deletes => "deletes",
        };
        *manifests.entry(kind).or_insert(0) += 1;
        for entry in manifest.load_manifest(&file_io).await.unwrap().entries() {
            if entry.status() != ManifestStatus::Deleted {
                let kind = match entry.data_file().content_type() {
                    DataContentType::Data => "data",
                    _ => "deletes",
                };
                let (count, rows) = files.entry(kind).or_insert((0, 0));
                *count += 1;
                *rows += entry.data_file().record_count();
            }
        }
    }
    let manifests = manifests
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"));
    let files = files
        .iter()
        .map(|(kind, (count, rows))| format!("{count} {kind} of {rows} rows"));
    (
        manifests.collect::<Vec<_>>().join(", "),
        files.collect::<Vec<_>>().join(", "),
    )
}

/// Describes the kinds of keys under a table's location, with the number of each.
async fn keys(io: &LakeIo, location: &str) -> String {
    let (store, prefix) = io.resolve(location).unwrap();
    let objects: Vec<_> = object_store::ObjectStore::list(&*store, Some(&prefix))
        .try_collect()
        .await
        .unwrap();
    let mut kinds = BTreeMap::new();
    for object in objects {
        let key = object.location.to_string();
        let key = normalized(&format!("/{}", &key[prefix.to_string().len()..]));
        // The version number is dropped: the number of metadata files already shows it.
        let numbered = key
            .find("-UUID.metadata.json")
            .map(|at| format!("{}NNNNN{}", &key[..at - 5], &key[at..]));
        *kinds.entry(numbered.unwrap_or(key)).or_insert(0) += 1;
    }
    let kinds = kinds
        .iter()
        .map(|(kind, count)| format!("{count} {}", kind.trim_start_matches('/')));
    kinds.collect::<Vec<_>>().join(", ")
}

/// Returns a table's column names, and its rows as COPY prints them, as values that can be
/// compared.
async fn rows(
    db: &Db,
    table: &str,
    truth: &Truth,
) -> (Vec<String>, Vec<Vec<crate::reader::value::Value>>) {
    let copy =
        format!("COPY (SELECT * FROM {table}) TO STDOUT WITH (FORMAT csv, HEADER, NULL '\\N')");
    let stream = db.client.copy_out(&copy).await.unwrap();
    let bytes: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
    from_csv(
        &String::from_utf8(bytes.concat()).unwrap(),
        &types_of(truth),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_captured_lake_made_again() {
    let captured = Lake::capture().await;
    let test = TestSandbox::with_bucket(BUCKET).await;
    let db = test.database(DATABASE).await;
    let environment = environment(&db).await;
    drop(db);
    let db = Db::connect(&in_database(test.info(), DATABASE)).await;
    db.run("SET pg_lake_iceberg.default_catalog = 'postgres'")
        .await;
    let expectations = expectations();
    let mut wrong = Vec::new();
    let mut missing: Vec<&str> = Vec::new();
    let mut used = BTreeSet::new();

    for statement in statements() {
        if missing.iter().any(|table| statement.contains(table)) {
            continue;
        }
        let here = send(&db.client, &statement, Vec::new)
            .await
            .render(&statement);
        let mut refused = expectations.refused.iter().enumerate();
        match refused.find(|(_, refused)| {
            refused.applies_to.contains(&environment.pg_lake)
                && matches(&refused.statement, &statement)
        }) {
            Some((place, refused)) => {
                used.insert(("refused", place));
                missing.extend(refused.without.as_deref());
                println!("{statement:.60}: {here}: {}", refused.reason);
                if !matches(&refused.answer, &here) {
                    wrong.push(format!(
                        "{statement}\n  expected {}\n  but got  {here}",
                        refused.answer
                    ));
                }
            }
            None if here.starts_with("ERROR") => wrong.push(format!("{statement}\n  {here}")),
            None => {}
        }
    }
    db.notices();

    let ours = LakeIo::s3(test.info().s3.clone());
    let mut compared = 0;
    for (name, truth) in truth() {
        let (schema, table) = name.split_once('.').unwrap();
        if missing.contains(&table) {
            continue;
        }
        let (header, expected) = from_csv(&text(&format!("answers/{name}.csv")), &types_of(&truth));
        let given = rows(&db, &format!("\"{schema}\".\"{table}\""), &truth).await;
        if given != (header, expected) {
            wrong.push(format!("{name}: the rows are not pg_lake's: {:?}", given.1));
        }
        let location = db.metadata_location(table).await;
        let real = layout(&captured.io, &truth.metadata_location).await;
        let given = layout(&ours, &location).await;
        for (what, real) in &real {
            let given = &given[what];
            let mut deviations = expectations.deviations.iter().enumerate();
            let deviation = deviations.find(|(_, deviation)| {
                deviation.what == *what
                    && deviation.applies_to.contains(&environment.pg_lake)
                    && deviation
                        .tables
                        .iter()
                        .any(|pattern| matches(pattern, table))
            });
            if let Some((place, deviation)) = deviation {
                used.insert(("deviation", place));
                println!("{name}, {what}: {}", deviation.reason);
                if given == real {
                    wrong.push(format!(
                        "{name}, {what}: listed as a deviation, but as pg_lake's: {given}"
                    ));
                } else if !matches(&deviation.answer, given) {
                    wrong.push(format!(
                        "{name}, {what}\n  expected {}\n  but got  {given}",
                        deviation.answer
                    ));
                }
            } else {
                compared += 1;
                if given != real {
                    wrong.push(format!(
                        "{name}, {what}\n  pg_lake: {real}\n  here:    {given}"
                    ));
                }
            }
        }
    }
    let lists = expectations
        .refused
        .iter()
        .map(|refused| &refused.applies_to)
        .enumerate();
    let lists = lists.map(|(place, of)| (("refused", place), of));
    let more = expectations
        .deviations
        .iter()
        .map(|deviation| &deviation.applies_to)
        .enumerate();
    for (entry, of) in lists.chain(more.map(|(place, of)| (("deviation", place), of))) {
        if of.contains(&environment.pg_lake) && !used.contains(&entry) {
            wrong.push(format!(
                "lake.toml: the {} number {} concerns nothing",
                entry.0,
                entry.1 + 1
            ));
        }
    }
    println!(
        "{compared} parts of tables are as pg_lake wrote them, {} differ as listed",
        used.len()
    );
    assert!(compared > 0);
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn types_of(truth: &Truth) -> Vec<(&str, bool)> {
    truth
        .columns
        .iter()
        .map(|column| (column.data_type.as_str(), column.name == "ia"))
        .collect()
}
