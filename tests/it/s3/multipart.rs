use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use md5::{Digest, Md5};

use super::objects::pattern;
use super::{BUCKET, TestServer};
use crate::assert_error;

const PART: usize = 5 << 20;

async fn begin(server: &TestServer, key: &str) -> String {
    let create = server
        .client
        .create_multipart_upload()
        .bucket(BUCKET)
        .key(key)
        .metadata("kind", "big");
    create.send().await.unwrap().upload_id.unwrap()
}

async fn upload(server: &TestServer, key: &str, id: &str, number: i32, body: Vec<u8>) -> String {
    let part = server
        .client
        .upload_part()
        .bucket(BUCKET)
        .key(key)
        .upload_id(id)
        .part_number(number);
    part.body(ByteStream::from(body))
        .send()
        .await
        .unwrap()
        .e_tag
        .unwrap()
}

fn complete(
    server: &TestServer,
    key: &str,
    id: &str,
    parts: &[(i32, &str)],
) -> CompleteMultipartUploadFluentBuilder {
    let parts = parts
        .iter()
        .map(|(number, etag)| {
            CompletedPart::builder()
                .part_number(*number)
                .e_tag(*etag)
                .build()
        })
        .collect();
    let parts = CompletedMultipartUpload::builder()
        .set_parts(Some(parts))
        .build();
    server
        .client
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key(key)
        .upload_id(id)
        .multipart_upload(parts)
}

#[tokio::test]
async fn parts_become_one_object_at_completion() {
    let server = TestServer::start().await;
    let (key, body) = ("dir/big", pattern(2 * PART + 12345));
    let id = begin(&server, key).await;
    // Parts are uploaded in any order, and one of them twice.
    let third = upload(&server, key, &id, 30, body[2 * PART..].to_vec()).await;
    upload(&server, key, &id, 2, vec![0; PART]).await;
    let second = upload(&server, key, &id, 2, body[PART..2 * PART].to_vec()).await;
    let first = upload(&server, key, &id, 1, body[..PART].to_vec()).await;
    assert!(
        server.keys().await.is_empty(),
        "nothing is visible before completion"
    );

    let parts = server
        .client
        .list_parts()
        .bucket(BUCKET)
        .key(key)
        .upload_id(&id)
        .send()
        .await
        .unwrap();
    let listed: Vec<_> = parts
        .parts()
        .iter()
        .map(|p| {
            (
                p.part_number().unwrap(),
                p.e_tag().unwrap(),
                p.size().unwrap(),
            )
        })
        .collect();
    let full = PART as i64;
    assert_eq!(
        listed,
        [
            (1, first.as_str(), full),
            (2, second.as_str(), full),
            (30, third.as_str(), 12345)
        ]
    );
    let page = server
        .client
        .list_parts()
        .bucket(BUCKET)
        .key(key)
        .upload_id(&id)
        .max_parts(2)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (page.is_truncated(), page.next_part_number_marker()),
        (Some(true), Some("2"))
    );

    let done = complete(
        &server,
        key,
        &id,
        &[(1, &first), (2, &second), (30, &third)],
    )
    .send()
    .await
    .unwrap();
    let mut md5s = Md5::new();
    for part in [&body[..PART], &body[PART..2 * PART], &body[2 * PART..]] {
        md5s.update(Md5::digest(part));
    }
    assert_eq!(
        done.e_tag().unwrap(),
        format!("\"{:x}-3\"", md5s.finalize())
    );
    assert!(server.get(key).await == body);
    let head = server
        .client
        .head_object()
        .bucket(BUCKET)
        .key(key)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (head.e_tag(), head.metadata().unwrap()["kind"].as_str()),
        (done.e_tag(), "big")
    );
    let listed = server
        .client
        .list_objects_v2()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    assert_eq!(listed.contents()[0].e_tag(), done.e_tag());
    assert_error!(
        server
            .client
            .list_parts()
            .bucket(BUCKET)
            .key(key)
            .upload_id(&id),
        404,
        "NoSuchUpload"
    );

    // The copy of a multipart object has one part: its ETag is the MD5 of its bytes.
    let copied = server
        .client
        .copy_object()
        .bucket(BUCKET)
        .key("copy")
        .copy_source("lake/dir/big")
        .send()
        .await
        .unwrap();
    assert_eq!(
        copied.copy_object_result().unwrap().e_tag().unwrap(),
        format!("\"{:x}\"", Md5::digest(&body))
    );
}

#[tokio::test]
async fn completion_checks_the_list_of_parts() {
    let server = TestServer::start().await;
    let id = begin(&server, "big").await;
    let first = upload(&server, "big", &id, 1, pattern(PART)).await;
    let second = upload(&server, "big", &id, 2, pattern(10)).await;
    let third = upload(&server, "big", &id, 3, pattern(10)).await;
    let complete = |parts: &[(i32, &str)]| complete(&server, "big", &id, parts);
    assert_error!(complete(&[]), 400, "MalformedXML");
    assert_error!(
        complete(&[(2, &second), (1, &first)]),
        400,
        "InvalidPartOrder"
    );
    assert_error!(complete(&[(1, &second), (2, &second)]), 400, "InvalidPart");
    assert_error!(complete(&[(1, &first), (9, &second)]), 400, "InvalidPart");
    assert_error!(
        complete(&[(1, &first), (2, &second), (3, &third)]),
        400,
        "EntityTooSmall"
    );
    server.put("big", "already here").await;
    assert_error!(
        complete(&[(1, &first)]).if_none_match("*"),
        412,
        "PreconditionFailed"
    );
    // The refused completions have not changed the upload.
    complete(&[(1, &first), (2, &second)]).send().await.unwrap();
    assert_eq!(server.get("big").await.len(), PART + 10);
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let server = TestServer::start().await;
    let id = begin(&server, "big").await;
    let etag = upload(&server, "big", &id, 1, pattern(100)).await;
    let abort = || {
        server
            .client
            .abort_multipart_upload()
            .bucket(BUCKET)
            .key("big")
            .upload_id(&id)
    };
    abort().send().await.unwrap();
    assert_error!(abort(), 404, "NoSuchUpload");
    assert_error!(
        complete(&server, "big", &id, &[(1, &etag)]),
        404,
        "NoSuchUpload"
    );
    let part = server
        .client
        .upload_part()
        .bucket(BUCKET)
        .key("big")
        .upload_id(&id)
        .part_number(2);
    assert_error!(
        part.body(ByteStream::from_static(b"x")),
        404,
        "NoSuchUpload"
    );
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn an_upload_belongs_to_its_key_and_its_id_is_no_path() {
    let server = TestServer::start().await;
    let id = begin(&server, "big").await;
    for (key, id) in [
        ("other", id.as_str()),
        ("big", "../../lake"),
        ("big", "x"),
        ("big", "00000000000000000000000000000000"),
    ] {
        let part = server
            .client
            .upload_part()
            .bucket(BUCKET)
            .key(key)
            .upload_id(id)
            .part_number(1);
        assert_error!(
            part.body(ByteStream::from_static(b"x")),
            404,
            "NoSuchUpload"
        );
    }
    for number in [0, 10_001] {
        let part = server
            .client
            .upload_part()
            .bucket(BUCKET)
            .key("big")
            .upload_id(&id)
            .part_number(number);
        assert_error!(
            part.body(ByteStream::from_static(b"x")),
            400,
            "InvalidArgument"
        );
    }
}

#[tokio::test]
async fn parts_can_be_copied_from_objects() {
    let server = TestServer::start().await;
    let body = pattern(PART + 1000);
    server.put("source", body.clone()).await;
    let id = begin(&server, "big").await;
    let copy = |number, range: &str| {
        let copy = server
            .client
            .upload_part_copy()
            .bucket(BUCKET)
            .key("big")
            .upload_id(&id)
            .part_number(number);
        copy.copy_source("lake/source").copy_source_range(range)
    };
    let mut etags = Vec::new();
    for (number, range) in [
        (1, format!("bytes=1000-{}", PART + 999)),
        (2, "bytes=0-999".to_owned()),
    ] {
        let copied = copy(number, &range).send().await.unwrap();
        etags.push(copied.copy_part_result.unwrap().e_tag.unwrap());
    }
    assert_error!(
        copy(3, &format!("bytes=0-{}", body.len())),
        400,
        "InvalidArgument"
    );
    complete(&server, "big", &id, &[(1, &etags[0]), (2, &etags[1])])
        .send()
        .await
        .unwrap();
    let got = server.get("big").await;
    assert!(got[..PART] == body[1000..] && got[PART..] == body[..1000]);
}

#[tokio::test]
async fn unfinished_uploads_are_listed_in_pages() {
    let server = TestServer::start().await;
    let mut expected = Vec::new();
    for key in ["a", "b/1", "b/1", "b/2", "c"] {
        expected.push((key.to_owned(), begin(&server, key).await));
    }
    let (mut key_marker, mut id_marker, mut found) = (None, None, Vec::new());
    loop {
        let list = server
            .client
            .list_multipart_uploads()
            .bucket(BUCKET)
            .max_uploads(2);
        let page = list
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker)
            .send()
            .await
            .unwrap();
        found.extend(page.uploads().iter().map(|u| {
            (
                u.key().unwrap().to_owned(),
                u.upload_id().unwrap().to_owned(),
            )
        }));
        if !page.is_truncated().unwrap() {
            break;
        }
        key_marker = page.next_key_marker().map(str::to_owned);
        id_marker = page.next_upload_id_marker().map(str::to_owned);
    }
    assert_eq!(found, expected);
    let folded = server
        .client
        .list_multipart_uploads()
        .bucket(BUCKET)
        .delimiter("/")
        .send()
        .await
        .unwrap();
    assert_eq!(folded.uploads().len(), 2);
    assert_eq!(folded.common_prefixes()[0].prefix(), Some("b/"));
    let prefixed = server
        .client
        .list_multipart_uploads()
        .bucket(BUCKET)
        .prefix("b/2")
        .send()
        .await
        .unwrap();
    assert_eq!(prefixed.uploads().len(), 1);
}
