//! What the pages of all listings share: their size, the encoding of their keys, and the owner that
//! they show.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{EncodingType, Owner};
use s3s::{S3ErrorCode, S3Result};

use super::error;

/// The maximum number of items in a page, whatever the client requests.
const MAX_PAGE: i32 = 1000;

/// Returns the page size for the number that the client requests.
pub(super) fn page_size(asked: Option<i32>, name: &str) -> S3Result<i32> {
    match asked {
        None => Ok(MAX_PAGE),
        Some(n) if n < 0 => Err(error::s3(
            S3ErrorCode::InvalidArgument,
            format!("Argument {name} must be an integer between 0 and 2147483647"),
        )),
        Some(n) => Ok(n.min(MAX_PAGE)),
    }
}

/// The encoding of keys in a listing: unchanged, or URL-encoded, which works for keys that XML
/// cannot represent.
pub(super) struct Encoding(bool);

/// The characters that S3 encodes: all but letters, digits and `-_.*/`.
const URL_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b'/');

impl Encoding {
    pub fn new(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self(false)),
            Some(EncodingType::URL) => Ok(Self(true)),
            Some(_) => Err(error::s3(
                S3ErrorCode::InvalidArgument,
                "Invalid Encoding Method specified in Request",
            )),
        }
    }

    pub fn apply(&self, text: String) -> String {
        if self.0 {
            // A space becomes a plus sign, as in a form.
            utf8_percent_encode(&text, URL_ENCODED)
                .to_string()
                .replace("%20", "+")
        } else {
            text
        }
    }
}

/// Returns the owner that listings show, which is the same for all accounts.
pub(super) fn owner() -> Owner {
    Owner {
        display_name: Some("icebox".to_owned()),
        id: Some("icebox".to_owned()),
    }
}
