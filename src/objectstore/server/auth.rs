//! Who may do what: one key pair, and every request signed with it by Signature Version 4.
//!
//! s3s checks the signature itself, the request's date (15 minutes) and a presigned URL's expiry. This adds what AWS
//! checks besides: the key, that headers are signed by Version 4 only, and that every `x-amz-*` header is signed.
//! Presigned URLs of Version 2 are let in, with s3s checking them: the AWS command line 1 and boto3 still make them
//! unless told otherwise, where the endpoint is not AWS's own.

use async_trait::async_trait;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3ErrorCode, S3Result};

use super::error;

/// The one key pair that the server knows.
pub(super) struct KeyPair {
    pub access_key_id: String,
    pub secret_access_key: SecretKey,
}

#[async_trait]
impl S3Auth for KeyPair {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key_id {
            Ok(self.secret_access_key.clone())
        } else {
            Err(error::s3(
                S3ErrorCode::InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records.",
            ))
        }
    }
}

/// Refuses anonymous requests, and signatures that AWS would not accept.
pub(super) struct SignedRequests;

#[async_trait]
impl S3Access for SignedRequests {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        if cx.credentials().is_none() {
            return Err(error::s3(S3ErrorCode::AccessDenied, "Access Denied"));
        }
        match cx.headers().get("authorization") {
            // Signed in the query, or in a browser's form.
            None => Ok(()),
            Some(value) => match value.to_str().ok().and_then(signed_headers) {
                Some(signed) => check_all_signed(cx, signed),
                None => Err(error::s3(
                    S3ErrorCode::InvalidRequest,
                    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
                )),
            },
        }
    }
}

/// The `SignedHeaders` of a Version 4 `Authorization` header.
fn signed_headers(authorization: &str) -> Option<&str> {
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256")?;
    fields
        .split(',')
        .find_map(|field| field.trim().strip_prefix("SignedHeaders="))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>: the host header and every
/// `x-amz-*` header in the request must be signed.
fn check_all_signed(cx: &S3AccessContext<'_>, signed: &str) -> S3Result<()> {
    let is_signed = |name: &str| signed.split(';').any(|s| s.eq_ignore_ascii_case(name));
    let mut unsigned = cx
        .headers()
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| (name.starts_with("x-amz-") || *name == "host") && !is_signed(name));
    match unsigned.next() {
        None => Ok(()),
        Some(name) => Err(error::s3(
            S3ErrorCode::AccessDenied,
            format!("There were headers present in the request which were not signed: {name}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_headers_are_found_with_and_without_spaces() {
        let spaced = "AWS4-HMAC-SHA256 Credential=k/20260101/r/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=0";
        let dense = "AWS4-HMAC-SHA256 Credential=k/20260101/r/s3/aws4_request,SignedHeaders=host;x-amz-date,Signature=0";
        assert_eq!(signed_headers(spaced), Some("host;x-amz-date"));
        assert_eq!(signed_headers(dense), Some("host;x-amz-date"));
        assert_eq!(signed_headers("AWS k:signature"), None);
    }
}
