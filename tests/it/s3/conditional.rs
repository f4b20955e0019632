//! Conditional reads and writes.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::{BUCKET, TestServer, error};
use crate::assert_error;
use icebox_s3_client::object_store;

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
