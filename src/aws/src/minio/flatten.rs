//! Flattens several policies into one document, for MinIO: its `AssumeRole` takes a single policy,
//! and it knows nothing else about the session.
//!
//! Conditions on what is known about all requests of the session (the caller, the lack of TLS) are
//! evaluated here. Conditions on what differs between requests stay in the document. MinIO treats a
//! request about a bucket as one on the resource `bucket/`, so `bucket/*` is written in a form that
//! does not match it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::policy::condition::Condition;
pub(crate) use crate::policy::evaluate::Effect;
use crate::policy::pattern::Context;
use crate::policy::{Matcher, Policy, Statement, glob};

/// The length limit of a policy in MinIO's `AssumeRole`, in characters.
const LONGEST: usize = 2048;

const ARN: &str = "arn:aws:s3:::";

/// The actions that both AWS and MinIO have, as far as the sandbox's clients use them.
const ACTIONS: [&str; 32] = [
    "AbortMultipartUpload",
    "CreateBucket",
    "DeleteBucket",
    "DeleteBucketPolicy",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjectVersion",
    "GetBucketLocation",
    "GetBucketNotification",
    "GetBucketPolicy",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetEncryptionConfiguration",
    "GetLifecycleConfiguration",
    "GetObject",
    "GetObjectAttributes",
    "GetObjectTagging",
    "GetObjectVersion",
    "GetObjectVersionTagging",
    "ListAllMyBuckets",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "ListMultipartUploadParts",
    "PutBucketNotification",
    "PutBucketPolicy",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutEncryptionConfiguration",
    "PutLifecycleConfiguration",
    "PutObject",
    "PutObjectTagging",
];

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
const OPERATORS: [(&str, Both); 21] = [
    ("StringEquals", Both::Common),
    ("StringNotEquals", Both::All),
    ("StringEqualsIgnoreCase", Both::Unknown),
    ("StringNotEqualsIgnoreCase", Both::All),
    ("StringLike", Both::Unknown),
    ("StringNotLike", Both::All),
    ("NumericEquals", Both::Common),
    ("NumericNotEquals", Both::All),
    ("NumericLessThan", Both::Unknown),
    ("NumericLessThanEquals", Both::Unknown),
    ("NumericGreaterThan", Both::Unknown),
    ("NumericGreaterThanEquals", Both::Unknown),
    ("DateEquals", Both::Common),
    ("DateNotEquals", Both::All),
    ("DateLessThan", Both::Unknown),
    ("DateLessThanEquals", Both::Unknown),
    ("DateGreaterThan", Both::Unknown),
    ("DateGreaterThanEquals", Both::Unknown),
    ("IpAddress", Both::Unknown),
    ("NotIpAddress", Both::All),
    ("Null", Both::Common),
];

/// How to combine the values of two conditions with the same operator and key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Both {
    /// The values that both conditions have.
    Common,
    /// The values of either condition, because the request's value must be none of them.
    All,
    /// No list of values expresses both conditions.
    Unknown,
}

/// The reason why policies cannot be flattened into one document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inexpressible {
    #[error("it takes no condition {operator} on {key}")]
    Condition { operator: String, key: String },
    #[error("it takes only one condition {operator} on {key} at a time")]
    Twice {
        operator: &'static str,
        key: &'static str,
    },
    #[error("the resources {0} and {1} have too much or too little in common for one document")]
    Resources(String, String),
    #[error("it takes no star or question mark for itself, as {0} has one")]
    Literal(String),
    #[error("the document would have {0} characters, and it takes {LONGEST}")]
    TooLong(usize),
}

type Result<T> = std::result::Result<T, Inexpressible>;

/// Returns one document that allows what the policies of an identity allow and, if there is a
/// session policy, only what that allows too. `known` has the condition keys that all requests of
/// the session have.
///
/// # Errors
/// [`Inexpressible`]. The document never allows more than the policies do.
pub fn standalone<'p>(
    policies: impl IntoIterator<Item = &'p Policy>,
    session: Option<&Policy>,
    known: &Context,
) -> Result<String> {
    let mut own = Vec::new();
    for policy in policies {
        own.extend(clauses(policy, known)?);
    }
    let (mut allowed, mut denied): (Vec<Clause>, Vec<Clause>) =
        own.into_iter().partition(|clause| clause.allows);
    if let Some(session) = session {
        let (may, may_not): (Vec<Clause>, Vec<Clause>) = clauses(session, known)?
            .into_iter()
            .partition(|clause| clause.allows);
        denied.extend(may_not);
        let mut both = Vec::new();
        for one in &allowed {
            for other in &may {
                both.extend(one.and(other)?);
            }
        }
        allowed = both;
    }
    if allowed.is_empty() {
        // A document without statements could be taken to allow everything.
        denied = vec![Clause::everything(false)];
    }
    let statements: Vec<Value> = gathered(allowed.into_iter().chain(denied))
        .iter()
        .map(Clause::render)
        .collect();
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    match document.len() {
        ..=LONGEST => Ok(document),
        length => Err(Inexpressible::TooLong(length)),
    }
}

/// A statement in MinIO's form.
#[derive(Clone, Debug, PartialEq)]
struct Clause {
    allows: bool,
    actions: Actions,
    resources: Resources,
    rules: Vec<Rule>,
}

/// A set of [`ACTIONS`], one bit for each.
type Actions = u32;

#[derive(Clone, Debug, PartialEq)]
enum Resources {
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// A condition in MinIO's form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    operator: &'static str,
    key: &'static str,
    values: Vec<String>,
}

fn clauses(policy: &Policy, known: &Context) -> Result<Vec<Clause>> {
    let mut clauses = Vec::new();
    for statement in policy.statements() {
        let resources = Resources::of(statement.resources.as_ref(), known)?;
        if resources.are_none() {
            continue;
        }
        for (rules, actions) in actions_by_rules(statement, known)? {
            clauses.push(Clause {
                allows: statement.effect == Effect::Allow,
                actions,
                resources: resources.clone(),
                rules,
            });
        }
    }
    Ok(clauses)
}

/// Returns the actions of a statement, grouped by the conditions that remain for their requests.
fn actions_by_rules(
    statement: &Statement,
    known: &Context,
) -> Result<BTreeMap<Vec<Rule>, Actions>> {
    let mut found = BTreeMap::<Vec<Rule>, Actions>::new();
    for (number, name) in ACTIONS.iter().enumerate() {
        if !statement
            .actions
            .matches(&format!("s3:{name}"), known, true)
        {
            continue;
        }
        let mut rules = Vec::new();
        let mut may_hold = true;
        for condition in &statement.conditions {
            match Rule::of(condition, name, known)? {
                Some(rule) => rules.push(rule),
                None => may_hold &= condition.holds(known),
            }
        }
        if may_hold {
            rules.sort();
            rules.dedup();
            *found.entry(rules).or_default() |= 1 << number;
        }
    }
    Ok(found)
}

impl Rule {
    /// Converts a condition. Returns `None` if the condition can be evaluated without the request.
    fn of(condition: &Condition, action: &str, known: &Context) -> Result<Option<Self>> {
        let mut keys = KEYS.iter();
        let Some((key, actions)) = keys.find(|(key, _)| key.eq_ignore_ascii_case(condition.key()))
        else {
            return Ok(None);
        };
        if !actions.is_empty() && !actions.contains(&action) {
            return Ok(None);
        }
        let refused = || Inexpressible::Condition {
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
    fn and(&self, other: &Self) -> Result<Option<Self>> {
        let (_, both) = OPERATORS
            .iter()
            .find(|(operator, _)| *operator == self.operator)
            .copied()
            .unwrap_or((self.operator, Both::Unknown));
        let values: Vec<String> = match both {
            _ if self == other => self.values.clone(),
            Both::Common => {
                let common = self
                    .values
                    .iter()
                    .filter(|value| other.values.contains(value));
                common.cloned().collect()
            }
            Both::All => self.values.iter().chain(&other.values).cloned().collect(),
            Both::Unknown => {
                return Err(Inexpressible::Twice {
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

impl Resources {
    /// Returns the S3 resources among those that a statement names.
    fn of(matcher: Option<&Matcher>, known: &Context) -> Result<Self> {
        let Some(matcher) = matcher else {
            return Ok(Self::In(Vec::new()));
        };
        let mut names = Vec::new();
        for pattern in &matcher.patterns {
            // A pattern with a variable that has no value matches nothing.
            let Some(text) = pattern.resolve(known) else {
                continue;
            };
            let of_s3 = glob::after(&text, ARN);
            if pattern.has_literal_wildcards(known)
                && let Some(name) = of_s3.first()
            {
                return Err(Inexpressible::Literal(name.clone()));
            }
            names.extend(of_s3);
        }
        let names = names.into_iter().map(|name| {
            // Leaves out the bucket itself, which MinIO calls `bucket/`.
            match name.split_once('/') {
                Some((bucket, key)) if !key.is_empty() && key.bytes().all(|b| b == b'*') => {
                    format!("{bucket}/?*")
                }
                _ => name,
            }
        });
        let names = glob::widest(names);
        Ok(match matcher.negated {
            true if names.is_empty() => Self::In(vec!["*".to_owned()]),
            true => Self::NotIn(names),
            false => Self::In(names),
        })
    }

    fn are_none(&self) -> bool {
        matches!(self, Self::In(names) if names.is_empty())
    }

    fn and(&self, other: &Self) -> Result<Self> {
        match (self, other) {
            (Self::In(some), Self::In(others)) => {
                let mut both = Vec::new();
                for one in some {
                    for other in others {
                        both.extend(
                            glob::common(one, other).ok_or_else(|| {
                                Inexpressible::Resources(one.clone(), other.clone())
                            })?,
                        );
                    }
                }
                Ok(Self::In(glob::widest(both.into_iter())))
            }
            (Self::NotIn(some), Self::NotIn(others)) => {
                let all = some.iter().chain(others).cloned();
                Ok(Self::NotIn(glob::widest(all)))
            }
            (Self::In(some), Self::NotIn(not)) | (Self::NotIn(not), Self::In(some)) => {
                let mut left = Vec::new();
                for one in some {
                    if not.iter().any(|other| glob::covers(other, one)) {
                        continue;
                    }
                    let clash = not
                        .iter()
                        .find(|other| glob::common(one, other).is_none_or(|both| !both.is_empty()));
                    if let Some(other) = clash {
                        return Err(Inexpressible::Resources(one.clone(), other.clone()));
                    }
                    left.push(one.clone());
                }
                Ok(Self::In(left))
            }
        }
    }
}

impl Clause {
    fn everything(allows: bool) -> Self {
        Self {
            allows,
            actions: Actions::MAX,
            resources: Resources::In(vec!["*".to_owned()]),
            rules: Vec::new(),
        }
    }

    /// Returns what both clauses allow; `None` if that is nothing.
    fn and(&self, other: &Self) -> Result<Option<Self>> {
        let actions = self.actions & other.actions;
        if actions == 0 {
            return Ok(None);
        }
        let resources = self.resources.and(&other.resources)?;
        if resources.are_none() {
            return Ok(None);
        }
        let mut rules = self.rules.clone();
        for rule in &other.rules {
            let same = |own: &&mut Rule| own.operator == rule.operator && own.key == rule.key;
            match rules.iter_mut().find(same) {
                None => rules.push(rule.clone()),
                Some(own) => match own.and(rule)? {
                    Some(both) => *own = both,
                    None => return Ok(None),
                },
            }
        }
        rules.sort();
        Ok(Some(Self {
            allows: true,
            actions,
            resources,
            rules,
        }))
    }

    fn render(&self) -> Value {
        let actions: Vec<String> = match self.actions {
            Actions::MAX => vec!["s3:*".to_owned()],
            some => {
                let named = ACTIONS
                    .iter()
                    .enumerate()
                    .filter(|(number, _)| some >> number & 1 == 1);
                named.map(|(_, name)| format!("s3:{name}")).collect()
            }
        };
        let (element, names) = match &self.resources {
            Resources::In(names) => ("Resource", names),
            Resources::NotIn(names) => ("NotResource", names),
        };
        let arns: Vec<String> = names.iter().map(|name| format!("{ARN}{name}")).collect();
        let mut statement = Map::new();
        let effect = if self.allows { "Allow" } else { "Deny" };
        statement.insert("Effect".to_owned(), effect.into());
        statement.insert("Action".to_owned(), actions.into());
        statement.insert(element.to_owned(), arns.into());
        if !self.rules.is_empty() {
            let mut operators = BTreeMap::<&str, BTreeMap<&str, &[String]>>::new();
            for rule in &self.rules {
                operators
                    .entry(rule.operator)
                    .or_default()
                    .insert(rule.key, &rule.values);
            }
            statement.insert("Condition".to_owned(), json!(operators));
        }
        Value::Object(statement)
    }
}

/// Merges clauses that differ only in their resources or only in their actions.
fn gathered(clauses: impl Iterator<Item = Clause>) -> Vec<Clause> {
    let mut all: Vec<Clause> = Vec::new();
    for clause in clauses {
        let alike = all.iter_mut().find(|other| {
            other.allows == clause.allows && other.rules == clause.rules && {
                let is_same = other.resources == clause.resources;
                let are_lists = matches!(
                    (&other.resources, &clause.resources),
                    (Resources::In(_), Resources::In(_))
                );
                is_same || (are_lists && other.actions == clause.actions)
            }
        });
        match alike {
            None => all.push(clause),
            Some(other) if other.resources == clause.resources => other.actions |= clause.actions,
            Some(other) => {
                if let (Resources::In(own), Resources::In(more)) =
                    (&mut other.resources, clause.resources)
                {
                    *own = glob::widest(std::mem::take(own).into_iter().chain(more));
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
