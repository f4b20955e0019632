//! Snowflake's read side: tables registered by metadata location, queried with DataFusion.

use crate::sandbox::SandboxInfo;

/// PLACEHOLDER: an answer as text, `None` for NULL. Replaced at merge.
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// PLACEHOLDER for the front end of `icebox sql --on snowflake`. Replaced at merge.
pub async fn cli_query(_info: &SandboxInfo, _sql: &str) -> Result<Answer, std::io::Error> {
    Err(std::io::Error::other(
        "the Snowflake side is not wired up yet",
    ))
}
