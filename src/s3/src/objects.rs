//! Operations on objects: `GetObject`, `HeadObject`, `PutObject`, `DeleteObject` and
//! `DeleteObjects`.

use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use s3s::dto::{
    Checksum, ChecksumMode, ChecksumType, DeleteObjectInput, DeleteObjectsInput,
    DeleteObjectsOutput, DeletedObject, ETag, Error, GetObjectInput, GetObjectOutput,
    HeadObjectInput, HeadObjectOutput, PutObjectInput, PutObjectOutput, Range, StreamingBlob,
    Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::access::Permit;
use super::conditions::ReadConditions;
use super::error;
use super::headers::{self, check_version, headers_of, precondition, refuse_unsupported};
use super::metadata::ObjectMetadata;
use super::store::{OpenObject, Store, blocking};
use super::upload::{self, Announced, checksum_of};

/// The number of bytes up to which an object is read at once and sent with the headers. More bytes
/// are streamed in pieces of this size.
const PIECE: usize = 256 << 10;

/// The content type that S3 returns for an object that was stored without one.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

pub(super) async fn put(
    store: &Arc<Store>,
    req: S3Request<PutObjectInput>,
) -> S3Result<PutObjectOutput> {
    let mut input = req.input;
    refuse_unsupported!(input)?;
    headers::refuse([(input.write_offset_bytes.is_some(), "appending to objects")])?;
    let stored_headers = headers_of!(input)?;
    let condition = precondition(input.if_match.take(), input.if_none_match.take())?;
    let announced = Announced {
        md5: input.content_md5.take(),
        checksum: Checksum {
            checksum_crc32: input.checksum_crc32.take(),
            checksum_crc32c: input.checksum_crc32c.take(),
            checksum_crc64nvme: input.checksum_crc64nvme.take(),
            checksum_sha1: input.checksum_sha1.take(),
            checksum_sha256: input.checksum_sha256.take(),
            ..Checksum::default()
        },
        algorithm: input.checksum_algorithm.map(|a| a.as_str().to_owned()),
        ..Announced::from_headers(&req.headers, req.trailing_headers)
    };
    let received = upload::receive(store, input.body.take(), announced).await?;
    let (bucket, key) = (input.bucket, input.key);
    let (etag, checksum) = blocking(store, move |store| {
        let checked = received.check(store)?;
        let record = ObjectMetadata::new(
            checked.md5.clone(),
            stored_headers,
            checked.checksum.clone(),
        );
        store.commit(checked.staged, &bucket, &key, record, &condition)?;
        Ok((checked.md5, checked.checksum))
    })
    .await?;
    let sums = checksum_of(checksum.as_ref());
    Ok(PutObjectOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_type: checksum.map(|_| ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        ..PutObjectOutput::default()
    })
}

/// Returns the answer 304, with the headers that RFC 9110 section 15.4.5 requires.
fn not_modified(object: &OpenObject) -> S3Error {
    let mut headers = HeaderMap::new();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", object.metadata.etag)) {
        headers.insert(header::ETAG, etag);
    }
    let date = headers::http_date(Timestamp::from(object.modified));
    if let Some(Ok(date)) = date.map(HeaderValue::try_from) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    error.set_headers(headers);
    error
}

/// Returns the bytes to send, and the `Content-Range` if the client requested a range.
fn resolve_range(
    range: Option<Range>,
    size: u64,
) -> S3Result<(std::ops::Range<u64>, Option<String>)> {
    let Some(range) = range else {
        return Ok((0..size, None));
    };
    match range.check(size) {
        Ok(bytes) if !bytes.is_empty() => {
            let content_range = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
            Ok((bytes, Some(content_range)))
        }
        _ => {
            let mut error = error::s3(
                S3ErrorCode::InvalidRange,
                "The requested range is not satisfiable",
            );
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
                error.set_headers(HeaderMap::from_iter([
                    (header::CONTENT_RANGE, value),
                    (
                        header::CONTENT_TYPE,
                        HeaderValue::from_static("application/xml"),
                    ),
                ]));
            }
            Err(error)
        }
    }
}

/// Converts a number of bytes. The size of a file always fits, because file offsets are signed.
fn length(bytes: u64) -> Option<i64> {
    i64::try_from(bytes).ok()
}

/// Builds the output of `GetObject` or `HeadObject`, which share these fields.
macro_rules! object_output {
    ($output:ident, $object:expr, $content_length:expr, $content_range:expr, $with_checksum:expr) => {{
        let object = $object;
        let stored = object.metadata.headers;
        let checksum = object.metadata.checksum.filter(|_| $with_checksum);
        let sums = checksum_of(checksum.as_ref());
        $output {
            accept_ranges: Some("bytes".to_owned()),
            content_length: length($content_length),
            content_range: $content_range,
            last_modified: Some(Timestamp::from(object.modified)),
            e_tag: Some(ETag::Strong(object.metadata.etag)),
            content_type: Some(
                stored
                    .content_type
                    .unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned()),
            ),
            content_encoding: stored.content_encoding,
            content_disposition: stored.content_disposition,
            content_language: stored.content_language,
            cache_control: stored.cache_control,
            expires: stored.expires.as_deref().and_then(headers::parse_http_date),
            website_redirect_location: stored.website_redirect_location,
            metadata: (!stored.user.is_empty()).then(|| stored.user.into_iter().collect()),
            checksum_type: checksum.map(|_| ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            ..$output::default()
        }
    }};
}

pub(super) async fn get(store: &Arc<Store>, input: GetObjectInput) -> S3Result<GetObjectOutput> {
    check_version(input.version_id.as_deref())?;
    headers::refuse([(
        input.part_number.is_some_and(|n| n != 1),
        "reading one part of an object",
    )])?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    let (object, bytes, content_range, body) = blocking(store, move |store| {
        let object = store.open_object(&input.bucket, &input.key)?;
        conditions.check(&object, not_modified)?;
        let (bytes, content_range) = resolve_range(input.range, object.size)?;
        let small = match usize::try_from(bytes.end - bytes.start) {
            Ok(n) if n <= PIECE => {
                let mut buffer = vec![0; n];
                object
                    .file
                    .read_exact_at(&mut buffer, bytes.start)
                    .map_err(error::io(format!(
                        "read s3://{}/{}",
                        input.bucket, input.key
                    )))?;
                Some(Bytes::from(buffer))
            }
            _ => {
                (&object.file)
                    .seek(SeekFrom::Start(bytes.start))
                    .map_err(error::io(format!(
                        "read s3://{}/{}",
                        input.bucket, input.key
                    )))?;
                None
            }
        };
        Ok((object, bytes, content_range, small))
    })
    .await?;
    let size = bytes.end - bytes.start;
    let body = if let Some(bytes) = body {
        StreamingBlob::from(s3s::Body::from(bytes))
    } else {
        let file = object
            .file
            .try_clone()
            .map_err(error::io("read an object"))?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(PIECE);
        StreamingBlob::wrap(ReaderStream::with_capacity(file.take(size), PIECE))
    };
    let with_checksum = wants_checksum(input.checksum_mode.as_ref()) && content_range.is_none();
    let mut output = object_output!(GetObjectOutput, object, size, content_range, with_checksum);
    output.body = Some(body);
    Ok(output)
}

pub(super) async fn head(store: &Arc<Store>, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
    check_version(input.version_id.as_deref())?;
    headers::refuse([(
        input.part_number.is_some_and(|n| n != 1),
        "reading one part of an object",
    )])?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    let (object, bytes, content_range) = blocking(store, move |store| {
        let object = store.open_object(&input.bucket, &input.key)?;
        conditions.check(&object, not_modified)?;
        let (bytes, content_range) = resolve_range(input.range, object.size)?;
        Ok((object, bytes, content_range))
    })
    .await?;
    let with_checksum = wants_checksum(input.checksum_mode.as_ref()) && content_range.is_none();
    Ok(object_output!(
        HeadObjectOutput,
        object,
        bytes.end - bytes.start,
        content_range,
        with_checksum
    ))
}

fn wants_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|m| m.as_str() == ChecksumMode::ENABLED)
}

pub(super) async fn delete(store: &Arc<Store>, input: DeleteObjectInput) -> S3Result<()> {
    check_version(input.version_id.as_deref())?;
    let conditional = input.if_match.is_some()
        || input.if_match_size.is_some()
        || input.if_match_last_modified_time.is_some();
    headers::refuse([(conditional, "conditional deletes")])?;
    blocking(store, move |store| store.delete(&input.bucket, &input.key)).await
}

/// S3's limit on the number of keys in one `DeleteObjects` request.
const MAX_DELETES: usize = 1000;

pub(super) async fn delete_many(
    store: &Arc<Store>,
    permit: Permit,
    input: DeleteObjectsInput,
) -> S3Result<DeleteObjectsOutput> {
    let quiet = input.delete.quiet.unwrap_or(false);
    let objects = input.delete.objects;
    if objects.is_empty() || objects.len() > MAX_DELETES {
        return Err(error::s3(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        ));
    }
    blocking(store, move |store| {
        store.bucket(&input.bucket)?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in objects {
            let action = match object.version_id {
                Some(_) => "s3:DeleteObjectVersion",
                None => "s3:DeleteObject",
            };
            let result = permit
                .require(action, Some(&input.bucket), Some(&object.key))
                .and_then(|()| check_version(object.version_id.as_deref()))
                .and_then(|()| {
                    let conditional = object.e_tag.is_some()
                        || object.size.is_some()
                        || object.last_modified_time.is_some();
                    headers::refuse([(conditional, "conditional deletes")])
                })
                .and_then(|()| store.delete(&input.bucket, &object.key));
            match result {
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    ..DeletedObject::default()
                }),
                Err(e) => errors.push(Error {
                    key: Some(object.key),
                    code: Some(e.code().as_str().to_owned()),
                    message: e.message().map(str::to_owned),
                    version_id: object.version_id,
                }),
            }
        }
        Ok(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: Some(errors),
            ..DeleteObjectsOutput::default()
        })
    })
    .await
}
