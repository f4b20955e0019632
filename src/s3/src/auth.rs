//! Authentication: finds the caller by the access key that signed the request, with Signature
//! Version 4.
//!
//! s3s checks the signature, the request's date (15 minutes) and the expiry of a presigned URL.
//! This module adds the other checks of AWS: the key and its session token, that an `Authorization`
//! header uses Version 4, and that every `x-amz-*` header is signed. Presigned URLs of Version 2
//! are accepted, and s3s checks them: version 1 of the AWS command line and boto3 still create them
//! by default for an endpoint that is not AWS's own.

use async_trait::async_trait;
use s3s::access::S3AccessContext;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::error;
use icebox_aws::{Caller, CredentialsError, Iam};

/// The access keys of all accounts, for s3s.
pub(super) struct Keys(pub Iam);

#[async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.secret_of(access_key) {
            Some(secret) => Ok(SecretKey::from(secret.expose())),
            None => Err(refused(CredentialsError::UnknownKey)),
        }
    }
}

/// Converts a refusal into S3's error
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
fn refused(why: CredentialsError) -> S3Error {
    let (code, message) = match why {
        CredentialsError::UnknownKey => (
            S3ErrorCode::InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records.",
        ),
        CredentialsError::BadToken => (
            S3ErrorCode::InvalidToken,
            "The provided token is malformed or otherwise invalid.",
        ),
        CredentialsError::Expired => (S3ErrorCode::ExpiredToken, "The provided token has expired."),
    };
    error::s3(code, message)
}

/// Returns the caller of a request. Refuses anonymous requests, and signatures that AWS would not
/// accept.
pub(super) fn caller(iam: &Iam, cx: &S3AccessContext<'_>) -> S3Result<Caller> {
    let Some(credentials) = cx.credentials() else {
        return Err(error::s3(S3ErrorCode::AccessDenied, "Access Denied"));
    };
    match cx.headers().get("authorization") {
        // The request is signed in the query, or in a browser's form.
        None => {}
        Some(value) => match value.to_str().ok().and_then(signed_headers) {
            Some(signed) => check_all_signed(cx, signed)?,
            None => {
                return Err(error::s3(
                    S3ErrorCode::InvalidRequest,
                    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
                ));
            }
        },
    }
    iam.caller(&credentials.access_key, token(cx).as_deref())
        .map_err(refused)
}

/// Returns the session token of temporary credentials, from a header or the query.
fn token(cx: &S3AccessContext<'_>) -> Option<String> {
    const NAME: &str = "x-amz-security-token";
    if let Some(value) = cx.headers().get(NAME) {
        return Some(value.to_str().unwrap_or_default().to_owned());
    }
    let query = cx.uri().query()?.as_bytes();
    let mut pairs = form_urlencoded::parse(query);
    pairs
        .find(|(name, _)| name.eq_ignore_ascii_case(NAME))
        .map(|(_, value)| value.into_owned())
}

/// Returns the `SignedHeaders` of a Version 4 `Authorization` header.
fn signed_headers(authorization: &str) -> Option<&str> {
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256")?;
    fields
        .split(',')
        .find_map(|field| field.trim().strip_prefix("SignedHeaders="))
}

/// Checks that the host header and every `x-amz-*` header of the request are signed
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
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
