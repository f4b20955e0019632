//! Conversions between the headers of requests and what is stored with an object.

use s3s::dto::{ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};

use super::error;
use super::metadata::Headers;
use super::store::Precondition;

/// S3's limit on user metadata, in bytes.
const MAX_USER_METADATA: usize = 2048;

/// Takes the [`Headers`] out of the input of any operation that has them.
macro_rules! headers_of {
    ($input:expr) => {
        $crate::headers::checked($crate::metadata::Headers {
            content_type: $input.content_type.take(),
            content_encoding: $crate::headers::stored_encoding($input.content_encoding.take()),
            content_disposition: $input.content_disposition.take(),
            content_language: $input.content_language.take(),
            cache_control: $input.cache_control.take(),
            expires: $input.expires.take().and_then($crate::headers::http_date),
            website_redirect_location: $input.website_redirect_location.take(),
            user: $input
                .metadata
                .take()
                .unwrap_or_default()
                .into_iter()
                .collect(),
        })
    };
}
pub(super) use headers_of;

/// Refuses options that this server would have to ignore, although they change what the object is.
macro_rules! refuse_unsupported {
    ($input:expr) => {
        $crate::headers::refuse([
            (
                $input.sse_customer_key.is_some(),
                "encryption with customer keys",
            ),
            ($input.tagging.is_some(), "object tags"),
            (
                $input.object_lock_mode.is_some() || $input.object_lock_legal_hold_status.is_some(),
                "object lock",
            ),
        ])
    };
}
pub(super) use refuse_unsupported;

pub(super) fn refuse<const N: usize>(asked: [(bool, &str); N]) -> S3Result<()> {
    match asked.iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => Err(error::not_implemented(what)),
        None => Ok(()),
    }
}

pub(super) fn checked(headers: Headers) -> S3Result<Headers> {
    if headers.user_size() > MAX_USER_METADATA {
        return Err(error::s3(
            S3ErrorCode::MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size",
        ));
    }
    Ok(headers)
}

/// Returns the content encoding to store. `aws-chunked` is left out: it describes how the request
/// was sent, not what the object is.
pub(super) fn stored_encoding(value: Option<String>) -> Option<String> {
    let kept: Vec<&str> = value
        .as_deref()?
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

pub(super) fn http_date(time: Timestamp) -> Option<String> {
    let mut text = Vec::new();
    time.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

pub(super) fn parse_http_date(text: &str) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, text).ok()
}

/// Returns the condition of a request that writes an object.
pub(super) fn precondition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Precondition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Precondition::None),
        (Some(wanted), None) => Ok(Precondition::Matches(wanted)),
        (None, Some(ETagCondition::Any)) => Ok(Precondition::Absent),
        (None, Some(_)) => Err(error::not_implemented(
            "If-None-Match with an ETag on a write (S3 supports only `*` there)",
        )),
        (Some(_), Some(_)) => Err(error::not_implemented(
            "If-Match together with If-None-Match on a write",
        )),
    }
}

/// Checks a version id. Objects have no versions, so only the version `null` exists.
pub(super) fn check_version(version_id: Option<&str>) -> S3Result<()> {
    match version_id {
        None | Some("null") => Ok(()),
        Some(_) => Err(error::s3(
            S3ErrorCode::InvalidArgument,
            "Invalid version id specified",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_chunked_is_not_stored() {
        let stored = |v: &str| stored_encoding(Some(v.to_owned()));
        assert_eq!(stored("aws-chunked"), None);
        assert_eq!(stored("gzip,aws-chunked"), Some("gzip".into()));
        assert_eq!(stored("aws-chunked, br, gzip"), Some("br,gzip".into()));
        assert_eq!(stored("gzip"), Some("gzip".into()));
    }
}
