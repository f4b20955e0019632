//! Conditions in MinIO's form.

use super::{FlattenError, Result};
use crate::policy::Condition;
use crate::policy::Context;

/// The condition keys that differ between requests, as MinIO writes them, with the actions whose
/// requests have them. An empty list means all actions.
const KEYS: [(&str, &[&str]); 8] = [
    ("aws:CurrentTime", &[]),
    ("aws:EpochTime", &[]),
    ("aws:Referer", &[]),
    ("aws:SourceIp", &[]),
    ("aws:UserAgent", &[]),
    ("s3:delimiter", LISTINGS),
    ("s3:max-keys", LISTINGS),
    ("s3:prefix", LISTINGS),
];
const LISTINGS: &[&str] = &["ListBucket", "ListBucketVersions"];

/// The operators that MinIO has for [`KEYS`], and how two conditions with the same operator are
/// combined.
const OPERATORS: [(&str, Combine); 21] = [
    ("StringEquals", Combine::Common),
    ("StringNotEquals", Combine::All),
    ("StringEqualsIgnoreCase", Combine::Unknown),
    ("StringNotEqualsIgnoreCase", Combine::All),
    ("StringLike", Combine::Unknown),
    ("StringNotLike", Combine::All),
    ("NumericEquals", Combine::Common),
    ("NumericNotEquals", Combine::All),
    ("NumericLessThan", Combine::Unknown),
    ("NumericLessThanEquals", Combine::Unknown),
    ("NumericGreaterThan", Combine::Unknown),
    ("NumericGreaterThanEquals", Combine::Unknown),
    ("DateEquals", Combine::Common),
    ("DateNotEquals", Combine::All),
    ("DateLessThan", Combine::Unknown),
    ("DateLessThanEquals", Combine::Unknown),
    ("DateGreaterThan", Combine::Unknown),
    ("DateGreaterThanEquals", Combine::Unknown),
    ("IpAddress", Combine::Unknown),
    ("NotIpAddress", Combine::All),
    ("Null", Combine::Common),
];

/// How to combine the values of two conditions with the same operator and key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Combine {
    /// The values that both conditions have.
    Common,
    /// The values of either condition, because the request's value must be none of them.
    All,
    /// No list of values expresses both conditions.
    Unknown,
}

/// A condition in MinIO's form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlatCondition {
    pub operator: &'static str,
    pub key: &'static str,
    pub values: Vec<String>,
}

impl FlatCondition {
    /// Converts a condition. Returns `None` if the condition can be evaluated without the request.
    pub fn from_condition(
        condition: &Condition,
        action: &str,
        known: &Context,
    ) -> Result<Option<Self>> {
        let mut keys = KEYS.iter();
        let Some((key, actions)) = keys.find(|(key, _)| key.eq_ignore_ascii_case(condition.key()))
        else {
            return Ok(None);
        };
        if !actions.is_empty() && !actions.contains(&action) {
            return Ok(None);
        }
        let refused = || FlattenError::Condition {
            operator: condition.name().to_owned(),
            key: (*key).to_owned(),
        };
        // Every request has a time and an address, so `IfExists` changes nothing.
        let is_there = matches!(*key, "aws:CurrentTime" | "aws:EpochTime" | "aws:SourceIp");
        let name = match condition.name().strip_suffix("IfExists") {
            Some(plain) if is_there => plain,
            _ => condition.name(),
        };
        let mut operators = OPERATORS.iter();
        let (operator, _) = operators
            .find(|(operator, _)| operator.eq_ignore_ascii_case(name))
            .ok_or_else(refused)?;
        let mut values = condition.values(known);
        if values.is_empty() {
            return Err(refused());
        }
        values.sort();
        values.dedup();
        Ok(Some(Self {
            operator,
            key,
            values,
        }))
    }

    /// Returns the condition that holds if both hold, which have the same operator and key; `None`
    /// if no value fulfils both.
    pub fn and(&self, other: &Self) -> Result<Option<Self>> {
        let (_, both) = OPERATORS
            .iter()
            .find(|(operator, _)| *operator == self.operator)
            .copied()
            .unwrap_or((self.operator, Combine::Unknown));
        let values: Vec<String> = match both {
            _ if self == other => self.values.clone(),
            Combine::Common => {
                let common = self
                    .values
                    .iter()
                    .filter(|value| other.values.contains(value));
                common.cloned().collect()
            }
            Combine::All => self.values.iter().chain(&other.values).cloned().collect(),
            Combine::Unknown => {
                return Err(FlattenError::Twice {
                    operator: self.operator,
                    key: self.key,
                });
            }
        };
        Ok((!values.is_empty()).then_some(Self {
            values,
            ..self.clone()
        }))
    }
}
