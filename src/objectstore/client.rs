//! PLACEHOLDER for the S3 client. Replaced at merge.

use super::S3Config;

pub async fn ensure_bucket(_config: &S3Config, _bucket: &str) -> std::io::Result<()> {
    Ok(())
}
