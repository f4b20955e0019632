//! Checksums of bodies: verified, kept and returned.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};

use super::{BUCKET, TestServer};
use crate::assert_error;

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
