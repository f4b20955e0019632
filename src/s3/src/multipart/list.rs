//! Listings of multipart uploads and of their parts.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use s3s::S3Result;
use s3s::dto::{
    CommonPrefix, ETag, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Part, StorageClass, Timestamp,
};

use super::super::error;
use super::super::page::{Encoding, owner, page_size};
use super::super::store::{Store, blocking};
use super::{open_upload, read_upload, stored_parts};

pub async fn list_parts(store: &Arc<Store>, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    let max = page_size(input.max_parts, "max-parts")?;
    let after = input.part_number_marker.unwrap_or(0);
    let (bucket, key, id) = (
        input.bucket.clone(),
        input.key.clone(),
        input.upload_id.clone(),
    );
    let mut parts = blocking(store, move |store| {
        let (dir, _) = open_upload(store, &bucket, &key, &id)?;
        stored_parts(&dir).map_err(error::io(format!("list the parts of upload {id}")))
    })
    .await?;
    parts.retain(|p| p.number > after);
    let limit = usize::try_from(max).unwrap_or(0);
    let truncated = parts.len() > limit;
    parts.truncate(limit);
    Ok(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        max_parts: Some(max),
        part_number_marker: input.part_number_marker,
        next_part_number_marker: parts.last().map(|p| p.number),
        is_truncated: Some(truncated),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        parts: Some(
            parts
                .into_iter()
                .map(|p| Part {
                    part_number: Some(p.number),
                    e_tag: Some(ETag::Strong(p.etag)),
                    size: i64::try_from(p.size).ok(),
                    last_modified: Some(Timestamp::from(p.modified)),
                    ..Part::default()
                })
                .collect(),
        ),
        ..ListPartsOutput::default()
    })
}

pub async fn list_uploads(
    store: &Arc<Store>,
    input: ListMultipartUploadsInput,
) -> S3Result<ListMultipartUploadsOutput> {
    let max = page_size(input.max_uploads, "max-uploads")?;
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().filter(|d| !d.is_empty());
    let bucket = input.bucket.clone();
    let mut uploads = blocking(store, move |store| {
        store.bucket(&bucket)?;
        let read = || -> io::Result<Vec<(String, SystemTime, String)>> {
            let mut uploads = Vec::new();
            for found in fs::read_dir(store.multipart_dir())? {
                let found = found?;
                let Ok(id) = found.file_name().into_string() else {
                    continue;
                };
                // An upload that is just being created or removed is left out.
                let Ok(upload) = read_upload(&found.path()) else {
                    continue;
                };
                if upload.bucket == bucket && upload.key.starts_with(&prefix) {
                    uploads.push((upload.key, upload.initiated, id));
                }
            }
            Ok(uploads)
        };
        read().map_err(error::io(format!("list the uploads to {bucket}")))
    })
    .await?;
    uploads.sort();
    let key_marker = input.key_marker.clone().unwrap_or_default();
    let after = uploads
        .iter()
        .find(|(key, _, id)| *key == key_marker && Some(id) == input.upload_id_marker.as_ref())
        .cloned();
    uploads.retain(|upload| match &after {
        Some(after) => upload > after,
        None => upload.0 > key_marker,
    });

    let limit = usize::try_from(max).unwrap_or(0);
    let prefix_length = input.prefix.as_ref().map_or(0, String::len);
    let (mut listed, mut groups, mut next) = (Vec::new(), Vec::<String>::new(), None);
    let mut truncated = false;
    for (key, initiated, id) in uploads {
        let group = delimiter.as_deref().and_then(|d| {
            Some(key[..prefix_length + key[prefix_length..].find(d)? + d.len()].to_owned())
        });
        let repeated = group.is_some() && group.as_ref() == groups.last();
        if !repeated && listed.len() + groups.len() == limit {
            truncated = limit > 0;
            break;
        }
        next = Some((key.clone(), id.clone()));
        match group {
            Some(_) if repeated => {}
            Some(group) => groups.push(group),
            None => listed.push(MultipartUpload {
                key: Some(encoding.apply(key)),
                upload_id: Some(id),
                initiated: Some(Timestamp::from(initiated)),
                owner: Some(owner()),
                storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                ..MultipartUpload::default()
            }),
        }
    }
    let (next_key_marker, next_upload_id_marker) = next.filter(|_| truncated).unzip();
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: input.prefix.map(|p| encoding.apply(p)),
        delimiter: delimiter.map(|d| encoding.apply(d)),
        key_marker: input.key_marker.map(|k| encoding.apply(k)),
        upload_id_marker: input.upload_id_marker,
        next_key_marker: next_key_marker.map(|k| encoding.apply(k)),
        next_upload_id_marker,
        encoding_type: input.encoding_type,
        max_uploads: Some(max),
        is_truncated: Some(truncated),
        uploads: Some(listed),
        common_prefixes: Some(
            groups
                .into_iter()
                .map(|g| CommonPrefix {
                    prefix: Some(encoding.apply(g)),
                })
                .collect(),
        ),
        ..ListMultipartUploadsOutput::default()
    })
}
