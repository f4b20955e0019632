use super::*;
use crate::aws::policy::Policy;

fn reason(text: &str, purpose: Purpose) -> String {
    match Policy::parse(text, purpose) {
        Ok(_) => "fine".to_owned(),
        Err(e) => e.to_string(),
    }
}

/// A document with one statement of these fields.
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
            "Condition Bool is no JSON",
        ),
        (format!(r#"{good}, "Sid": "a b""#), "Sid \"a b\""),
        (good.replace("\"s3:Get*\"", "[{}]"), "Action must be a text"),
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
        ("", "The document is no JSON"),
        ("[]", "no JSON object"),
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
        (&"[".repeat(100_000), "The document is no JSON"),
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
