//! The conditions of requests that read an object.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Error, S3Result};

use super::error;
use super::store::{OpenObject, strongly_matches};

/// The conditions of a request that reads an object.
#[derive(Debug, Default)]
pub(super) struct ReadConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// Checks the conditions in the order of RFC 9110 section 13.2.2. A date counts only if there
    /// is no ETag condition of its kind. `unchanged` returns the answer for a client that already
    /// has the object.
    pub fn check(
        &self,
        object: &OpenObject,
        unchanged: impl FnOnce(&OpenObject) -> S3Error,
    ) -> S3Result<()> {
        let modified = Timestamp::from(whole_seconds(object.modified));
        let etag = &object.metadata.etag;
        let precondition_holds = match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) => strongly_matches(wanted, etag),
            (None, Some(since)) => modified <= *since,
            (None, None) => true,
        };
        if !precondition_holds {
            return Err(error::precondition_failed());
        }
        let changed = match (&self.if_none_match, &self.if_modified_since) {
            (Some(ETagCondition::Any), _) => false,
            (Some(ETagCondition::ETag(had)), _) => had.value() != etag,
            (None, Some(since)) => modified > *since,
            (None, None) => true,
        };
        if changed {
            Ok(())
        } else {
            Err(unchanged(object))
        }
    }
}

/// Rounds a time down to whole seconds, because HTTP dates have no fractions of a second.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
