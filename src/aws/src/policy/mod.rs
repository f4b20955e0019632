//! Policy documents: parsing, validation and evaluation.
//!
//! The policy language is that of [IAM's
//! reference](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html).

mod condition;
mod evaluate;
pub(super) mod glob;
mod parse;
mod pattern;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use pattern::Pattern;

pub(super) use condition::Condition;
pub(super) use pattern::Context;

pub(super) use evaluate::{
    DecidingStatement, Effect, PrincipalMatch, Request, Verdict, evaluate, evaluate_trust,
};
pub(super) use parse::{Malformed, Purpose};

/// A validated policy document: its original text and its statements.
#[derive(Clone)]
pub(super) struct Policy(Arc<Document>);

struct Document {
    text: String,
    statements: Vec<Statement>,
}

pub(super) struct Statement {
    sid: Option<String>,
    pub(super) effect: Effect,
    principals: Option<Principals>,
    pub(super) actions: Matcher,
    /// `None` in a trust policy, which applies to the role that it belongs to.
    pub(super) resources: Option<Matcher>,
    pub(super) conditions: Vec<Condition>,
}

/// The patterns of `Action`, `NotAction`, `Resource` or `NotResource`.
pub(super) struct Matcher {
    pub(super) negated: bool,
    pub(super) patterns: Vec<Pattern>,
}

/// The principals of `Principal` or `NotPrincipal`.
struct Principals {
    negated: bool,
    /// ARNs, account ids or `*`.
    aws: Vec<String>,
}

impl Policy {
    /// Parses and validates a document for `purpose`.
    ///
    /// # Errors
    /// [`Malformed`], in AWS's wording where it is known.
    pub fn parse(text: &str, purpose: Purpose) -> Result<Self, Malformed> {
        let statements = parse::statements(text, purpose)?;
        Ok(Self(Arc::new(Document {
            text: text.to_owned(),
            statements,
        })))
    }

    /// Returns the document's original text.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Returns every AWS principal that the document names, in document order.
    pub fn principals(&self) -> impl Iterator<Item = &str> {
        let clauses = self
            .0
            .statements
            .iter()
            .filter_map(|s| s.principals.as_ref());
        clauses.flat_map(|p| p.aws.iter().map(String::as_str))
    }

    pub(super) fn statements(&self) -> &[Statement] {
        &self.0.statements
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policy").field(&self.0.text).finish()
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

/// Serialises a policy as its text.
impl Serialize for Policy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.text)
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Parses a stored document, which was validated before it was stored.
impl FromStr for Policy {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text, Purpose::Stored)
    }
}
