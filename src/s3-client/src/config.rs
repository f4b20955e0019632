//! How to reach an S3 service.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The address, region and credentials that a client needs to reach an S3 service. Its `Debug`
/// hides the secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Config {
    /// The base URL without a trailing slash, for example `http://127.0.0.1:9000`. Buckets are
    /// addressed path-style.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The session token of temporary credentials.
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
