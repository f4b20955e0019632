//! A request as the handlers see it: read, decompressed and parsed.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::Read;
use std::pin::pin;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::{AUTHORIZATION, CONTENT_ENCODING};
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;

use super::reply::Failure;

/// The code of a request that cannot be understood.
const BAD_REQUEST: i32 = 390_400;

pub(super) struct Call {
    pub method: Method,
    /// The segments of the path.
    pub path: Vec<String>,
    pub query: HashMap<String, String>,
    authorization: Option<String>,
    body: Vec<u8>,
}

impl Call {
    /// Reads a whole request. The body may have at most `most` bytes, both as sent and
    /// decompressed.
    pub async fn read(request: http::Request<Incoming>, most: usize) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let packed = read(body, most).await?;
        let body = unpack(&parts, packed, most)?;
        let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let segments = parts.uri.path().split('/').filter(|part| !part.is_empty());
        let decoded = segments
            .map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy())
            .map(std::borrow::Cow::into_owned);
        let authorization = parts.headers.get(AUTHORIZATION);
        Ok(Self {
            path: decoded.collect(),
            query: query.into_owned().collect(),
            authorization: authorization
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            method: parts.method,
            body,
        })
    }

    /// Parses the body as JSON. An empty body is an empty object, because drivers leave it out
    /// where it has no content.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let body: &[u8] = if self.body.is_empty() {
            b"{}"
        } else {
            &self.body
        };
        serde_json::from_slice(body).map_err(|error| bad_request(format_args!("the body: {error}")))
    }

    /// Returns the token of `Authorization: Snowflake Token="…"`.
    pub fn token(&self) -> Option<&str> {
        let rest = self.authorization.as_deref()?.strip_prefix("Snowflake ")?;
        rest.trim()
            .strip_prefix("Token=\"")?
            .strip_suffix('"')
            .filter(|token| !token.is_empty())
    }

    /// Returns the token of `Authorization: Bearer …`.
    pub fn bearer(&self) -> Option<&str> {
        let rest = self.authorization.as_deref()?.strip_prefix("Bearer ")?;
        Some(rest.trim()).filter(|token| !token.is_empty())
    }

    /// Returns the client's id of the request, which stays the same when the client retries.
    pub fn request_id(&self) -> Option<&str> {
        let id = ["requestId", "request_id"]
            .iter()
            .find_map(|name| self.query.get(*name));
        id.map(String::as_str)
    }
}

/// Returns the failure for a request that cannot be understood. Its HTTP status is 200, because
/// drivers retry for minutes after a 400.
pub(super) fn bad_request(what: impl std::fmt::Display) -> Failure {
    Failure::of(BAD_REQUEST, format!("Bad request; {what}"))
}

fn too_large(most: usize) -> Failure {
    let text =
        format!("Request too large; at most {most} bytes are taken. Bind fewer rows at a time.");
    Failure::of(413, text).with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

async fn read(body: Incoming, most: usize) -> Result<Vec<u8>, Failure> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let frame = frame.map_err(|error| bad_request(format_args!("the body: {error}")))?;
        let data: Bytes = frame.into_data().unwrap_or_default();
        if bytes.len() + data.len() > most {
            return Err(too_large(most));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn unpack(parts: &Parts, body: Vec<u8>, most: usize) -> Result<Vec<u8>, Failure> {
    let encoding = parts.headers.get(CONTENT_ENCODING);
    match encoding.map(http::HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(body),
        // An empty body is not compressed, whatever the header says.
        Some(b"gzip") if body.is_empty() => Ok(body),
        Some(b"gzip") => {
            let mut unpacked = Vec::new();
            let mut reader = MultiGzDecoder::new(body.as_slice()).take(most as u64 + 1);
            reader
                .read_to_end(&mut unpacked)
                .map_err(|error| bad_request(format_args!("the body is not gzip: {error}")))?;
            if unpacked.len() > most {
                Err(too_large(most))
            } else {
                Ok(unpacked)
            }
        }
        Some(other) => Err(bad_request(format_args!(
            "unsupported Content-Encoding '{}'; use gzip or identity",
            other.escape_ascii()
        ))),
    }
}
