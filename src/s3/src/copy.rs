//! `CopyObject`, and what `UploadPartCopy` shares with it.

use std::io::{self, Seek, SeekFrom};
use std::sync::Arc;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETag, ETagCondition,
    MetadataDirective, Timestamp,
};
use s3s::{S3ErrorCode, S3Result};

use super::conditions::ReadConditions;
use super::error;
use super::headers::{self, check_version, headers_of, refuse_unsupported};
use super::metadata::hash;
use super::store::{OpenObject, Precondition, Staged, Store, blocking};

/// Returns the bucket and key that a copy reads from.
pub(super) fn copy_source(source: &CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => {
            check_version(version_id.as_deref())?;
            Ok((bucket.to_string(), key.to_string()))
        }
        _ => Err(error::not_implemented("access points and outposts")),
    }
}

/// Opens the source of a copy and checks its conditions. If one of them does not hold, the answer
/// is 412.
pub(super) fn open_copy_source(
    store: &Store,
    (bucket, key): &(String, String),
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
) -> S3Result<OpenObject> {
    let object = store.open_object(bucket, key)?;
    let conditions = ReadConditions {
        if_match,
        if_none_match,
        if_modified_since,
        if_unmodified_since,
    };
    conditions.check(&object, |_| error::precondition_failed())?;
    Ok(object)
}

pub(super) async fn copy_object(
    store: &Arc<Store>,
    mut input: CopyObjectInput,
) -> S3Result<CopyObjectOutput> {
    refuse_unsupported!(input)?;
    headers::refuse([(
        input.copy_source_sse_customer_key.is_some(),
        "encryption with customer keys",
    )])?;
    let source = copy_source(&input.copy_source)?;
    let directive = input
        .metadata_directive
        .as_ref()
        .map(MetadataDirective::as_str);
    let replacement = match directive {
        Some(MetadataDirective::REPLACE) => Some(headers_of!(input)?),
        None | Some(MetadataDirective::COPY) => None,
        Some(other) => {
            return Err(error::s3(
                S3ErrorCode::InvalidArgument,
                format!("Unknown metadata directive: {other}"),
            ));
        }
    };
    let redirects = input.website_redirect_location.is_some();
    if replacement.is_none() && !redirects && source == (input.bucket.clone(), input.key.clone()) {
        return Err(error::s3(
            S3ErrorCode::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let (etag, modified) = blocking(store, move |store| {
        let object = open_copy_source(
            store,
            &source,
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            input.copy_source_if_modified_since,
            input.copy_source_if_unmodified_since,
        )?;
        let mut staged = store.stage()?;
        copy_bytes(&object, 0..object.size, &mut staged)
            .map_err(error::io(format!("copy s3://{}/{}", source.0, source.1)))?;
        let mut record = object.metadata;
        if record.etag.contains('-') {
            // The copy of an object that was uploaded in parts is a single part.
            record.etag = hash(&staged.file)
                .map_err(error::io(format!("copy s3://{}/{}", source.0, source.1)))?;
        }
        if let Some(replacement) = replacement {
            record.headers = replacement;
        }
        let etag = record.etag.clone();
        let modified = store.commit(
            staged,
            &input.bucket,
            &input.key,
            record,
            &Precondition::None,
        )?;
        Ok((etag, modified))
    })
    .await?;
    Ok(CopyObjectOutput {
        copy_object_result: Some(CopyObjectResult {
            e_tag: Some(ETag::Strong(etag)),
            last_modified: Some(Timestamp::from(modified)),
            ..CopyObjectResult::default()
        }),
        ..CopyObjectOutput::default()
    })
}

/// Copies a range of an object to the end of a staged file, inside the kernel if possible.
pub(super) fn copy_bytes(
    object: &OpenObject,
    bytes: std::ops::Range<u64>,
    to: &mut Staged,
) -> io::Result<()> {
    let mut from = &object.file;
    from.seek(SeekFrom::Start(bytes.start))?;
    let wanted = bytes.end - bytes.start;
    let copied = io::copy(&mut io::Read::take(from, wanted), &mut to.file)?;
    if copied == wanted {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
