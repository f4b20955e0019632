//! Policy documents: read, checked, and evaluated.
//!
//! The language is that of
//! [IAM's reference](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html).

mod condition;
mod evaluate;
mod glob;
mod parse;
mod pattern;
pub(super) mod standalone;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use condition::Condition;
use pattern::Pattern;

pub use evaluate::{By, Effect, PrincipalMatch, Request, Verdict, evaluate, evaluate_trust};
pub use parse::{Malformed, Purpose};

/// A checked policy document: the text as it was given, and what it says.
#[derive(Clone)]
pub struct Policy(Arc<Document>);

struct Document {
    text: String,
    statements: Vec<Statement>,
}

pub(super) struct Statement {
    sid: Option<String>,
    effect: Effect,
    principals: Option<Principals>,
    actions: Matcher,
    /// A trust policy has none: it is about the role that it belongs to.
    resources: Option<Matcher>,
    conditions: Vec<Condition>,
}

/// `Action`/`NotAction`, `Resource`/`NotResource`.
struct Matcher {
    negated: bool,
    patterns: Vec<Pattern>,
}

/// `Principal`/`NotPrincipal`.
struct Principals {
    negated: bool,
    /// ARNs, account ids or `*`.
    aws: Vec<String>,
}

impl Policy {
    /// Reads a document that serves `purpose`.
    ///
    /// # Errors
    /// [`Malformed`], in AWS's words where they are known.
    pub fn parse(text: &str, purpose: Purpose) -> Result<Self, Malformed> {
        let statements = parse::statements(text, purpose)?;
        Ok(Self(Arc::new(Document {
            text: text.to_owned(),
            statements,
        })))
    }

    /// The document as it was given.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Every AWS principal that the document names, in its own order.
    pub fn principals(&self) -> impl Iterator<Item = &str> {
        let clauses = self
            .0
            .statements
            .iter()
            .filter_map(|s| s.principals.as_ref());
        clauses.flat_map(|p| p.aws.iter().map(String::as_str))
    }

    fn statements(&self) -> &[Statement] {
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

/// As its text.
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

/// A stored document, which was checked when it came in.
impl FromStr for Policy {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text, Purpose::Stored)
    }
}
