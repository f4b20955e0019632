//! Manifest repair: the three gaps of `pg_lake`'s manifests, and what iceberg-rust makes of each
//! unrepaired manifest.

use std::collections::HashMap;

use apache_avro::types::Value;
use apache_avro::{Reader as AvroReader, Writer as AvroWriter};
use iceberg::spec::{DataContentType, Manifest, ManifestList};

use super::lake::{Lake, truth};
use icebox_tables::LakeTable;

/// Loads a table, and returns it with the location and partition spec id of each manifest.
async fn manifests(lake: &Lake, name: &str) -> (LakeTable, Vec<(String, i32)>) {
    let location = &truth()[name].metadata_location;
    let table = LakeTable::load(&lake.io, location).await.unwrap();
    let list = table.metadata().current_snapshot().unwrap().manifest_list();
    let bytes = lake.io.read(list).await.unwrap();
    let list = ManifestList::parse_with_version(&bytes, table.metadata().format_version()).unwrap();
    let manifests = list
        .entries()
        .iter()
        .map(|file| (file.manifest_path.clone(), file.partition_spec_id))
        .collect();
    (table, manifests)
}

/// Returns the repaired manifests of a table, as its file access reads them.
async fn repaired(lake: &Lake, table: &LakeTable, manifests: &[(String, i32)]) -> Vec<Vec<u8>> {
    let file_io = lake.io.file_io_of_table(table.metadata().clone().into());
    let list = table.metadata().current_snapshot().unwrap().manifest_list();
    file_io.new_input(list).unwrap().read().await.unwrap();
    let mut repaired = Vec::new();
    for (location, _) in manifests {
        let bytes = file_io.new_input(location).unwrap().read().await.unwrap();
        repaired.push(bytes.to_vec());
    }
    repaired
}

fn header(bytes: &[u8]) -> HashMap<String, String> {
    let reader = AvroReader::new(bytes).unwrap();
    let text = |value: &Vec<u8>| String::from_utf8(value.clone()).unwrap();
    let pairs = reader.user_metadata().iter();
    pairs
        .map(|(key, value)| (key.clone(), text(value)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_header_keys_are_supplied() {
    let lake = Lake::capture().await;
    let (table, manifests) = manifests(&lake, "public.deleted_rows").await;
    for ((location, _), repaired) in manifests
        .iter()
        .zip(repaired(&lake, &table, &manifests).await)
    {
        let raw = lake.io.read(location).await.unwrap();
        let refused = Manifest::parse_avro(&raw).unwrap_err().to_string();
        assert!(refused.contains("schema is required"), "{refused}");

        let manifest = Manifest::parse_avro(&repaired).unwrap();
        assert_eq!(manifest.metadata().schema(), table.schema());
        assert_eq!(header(&repaired)["format-version"], "2");
        let deletes = manifest.entries()[0].content_type() != DataContentType::Data;
        let content = if deletes { "deletes" } else { "data" };
        assert_eq!(header(&repaired)["content"], content);
        // The repair leaves the data blocks unchanged.
        let marker = &raw[raw.len() - 16..];
        let blocks = raw.windows(16).position(|bytes| bytes == marker).unwrap();
        assert!(repaired.ends_with(&raw[blocks..]));
    }
    assert_eq!(table.scan(None, &[]).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_has_its_own_partition_spec() {
    let lake = Lake::capture().await;
    let (table, manifests) = manifests(&lake, "public.part_day_bucket").await;
    for ((_, spec), repaired) in manifests
        .iter()
        .zip(repaired(&lake, &table, &manifests).await)
    {
        assert_eq!(*spec, 1);
        assert_eq!(header(&repaired)["partition-spec-id"], "1");
        let manifest = Manifest::parse_avro(&repaired).unwrap();
        assert_eq!(manifest.metadata().partition_spec().spec_id(), 1);
        assert_eq!(manifest.metadata().partition_spec().fields().len(), 2);
    }
    // With spec id 0 instead of 1 the plan would look right, but lack the position deletes.
    let files = table.scan(None, &[]).await.unwrap();
    assert_eq!(files.iter().map(|file| file.record_count).sum::<u64>(), 398);
    assert_eq!(
        files
            .iter()
            .filter(|f| !f.position_deletes.is_empty())
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_of_two_specs_in_one_table_keep_apart() {
    let lake = Lake::capture().await;
    let (table, manifests) = manifests(&lake, "public.partition_evolved").await;
    let mut specs: Vec<i32> = manifests.iter().map(|(_, spec)| *spec).collect();
    specs.sort_unstable();
    assert_eq!(specs, [0, 1]);
    for ((_, spec), repaired) in manifests
        .iter()
        .zip(repaired(&lake, &table, &manifests).await)
    {
        let manifest = Manifest::parse_avro(&repaired).unwrap();
        assert_eq!(manifest.metadata().partition_spec().spec_id(), *spec);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_cut_inside_a_character_is_repaired() {
    const TEXT: i32 = 10;
    let lake = Lake::capture().await;
    let (table, manifests) = manifests(&lake, "public.type_zoo").await;
    let raw = lake.io.read(&manifests[0].0).await.unwrap();
    let cut = "héllo € 漢字".as_bytes()[..16].to_vec();
    assert!(std::str::from_utf8(&cut).is_err());
    // Repairing the header alone is not enough: the cut bound would keep the table unreadable.
    let repaired = repaired(&lake, &table, &manifests).await.remove(0);
    let bounds = |bytes: &[u8]| format!("{:?}", AvroReader::new(bytes).unwrap().last().unwrap());
    assert!(bounds(&raw).contains(&format!("{cut:?}")));
    assert!(!bounds(&repaired).contains(&format!("{cut:?}")));

    let manifest = Manifest::parse_avro(&repaired).unwrap();
    let file = manifest.entries()[0].data_file();
    let lower = file.lower_bounds()[&TEXT].literal().clone();
    assert_eq!(
        lower,
        iceberg::spec::PrimitiveLiteral::String("héllo € 漢".to_owned())
    );
    assert_eq!(file.lower_bounds().len(), 15);
    assert_eq!(file.upper_bounds().len(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_manifest_is_not_touched() {
    let lake = Lake::capture().await;
    for name in [
        "public.deleted_rows",
        "public.part_day_bucket",
        "public.type_zoo",
    ] {
        let (table, manifests) = manifests(&lake, name).await;
        let complete = repaired(&lake, &table, &manifests).await;
        for ((location, _), bytes) in manifests.iter().zip(&complete) {
            lake.put(location, bytes.clone()).await;
        }
        assert_eq!(
            repaired(&lake, &table, &manifests).await,
            complete,
            "{name}"
        );
    }
}

/// Rewrites the entries of a table's delete manifests.
async fn alter_deletes(lake: &Lake, name: &str, alter: impl Fn(&str, &mut Value)) {
    let (table, manifests) = manifests(lake, name).await;
    for ((location, _), repaired) in manifests
        .iter()
        .zip(repaired(lake, &table, &manifests).await)
    {
        if header(&repaired)["content"] != "deletes" {
            continue;
        }
        let reader = AvroReader::new(&repaired[..]).unwrap();
        let schema = reader.writer_schema().clone();
        let mut writer = AvroWriter::new(&schema, Vec::new());
        for (key, value) in header(&repaired) {
            writer.add_user_metadata(key, value).unwrap();
        }
        for entry in reader {
            let mut entry = entry.unwrap();
            let Value::Record(fields) = &mut entry else {
                panic!("{entry:?}");
            };
            let (_, data_file) = fields
                .iter_mut()
                .find(|(name, _)| name == "data_file")
                .unwrap();
            let Value::Record(fields) = data_file else {
                panic!("{data_file:?}");
            };
            fields
                .iter_mut()
                .for_each(|(name, value)| alter(name, value));
            writer.append(entry).unwrap();
        }
        lake.put(location, writer.into_inner().unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_that_are_not_supported_are_refused_by_name() {
    let name = "public.deleted_rows";
    let equality = |field: &str, value: &mut Value| {
        if field == "content" {
            *value = Value::Int(2);
        }
    };
    let vector = |field: &str, value: &mut Value| {
        if field == "file_path" {
            *value = Value::String("s3://pg-lake-capture/deletes.puffin".to_owned());
        }
    };
    let lake = Lake::capture().await;
    alter_deletes(&lake, name, equality).await;
    let error = scan_error(&lake, name).await;
    assert!(
        error.contains("equality deletes") && error.contains(".parquet"),
        "{error}"
    );

    let lake = Lake::capture().await;
    alter_deletes(&lake, name, vector).await;
    let error = scan_error(&lake, name).await;
    assert!(
        error.contains("deletion vectors") && error.contains("deletes.puffin"),
        "{error}"
    );
}

async fn scan_error(lake: &Lake, name: &str) -> String {
    let location = &truth()[name].metadata_location;
    let table = LakeTable::load(&lake.io, location).await.unwrap();
    table.scan(None, &[]).await.unwrap_err().to_string()
}
