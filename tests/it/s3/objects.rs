//! Objects: bodies, headers, ranges, deletion and copies.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier};

use super::{BUCKET, TestServer, error};
use crate::assert_error;

/// Returns bytes whose period is not a power of two, so that a misplaced piece is noticed.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn what_is_put_is_got_with_its_headers() {
    let server = TestServer::start().await;
    let put = server
        .client
        .put_object()
        .bucket(BUCKET)
        .key("dir/report.txt")
        .content_type("text/plain; charset=utf-8")
        .content_encoding("identity")
        .content_language("de")
        .content_disposition("attachment; filename=\"r.txt\"")
        .cache_control("max-age=60")
        .expires(DateTime::from_secs(2_000_000_000))
        .metadata("owner", "nobody")
        .metadata("name", "Zoë Müller")
        .metadata("empty", "")
        .body(ByteStream::from_static(b"hello"));
    let put = put.send().await.unwrap();
    assert_eq!(put.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));

    let got = server
        .client
        .get_object()
        .bucket(BUCKET)
        .key("dir/report.txt")
        .send()
        .await
        .unwrap();
    assert_eq!(got.e_tag(), put.e_tag());
    assert_eq!(got.content_length(), Some(5));
    assert_eq!(got.content_type(), Some("text/plain; charset=utf-8"));
    assert_eq!(got.content_encoding(), Some("identity"));
    assert_eq!(got.content_language(), Some("de"));
    assert_eq!(
        got.content_disposition(),
        Some("attachment; filename=\"r.txt\"")
    );
    assert_eq!(got.cache_control(), Some("max-age=60"));
    assert_eq!(got.expires_string(), Some("Wed, 18 May 2033 03:33:20 GMT"));
    let metadata = got.metadata().unwrap();
    assert_eq!(
        (metadata["owner"].as_str(), metadata["empty"].as_str()),
        ("nobody", "")
    );
    // Metadata that is not ASCII is returned in the encoding of RFC 2047, as S3 does.
    assert_eq!(metadata["name"], "=?UTF-8?B?Wm/DqyBNw7xsbGVy?=");
    assert_eq!(got.accept_ranges(), Some("bytes"));
    let age = SystemTime::now().duration_since((*got.last_modified().unwrap()).try_into().unwrap());
    assert!(age.is_ok_and(|a| a < Duration::from_mins(1)));

    let head = server
        .client
        .head_object()
        .bucket(BUCKET)
        .key("dir/report.txt")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (head.content_length(), head.e_tag()),
        (Some(5), put.e_tag())
    );
    assert_eq!(head.metadata(), got.metadata.as_ref());
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
}

#[tokio::test]
async fn bodies_of_every_size_arrive_whole() {
    let server = TestServer::start().await;
    for length in [
        0,
        1,
        1000,
        256 << 10,
        (256 << 10) + 1,
        (1 << 20) - 1,
        1 << 20,
        (3 << 20) + 17,
        20 << 20,
    ] {
        let body = pattern(length);
        server.put("object", body.clone()).await;
        assert!(server.get("object").await == body, "{length} bytes");
    }
}

#[tokio::test]
async fn a_missing_object_is_a_404() {
    let server = TestServer::start().await;
    server.put("dir/object", "x").await;
    for key in ["missing", "dir", "dir/", "dir/object/more", "dir/objec"] {
        assert_error!(
            server.client.get_object().bucket(BUCKET).key(key),
            404,
            "NoSuchKey"
        );
        assert_eq!(
            error(
                server
                    .client
                    .head_object()
                    .bucket(BUCKET)
                    .key(key)
                    .send()
                    .await
            )
            .0,
            404
        );
    }
}

#[tokio::test]
async fn ranges_are_cut_from_small_and_large_objects() {
    let server = TestServer::start().await;
    for length in [1000_usize, 2 << 20] {
        let body = pattern(length);
        server.put("object", body.clone()).await;
        for (range, expected) in [
            ("bytes=0-0".to_owned(), 0..1),
            ("bytes=10-19".to_owned(), 10..20),
            (format!("bytes=7-{}", length * 2), 7..length),
            ("bytes=500-".to_owned(), 500..length),
            ("bytes=-3".to_owned(), length - 3..length),
            (format!("bytes=-{}", length * 2), 0..length),
        ] {
            let got = server
                .client
                .get_object()
                .bucket(BUCKET)
                .key("object")
                .range(&range)
                .send()
                .await
                .unwrap();
            let content_range = format!("bytes {}-{}/{length}", expected.start, expected.end - 1);
            assert_eq!(got.content_range(), Some(content_range.as_str()), "{range}");
            assert_eq!(got.content_length(), Some(expected.len() as i64), "{range}");
            assert!(
                got.body.collect().await.unwrap().to_vec() == body[expected],
                "{range} of {length}"
            );
        }
        let beyond = format!("bytes={length}-");
        assert_error!(
            server
                .client
                .get_object()
                .bucket(BUCKET)
                .key("object")
                .range(beyond),
            416,
            "InvalidRange"
        );
    }
    server.put("empty", "").await;
    assert_error!(
        server
            .client
            .get_object()
            .bucket(BUCKET)
            .key("empty")
            .range("bytes=-5"),
        416,
        "InvalidRange"
    );
}

#[tokio::test]
async fn deleting_is_idempotent() {
    let server = TestServer::start().await;
    server.put("a/b/c", "x").await;
    for key in ["a/b/c", "a/b/c", "never/was", "a"] {
        server
            .client
            .delete_object()
            .bucket(BUCKET)
            .key(key)
            .send()
            .await
            .unwrap();
    }
    assert!(server.keys().await.is_empty());
    assert_eq!(
        std::fs::read_dir(server.files()).unwrap().count(),
        0,
        "empty directories are pruned"
    );
}

#[tokio::test]
async fn many_are_deleted_at_once_loudly_or_quietly() {
    let server = TestServer::start().await;
    let delete = |keys: &[&str], quiet| {
        let objects = keys
            .iter()
            .map(|k| ObjectIdentifier::builder().key(*k).build().unwrap())
            .collect();
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(quiet)
            .build()
            .unwrap();
        server
            .client
            .delete_objects()
            .bucket(BUCKET)
            .delete(delete)
            .send()
    };
    for key in ["a", "b/c", "d & <e>", "keep"] {
        server.put(key, "x").await;
    }
    let loud = delete(&["a", "d & <e>", "missing"], false).await.unwrap();
    let deleted: Vec<_> = loud.deleted().iter().map(|d| d.key().unwrap()).collect();
    assert_eq!(deleted, ["a", "d & <e>", "missing"]);
    assert!(loud.errors().is_empty());
    let quiet = delete(&["b/c"], true).await.unwrap();
    assert!(quiet.deleted().is_empty() && quiet.errors().is_empty());
    assert_eq!(server.keys().await, ["keep"]);
}

#[tokio::test]
async fn copies_take_or_replace_metadata() {
    let server = TestServer::start().await;
    let body = pattern(3 << 20);
    let put = server
        .client
        .put_object()
        .bucket(BUCKET)
        .key("dir/source ä+%.bin");
    let put = put
        .content_type("text/csv")
        .metadata("kind", "original")
        .body(ByteStream::from(body.clone()));
    let etag = put.send().await.unwrap().e_tag.unwrap();
    let source = "lake/dir/source%20%C3%A4%2B%25.bin";
    let copy = |key: &str| {
        server
            .client
            .copy_object()
            .bucket(BUCKET)
            .key(key)
            .copy_source(source)
    };

    let copied = copy("copy").send().await.unwrap();
    assert_eq!(
        copied.copy_object_result().unwrap().e_tag(),
        Some(etag.as_str())
    );
    let head = server
        .client
        .head_object()
        .bucket(BUCKET)
        .key("copy")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            head.content_type(),
            head.metadata().unwrap()["kind"].as_str()
        ),
        (Some("text/csv"), "original")
    );
    assert!(server.get("copy").await == body);

    let replaced = copy("copy")
        .metadata_directive(MetadataDirective::Replace)
        .metadata("kind", "new");
    replaced.send().await.unwrap();
    let head = server
        .client
        .head_object()
        .bucket(BUCKET)
        .key("copy")
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_type(), Some("binary/octet-stream"));
    assert_eq!(head.metadata().unwrap()["kind"], "new");

    assert_error!(copy("dir/source ä+%.bin"), 400, "InvalidRequest");
    let touch = copy("dir/source ä+%.bin").metadata_directive(MetadataDirective::Replace);
    touch.send().await.unwrap();
    assert!(server.get("dir/source ä+%.bin").await == body);
    assert_error!(
        copy("x").copy_source_if_match("\"other\""),
        412,
        "PreconditionFailed"
    );
    assert_error!(
        copy("x").copy_source_if_none_match(&etag),
        412,
        "PreconditionFailed"
    );
    let missing = server
        .client
        .copy_object()
        .bucket(BUCKET)
        .key("x")
        .copy_source("lake/missing");
    assert_error!(missing, 404, "NoSuchKey");
}

#[tokio::test]
async fn too_much_metadata_and_too_long_keys_are_refused() {
    let server = TestServer::start().await;
    let put = server
        .client
        .put_object()
        .bucket(BUCKET)
        .key("object")
        .metadata("m", "x".repeat(2048));
    assert_error!(put, 400, "MetadataTooLarge");
    let fits = server
        .client
        .put_object()
        .bucket(BUCKET)
        .key("object")
        .metadata("m", "x".repeat(2047));
    fits.send().await.unwrap();
    assert_error!(
        server
            .client
            .put_object()
            .bucket(BUCKET)
            .key("k".repeat(1025)),
        400,
        "KeyTooLongError"
    );
    server.put(&"k".repeat(1024), "x").await;
}
