//! Policy evaluation
//! ([evaluation logic](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html)).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pattern::Context;
use super::{Matcher, Policy, Principals, Statement};

/// The effect of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// A request to evaluate: an action on a resource, with condition keys in lower case.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The action, like `s3:GetObject`. Case is ignored.
    pub action: &'a str,
    pub resource: &'a str,
    pub context: &'a Context,
}

/// The statement that decided, and its policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidingStatement {
    /// The policy's name.
    pub policy: String,
    /// The statement's `Sid`, or its number from 1.
    pub statement: String,
}

impl fmt::Display for DecidingStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {} of policy {}", self.statement, self.policy)
    }
}

/// The verdict of a set of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allow(DecidingStatement),
    /// A statement denies the request, which overrides every Allow.
    Deny(DecidingStatement),
    /// No statement applies to the request.
    Silent,
}

/// How a trust policy names the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrincipalMatch {
    No,
    /// By its account, whose own policies decide which of its principals may assume the role.
    Account,
    /// By the principal's own ARN, or by `*`.
    Itself,
}

/// Evaluates identity policies, given with their names.
pub fn evaluate<'p>(
    policies: impl IntoIterator<Item = (&'p str, &'p Policy)>,
    request: &Request<'_>,
) -> Verdict {
    let mut verdict = Verdict::Silent;
    for (name, policy) in policies {
        for (number, statement) in policy.statements().iter().enumerate() {
            if !statement.applies_to(request) {
                continue;
            }
            let by = DecidingStatement {
                policy: name.to_owned(),
                statement: label(statement, number),
            };
            match statement.effect {
                Effect::Deny => return Verdict::Deny(by),
                Effect::Allow if verdict == Verdict::Silent => verdict = Verdict::Allow(by),
                Effect::Allow => {}
            }
        }
    }
    verdict
}

/// Evaluates a trust policy. `names` returns how one of its principals names the caller. Returns
/// the verdict, and the most specific match among the statements that allow the request.
pub fn evaluate_trust(
    policy: &Policy,
    request: &Request<'_>,
    names: impl Fn(&str) -> PrincipalMatch,
) -> (Verdict, PrincipalMatch) {
    let mut best = (Verdict::Silent, PrincipalMatch::No);
    for (number, statement) in policy.statements().iter().enumerate() {
        let Some(principals) = &statement.principals else {
            continue;
        };
        let named = principals.matches(&names);
        if named == PrincipalMatch::No || !statement.applies_to(request) {
            continue;
        }
        let by = DecidingStatement {
            policy: "trust policy".to_owned(),
            statement: label(statement, number),
        };
        match statement.effect {
            Effect::Deny => return (Verdict::Deny(by), named),
            Effect::Allow if named > best.1 => best = (Verdict::Allow(by), named),
            Effect::Allow => {}
        }
    }
    best
}

fn label(statement: &Statement, number: usize) -> String {
    let sid = statement.sid.clone().filter(|sid| !sid.is_empty());
    sid.unwrap_or_else(|| (number + 1).to_string())
}

impl Statement {
    fn applies_to(&self, request: &Request<'_>) -> bool {
        self.actions.matches(request.action, request.context, true)
            && self
                .resources
                .as_ref()
                .is_none_or(|r| r.matches(request.resource, request.context, false))
            && self.conditions.iter().all(|c| c.holds(request.context))
    }
}

impl Matcher {
    pub fn matches(&self, text: &str, context: &Context, ignore_case: bool) -> bool {
        let found = self
            .patterns
            .iter()
            .any(|p| p.matches(text, context, ignore_case));
        found != self.negated
    }
}

impl Principals {
    fn matches(&self, names: &impl Fn(&str) -> PrincipalMatch) -> PrincipalMatch {
        let best = self.aws.iter().map(|p| names(p)).max();
        match (best.unwrap_or(PrincipalMatch::No), self.negated) {
            (best, false) => best,
            (PrincipalMatch::No, true) => PrincipalMatch::Itself,
            (_, true) => PrincipalMatch::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::Purpose;
    use super::*;

    fn policy(statements: &str) -> Policy {
        let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
        Policy::parse(&text, Purpose::Stored).expect("a policy")
    }

    fn verdict(policies: &[(&str, &Policy)], action: &str, resource: &str) -> String {
        let context = HashMap::from([("aws:username".to_owned(), vec!["jo".to_owned()])]);
        let request = Request {
            action,
            resource,
            context: &context,
        };
        match evaluate(policies.iter().copied(), &request) {
            Verdict::Allow(by) => format!("allow {}/{}", by.policy, by.statement),
            Verdict::Deny(by) => format!("deny {}/{}", by.policy, by.statement),
            Verdict::Silent => "silent".to_owned(),
        }
    }

    #[test]
    fn a_denial_wins_wherever_it_stands() {
        let allow = policy(
            r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::lake/*"},
               {"Sid": "Own", "Effect": "Allow", "Action": "s3:getobject", "Resource": "arn:aws:s3:::home/${aws:username}/*"}"#,
        );
        let deny = policy(
            r#"{"Sid": "NoDelete", "Effect": "Deny", "Action": ["s3:Delete*"], "Resource": "*"}"#,
        );
        let both = [("a", &allow), ("d", &deny)];
        for (action, resource, expected) in [
            ("s3:PutObject", "arn:aws:s3:::lake/x", "allow a/1"),
            ("s3:DeleteObject", "arn:aws:s3:::lake/x", "deny d/NoDelete"),
            ("s3:GetObject", "arn:aws:s3:::home/jo/x", "allow a/Own"),
            ("s3:GetObject", "arn:aws:s3:::home/ann/x", "silent"),
            ("s3:ListBucket", "arn:aws:s3:::lake", "silent"),
            ("sts:AssumeRole", "arn:aws:s3:::lake/x", "silent"),
        ] {
            assert_eq!(
                verdict(&both, action, resource),
                expected,
                "{action} {resource}"
            );
        }
    }

    #[test]
    fn not_action_and_not_resource() {
        let policy = policy(
            r#"{"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret/*"}"#,
        );
        let all = [("p", &policy)];
        assert_eq!(
            verdict(&all, "s3:GetObject", "arn:aws:s3:::b/k"),
            "allow p/1"
        );
        assert_eq!(verdict(&all, "IAM:GetRole", "arn:aws:s3:::b/k"), "silent");
        assert_eq!(
            verdict(&all, "s3:GetObject", "arn:aws:s3:::secret/k"),
            "silent"
        );
    }

    #[test]
    fn incomplete_arns_are_completed() {
        let policy = policy(r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3"}"#);
        let all = [("p", &policy)];
        assert_eq!(
            verdict(&all, "s3:GetObject", "arn:aws:s3:::b/k"),
            "allow p/1"
        );
        assert_eq!(verdict(&all, "s3:GetObject", "arn:aws:sns:::b"), "silent");
    }

    #[test]
    fn trust() {
        let trust = policy(
            r#"{"Effect": "Allow", "Principal": {"AWS": ["u1", "account"]}, "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": ["x1", "x2"]}}},
               {"Sid": "Out", "Effect": "Deny", "NotPrincipal": {"AWS": ["u1", "u2", "u3"]}, "Action": "sts:AssumeRole"}"#,
        );
        let ask = |caller: &str, account: bool, external: &str| {
            let context = HashMap::from([("sts:externalid".to_owned(), vec![external.to_owned()])]);
            let request = Request {
                action: "sts:AssumeRole",
                resource: "",
                context: &context,
            };
            let names = |principal: &str| match principal {
                p if p == caller => PrincipalMatch::Itself,
                "account" if account => PrincipalMatch::Account,
                _ => PrincipalMatch::No,
            };
            evaluate_trust(&trust, &request, names)
        };
        let allowed = |answer: (Verdict, PrincipalMatch)| match answer {
            (Verdict::Allow(_), named) => Some(named),
            _ => None,
        };
        assert_eq!(allowed(ask("u1", true, "x2")), Some(PrincipalMatch::Itself));
        assert_eq!(
            allowed(ask("u2", true, "x1")),
            Some(PrincipalMatch::Account)
        );
        assert_eq!(allowed(ask("u2", false, "x1")), None);
        assert_eq!(allowed(ask("u1", true, "wrong")), None);
        assert!(matches!(ask("u4", true, "x1").0, Verdict::Deny(by) if by.statement == "Out"));
    }
}
