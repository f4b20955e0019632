//! Authentication. The tests sign requests themselves, after the description at
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>, so that a
//! request can be wrong in one respect.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use s3s::crypto::Checksum as _;
use sha2::{Digest, Sha256};

use super::{BUCKET, KEY_ID, RawResponse, SECRET, TestServer};
use crate::assert_error;
use icebox_s3_client::S3Config;
use icebox_s3_client::aws_client;

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Returns the HMAC-SHA-256 of a message (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new()
        .chain_update(block.map(|b| b ^ 0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(block.map(|b| b ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    let sha1 = |parts: [&[u8]; 2]| {
        let mut hash = s3s::crypto::Sha1::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize()
    };
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = sha1([&block.map(|b| b ^ 0x36), message]);
    sha1([&block.map(|b| b ^ 0x5c), inner.as_ref()])
        .as_ref()
        .to_vec()
}

/// Sends a PUT of `body` to `/lake/object`, signed for the time `at`, with `payload_hash` as the
/// declared hash of the payload, and optionally one unsigned header.
async fn put_signed(
    server: &TestServer,
    at: SystemTime,
    payload_hash: &str,
    body: &[u8],
    unsigned: Option<(&str, &str)>,
) -> RawResponse {
    let time = DateTime::<Utc>::from(at)
        .format("%Y%m%dT%H%M%SZ")
        .to_string();
    let (day, region) = (&time[..8], "us-east-1");
    let path = format!("/{BUCKET}/object");
    let canonical = format!(
        "PUT\n{path}\n\nhost:{}\nx-amz-content-sha256:{payload_hash}\nx-amz-date:{time}\n\n\
         host;x-amz-content-sha256;x-amz-date\n{payload_hash}",
        server.address
    );
    let scope = format!("{day}/{region}/s3/aws4_request");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        sha256(canonical.as_bytes())
    );
    let key = [day, region, "s3", "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET}").into_bytes(), |key, part| {
            hmac(&key, part.as_bytes())
        });
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={}",
        hex::encode(hmac(&key, to_sign.as_bytes()))
    );
    let mut headers = vec![
        ("authorization", authorization.as_str()),
        ("x-amz-date", time.as_str()),
        ("x-amz-content-sha256", payload_hash),
    ];
    headers.extend(unsigned);
    server.raw("PUT", &path, &headers, body).await
}

#[tokio::test]
async fn a_request_signed_by_the_book_is_accepted() {
    let server = TestServer::start().await;
    let now = SystemTime::now();
    assert_eq!(
        put_signed(&server, now, &sha256(b"signed"), b"signed", None)
            .await
            .status,
        200
    );
    assert_eq!(server.get("object").await, b"signed");
    assert_eq!(
        put_signed(&server, now, "UNSIGNED-PAYLOAD", b"not signed", None)
            .await
            .status,
        200
    );
    assert_eq!(server.get("object").await, b"not signed");
    let answer = put_signed(&server, now, "UNSIGNED-PAYLOAD", b"", None).await;
    assert_eq!(
        answer.headers["etag"],
        "\"d41d8cd98f00b204e9800998ecf8427e\""
    );
    assert!(answer.headers.contains_key("x-amz-request-id"));
}

#[tokio::test]
async fn a_body_other_than_the_signed_one_is_refused_and_not_stored() {
    let server = TestServer::start().await;
    let answer = put_signed(&server, SystemTime::now(), &sha256(b"one"), b"two", None).await;
    assert_eq!(answer.error(), (400, "XAmzContentSHA256Mismatch"));
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_date_more_than_fifteen_minutes_off_is_refused() {
    let server = TestServer::start().await;
    let now = SystemTime::now();
    for at in [now - Duration::from_mins(16), now + Duration::from_mins(16)] {
        let answer = put_signed(&server, at, &sha256(b"x"), b"x", None).await;
        assert_eq!(answer.error(), (403, "RequestTimeTooSkewed"));
    }
    let answer = put_signed(
        &server,
        now - Duration::from_mins(14),
        &sha256(b"x"),
        b"x",
        None,
    )
    .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_amz_header_that_is_not_signed_is_refused() {
    let server = TestServer::start().await;
    let added = Some(("x-amz-meta-role", "admin"));
    let answer = put_signed(&server, SystemTime::now(), &sha256(b"x"), b"x", added).await;
    assert_eq!(answer.error(), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_wrong_secret_or_key_is_refused() {
    let server = TestServer::start().await;
    let wrong_secret = aws_client(&S3Config {
        secret_access_key: "wrong".into(),
        ..server.config.clone()
    });
    assert_error!(wrong_secret.list_buckets(), 403, "SignatureDoesNotMatch");
    let wrong_key = aws_client(&S3Config {
        access_key_id: "AKIANOBODY".into(),
        ..server.config.clone()
    });
    assert_error!(wrong_key.list_buckets(), 403, "InvalidAccessKeyId");
}

#[tokio::test]
async fn anonymous_requests_are_refused() {
    let server = TestServer::start().await;
    server.put("object", "x").await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/lake/object"),
        ("PUT", "/lake/new"),
        ("DELETE", "/lake/object"),
        ("POST", "/lake/x?uploads"),
    ] {
        let answer = server.raw(method, path, &[], b"").await;
        assert_eq!(answer.error(), (403, "AccessDenied"), "{method} {path}");
    }
    assert_eq!(server.keys().await, ["object"]);
}

/// The signature itself is correct: `Authorization: AWS <key id>:<base64 of an HMAC-SHA-1>`.
#[tokio::test]
async fn a_header_signed_by_version_2_is_refused() {
    let server = TestServer::start().await;
    server.put("object", "x").await;
    let date = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let to_sign = format!("GET\n\n\n{date}\n/{BUCKET}/object");
    let signature = BASE64_STANDARD.encode(hmac_sha1(SECRET.as_bytes(), to_sign.as_bytes()));
    let authorization = format!("AWS {KEY_ID}:{signature}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("date", date.as_str()),
    ];
    let answer = server.raw("GET", "/lake/object", &headers, b"").await;
    assert_eq!(answer.error(), (400, "InvalidRequest"));
}

fn presigning(start: SystemTime, seconds: u64) -> PresigningConfig {
    PresigningConfig::builder()
        .start_time(start)
        .expires_in(Duration::from_secs(seconds))
        .build()
        .expect("a valid configuration")
}

#[tokio::test]
async fn presigned_urls_work_until_they_expire() {
    let server = TestServer::start().await;
    let key = "dir/ä b+c.txt";
    let now = SystemTime::now();
    let put = server
        .client
        .put_object()
        .bucket(BUCKET)
        .key(key)
        .presigned(presigning(now, 60))
        .await
        .unwrap();
    assert_eq!(server.follow("PUT", put.uri(), b"by url").await.status, 200);

    let get = server
        .client
        .get_object()
        .bucket(BUCKET)
        .key(key)
        .presigned(presigning(now, 60))
        .await
        .unwrap();
    let answer = server.follow("GET", get.uri(), b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "by url"));

    // A presigned URL is valid for its method and key only.
    assert_eq!(
        server.follow("PUT", get.uri(), b"other").await.error(),
        (403, "SignatureDoesNotMatch")
    );
    let elsewhere = get.uri().replace("/dir/", "/other/");
    assert_eq!(
        server.follow("GET", &elsewhere, b"").await.error(),
        (403, "SignatureDoesNotMatch")
    );

    let past = presigning(now - Duration::from_mins(2), 60);
    let expired = server
        .client
        .get_object()
        .bucket(BUCKET)
        .key(key)
        .presigned(past)
        .await
        .unwrap();
    assert_eq!(
        server.follow("GET", expired.uri(), b"").await.error(),
        (403, "AccessDenied")
    );
    assert_eq!(server.get(key).await, b"by url");
}
