use std::time::Instant;

use aws_sdk_s3::types::EncodingType;

use super::{BUCKET, TestServer};
use crate::assert_error;

/// Keys in S3's listing order, which differs from the order of a directory walk.
const KEYS: [&str; 11] = [
    "a",
    "a-b",
    "a/",
    "a/b",
    "a/b/c",
    "a/b0",
    "a0",
    "b/x",
    "ä",
    "漢/字",
    "\u{10400}",
];

async fn filled() -> TestServer {
    let server = TestServer::start().await;
    // The order of writing: a file comes before the directory of its name for some keys, after it
    // for others.
    for key in [
        "a/b/c",
        "ä",
        "a",
        "b/x",
        "a/b",
        "a-b",
        "a0",
        "\u{10400}",
        "a/",
        "漢/字",
        "a/b0",
    ] {
        server.put(key, key).await;
    }
    server
}

#[tokio::test]
async fn keys_come_in_byte_order_with_etag_and_size() {
    let server = filled().await;
    let listed = server
        .client
        .list_objects_v2()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    let keys: Vec<_> = listed.contents().iter().map(|o| o.key().unwrap()).collect();
    assert_eq!(keys, KEYS);
    assert_eq!(
        (listed.key_count(), listed.is_truncated()),
        (Some(11), Some(false))
    );
    for object in listed.contents() {
        let key = object.key().unwrap();
        let head = server
            .client
            .head_object()
            .bucket(BUCKET)
            .key(key)
            .send()
            .await
            .unwrap();
        assert_eq!(object.e_tag(), head.e_tag(), "{key}");
        assert_eq!(object.size(), Some(key.len() as i64), "{key}");
        assert!(object.last_modified().is_some());
        assert_eq!(server.get(key).await, key.as_bytes());
    }
}

#[tokio::test]
async fn pages_of_every_size_join_to_the_whole_list() {
    let server = filled().await;
    for (prefix, delimiter) in [
        ("", None),
        ("", Some("/")),
        ("a", Some("/")),
        ("a/", Some("/")),
        ("a", Some("b")),
    ] {
        let list = |size: i32| {
            let list = server
                .client
                .list_objects_v2()
                .bucket(BUCKET)
                .prefix(prefix)
                .max_keys(size);
            let mut pages = list
                .set_delimiter(delimiter.map(str::to_owned))
                .into_paginator()
                .send();
            async move {
                let mut lines = Vec::new();
                while let Some(page) = pages.next().await {
                    let page = page.unwrap();
                    let count = page.contents().len() + page.common_prefixes().len();
                    assert!(count <= size as usize && page.key_count() == Some(count as i32));
                    let mut these: Vec<_> = page
                        .contents()
                        .iter()
                        .map(|o| o.key().unwrap().to_owned())
                        .collect();
                    these.extend(
                        page.common_prefixes()
                            .iter()
                            .map(|p| p.prefix().unwrap().to_owned()),
                    );
                    these.sort();
                    lines.extend(these);
                }
                lines
            }
        };
        let whole = list(1000).await;
        assert!(whole.is_sorted());
        for size in 1..=12 {
            assert_eq!(
                list(size).await,
                whole,
                "prefix {prefix:?}, delimiter {delimiter:?}, {size} a page"
            );
        }
    }
}

#[tokio::test]
async fn a_delimiter_folds_keys_into_common_prefixes() {
    let server = filled().await;
    for (prefix, delimiter, keys, groups) in [
        (
            "",
            "/",
            vec!["a", "a-b", "a0", "ä", "\u{10400}"],
            vec!["a/", "b/", "漢/"],
        ),
        ("a/", "/", vec!["a/", "a/b", "a/b0"], vec!["a/b/"]),
        ("a", "b", vec!["a", "a/", "a0"], vec!["a-b", "a/b"]),
        ("zzz", "/", vec![], vec![]),
    ] {
        let list = server
            .client
            .list_objects_v2()
            .bucket(BUCKET)
            .prefix(prefix)
            .delimiter(delimiter);
        let listed = list.send().await.unwrap();
        let found: Vec<_> = listed.contents().iter().map(|o| o.key().unwrap()).collect();
        let folded: Vec<_> = listed
            .common_prefixes()
            .iter()
            .map(|p| p.prefix().unwrap())
            .collect();
        assert_eq!(
            (found, folded),
            (keys, groups),
            "prefix {prefix:?}, delimiter {delimiter:?}"
        );
    }
}

#[tokio::test]
async fn a_listing_can_start_after_any_string() {
    let server = filled().await;
    for start in [
        "",
        "a",
        "a-",
        "a/",
        "a/b",
        "a/b/zzz",
        "b",
        "漢/",
        "\u{10ffff}",
    ] {
        let listed = server
            .client
            .list_objects_v2()
            .bucket(BUCKET)
            .start_after(start)
            .send()
            .await
            .unwrap();
        let keys: Vec<_> = listed.contents().iter().map(|o| o.key().unwrap()).collect();
        let expected: Vec<_> = KEYS.into_iter().filter(|k| *k > start).collect();
        assert_eq!(keys, expected, "after {start:?}");
    }
}

#[tokio::test]
async fn version_1_pages_by_marker() {
    let server = filled().await;
    let mut marker = None;
    let mut lines = Vec::new();
    loop {
        let list = server
            .client
            .list_objects()
            .bucket(BUCKET)
            .delimiter("/")
            .max_keys(2)
            .set_marker(marker.clone());
        let page = list.send().await.unwrap();
        let mut these: Vec<_> = page
            .contents()
            .iter()
            .map(|o| o.key().unwrap().to_owned())
            .collect();
        these.extend(
            page.common_prefixes()
                .iter()
                .map(|p| p.prefix().unwrap().to_owned()),
        );
        these.sort();
        lines.extend(these);
        if !page.is_truncated().unwrap() {
            break;
        }
        marker = page.next_marker().map(str::to_owned);
        assert_eq!(
            marker.as_ref(),
            lines.last(),
            "with a delimiter the last line is the next marker"
        );
    }
    assert_eq!(
        lines,
        ["a", "a-b", "a/", "a0", "b/", "ä", "漢/", "\u{10400}"]
    );

    let plain = server
        .client
        .list_objects()
        .bucket(BUCKET)
        .max_keys(2)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (plain.is_truncated(), plain.next_marker()),
        (Some(true), None)
    );
}

#[tokio::test]
async fn awkward_keys_are_encoded_on_request() {
    let server = TestServer::start().await;
    let key = "dir &/ä\u{1}+ <x>%";
    server.put(key, "x").await;
    let list = server
        .client
        .list_objects_v2()
        .bucket(BUCKET)
        .encoding_type(EncodingType::Url);
    let listed = list.prefix("dir &").delimiter("&").send().await.unwrap();
    assert_eq!(
        listed.contents()[0].key(),
        Some("dir+%26/%C3%A4%01%2B+%3Cx%3E%25")
    );
    assert_eq!(listed.prefix(), Some("dir+%26"));
    assert_eq!(listed.delimiter(), Some("%26"));
    assert_eq!(server.get(key).await, b"x");
}

#[tokio::test]
async fn wrong_arguments_are_refused() {
    let server = TestServer::start().await;
    server.put("a", "x").await;
    let list = || server.client.list_objects_v2().bucket(BUCKET);
    assert_error!(list().max_keys(-1), 400, "InvalidArgument");
    assert_error!(list().continuation_token("made up"), 400, "InvalidArgument");
    let none = list().max_keys(0).send().await.unwrap();
    assert_eq!(
        (none.contents().len(), none.is_truncated()),
        (0, Some(false))
    );
    let capped = list().max_keys(5000).send().await.unwrap();
    assert_eq!(capped.max_keys(), Some(1000));
}

#[tokio::test]
async fn a_prefix_listing_does_not_pay_for_the_rest_of_the_bucket() {
    let server = TestServer::start().await;
    // Files placed by hand have no stored ETag, so a listing that hashes them all would be slow.
    for dir in 0..200 {
        let path = server.files().join(format!("table/{dir:03}/data"));
        std::fs::create_dir_all(&path).unwrap();
        for file in 0..100 {
            std::fs::write(path.join(format!("{file:03}.parquet")), "x").unwrap();
        }
    }
    let list = |prefix: &str| {
        server
            .client
            .list_objects_v2()
            .bucket(BUCKET)
            .prefix(prefix)
            .send()
    };
    list("table/150/").await.unwrap();
    let begun = Instant::now();
    let listed = list("table/150/").await.unwrap();
    let narrow = begun.elapsed();
    assert_eq!(listed.contents().len(), 100);

    let begun = Instant::now();
    assert_eq!(server.keys().await.len(), 20_000);
    let everything = begun.elapsed();
    println!("100 keys of 20,000: {narrow:?}; all in pages of 1,000: {everything:?}");
    assert!(
        narrow * 10 < everything,
        "{narrow:?} for 100 keys, {everything:?} for 20,000"
    );
}
