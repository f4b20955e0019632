//! Receives request bodies into files: they are hashed, checked against what the client announced,
//! and kept in memory while they are small.

use std::io::Write;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use http::HeaderMap;
use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3ErrorCode, S3Result, TrailingHeaders};

use super::error;
use super::store::{Staged, Store, blocking};

/// The number of bytes in memory at which a body is written to its file.
const BUFFER: usize = 1 << 20;

/// The names of S3's checksum algorithms, as clients write them.
pub(super) const ALGORITHMS: [&str; 5] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];

/// What the client announces about the body that it sends. A value that is not given is not
/// checked.
#[derive(Debug, Default)]
pub(super) struct Announced {
    /// The length in bytes, after aws-chunked decoding.
    pub length: Option<u64>,
    /// The value of `Content-MD5`, in base64.
    pub md5: Option<String>,
    /// The checksums from the headers, in base64.
    pub checksum: Checksum,
    /// The value of `x-amz-sdk-checksum-algorithm`: the algorithm of a checksum in a header or
    /// after the body.
    pub algorithm: Option<String>,
    /// Contains the checksum after an aws-chunked body, once the body has been read.
    pub trailers: Option<TrailingHeaders>,
    /// The names of the trailing headers (`x-amz-trailer`), in lower case.
    pub trailer_names: Option<String>,
}

impl Announced {
    /// Returns what is announced in the request's headers rather than in its operation's input.
    pub fn from_headers(headers: &HeaderMap, trailers: Option<TrailingHeaders>) -> Self {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        // In a browser's form the file is only a part of the body.
        let is_form = text("content-type").is_some_and(|v| v.starts_with("multipart/form-data"));
        Self {
            length: text("x-amz-decoded-content-length")
                .or_else(|| text("content-length").filter(|_| !is_form))
                .and_then(|v| v.parse().ok()),
            trailer_names: text("x-amz-trailer").map(|v| v.to_ascii_lowercase()),
            trailers,
            ..Self::default()
        }
    }

    fn hasher(&self) -> ChecksumHasher {
        let mut hasher = ChecksumHasher::default();
        for name in ALGORITHMS {
            let trailing = format!("x-amz-checksum-{}", name.to_ascii_lowercase());
            if value_of(&self.checksum, name).is_some()
                || self.algorithm.as_deref() == Some(name)
                || self
                    .trailer_names
                    .as_deref()
                    .is_some_and(|v| v.split(',').any(|h| h.trim() == trailing))
            {
                enable(&mut hasher, name);
            }
        }
        hasher
    }

    /// Returns the value that the client gave for an algorithm, in a header or after the body.
    fn value(&self, name: &str) -> Option<String> {
        let trailing = format!("x-amz-checksum-{}", name.to_ascii_lowercase());
        value_of(&self.checksum, name).cloned().or_else(|| {
            self.trailers
                .as_ref()?
                .read(|h| h.get(&trailing)?.to_str().ok().map(str::to_owned))?
        })
    }
}

/// Returns the value of one algorithm by its name.
pub(super) fn value_of<'a>(checksum: &'a Checksum, name: &str) -> Option<&'a String> {
    match name {
        "CRC32" => checksum.checksum_crc32.as_ref(),
        "CRC32C" => checksum.checksum_crc32c.as_ref(),
        "CRC64NVME" => checksum.checksum_crc64nvme.as_ref(),
        "SHA1" => checksum.checksum_sha1.as_ref(),
        "SHA256" => checksum.checksum_sha256.as_ref(),
        _ => None,
    }
}

/// Returns a [`Checksum`] that has the value of one algorithm.
pub(super) fn checksum_of(stored: Option<&(String, String)>) -> Checksum {
    let mut checksum = Checksum::default();
    if let Some((name, value)) = stored {
        let value = Some(value.clone());
        match name.as_str() {
            "CRC32" => checksum.checksum_crc32 = value,
            "CRC32C" => checksum.checksum_crc32c = value,
            "CRC64NVME" => checksum.checksum_crc64nvme = value,
            "SHA1" => checksum.checksum_sha1 = value,
            "SHA256" => checksum.checksum_sha256 = value,
            _ => {}
        }
    }
    checksum
}

/// Makes `hasher` compute the algorithm of that name.
pub(super) fn enable(hasher: &mut ChecksumHasher, name: &str) {
    match name {
        "CRC32" => hasher.crc32 = Some(Default::default()),
        "CRC32C" => hasher.crc32c = Some(Default::default()),
        "CRC64NVME" => hasher.crc64nvme = Some(Default::default()),
        "SHA1" => hasher.sha1 = Some(Default::default()),
        "SHA256" => hasher.sha256 = Some(Default::default()),
        _ => {}
    }
}

/// A body that has been received in full. Its last bytes may still be in memory.
pub(super) struct Received {
    staged: Option<Staged>,
    buffer: Vec<u8>,
    size: u64,
    md5: Md5,
    checksum: ChecksumHasher,
    announced: Announced,
}

/// A body that is in a file and matches what the client announced.
pub(super) struct Checked {
    pub staged: Staged,
    /// The hexadecimal MD5 of the body.
    pub md5: String,
    /// The algorithm's name and the base64 value, if the client requested a checksum.
    pub checksum: Option<(String, String)>,
}

/// Reads a body to its end.
pub(super) async fn receive(
    store: &Arc<Store>,
    body: Option<StreamingBlob>,
    announced: Announced,
) -> S3Result<Received> {
    let mut received = Received {
        staged: None,
        buffer: Vec::new(),
        size: 0,
        md5: Md5::new(),
        checksum: announced.hasher(),
        announced,
    };
    let Some(mut body) = body else {
        return Ok(received);
    };
    while let Some(chunk) = body.next().await {
        received
            .buffer
            .extend_from_slice(&chunk.map_err(error::body)?);
        if received.buffer.len() >= BUFFER {
            received = blocking(store, move |store| {
                received.write_out(store)?;
                Ok(received)
            })
            .await?;
        }
    }
    Ok(received)
}

impl Received {
    fn write_out(&mut self, store: &Store) -> S3Result<()> {
        let mut staged = match self.staged.take() {
            Some(staged) => staged,
            None => store.stage()?,
        };
        staged
            .write_all(&self.buffer)
            .map_err(error::io("write an upload to a temporary file"))?;
        self.md5.update(&self.buffer);
        self.checksum.update(&self.buffer);
        self.size += self.buffer.len() as u64;
        self.buffer.clear();
        self.staged = Some(staged);
        Ok(())
    }

    /// Writes the rest of the body and checks it against the client's announcements. It blocks.
    ///
    /// # Errors
    /// `IncompleteBody`, `InvalidDigest`, `BadDigest`.
    pub fn check(mut self, store: &Store) -> S3Result<Checked> {
        self.write_out(store)?;
        let Some(staged) = self.staged.take() else {
            unreachable!("write_out leaves a staged file")
        };
        if self
            .announced
            .length
            .is_some_and(|announced| announced != self.size)
        {
            return Err(error::s3(
                S3ErrorCode::IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length HTTP header",
            ));
        }
        let md5 = self.md5.finalize();
        if let Some(announced) = &self.announced.md5 {
            let announced = BASE64_STANDARD
                .decode(announced)
                .ok()
                .filter(|d| d.len() == 16)
                .ok_or_else(|| {
                    error::s3(
                        S3ErrorCode::InvalidDigest,
                        "The Content-MD5 you specified is not valid.",
                    )
                })?;
            if announced != md5.as_slice() {
                return Err(error::s3(
                    S3ErrorCode::BadDigest,
                    "The Content-MD5 you specified did not match what we received.",
                ));
            }
        }
        let computed = self.checksum.finalize();
        let mut checksum = None;
        for name in ALGORITHMS {
            let Some(computed) = value_of(&computed, name) else {
                continue;
            };
            if let Some(announced) = self.announced.value(name)
                && announced != *computed
            {
                return Err(error::s3(
                    S3ErrorCode::BadDigest,
                    format!("The {name} you specified did not match the calculated checksum."),
                ));
            }
            checksum = Some((name.to_owned(), computed.clone()));
        }
        Ok(Checked {
            staged,
            md5: hex::encode(md5),
            checksum,
        })
    }
}
