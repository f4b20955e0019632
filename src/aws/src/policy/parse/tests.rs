use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::*;
use crate::policy::Policy;
use crate::policy::{Request, Verdict, evaluate};

fn reason(text: &str, purpose: Purpose) -> String {
    match Policy::parse(text, purpose) {
        Ok(_) => "fine".to_owned(),
        Err(e) => e.to_string(),
    }
}

/// Returns a document with one statement of these fields.
fn one(fields: &str) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{{{fields}}}]}}"#)
}

#[test]
fn identity_policies() {
    let good = r#""Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*""#;
    for (fields, expected) in [
        (good.to_owned(), "fine"),
        (good.replace("s3:Get*", "*"), "fine"),
        (good.replace("\"arn:aws:s3:::b/*\"", "[\"*\"]"), "fine"),
        (
            good.replace("Get*", "Get:x"),
            "Actions/Condition can contain only one colon.",
        ),
        (
            good.replace("s3:Get*", "GetObject"),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (good.replace("s3:Get*", "a b:c"), "Vendor a b is not valid"),
        (
            good.replace("arn:aws:s3:::b/*", "b"),
            "Resource b must be in ARN format or \"*\".",
        ),
        (
            good.replace("arn:aws:s3:::b/*", "arn:x:s3"),
            "Partition \"x\" is not valid for resource \"arn:x:s3:*:*:*\".",
        ),
        (
            r#""Effect": "Allow", "Resource": "*""#.to_owned(),
            "Policy statement must contain actions.",
        ),
        (
            r#""Effect": "Allow", "Action": "s3:*""#.to_owned(),
            "Policy statement must contain resources.",
        ),
        (
            format!(r#"{good}, "Principal": "*""#),
            "Policy document should not specify a principal.",
        ),
    ] {
        assert_eq!(
            reason(&one(&fields), Purpose::Identity),
            expected,
            "{fields}"
        );
    }
    for (fields, expected) in [
        (
            format!(r#"{good}, "Resorce": "*""#),
            "the unknown element Resorce",
        ),
        (
            format!(r#"{good}, "NotAction": "a:b""#),
            "both Action and NotAction",
        ),
        (
            good.replace("Allow", "allow"),
            "Effect must be Allow or Deny",
        ),
        (
            format!(r#"{good}, "Condition": {{"StringSame": {{"a": "b"}}}}"#),
            "StringSame",
        ),
        (
            format!(r#"{good}, "Condition": {{"Bool": "true"}}"#),
            "Condition Bool is not a JSON",
        ),
        (format!(r#"{good}, "Sid": "a b""#), "Sid \"a b\""),
        (
            good.replace("\"s3:Get*\"", "[{}]"),
            "Action must be a string or a list of strings",
        ),
    ] {
        let found = reason(&one(&fields), Purpose::Identity);
        assert!(
            found.starts_with("Syntax errors in policy.") && found.contains(expected),
            "{fields}: {found}"
        );
    }
}

#[test]
fn documents() {
    let statement = r#"{"Sid": "A", "Effect": "Deny", "Action": "s3:*", "Resource": "*"}"#;
    for (text, expected) in [
        ("", "The document is not valid JSON"),
        ("[]", "not a JSON object"),
        ("{}", "Policy document must be version"),
        (r#"{"Version": "2012-10-17"}"#, "Statement is missing"),
        (
            r#"{"Version": "2012-10-17", "Statement": []}"#,
            "Statement is missing",
        ),
        (
            r#"{"Version": "2020-01-01", "Statement": []}"#,
            "is not 2012-10-17",
        ),
        (
            r#"{"Version": "2008-10-17", "Statement": []}"#,
            "must be version 2012-10-17",
        ),
        (
            &format!(r#"{{"Version": "2012-10-17", "Statement": {statement}}}"#),
            "fine",
        ),
        (
            &format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}, {statement}]}}"#),
            "must be unique",
        ),
        (&"[".repeat(100_000), "The document is not valid JSON"),
    ] {
        let found = reason(text, Purpose::Identity);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn trust_policies() {
    let good = r#""Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole""#;
    for (fields, expected) in [
        (good.to_owned(), "fine"),
        (
            good.replace("{\"AWS\": \"arn:aws:iam::123456789012:root\"}", "\"*\""),
            "fine",
        ),
        (good.replace("AWS", "Service"), "fine"),
        (
            format!(r#"{good}, "Resource": "*""#),
            "Has prohibited field Resource",
        ),
        (
            good.replace("sts:AssumeRole", "s3:GetObject"),
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ),
        (
            good.replace("root", "user/*"),
            "Invalid principal in policy: \"AWS\":\"arn:aws:iam::123456789012:user/*\"",
        ),
    ] {
        assert_eq!(reason(&one(&fields), Purpose::Trust), expected, "{fields}");
    }
    let without = one(r#""Effect": "Allow", "Action": "sts:AssumeRole""#);
    assert!(reason(&without, Purpose::Trust).contains("needs a Principal"));
    let old = one(good).replace("2012-10-17", "2008-10-17");
    assert_eq!(reason(&old, Purpose::Trust), "fine");
}

/// Returns random JSON made of the words of policies, valid or not.
fn anything(random: &mut StdRng, depth: usize) -> Value {
    const WORDS: [&str; 24] = [
        "Version",
        "2012-10-17",
        "2008-10-17",
        "Statement",
        "Effect",
        "Allow",
        "Deny",
        "Action",
        "NotAction",
        "s3:Get*",
        "*",
        "Resource",
        "NotResource",
        "arn:aws:s3:::b/${aws:username}/*",
        "Principal",
        "AWS",
        "Condition",
        "StringLike",
        "Bool",
        "ForAllValues:StringNotEqualsIfExists",
        "NumericLessThan",
        "aws:username",
        "7",
        "${*}${a,'b'}",
    ];
    let word = |random: &mut StdRng| (*WORDS.choose(random).expect("a word")).to_owned();
    match random.random_range(0..10) {
        0..4 if depth > 0 => (0..random.random_range(0..5))
            .map(|_| (word(random), anything(random, depth - 1)))
            .collect::<Map<_, _>>()
            .into(),
        4 if depth > 0 => (0..random.random_range(0..4))
            .map(|_| anything(random, depth - 1))
            .collect(),
        5 => Value::from(random.random::<i64>()),
        6 => Value::from(random.random::<bool>()),
        7 => Value::Null,
        _ => Value::from(word(random)),
    }
}

/// Returns a field of a statement, with a value that it may have.
fn plausible(random: &mut StdRng) -> (&'static str, Value) {
    let mut one = |values: &[&str]| Value::from(*values.choose(random).expect("a value"));
    let operator = one(&[
        "StringLike",
        "StringNotEquals",
        "ForAllValues:StringEquals",
        "ForAnyValue:StringLikeIfExists",
        "Bool",
    ]);
    let user = one(&["jo", "a*", "${aws:username}", "true"]);
    let operator = operator.as_str().unwrap_or_default().to_owned();
    let fields = [
        (
            "Action",
            one(&["s3:Get*", "s3:*", "*", "iam:*", "S3:getobject"]),
        ),
        (
            "Resource",
            one(&[
                "*",
                "arn:aws:s3:::b/*",
                "arn:aws:s3:::b/${aws:username}/*",
                "arn:aws:s3:::c",
            ]),
        ),
        ("Effect", one(&["Allow", "Deny"])),
        ("Condition", json!({operator: {"aws:username": user}})),
    ];
    fields.choose(random).expect("a field").clone()
}

/// Random documents are either refused or evaluated. Beside a policy that denies everything, each
/// of them ends in a denial.
#[test]
fn documents_made_at_random() {
    let mut random = StdRng::seed_from_u64(5);
    let context = HashMap::from([("aws:username".to_owned(), vec!["jo".to_owned()])]);
    let deny = r#"{"Effect": "Deny", "Action": "*", "Resource": "*"}"#;
    let (mut read, mut allowed) = (0, 0);
    for _ in 0..10_000 {
        // Half of the documents have the right shape.
        let mut statement = json!({"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"});
        let document = if random.random() {
            for _ in 0..random.random_range(0..3) {
                let (field, value) = plausible(&mut random);
                statement[field] = value;
            }
            if random.random() {
                let field = STATEMENT_ELEMENTS.choose(&mut random).expect("a field");
                statement[*field] = anything(&mut random, 3);
            }
            json!({"Version": "2012-10-17", "Statement": [statement]})
        } else {
            anything(&mut random, 5)
        };
        let Ok(policy) = Policy::parse(&document.to_string(), Purpose::Identity) else {
            continue;
        };
        read += 1;
        let request = Request {
            action: "s3:GetObject",
            resource: "arn:aws:s3:::b/jo/k",
            context: &context,
        };
        allowed += usize::from(matches!(
            evaluate([("p", &policy)], &request),
            Verdict::Allow(_)
        ));
        let both = policy
            .text()
            .replacen("\"Statement\":[", &format!("\"Statement\":[{deny},"), 1);
        let both = Policy::parse(&both, Purpose::Identity).expect("a denial more");
        assert!(
            matches!(evaluate([("p", &both)], &request), Verdict::Deny(_)),
            "{document}"
        );
    }
    assert!(
        read > 1000 && allowed > 300 && read - allowed > 300,
        "{read} read, {allowed} allowed"
    );
}
