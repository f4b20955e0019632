use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use object_store::ObjectStoreExt;

use super::{BUCKET, TestServer, error, server_config};
use crate::assert_error;
use icebox_s3::{Error, Server};
use icebox_s3_client::ensure_bucket;

#[tokio::test]
async fn a_bucket_lives_from_create_to_delete() {
    let server = TestServer::start().await;
    let s3 = &server.client;
    s3.create_bucket()
        .bucket("second.bucket-2")
        .send()
        .await
        .unwrap();
    s3.head_bucket()
        .bucket("second.bucket-2")
        .send()
        .await
        .unwrap();
    let listed = s3.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().map(|b| b.name().unwrap()).collect();
    assert_eq!(names, [BUCKET, "second.bucket-2"]);
    assert!(listed.buckets().iter().all(|b| b.creation_date().is_some()));

    s3.delete_bucket()
        .bucket("second.bucket-2")
        .send()
        .await
        .unwrap();
    assert_eq!(
        error(s3.head_bucket().bucket("second.bucket-2").send().await).0,
        404
    );
    assert_error!(
        s3.delete_bucket().bucket("second.bucket-2"),
        404,
        "NoSuchBucket"
    );
}

#[tokio::test]
async fn a_bucket_is_made_once_and_deleted_only_when_empty() {
    let server = TestServer::start().await;
    assert_error!(
        server.client.create_bucket().bucket(BUCKET),
        409,
        "BucketAlreadyOwnedByYou"
    );
    ensure_bucket(&server.config, BUCKET)
        .await
        .expect("a bucket that is there will do");
    server.put("deep/inside/object", "x").await;
    assert_error!(
        server.client.delete_bucket().bucket(BUCKET),
        409,
        "BucketNotEmpty"
    );
    server
        .client
        .delete_object()
        .bucket(BUCKET)
        .key("deep/inside/object")
        .send()
        .await
        .unwrap();
    server
        .client
        .delete_bucket()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    assert!(!server.files().exists());
}

#[tokio::test]
async fn names_are_checked() {
    let server = TestServer::start().await;
    for name in [
        "ab",
        "Upper",
        "under_score",
        "-dash",
        "dots..dots",
        "192.168.0.1",
        &"a".repeat(64),
    ] {
        assert_error!(
            server.client.create_bucket().bucket(name),
            400,
            "InvalidBucketName"
        );
    }
    // The directory of the server's own files is not a bucket.
    assert_error!(
        server.client.list_objects_v2().bucket(".icebox"),
        400,
        "InvalidBucketName"
    );
}

#[tokio::test]
async fn the_location_is_the_servers_region() {
    let server = TestServer::start().await;
    let location = server
        .client
        .get_bucket_location()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    // S3 returns an empty location constraint for us-east-1.
    assert_eq!(
        location.location_constraint().map_or("", |l| l.as_str()),
        ""
    );
    let head = server
        .client
        .head_bucket()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    assert_eq!(head.bucket_region(), Some("us-east-1"));
    let elsewhere = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::EuWest1)
        .build();
    let create = server
        .client
        .create_bucket()
        .bucket("elsewhere")
        .create_bucket_configuration(elsewhere);
    assert_error!(create, 400, "IllegalLocationConstraintException");
}

#[tokio::test]
async fn every_operation_on_a_missing_bucket_says_so() {
    let server = TestServer::start().await;
    let s3 = &server.client;
    assert_error!(s3.list_objects_v2().bucket("missing"), 404, "NoSuchBucket");
    assert_error!(s3.list_objects().bucket("missing"), 404, "NoSuchBucket");
    assert_error!(
        s3.get_object().bucket("missing").key("k"),
        404,
        "NoSuchBucket"
    );
    assert_error!(
        s3.put_object().bucket("missing").key("a/k"),
        404,
        "NoSuchBucket"
    );
    assert_error!(
        s3.delete_object().bucket("missing").key("k"),
        404,
        "NoSuchBucket"
    );
    assert_error!(
        s3.create_multipart_upload().bucket("missing").key("k"),
        404,
        "NoSuchBucket"
    );
    assert_error!(
        s3.get_bucket_location().bucket("missing"),
        404,
        "NoSuchBucket"
    );
}

#[tokio::test]
async fn what_is_not_implemented_says_so() {
    let server = TestServer::start().await;
    assert_error!(
        server.client.get_bucket_policy().bucket(BUCKET),
        501,
        "NotImplemented"
    );
    assert_error!(
        server
            .client
            .put_object()
            .bucket(BUCKET)
            .key("k")
            .tagging("a=b"),
        501,
        "NotImplemented"
    );
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn two_servers_do_not_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::bind(server_config(dir.path())).await.unwrap();
    assert!(matches!(
        Server::bind(server_config(dir.path())).await,
        Err(Error::InUse { .. })
    ));
    drop(first);
    Server::bind(server_config(dir.path()))
        .await
        .expect("free again");
}

#[tokio::test]
async fn a_stopped_server_fails_within_about_a_second_and_finishes_what_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::bind(server_config(dir.path())).await.unwrap();
    let config = server.client_config();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async { stopped.await.unwrap_or(()) }));
    ensure_bucket(&config, BUCKET).await.unwrap();
    stop.send(()).unwrap();
    task.await.unwrap().unwrap();

    let begun = std::time::Instant::now();
    let refused = ensure_bucket(&config, BUCKET)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains(BUCKET) && refused.contains(&config.endpoint),
        "{refused}"
    );
    let store = icebox_s3_client::object_store(&config, BUCKET, None).unwrap();
    store.get(&"key".into()).await.unwrap_err();
    let took = begun.elapsed();
    assert!(
        took < std::time::Duration::from_secs(4),
        "two clients took {took:?} to notice"
    );
}
