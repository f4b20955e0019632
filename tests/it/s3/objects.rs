use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, Delete, MetadataDirective, ObjectIdentifier,
};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::{BUCKET, TestServer, error};
use crate::assert_error;
use icebox_s3_client::object_store;

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
async fn reads_can_be_conditional() {
    let server = TestServer::start().await;
    let etag = server.put("object", "x").await;
    let get = || server.client.get_object().bucket(BUCKET).key("object");
    let head = || server.client.head_object().bucket(BUCKET).key("object");
    let hour = Duration::from_hours(1);
    let (past, future) = (
        DateTime::from(SystemTime::now() - hour),
        DateTime::from(SystemTime::now() + hour),
    );

    get().if_match(&etag).send().await.unwrap();
    get().if_none_match("\"other\"").send().await.unwrap();
    get().if_modified_since(past).send().await.unwrap();
    get().if_unmodified_since(future).send().await.unwrap();
    assert_error!(get().if_match("\"other\""), 412, "PreconditionFailed");
    assert_error!(get().if_unmodified_since(past), 412, "PreconditionFailed");
    assert_eq!(error(get().if_none_match(&etag).send().await).0, 304);
    assert_eq!(error(get().if_none_match("*").send().await).0, 304);
    assert_eq!(error(head().if_none_match(&etag).send().await).0, 304);
    assert_eq!(error(head().if_match("\"other\"").send().await).0, 412);
    // An object is not modified since its own date, although the file's time has fractions of a
    // second.
    let date = *head().send().await.unwrap().last_modified().unwrap();
    assert_eq!(error(get().if_modified_since(date).send().await).0, 304);
    // An ETag condition that holds takes precedence over the corresponding date condition.
    get()
        .if_match(&etag)
        .if_unmodified_since(past)
        .send()
        .await
        .unwrap();
    get()
        .if_none_match("\"other\"")
        .if_modified_since(future)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn writes_can_be_conditional() {
    let server = TestServer::start().await;
    let put = |body: &'static str| {
        let put = server.client.put_object().bucket(BUCKET).key("dir/object");
        put.body(ByteStream::from_static(body.as_bytes()))
    };
    assert_error!(
        put("x").if_match("\"5d41402abc4b2a76b9719d911017c592\""),
        404,
        "NoSuchKey"
    );
    let first = put("one").if_none_match("*").send().await.unwrap();
    assert_error!(put("two").if_none_match("*"), 412, "PreconditionFailed");
    assert_error!(put("two").if_match("\"other\""), 412, "PreconditionFailed");
    assert_eq!(server.get("dir/object").await, b"one");
    put("two")
        .if_match(first.e_tag().unwrap())
        .send()
        .await
        .unwrap();
    assert_error!(
        put("three").if_match(first.e_tag().unwrap()),
        412,
        "PreconditionFailed"
    );
    assert_eq!(server.get("dir/object").await, b"two");
    server
        .client
        .delete_object()
        .bucket(BUCKET)
        .key("dir/object")
        .send()
        .await
        .unwrap();
    put("again").if_none_match("*").send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_conditional_writers_exactly_one_wins() {
    let server = TestServer::start().await;
    let store = object_store(&server.config, BUCKET, None).unwrap();
    for round in 0..10 {
        let path = object_store::path::Path::from(format!("v{round}.metadata.json"));
        let writers = (0..16).map(|writer| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move {
                let created = store
                    .put_opts(&path, writer.to_string().into(), PutMode::Create.into())
                    .await;
                (writer, created)
            })
        });
        let mut winners = Vec::new();
        for outcome in futures::future::join_all(writers).await {
            match outcome.unwrap() {
                (writer, Ok(_)) => winners.push(writer),
                (_, Err(object_store::Error::AlreadyExists { .. })) => {}
                (_, Err(e)) => panic!("{e}"),
            }
        }
        assert_eq!(winners.len(), 1);
        let got = store.get(&path).await.unwrap();
        let version = UpdateVersion {
            e_tag: got.meta.e_tag.clone(),
            version: None,
        };
        assert_eq!(got.bytes().await.unwrap(), winners[0].to_string());
        let update = |body: &'static str| {
            let options = PutOptions::from(PutMode::Update(version.clone()));
            store.put_opts(&path, body.into(), options)
        };
        update("next").await.unwrap();
        assert!(matches!(
            update("lost").await,
            Err(object_store::Error::Precondition { .. })
        ));
    }
}

#[tokio::test]
async fn damaged_bodies_are_refused_and_not_stored() {
    let server = TestServer::start().await;
    let put = || {
        server
            .client
            .put_object()
            .bucket(BUCKET)
            .key("object")
            .body(ByteStream::from_static(b"hello"))
    };
    assert_error!(
        put().content_md5("AAAAAAAAAAAAAAAAAAAAAA=="),
        400,
        "BadDigest"
    );
    assert_error!(put().content_md5("not base64"), 400, "InvalidDigest");
    assert_error!(put().checksum_crc32("AAAAAA=="), 400, "BadDigest");
    assert_error!(
        put().checksum_sha256("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        400,
        "BadDigest"
    );
    assert!(server.keys().await.is_empty());
    // The MD5 of "hello".
    put()
        .content_md5("XUFAKrxLKna5cZ2REBfFkg==")
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn checksums_are_kept_and_given_back() {
    let server = TestServer::start().await;
    // The SHA-256 and CRC-32 of "hello" are known; the SDK computes the other checksums.
    for (algorithm, known) in [
        (
            ChecksumAlgorithm::Sha256,
            Some("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
        ),
        (ChecksumAlgorithm::Crc32, Some("NhCmhg==")),
        (ChecksumAlgorithm::Crc32C, None),
        (ChecksumAlgorithm::Crc64Nvme, None),
        (ChecksumAlgorithm::Sha1, None),
    ] {
        let put = server
            .client
            .put_object()
            .bucket(BUCKET)
            .key("object")
            .checksum_algorithm(algorithm.clone());
        put.body(ByteStream::from_static(b"hello"))
            .send()
            .await
            .unwrap();
        let get = server
            .client
            .get_object()
            .bucket(BUCKET)
            .key("object")
            .checksum_mode(ChecksumMode::Enabled);
        let got = get.send().await.unwrap();
        let value = match algorithm {
            ChecksumAlgorithm::Sha256 => got.checksum_sha256(),
            ChecksumAlgorithm::Crc32 => got.checksum_crc32(),
            ChecksumAlgorithm::Crc32C => got.checksum_crc32_c(),
            ChecksumAlgorithm::Crc64Nvme => got.checksum_crc64_nvme(),
            _ => got.checksum_sha1(),
        };
        assert!(value.is_some(), "{algorithm:?}");
        if known.is_some() {
            assert_eq!(value, known, "{algorithm:?}");
        }
        // The SDK verifies the checksum while it reads.
        got.body.collect().await.unwrap();
    }
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
