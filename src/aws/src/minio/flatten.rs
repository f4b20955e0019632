//! Flattens several policies into one document, for MinIO: its `AssumeRole` takes a single policy,
//! and it knows nothing else about the session.
//!
//! Conditions on what is known about all requests of the session (the caller, the lack of TLS) are
//! evaluated here. Conditions on what differs between requests stay in the document. MinIO treats a
//! request about a bucket as one on the resource `bucket/`, so `bucket/*` is written in a form that
//! does not match it.

mod condition;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::policy::{Context, Effect, Matcher, Policy, Statement, glob};
use condition::FlatCondition;

/// The length limit of a policy in MinIO's `AssumeRole`, in characters.
const MAX_LENGTH: usize = 2048;

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

/// The reason why policies cannot be flattened into one document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlattenError {
    #[error("MinIO does not support the condition {operator} on {key}")]
    Condition { operator: String, key: String },
    #[error("two conditions {operator} on {key} cannot be combined")]
    Twice {
        operator: &'static str,
        key: &'static str,
    },
    #[error("the overlap of the resources {0} and {1} cannot be expressed in one document")]
    Resources(String, String),
    #[error("MinIO cannot match a literal * or ?, which {0} contains")]
    Literal(String),
    #[error("the combined policy would have {0} characters; MinIO accepts at most {MAX_LENGTH}")]
    TooLong(usize),
}

type Result<T> = std::result::Result<T, FlattenError>;

/// Returns one document that allows what the policies of an identity allow and, if there is a
/// session policy, only what that allows too. `known` has the condition keys that all requests of
/// the session have.
///
/// # Errors
/// [`FlattenError`]. The document never allows more than the policies do.
pub fn flatten<'p>(
    policies: impl IntoIterator<Item = &'p Policy>,
    session: Option<&Policy>,
    known: &Context,
) -> Result<String> {
    let mut own = Vec::new();
    for policy in policies {
        own.extend(flat_statements(policy, known)?);
    }
    let (mut allowed, mut denied): (Vec<FlatStatement>, Vec<FlatStatement>) =
        own.into_iter().partition(|statement| statement.allows);
    if let Some(session) = session {
        let (may, may_not): (Vec<FlatStatement>, Vec<FlatStatement>) =
            flat_statements(session, known)?
                .into_iter()
                .partition(|statement| statement.allows);
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
        denied = vec![FlatStatement::everything(false)];
    }
    let statements: Vec<Value> = merge(allowed.into_iter().chain(denied))
        .iter()
        .map(FlatStatement::render)
        .collect();
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    match document.len() {
        ..=MAX_LENGTH => Ok(document),
        length => Err(FlattenError::TooLong(length)),
    }
}

/// A statement in MinIO's form.
#[derive(Clone, Debug, PartialEq)]
struct FlatStatement {
    allows: bool,
    actions: Actions,
    resources: Resources,
    conditions: Vec<FlatCondition>,
}

/// A set of [`ACTIONS`], one bit for each.
type Actions = u32;

#[derive(Clone, Debug, PartialEq)]
enum Resources {
    In(Vec<String>),
    NotIn(Vec<String>),
}

fn flat_statements(policy: &Policy, known: &Context) -> Result<Vec<FlatStatement>> {
    let mut flat_statements = Vec::new();
    for statement in policy.statements() {
        let resources = Resources::from_matcher(statement.resources.as_ref(), known)?;
        if resources.are_none() {
            continue;
        }
        for (conditions, actions) in actions_by_conditions(statement, known)? {
            flat_statements.push(FlatStatement {
                allows: statement.effect == Effect::Allow,
                actions,
                resources: resources.clone(),
                conditions,
            });
        }
    }
    Ok(flat_statements)
}

/// Returns the actions of a statement, grouped by the conditions that remain for their requests.
fn actions_by_conditions(
    statement: &Statement,
    known: &Context,
) -> Result<BTreeMap<Vec<FlatCondition>, Actions>> {
    let mut found = BTreeMap::<Vec<FlatCondition>, Actions>::new();
    for (number, name) in ACTIONS.iter().enumerate() {
        if !statement
            .actions
            .matches(&format!("s3:{name}"), known, true)
        {
            continue;
        }
        let mut conditions = Vec::new();
        let mut may_hold = true;
        for condition in &statement.conditions {
            match FlatCondition::from_condition(condition, name, known)? {
                Some(condition) => conditions.push(condition),
                None => may_hold &= condition.holds(known),
            }
        }
        if may_hold {
            conditions.sort();
            conditions.dedup();
            *found.entry(conditions).or_default() |= 1 << number;
        }
    }
    Ok(found)
}

impl Resources {
    /// Returns the S3 resources among those that a statement names.
    fn from_matcher(matcher: Option<&Matcher>, known: &Context) -> Result<Self> {
        let Some(matcher) = matcher else {
            return Ok(Self::In(Vec::new()));
        };
        let mut names = Vec::new();
        for pattern in &matcher.patterns {
            // A pattern with a variable that has no value matches nothing.
            let Some(text) = pattern.resolve(known) else {
                continue;
            };
            let of_s3 = glob::remainders(&text, ARN);
            if pattern.has_literal_wildcards(known)
                && let Some(name) = of_s3.first()
            {
                return Err(FlattenError::Literal(name.clone()));
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
        let names = glob::without_covered(names);
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
                            glob::intersection(one, other).ok_or_else(|| {
                                FlattenError::Resources(one.clone(), other.clone())
                            })?,
                        );
                    }
                }
                Ok(Self::In(glob::without_covered(both.into_iter())))
            }
            (Self::NotIn(some), Self::NotIn(others)) => {
                let all = some.iter().chain(others).cloned();
                Ok(Self::NotIn(glob::without_covered(all)))
            }
            (Self::In(some), Self::NotIn(not)) | (Self::NotIn(not), Self::In(some)) => {
                let mut left = Vec::new();
                for one in some {
                    if not.iter().any(|other| glob::covers(other, one)) {
                        continue;
                    }
                    let clash = not.iter().find(|other| {
                        glob::intersection(one, other).is_none_or(|both| !both.is_empty())
                    });
                    if let Some(other) = clash {
                        return Err(FlattenError::Resources(one.clone(), other.clone()));
                    }
                    left.push(one.clone());
                }
                Ok(Self::In(left))
            }
        }
    }
}

impl FlatStatement {
    fn everything(allows: bool) -> Self {
        Self {
            allows,
            actions: Actions::MAX,
            resources: Resources::In(vec!["*".to_owned()]),
            conditions: Vec::new(),
        }
    }

    /// Returns what both statements allow; `None` if that is nothing.
    fn and(&self, other: &Self) -> Result<Option<Self>> {
        let actions = self.actions & other.actions;
        if actions == 0 {
            return Ok(None);
        }
        let resources = self.resources.and(&other.resources)?;
        if resources.are_none() {
            return Ok(None);
        }
        let mut conditions = self.conditions.clone();
        for condition in &other.conditions {
            let same = |own: &&mut FlatCondition| {
                own.operator == condition.operator && own.key == condition.key
            };
            match conditions.iter_mut().find(same) {
                None => conditions.push(condition.clone()),
                Some(own) => match own.and(condition)? {
                    Some(both) => *own = both,
                    None => return Ok(None),
                },
            }
        }
        conditions.sort();
        Ok(Some(Self {
            allows: true,
            actions,
            resources,
            conditions,
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
        if !self.conditions.is_empty() {
            let mut operators = BTreeMap::<&str, BTreeMap<&str, &[String]>>::new();
            for condition in &self.conditions {
                operators
                    .entry(condition.operator)
                    .or_default()
                    .insert(condition.key, &condition.values);
            }
            statement.insert("Condition".to_owned(), json!(operators));
        }
        Value::Object(statement)
    }
}

/// Merges statements that differ only in their resources or only in their actions.
fn merge(flat_statements: impl Iterator<Item = FlatStatement>) -> Vec<FlatStatement> {
    let mut all: Vec<FlatStatement> = Vec::new();
    for statement in flat_statements {
        let alike = all.iter_mut().find(|other| {
            other.allows == statement.allows && other.conditions == statement.conditions && {
                let is_same = other.resources == statement.resources;
                let are_lists = matches!(
                    (&other.resources, &statement.resources),
                    (Resources::In(_), Resources::In(_))
                );
                is_same || (are_lists && other.actions == statement.actions)
            }
        });
        match alike {
            None => all.push(statement),
            Some(other) if other.resources == statement.resources => {
                other.actions |= statement.actions;
            }
            Some(other) => {
                if let (Resources::In(own), Resources::In(more)) =
                    (&mut other.resources, statement.resources)
                {
                    *own = glob::without_covered(std::mem::take(own).into_iter().chain(more));
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
