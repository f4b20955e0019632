//! Parses and validates policy documents, with AWS's error messages.

use serde_json::{Map, Value};

use super::condition::{BadCondition, Condition};
use super::evaluate::Effect;
use super::pattern::{Pattern, Syntax};
use super::{Matcher, Principals, Statement};

/// The purpose of a document, which decides what elements it may and must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A policy of a user or role, or a session policy.
    Identity,
    /// A role's trust policy.
    Trust,
    /// A stored policy of either kind, which was validated before.
    Stored,
}

/// The reason why a document was refused: the message of AWS's `MalformedPolicyDocument`. The
/// wording is AWS's where it is known; text in parentheses is icebox's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("Syntax errors in policy. ({0})")]
    Syntax(String),
    #[error("Policy document must be version 2012-10-17 or greater.")]
    Version,
    #[error("Statement IDs (SID) in a single policy must be unique.")]
    SidTwice,
    #[error("Policy statement must contain actions.")]
    NoActions,
    #[error("Policy statement must contain resources.")]
    NoResources,
    #[error("Policy document should not specify a principal.")]
    PrincipalNotAllowed,
    #[error("Syntax errors in policy. (A trust policy's statement {0} needs a Principal.)")]
    NoPrincipal(usize),
    #[error("Has prohibited field {0}")]
    Prohibited(&'static str),
    #[error("AssumeRole policy may only specify STS AssumeRole actions.")]
    NotAssumeRole,
    #[error("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")]
    NoVendor,
    #[error("Actions/Condition can contain only one colon.")]
    TwoColons,
    #[error("Vendor {0} is not valid")]
    Vendor(String),
    #[error("Resource {0} must be in ARN format or \"*\".")]
    NotAnArn(String),
    #[error("Partition \"{partition}\" is not valid for resource \"{resource}\".")]
    Partition { partition: String, resource: String },
    #[error("Syntax errors in policy. ({0})")]
    Condition(#[from] BadCondition),
    #[error("Invalid principal in policy: {0}")]
    Principal(String),
}

type Result<T> = std::result::Result<T, Malformed>;

fn syntax<T>(what: impl Into<String>) -> Result<T> {
    Err(Malformed::Syntax(what.into()))
}

const ELEMENTS: [&str; 3] = ["Version", "Id", "Statement"];
const STATEMENT_ELEMENTS: [&str; 9] = [
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];
/// The actions that a trust policy may name, in lower case.
const TRUST_ACTIONS: [&str; 6] = [
    "sts:assumerole",
    "sts:assumerolewithsaml",
    "sts:assumerolewithwebidentity",
    "sts:tagsession",
    "sts:setsourceidentity",
    "sts:setcontext",
];

pub(super) fn statements(text: &str, purpose: Purpose) -> Result<Vec<Statement>> {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(e) => return syntax(format!("The document is not valid JSON: {e}.")),
    };
    let Value::Object(document) = value else {
        return syntax("The document is not a JSON object.");
    };
    known(&document, &ELEMENTS, "The document")?;
    let version = match document.get("Version") {
        None => "2008-10-17",
        Some(Value::String(v)) if v == "2012-10-17" || v == "2008-10-17" => v,
        Some(other) => return syntax(format!("Version {other} is not 2012-10-17.")),
    };
    if purpose == Purpose::Identity && version != "2012-10-17" {
        return Err(Malformed::Version);
    }
    if document.get("Id").is_some_and(|id| !id.is_string()) {
        return syntax("Id must be a string.");
    }
    let found = match document.get("Statement") {
        Some(Value::Array(list)) if !list.is_empty() => list.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => return syntax("Statement is missing or empty."),
    };
    let reader = Reader {
        purpose,
        variables: version == "2012-10-17",
    };
    let statements: Vec<Statement> = found
        .iter()
        .enumerate()
        .map(|(i, value)| reader.statement(i + 1, value))
        .collect::<Result<_>>()?;
    let mut sids: Vec<&str> = statements
        .iter()
        .filter_map(|s| s.sid.as_deref())
        .filter(|sid| !sid.is_empty())
        .collect();
    sids.sort_unstable();
    if sids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Malformed::SidTwice);
    }
    Ok(statements)
}

struct Reader {
    purpose: Purpose,
    variables: bool,
}

impl Reader {
    fn statement(&self, number: usize, value: &Value) -> Result<Statement> {
        let place = format!("Statement {number}");
        let Value::Object(fields) = value else {
            return syntax(format!("{place} is not a JSON object."));
        };
        known(fields, &STATEMENT_ELEMENTS, &place)?;
        let sid = match fields.get("Sid") {
            None => None,
            Some(Value::String(sid)) if sid.chars().all(|c| c.is_ascii_alphanumeric()) => {
                Some(sid.clone())
            }
            Some(other) => {
                return syntax(format!(
                    "{place}: Sid {other} may contain only letters and digits."
                ));
            }
        };
        let effect = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return syntax(format!("{place}: Effect must be Allow or Deny.")),
        };
        let (negated, actions) =
            either(fields, "Action", "NotAction", &place)?.ok_or(Malformed::NoActions)?;
        if actions.is_empty() {
            return Err(Malformed::NoActions);
        }
        for action in &actions {
            self.check_action(action)?;
        }
        Ok(Statement {
            sid,
            effect,
            principals: self.principals(number, &place, fields)?,
            actions: self.matcher(negated, &actions),
            resources: self.resources(&place, fields)?,
            conditions: self.conditions(&place, fields.get("Condition"))?,
        })
    }

    fn check_action(&self, action: &str) -> Result<()> {
        if action != "*" {
            match action.split(':').collect::<Vec<_>>()[..] {
                [_] => return Err(Malformed::NoVendor),
                [vendor, name] => {
                    let vendor_ok = |c: char| c.is_ascii_alphanumeric() || "-.*?".contains(c);
                    if vendor.is_empty() || !vendor.chars().all(vendor_ok) {
                        return Err(Malformed::Vendor(vendor.to_owned()));
                    }
                    if name.is_empty() {
                        return syntax(format!("Action {action} has no name after the colon."));
                    }
                }
                _ => return Err(Malformed::TwoColons),
            }
        }
        let about_trust = || TRUST_ACTIONS.contains(&action.to_ascii_lowercase().as_str());
        if self.purpose == Purpose::Trust && !about_trust() {
            return Err(Malformed::NotAssumeRole);
        }
        Ok(())
    }

    fn resources(&self, place: &str, fields: &Map<String, Value>) -> Result<Option<Matcher>> {
        let found = either(fields, "Resource", "NotResource", place)?;
        match (self.purpose, found) {
            (Purpose::Trust, Some((negated, _))) => Err(Malformed::Prohibited(if negated {
                "NotResource"
            } else {
                "Resource"
            })),
            (Purpose::Identity, None) => Err(Malformed::NoResources),
            (_, None) => Ok(None),
            (_, Some((_, resources))) if resources.is_empty() => Err(Malformed::NoResources),
            (_, Some((negated, resources))) => {
                let completed: Vec<String> = resources
                    .iter()
                    .map(|r| resource(r))
                    .collect::<Result<_>>()?;
                Ok(Some(self.matcher(negated, &completed)))
            }
        }
    }

    fn principals(
        &self,
        number: usize,
        place: &str,
        fields: &Map<String, Value>,
    ) -> Result<Option<Principals>> {
        let (value, negated) = match (fields.get("Principal"), fields.get("NotPrincipal")) {
            (Some(_), Some(_)) => {
                return syntax(format!("{place} has both Principal and NotPrincipal."));
            }
            (Some(value), None) => (value, false),
            (None, Some(value)) => (value, true),
            (None, None) if self.purpose == Purpose::Trust => {
                return Err(Malformed::NoPrincipal(number));
            }
            (None, None) => return Ok(None),
        };
        if self.purpose == Purpose::Identity {
            return Err(Malformed::PrincipalNotAllowed);
        }
        let mut aws = Vec::new();
        match value {
            Value::String(all) if all == "*" => aws.push(all.clone()),
            Value::Object(kinds) if !kinds.is_empty() => {
                for (kind, names) in kinds {
                    let names = texts(names, &format!("{place}: Principal {kind}"))?;
                    match kind.as_str() {
                        "AWS" => aws.extend(names),
                        // No caller of the sandbox is one of these.
                        "Service" | "Federated" | "CanonicalUser" => {}
                        _ => {
                            return syntax(format!(
                                "{place}: unknown kind of Principal {kind}; use AWS, Service, Federated or CanonicalUser."
                            ));
                        }
                    }
                }
            }
            _ => {
                return syntax(format!(
                    "{place}: Principal must be \"*\" or like {{\"AWS\": \"arn:…\"}}."
                ));
            }
        }
        for name in &aws {
            if name != "*" && name.contains(['*', '?']) {
                return Err(Malformed::Principal(format!("\"AWS\":\"{name}\"")));
            }
        }
        Ok(Some(Principals { negated, aws }))
    }

    fn conditions(&self, place: &str, value: Option<&Value>) -> Result<Vec<Condition>> {
        let mut conditions = Vec::new();
        let operators = match value {
            None => return Ok(conditions),
            Some(Value::Object(operators)) => operators,
            Some(_) => return syntax(format!("{place}: Condition is not a JSON object.")),
        };
        for (operator, keys) in operators {
            let Value::Object(keys) = keys else {
                return syntax(format!(
                    "{place}: Condition {operator} is not a JSON object."
                ));
            };
            for (key, values) in keys {
                let values = texts(values, &format!("{place}: Condition {operator} {key}"))?;
                conditions.push(Condition::parse(operator, key, &values, self.variables)?);
            }
        }
        Ok(conditions)
    }

    fn matcher(&self, negated: bool, patterns: &[String]) -> Matcher {
        let syntax = Syntax {
            wildcards: true,
            variables: self.variables,
        };
        Matcher {
            negated,
            patterns: patterns.iter().map(|p| Pattern::parse(p, syntax)).collect(),
        }
    }
}

/// Completes an ARN to its six parts. As in IAM, parts that are missing at its end become `*`.
fn resource(text: &str) -> Result<String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    if parts.len() < 2 || parts[0] != "arn" {
        return Err(Malformed::NotAnArn(text.to_owned()));
    }
    let completed = text.to_owned() + &":*".repeat(6 - parts.len());
    if !["aws", "aws-cn", "aws-us-gov", "*"].contains(&parts[1]) {
        return Err(Malformed::Partition {
            partition: parts[1].to_owned(),
            resource: completed,
        });
    }
    Ok(completed)
}

fn known(fields: &Map<String, Value>, names: &[&str], place: &str) -> Result<()> {
    match fields.keys().find(|k| !names.contains(&k.as_str())) {
        None => Ok(()),
        Some(other) => syntax(format!("{place} has the unknown element {other}.")),
    }
}

/// Returns the texts of one of two elements, and whether it is the negated one.
fn either(
    fields: &Map<String, Value>,
    plain: &str,
    negated: &str,
    place: &str,
) -> Result<Option<(bool, Vec<String>)>> {
    let read = |value, name: &str| texts(value, &format!("{place}: {name}"));
    Ok(match (fields.get(plain), fields.get(negated)) {
        (Some(_), Some(_)) => {
            return syntax(format!("{place} has both {plain} and {negated}."));
        }
        (Some(value), None) => Some((false, read(value, plain)?)),
        (None, Some(value)) => Some((true, read(value, negated)?)),
        (None, None) => None,
    })
}

/// Returns one text or a list of texts as a list. Numbers and booleans count as texts.
fn texts(value: &Value, place: &str) -> Result<Vec<String>> {
    let values = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => syntax(format!("{place} must be a string or a list of strings.")),
    };
    values.iter().map(text).collect()
}

#[cfg(test)]
mod tests;
