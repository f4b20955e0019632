//! The error answers of S3
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).

use std::io;

use s3s::{S3Error, S3ErrorCode, StdError};

/// Returns an S3 error with a message.
pub(super) fn s3(code: S3ErrorCode, message: impl Into<String>) -> S3Error {
    S3Error::with_message(code, message.into())
}

pub(super) fn no_such_bucket() -> S3Error {
    s3(
        S3ErrorCode::NoSuchBucket,
        "The specified bucket does not exist",
    )
}

pub(super) fn no_such_key() -> S3Error {
    s3(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

pub(super) fn no_such_upload() -> S3Error {
    s3(
        S3ErrorCode::NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    )
}

pub(super) fn precondition_failed() -> S3Error {
    s3(
        S3ErrorCode::PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold",
    )
}

pub(super) fn not_implemented(what: &str) -> S3Error {
    s3(
        S3ErrorCode::NotImplemented,
        format!("icebox's S3 server does not implement {what}"),
    )
}

/// Converts a failure of the file system. `doing` says what was being done, on what.
pub(super) fn io(doing: impl std::fmt::Display) -> impl FnOnce(io::Error) -> S3Error {
    let doing = doing.to_string();
    move |source| {
        tracing::error!(%source, "{doing}");
        let code = match source.kind() {
            // Temporary conditions, after which clients try again.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                S3ErrorCode::ServiceUnavailable
            }
            _ => S3ErrorCode::InternalError,
        };
        let mut error = s3(code, format!("{doing}: {source}"));
        error.set_source(Box::new(source));
        error
    }
}

/// Converts the failure of a request body that could not be read to its end.
///
/// s3s checks payload hashes and chunk signatures while the body is read. Its error types are
/// private, so the cause has to be taken from the text.
pub(super) fn body(source: StdError) -> S3Error {
    let text = source.to_string();
    if text.contains("Sha256Mismatch") {
        let mut error = s3(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        error
    } else if text.contains("SignatureMismatch") {
        s3(
            S3ErrorCode::SignatureDoesNotMatch,
            "The signature of a chunk of the body does not match what was computed.",
        )
    } else {
        let mut error = s3(
            S3ErrorCode::IncompleteBody,
            format!("The request body could not be read to its end: {text}"),
        );
        error.set_source(source);
        error
    }
}
