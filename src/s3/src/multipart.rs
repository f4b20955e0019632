//! Multipart uploads.
//!
//! An unfinished upload is a directory `<root>/.icebox/multipart/<upload id>/` with `upload.json`
//! (an [`Upload`]) and a file for each part, named `<number, five digits>.<hexadecimal MD5>`.
//! Completing an upload joins its parts into one file, and moves that file to the object's path in
//! one step.

mod list;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::dto::{
    AbortMultipartUploadInput, Checksum, ChecksumType, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CopyPartResult, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, Range, Timestamp, UploadPartCopyInput, UploadPartCopyOutput,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::copy::{copy_bytes, copy_source, open_copy_source};
use super::error;
use super::headers::{self, headers_of, precondition, refuse_unsupported};
use super::metadata::{Headers, ObjectMetadata, hash};
use super::store::{Store, blocking};
use super::upload::{self, ALGORITHMS, Announced, checksum_of};

pub(super) use list::{list_parts, list_uploads};

/// The minimum size in bytes of every part but the last.
const MIN_PART: u64 = 5 << 20;
const MAX_PART_NUMBER: i32 = 10_000;

/// The content of `upload.json`: the request that began the upload.
#[derive(Debug, Serialize, Deserialize)]
struct Upload {
    bucket: String,
    key: String,
    headers: Headers,
    initiated: SystemTime,
}

/// A part that has been uploaded.
#[derive(Debug)]
struct StoredPart {
    number: i32,
    etag: String,
    path: PathBuf,
    size: u64,
    modified: SystemTime,
}

/// Returns the directory and description of an upload, if it exists and is for this object.
fn open_upload(store: &Store, bucket: &str, key: &str, id: &str) -> S3Result<(PathBuf, Upload)> {
    // A parsed id cannot contain a path, so it names no directory outside of this one.
    let id = Uuid::try_parse(id).map_err(|_| error::no_such_upload())?;
    let dir = store.multipart_dir().join(id.simple().to_string());
    match read_upload(&dir) {
        Ok(upload) if upload.bucket == bucket && upload.key == key => Ok((dir, upload)),
        Ok(_) => Err(error::no_such_upload()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            store.bucket(bucket)?;
            Err(error::no_such_upload())
        }
        Err(e) => Err(error::io(format!("read multipart upload {id}"))(e)),
    }
}

fn read_upload(dir: &Path) -> io::Result<Upload> {
    Ok(serde_json::from_slice(&fs::read(dir.join("upload.json"))?)?)
}

/// Returns the parts that have been uploaded, by number.
fn stored_parts(dir: &Path) -> io::Result<Vec<StoredPart>> {
    let mut parts = Vec::new();
    for found in fs::read_dir(dir)? {
        let found = found?;
        let Ok(name) = found.file_name().into_string() else {
            continue;
        };
        let Some((number, etag)) = name.split_once('.') else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        let stat = found.metadata()?;
        parts.push(StoredPart {
            number,
            etag: etag.to_owned(),
            path: found.path(),
            size: stat.len(),
            modified: stat.modified()?,
        });
    }
    parts.sort_by_key(|p| p.number);
    Ok(parts)
}

pub(super) async fn create(
    store: &Arc<Store>,
    mut input: CreateMultipartUploadInput,
) -> S3Result<CreateMultipartUploadOutput> {
    refuse_unsupported!(input)?;
    let upload = Upload {
        headers: headers_of!(input)?,
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        initiated: SystemTime::now(),
    };
    let id = Uuid::new_v4().simple().to_string();
    let dir_name = id.clone();
    blocking(store, move |store| {
        store.bucket(&upload.bucket)?;
        let dir = store.multipart_dir().join(dir_name);
        let write = || -> io::Result<()> {
            fs::create_dir(&dir)?;
            fs::write(dir.join("upload.json"), serde_json::to_vec(&upload)?)
        };
        write().map_err(error::io(format!(
            "begin an upload to s3://{}/{}",
            upload.bucket, upload.key
        )))
    })
    .await?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        ..CreateMultipartUploadOutput::default()
    })
}

fn check_part_number(number: i32) -> S3Result<()> {
    if (1..=MAX_PART_NUMBER).contains(&number) {
        return Ok(());
    }
    Err(error::s3(
        S3ErrorCode::InvalidArgument,
        format!("Part number must be an integer between 1 and {MAX_PART_NUMBER}, inclusive"),
    ))
}

/// Stores a part, and removes an earlier one with the same number.
fn keep_part(
    store: &Store,
    dir: &Path,
    staged: super::store::Staged,
    number: i32,
    md5: &str,
) -> S3Result<()> {
    let keep = || -> io::Result<()> {
        let _guard = store.change_names();
        let path = dir.join(format!("{number:05}.{md5}"));
        let earlier: Vec<StoredPart> = stored_parts(dir)?;
        staged.rename(&path)?;
        for part in earlier
            .iter()
            .filter(|p| p.number == number && p.path != path)
        {
            fs::remove_file(&part.path)?;
        }
        Ok(())
    };
    keep().map_err(|e| match e.kind() {
        // The upload was completed or aborted while the part was being received.
        io::ErrorKind::NotFound => error::no_such_upload(),
        _ => error::io(format!("store part {number}"))(e),
    })
}

pub(super) async fn upload_part(
    store: &Arc<Store>,
    req: S3Request<UploadPartInput>,
) -> S3Result<UploadPartOutput> {
    let mut input = req.input;
    let number = input.part_number;
    check_part_number(number)?;
    headers::refuse([(
        input.sse_customer_key.is_some(),
        "encryption with customer keys",
    )])?;
    let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
    let (dir, _) = blocking(store, move |store| open_upload(store, &bucket, &key, &id)).await?;
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
    let (md5, checksum) = blocking(store, move |store| {
        let checked = received.check(store)?;
        keep_part(store, &dir, checked.staged, number, &checked.md5)?;
        Ok((checked.md5, checked.checksum))
    })
    .await?;
    let sums = checksum_of(checksum.as_ref());
    Ok(UploadPartOutput {
        e_tag: Some(ETag::Strong(md5)),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        ..UploadPartOutput::default()
    })
}

pub(super) async fn upload_part_copy(
    store: &Arc<Store>,
    input: UploadPartCopyInput,
) -> S3Result<UploadPartCopyOutput> {
    let number = input.part_number;
    check_part_number(number)?;
    let source = copy_source(&input.copy_source)?;
    let (md5, modified) = blocking(store, move |store| {
        let (dir, _) = open_upload(store, &input.bucket, &input.key, &input.upload_id)?;
        let object = open_copy_source(
            store,
            &source,
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            input.copy_source_if_modified_since,
            input.copy_source_if_unmodified_since,
        )?;
        let bytes = match input.copy_source_range.as_deref() {
            None => 0..object.size,
            Some(text) => copy_range(text, object.size)?,
        };
        let failed = || error::io(format!("copy s3://{}/{}", source.0, source.1));
        let mut staged = store.stage()?;
        copy_bytes(&object, bytes, &mut staged).map_err(failed())?;
        let md5 = hash(&staged.file).map_err(failed())?;
        keep_part(store, &dir, staged, number, &md5)?;
        Ok((md5, SystemTime::now()))
    })
    .await?;
    Ok(UploadPartCopyOutput {
        copy_part_result: Some(CopyPartResult {
            e_tag: Some(ETag::Strong(md5)),
            last_modified: Some(Timestamp::from(modified)),
            ..CopyPartResult::default()
        }),
        ..UploadPartCopyOutput::default()
    })
}

/// Parses `bytes=first-last`. Both numbers are required and must be inside the source.
fn copy_range(text: &str, size: u64) -> S3Result<std::ops::Range<u64>> {
    match Range::parse(text) {
        Ok(Range::Int {
            first,
            last: Some(last),
        }) if last < size => Ok(first..last + 1),
        Ok(Range::Int { last: Some(_), .. }) => Err(error::s3(
            S3ErrorCode::InvalidArgument,
            format!("Range specified is not valid for source object of size: {size}"),
        )),
        _ => Err(error::s3(
            S3ErrorCode::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last",
        )),
    }
}

/// Returns the stored parts that a client lists for completion.
fn match_parts(wanted: &[CompletedPart], mut stored: Vec<StoredPart>) -> S3Result<Vec<StoredPart>> {
    if wanted.is_empty() {
        return Err(error::s3(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        ));
    }
    if !wanted.is_sorted_by(|a, b| a.part_number < b.part_number) {
        return Err(error::s3(
            S3ErrorCode::InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        ));
    }
    let mut parts = Vec::with_capacity(wanted.len());
    for part in wanted {
        let found = stored.iter().position(|s| {
            part.part_number == Some(s.number)
                && part
                    .e_tag
                    .as_ref()
                    .is_some_and(|etag| etag.value() == s.etag)
        });
        let Some(at) = found else {
            return Err(error::s3(
                S3ErrorCode::InvalidPart,
                "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
                 specified entity tag may not match the part's entity tag.",
            ));
        };
        parts.push(stored.swap_remove(at));
    }
    if parts.iter().rev().skip(1).any(|p| p.size < MIN_PART) {
        return Err(error::s3(
            S3ErrorCode::EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size",
        ));
    }
    Ok(parts)
}

/// Returns the ETag `<md5 of the parts' md5s>-<number of parts>`.
fn etag_of(parts: &[StoredPart]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        // The name of a part's file is its MD5, as `keep_part` wrote it.
        md5.update(hex::decode(&part.etag).unwrap_or_default());
    }
    format!("{}-{}", hex::encode(md5.finalize()), parts.len())
}

pub(super) async fn complete(
    store: &Arc<Store>,
    mut input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    let condition = precondition(input.if_match.take(), input.if_none_match.take())?;
    let full_object = input
        .checksum_type
        .as_ref()
        .is_some_and(|t| t.as_str() == ChecksumType::FULL_OBJECT);
    let announced = Checksum {
        checksum_crc32: input.checksum_crc32.take().filter(|_| full_object),
        checksum_crc32c: input.checksum_crc32c.take().filter(|_| full_object),
        checksum_crc64nvme: input.checksum_crc64nvme.take().filter(|_| full_object),
        ..Checksum::default()
    };
    let (bucket, key) = (input.bucket.clone(), input.key.clone());
    let (etag, checksum) = blocking(store, move |store| {
        let (dir, upload) = open_upload(store, &input.bucket, &input.key, &input.upload_id)?;
        let failed = || error::io(format!("complete the upload of s3://{}/{}", input.bucket, input.key));
        let wanted = input.multipart_upload.and_then(|m| m.parts).unwrap_or_default();
        let parts = match_parts(&wanted, stored_parts(&dir).map_err(failed())?)?;
        let size: u64 = parts.iter().map(|p| p.size).sum();
        if input.mpu_object_size.is_some_and(|s| u64::try_from(s).ok() != Some(size)) {
            return Err(error::s3(
                S3ErrorCode::InvalidRequest,
                format!("The provided 'x-amz-mp-object-size' header does not match the {size} bytes of the parts."),
            ));
        }
        let mut staged = store.stage()?;
        for part in &parts {
            let mut from = File::open(&part.path).map_err(failed())?;
            io::copy(&mut from, &mut staged.file).map_err(failed())?;
        }
        let checksum = check_whole(&staged.file, &announced)?;
        let etag = etag_of(&parts);
        let record = ObjectMetadata::new(etag.clone(), upload.headers, checksum.clone());
        store.commit(staged, &input.bucket, &input.key, record, &condition)?;
        // The object is complete. What remains of the upload only takes space.
        if let Err(e) = fs::remove_dir_all(&dir) {
            tracing::warn!(error = %e, dir = %dir.display(), "could not remove the parts of a completed upload");
        }
        Ok((etag, checksum))
    })
    .await?;
    let sums = checksum_of(checksum.as_ref());
    Ok(CompleteMultipartUploadOutput {
        location: Some(format!("/{bucket}/{key}")),
        bucket: Some(bucket),
        key: Some(key),
        e_tag: Some(ETag::Strong(etag)),
        checksum_type: checksum.map(|_| ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        ..CompleteMultipartUploadOutput::default()
    })
}

/// Checks the joined bytes against the checksum of the whole object, if the client gave one.
/// Returns the algorithm's name and the value.
fn check_whole(file: &File, announced: &Checksum) -> S3Result<Option<(String, String)>> {
    use std::os::unix::fs::FileExt;
    let Some(name) = ALGORITHMS
        .into_iter()
        .find(|name| upload::value_of(announced, name).is_some())
    else {
        return Ok(None);
    };
    let mut hasher = ChecksumHasher::default();
    upload::enable(&mut hasher, name);
    let mut buffer = vec![0; 1 << 18];
    let mut offset = 0;
    loop {
        match file
            .read_at(&mut buffer, offset)
            .map_err(error::io("check an upload"))?
        {
            0 => break,
            n => {
                hasher.update(&buffer[..n]);
                offset += n as u64;
            }
        }
    }
    let computed = hasher.finalize();
    let value = upload::value_of(&computed, name).cloned();
    if value.as_ref() != upload::value_of(announced, name) {
        return Err(error::s3(
            S3ErrorCode::BadDigest,
            format!("The {name} you specified did not match the calculated checksum."),
        ));
    }
    Ok(value.map(|v| (name.to_owned(), v)))
}

pub(super) async fn abort(store: &Arc<Store>, input: AbortMultipartUploadInput) -> S3Result<()> {
    blocking(store, move |store| {
        let (dir, _) = open_upload(store, &input.bucket, &input.key, &input.upload_id)?;
        let _guard = store.change_names();
        fs::remove_dir_all(&dir).map_err(error::io(format!(
            "abort multipart upload {}",
            input.upload_id
        )))
    })
    .await
}

/// Removes the unfinished uploads of a deleted bucket.
pub(super) fn forget_bucket(store: &Store, bucket: &str) -> S3Result<()> {
    let forget = || -> io::Result<()> {
        for found in fs::read_dir(store.multipart_dir())? {
            let dir = found?.path();
            if read_upload(&dir).is_ok_and(|upload| upload.bucket == bucket) {
                fs::remove_dir_all(&dir)?;
            }
        }
        Ok(())
    };
    forget().map_err(error::io(format!(
        "remove the unfinished uploads of {bucket}"
    )))
}
