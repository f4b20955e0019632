//! Operations on buckets, and the two listings of their objects.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use s3s::dto::{
    Bucket, ChecksumAlgorithm, ChecksumType, CommonPrefix, CreateBucketInput, CreateBucketOutput,
    ETag, ListBucketsInput, ListBucketsOutput, ListObjectsInput, ListObjectsOutput,
    ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass, Timestamp,
};
use s3s::{S3ErrorCode, S3Result};

use super::error;
use super::listing::{After, Item, Query, Walk};
use super::multipart;
use super::owners::Owners;
use super::page::{Encoding, owner, page_size};
use super::store::{Store, blocking};
use icebox_aws::AccountId;

pub(super) async fn create(
    store: &Arc<Store>,
    owners: &Arc<Owners>,
    account: AccountId,
    region: &str,
    input: CreateBucketInput,
) -> S3Result<CreateBucketOutput> {
    let constraint = input
        .create_bucket_configuration
        .and_then(|c| c.location_constraint)
        .map(|c| c.as_str().to_owned());
    if let Some(constraint) = constraint.filter(|c| c != region) {
        return Err(error::s3(
            S3ErrorCode::IllegalLocationConstraintException,
            format!(
                "The {constraint} location constraint is incompatible for the region specific endpoint this request \
                 was sent to: it serves {region}."
            ),
        ));
    }
    let bucket = input.bucket;
    let location = format!("/{bucket}");
    let owners = owners.clone();
    blocking(store, move |store| {
        let failed = || error::io(format!("create bucket {bucket}"));
        let dir = store.root().join(&bucket);
        let _guard = store.change_names();
        if dir.exists() && owners.owner_of(&bucket) != account {
            return Err(error::s3(
                S3ErrorCode::BucketAlreadyExists,
                "The requested bucket name is not available. The bucket namespace is shared by all users of the system. \
                 Please select a different name and try again.",
            ));
        }
        // The owner is recorded before the directory exists, so that no other account can own the
        // bucket in between.
        if !dir.exists() {
            owners.set(&bucket, Some(&account)).map_err(failed())?;
        }
        match fs::create_dir(dir) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(error::s3(
                S3ErrorCode::BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it.",
            )),
            Err(e) => Err(failed()(e)),
        }
    })
    .await?;
    Ok(CreateBucketOutput {
        location: Some(location),
    })
}

pub(super) async fn delete(
    store: &Arc<Store>,
    owners: &Arc<Owners>,
    bucket: String,
) -> S3Result<()> {
    let owners = owners.clone();
    blocking(store, move |store| {
        let _guard = store.change_names();
        let dir = store.bucket(&bucket)?;
        let failed = || error::io(format!("delete bucket {bucket}"));
        if holds_files(&dir).map_err(failed())? {
            return Err(error::s3(
                S3ErrorCode::BucketNotEmpty,
                "The bucket you tried to delete is not empty",
            ));
        }
        fs::remove_dir_all(&dir).map_err(failed())?;
        owners.set(&bucket, None).map_err(failed())?;
        multipart::forget_bucket(store, &bucket)
    })
    .await
}

/// Returns whether a directory tree contains anything but directories. Files that are not objects
/// count too: what a person put there is not deleted unasked.
fn holds_files(dir: &Path) -> io::Result<bool> {
    for found in fs::read_dir(dir)? {
        let found = found?;
        if !found.file_type()?.is_dir() || holds_files(&found.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn list(
    store: &Arc<Store>,
    owners: &Arc<Owners>,
    account: AccountId,
    input: ListBucketsInput,
) -> S3Result<ListBucketsOutput> {
    let prefix = input.prefix.clone().unwrap_or_default();
    let after = input.continuation_token.unwrap_or_default();
    let max = usize::try_from(input.max_buckets.unwrap_or(10_000))
        .unwrap_or(0)
        .max(1);
    let owners = owners.clone();
    let mut buckets = blocking(store, move |store| {
        let failed = || error::io("list the buckets");
        let mut buckets = Vec::new();
        for found in fs::read_dir(store.root()).map_err(failed())? {
            let found = found.map_err(failed())?;
            let Ok(name) = found.file_name().into_string() else {
                continue;
            };
            if !found.file_type().map_err(failed())?.is_dir()
                || !s3s::path::check_bucket_name(&name)
            {
                continue;
            }
            if name.starts_with(&prefix) && name > after && owners.owner_of(&name) == account {
                let stat = found.metadata().map_err(failed())?;
                // Not every file system stores when a directory was created.
                let created = stat
                    .created()
                    .or_else(|_| stat.modified())
                    .map_err(failed())?;
                buckets.push((name, created));
            }
        }
        buckets.sort();
        Ok(buckets)
    })
    .await?;
    let more = buckets.len() > max;
    buckets.truncate(max);
    Ok(ListBucketsOutput {
        continuation_token: more
            .then(|| buckets.last().map(|(name, _)| name.clone()))
            .flatten(),
        buckets: Some(
            buckets
                .into_iter()
                .map(|(name, created)| Bucket {
                    name: Some(name),
                    creation_date: Some(Timestamp::from(created)),
                    bucket_region: None,
                })
                .collect(),
        ),
        owner: Some(owner()),
        prefix: input.prefix,
    })
}

/// One page of a listing.
struct Page {
    contents: Vec<Object>,
    common_prefixes: Vec<CommonPrefix>,
    /// The position where the next page begins, if there is one.
    next: Option<After>,
}

impl Page {
    fn encode(&mut self, encoding: &Encoding) {
        for object in &mut self.contents {
            object.key = object.key.take().map(|key| encoding.apply(key));
        }
        for group in &mut self.common_prefixes {
            group.prefix = group.prefix.take().map(|prefix| encoding.apply(prefix));
        }
    }
}

fn page(store: &Store, bucket: &str, query: Query, max: usize, with_owner: bool) -> S3Result<Page> {
    let failed = || error::io(format!("list s3://{bucket}/{}", query.prefix));
    let dir = store.bucket(bucket)?;
    let mut page = Page {
        contents: Vec::new(),
        common_prefixes: Vec::new(),
        next: None,
    };
    if max == 0 {
        return Ok(page);
    }
    let _guard = store.names_fixed();
    let mut walk = Walk::new(&dir, query.clone()).map_err(failed())?;
    let mut last = None;
    while let Some(item) = walk.next_item().map_err(failed())? {
        if page.contents.len() + page.common_prefixes.len() == max {
            page.next = last;
            break;
        }
        match item {
            Item::CommonPrefix(prefix) => {
                last = Some(After::Group(prefix.clone()));
                page.common_prefixes.push(CommonPrefix {
                    prefix: Some(prefix),
                });
            }
            Item::Object { key, path } => {
                // A file may be removed by hand at any time.
                let Ok(stat) = fs::symlink_metadata(&path) else {
                    continue;
                };
                let Ok(record) = store.metadata.read_path(&path, &stat) else {
                    continue;
                };
                last = Some(After::Key(key.clone()));
                page.contents.push(Object {
                    key: Some(key),
                    e_tag: Some(ETag::Strong(record.etag)),
                    size: i64::try_from(stat.len()).ok(),
                    last_modified: stat.modified().ok().map(Timestamp::from),
                    storage_class: Some(ObjectStorageClass::from_static(
                        ObjectStorageClass::STANDARD,
                    )),
                    owner: with_owner.then(owner),
                    checksum_algorithm: record
                        .checksum
                        .as_ref()
                        .map(|(name, _)| vec![ChecksumAlgorithm::from(name.clone())]),
                    checksum_type: record
                        .checksum
                        .map(|_| ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
                    ..Object::default()
                });
            }
        }
    }
    Ok(page)
}

fn token(after: &After) -> String {
    let text = match after {
        After::Start => String::new(),
        After::Key(key) => format!("k{key}"),
        After::Group(group) => format!("p{group}"),
    };
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn parse_token(token: &str) -> Option<After> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    match text.split_at_checked(1)? {
        ("k", key) => Some(After::Key(key.to_owned())),
        ("p", group) => Some(After::Group(group.to_owned())),
        _ => None,
    }
}

/// Returns the position where a listing begins that starts after `marker`. A marker that is itself
/// a common prefix of this listing, as the `NextMarker` of `ListObjects` may be, stands for all
/// keys under it.
fn after_marker(marker: Option<String>, prefix: &str, delimiter: Option<&str>) -> After {
    let Some(marker) = marker.filter(|m| !m.is_empty()) else {
        return After::Start;
    };
    let is_group = delimiter.is_some_and(|delimiter| {
        marker.strip_prefix(prefix).is_some_and(|rest| {
            rest.find(delimiter)
                .is_some_and(|at| at + delimiter.len() == rest.len())
        })
    });
    if is_group {
        After::Group(marker)
    } else {
        After::Key(marker)
    }
}

pub(super) async fn list_objects_v2(
    store: &Arc<Store>,
    input: ListObjectsV2Input,
) -> S3Result<ListObjectsV2Output> {
    let max_keys = page_size(input.max_keys, "max-keys")?;
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let delimiter = input.delimiter.filter(|d| !d.is_empty());
    let prefix = input.prefix.unwrap_or_default();
    let after = match &input.continuation_token {
        Some(token) => parse_token(token).ok_or_else(|| {
            error::s3(
                S3ErrorCode::InvalidArgument,
                "The continuation token provided is incorrect",
            )
        })?,
        None => after_marker(input.start_after.clone(), &prefix, delimiter.as_deref()),
    };
    let query = Query {
        prefix: prefix.clone(),
        delimiter: delimiter.clone(),
        after,
    };
    let bucket = input.bucket.clone();
    let with_owner = input.fetch_owner.unwrap_or(false);
    let max = usize::try_from(max_keys).unwrap_or(0);
    let mut page = blocking(store, move |store| {
        page(store, &bucket, query, max, with_owner)
    })
    .await?;
    page.encode(&encoding);
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.apply(prefix)),
        delimiter: delimiter.map(|d| encoding.apply(d)),
        start_after: input.start_after.map(|s| encoding.apply(s)),
        encoding_type: input.encoding_type,
        max_keys: Some(max_keys),
        key_count: i32::try_from(page.contents.len() + page.common_prefixes.len()).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.as_ref().map(token),
        contents: Some(page.contents),
        common_prefixes: Some(page.common_prefixes),
        ..ListObjectsV2Output::default()
    })
}

pub(super) async fn list_objects(
    store: &Arc<Store>,
    input: ListObjectsInput,
) -> S3Result<ListObjectsOutput> {
    let max_keys = page_size(input.max_keys, "max-keys")?;
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let delimiter = input.delimiter.filter(|d| !d.is_empty());
    let prefix = input.prefix.unwrap_or_default();
    let query = Query {
        after: after_marker(input.marker.clone(), &prefix, delimiter.as_deref()),
        prefix: prefix.clone(),
        delimiter: delimiter.clone(),
    };
    let bucket = input.bucket.clone();
    let max = usize::try_from(max_keys).unwrap_or(0);
    let mut page = blocking(store, move |store| page(store, &bucket, query, max, true)).await?;
    page.encode(&encoding);
    let next_marker = match (&page.next, &delimiter) {
        // Without a delimiter S3 returns no NextMarker: the client continues from the last key.
        (Some(After::Key(next) | After::Group(next)), Some(_)) => {
            Some(encoding.apply(next.clone()))
        }
        _ => None,
    };
    Ok(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.apply(prefix)),
        delimiter: delimiter.map(|d| encoding.apply(d)),
        marker: Some(encoding.apply(input.marker.unwrap_or_default())),
        encoding_type: input.encoding_type,
        max_keys: Some(max_keys),
        is_truncated: Some(page.next.is_some()),
        next_marker,
        contents: Some(page.contents),
        common_prefixes: Some(page.common_prefixes),
        ..ListObjectsOutput::default()
    })
}
