//! S3: icebox's own server on local files, and the clients that everything else uses.

pub mod client;
pub mod server;

use std::fmt;

use serde::{Deserialize, Serialize};

/// How to reach an S3 service: what every client of the sandbox's object store needs. Its `Debug` hides the secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Config {
    /// Base URL without a trailing slash, for example `http://127.0.0.1:9000`; buckets are addressed path-style.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Of temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Whether a bucket may be called that ([rules](https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)).
pub fn is_bucket_name(name: &str) -> bool {
    s3s::path::check_bucket_name(name)
}
