use std::collections::HashMap;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::*;
use crate::policy::{Purpose, Request, Verdict, evaluate};

fn policy(statements: Value) -> Policy {
    let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    Policy::parse(&text, Purpose::Identity).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn context(pairs: &[(&str, &str)]) -> Context {
    let owned = |(key, value): &(&str, &str)| (key.to_string(), vec![value.to_string()]);
    pairs.iter().map(owned).collect()
}

/// Returns the condition keys that every request of the session has.
fn known() -> Context {
    context(&[
        ("aws:username", "jo"),
        ("aws:principalaccount", "000000000000"),
        ("aws:securetransport", "false"),
    ])
}

/// Evaluates a document in the way in which MinIO differs from AWS: a request about a bucket is one
/// on `bucket/`, and a bucket's name without wildcards matches that too.
fn minio_allows(document: &str, action: &str, resource: &str, context: &Context) -> bool {
    let mut document: Value = serde_json::from_str(document).unwrap();
    for statement in document["Statement"].as_array_mut().unwrap() {
        for element in ["Resource", "NotResource"] {
            let Some(names) = statement.get_mut(element).and_then(Value::as_array_mut) else {
                continue;
            };
            let texts = names.iter().filter_map(Value::as_str);
            let buckets = texts.filter(|name| !name.contains(['/', '*', '?']));
            let with_slash: Vec<Value> = buckets.map(|name| format!("{name}/").into()).collect();
            names.extend(with_slash);
        }
    }
    let policy = Policy::parse(&document.to_string(), Purpose::Identity).unwrap();
    let resource = if resource.contains('/') {
        resource
    } else {
        &format!("{resource}/")
    };
    let asked = Request {
        action,
        resource,
        context,
    };
    matches!(evaluate([("p", &policy)], &asked), Verdict::Allow(_))
}

#[test]
fn the_guides_role_within_a_location() {
    let role = policy(json!([
        {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": "arn:aws:s3:::lake/*"},
        {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": "arn:aws:s3:::lake",
         "Condition": {"StringLike": {"s3:prefix": ["*"]}}},
    ]));
    let session = policy(json!([
        {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::lake/data/*"},
        {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::lake"},
    ]));
    let document: Value =
        serde_json::from_str(&flatten([&role], Some(&session), &known()).unwrap()).unwrap();
    let document = serde_json::to_string_pretty(&document).unwrap();
    insta::assert_snapshot!(document, @r#"
    {
      "Statement": [
        {
          "Action": [
            "s3:GetObject",
            "s3:PutObject"
          ],
          "Effect": "Allow",
          "Resource": [
            "arn:aws:s3:::lake/data/*"
          ]
        },
        {
          "Action": [
            "s3:ListBucket"
          ],
          "Condition": {
            "StringLike": {
              "s3:prefix": [
                "*"
              ]
            }
          },
          "Effect": "Allow",
          "Resource": [
            "arn:aws:s3:::lake"
          ]
        }
      ],
      "Version": "2012-10-17"
    }
    "#);
}

#[test]
fn all_is_all_and_nothing_is_refused() {
    let all = policy(json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
    let nothing = policy(json!({"Effect": "Allow", "Action": "iam:*", "Resource": "*"}));
    let text = |policy| flatten([policy], None, &known()).unwrap();
    let statement = |effect: &str| {
        format!(
            r#"{{"Statement":[{{"Action":["s3:*"],"Effect":"{effect}","Resource":["arn:aws:s3:::*"]}}],"Version":"2012-10-17"}}"#
        )
    };
    assert_eq!(text(&all), statement("Allow"));
    assert_eq!(text(&nothing), statement("Deny"));
    assert_eq!(flatten([], None, &known()).unwrap(), statement("Deny"));
}

#[test]
fn what_it_cannot_say_it_does_not_say() {
    let one = |statement: Value| policy(json!([statement]));
    let all = one(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}));
    let when = |condition: Value| {
        one(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition}))
    };
    let but = one(
        json!({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::lake/secret/*"}),
    );
    let lake = one(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::lake/*"}));
    let many: Vec<String> = (0..100)
        .map(|n| format!("arn:aws:s3:::lake/a/long/prefix/{n}/*"))
        .collect();
    let long = one(json!({"Effect": "Allow", "Action": "s3:*", "Resource": many}));
    let stars =
        one(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::lake/${*}"}));
    for (policy, session, expected) in [
        (
            &when(json!({"StringEqualsIfExists": {"s3:prefix": "a"}})),
            None,
            "MinIO does not support the condition StringEqualsIfExists on s3:prefix",
        ),
        (
            &when(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})),
            Some(&when(json!({"IpAddress": {"aws:SourceIp": "10.1.0.0/16"}}))),
            "two conditions IpAddress on aws:SourceIp cannot be combined",
        ),
        (
            &but,
            Some(&lake),
            "the overlap of the resources lake/?* and lake/secret/* cannot be expressed in one document",
        ),
        (
            &stars,
            None,
            "MinIO cannot match a literal * or ?, which lake/* contains",
        ),
        (
            &long,
            Some(&all),
            "the combined policy would have 3978 characters; MinIO accepts at most 2048",
        ),
    ] {
        let error = flatten([policy], session, &known()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

const BUCKETS: [&str; 3] = ["lake", "lake2", "other"];
const KEYS: [&str; 4] = ["a", "data/a", "data/", "secret/x/y"];
const NAMES: [&str; 10] = [
    "*",
    "lake",
    "lake*",
    "lake/*",
    "lake/data/*",
    "lake?/*",
    "*/data/*",
    "lake/${aws:username}/*",
    "other/secret/*",
    "lake/data/a",
];
const SOME_ACTIONS: [&str; 8] = [
    "s3:*",
    "*",
    "s3:Get*",
    "s3:GetObject",
    "s3:PutObject",
    "s3:ListBucket",
    "s3:Delete*",
    "sts:AssumeRole",
];

fn random_statement(random: &mut ChaCha8Rng) -> Value {
    let mut statement = Map::new();
    let effect = if random.random_bool(0.75) {
        "Allow"
    } else {
        "Deny"
    };
    statement.insert("Effect".to_owned(), effect.into());
    let action = if random.random_bool(0.85) {
        "Action"
    } else {
        "NotAction"
    };
    let actions: Vec<&str> = SOME_ACTIONS.choose_multiple(random, 2).copied().collect();
    statement.insert(action.to_owned(), actions.into());
    let resource = if random.random_bool(0.85) {
        "Resource"
    } else {
        "NotResource"
    };
    let arns: Vec<String> = NAMES
        .choose_multiple(random, 2)
        .map(|name| {
            if *name == "*" {
                (*name).to_owned()
            } else {
                format!("{ARN}{name}")
            }
        })
        .collect();
    statement.insert(resource.to_owned(), arns.into());
    let conditions = [
        json!({"StringLike": {"s3:prefix": ["data/*", ""]}}),
        json!({"StringNotEquals": {"s3:prefix": "secret"}}),
        json!({"StringEquals": {"s3:prefix": ["data/x", "a"]}}),
        json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        json!({"NotIpAddress": {"aws:SourceIp": ["10.1.0.0/16"]}}),
        json!({"Bool": {"aws:SecureTransport": "false"}}),
        json!({"StringEquals": {"aws:username": "ann"}}),
        json!({"Null": {"s3:prefix": "true"}}),
        json!({"DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}}),
    ];
    if random.random_bool(0.4) {
        let condition = conditions.choose(random).cloned().unwrap_or_default();
        statement.insert("Condition".to_owned(), condition);
    }
    Value::Object(statement)
}

fn random_policy(random: &mut ChaCha8Rng) -> Policy {
    let count = random.random_range(1..=3);
    policy((0..count).map(|_| random_statement(random)).collect())
}

/// A flattened document allows exactly what its policies allow.
#[test]
fn it_says_what_the_policies_say() {
    let (mut compared, mut allowed) = (0, 0);
    for seed in 0..400 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let own = [random_policy(&mut random), random_policy(&mut random)];
        let session = random.random_bool(0.6).then(|| random_policy(&mut random));
        let Ok(document) = flatten(&own, session.as_ref(), &known()) else {
            continue;
        };
        for (ip, prefix) in [
            ("10.1.2.3", None),
            ("10.2.0.1", Some("data/x")),
            ("127.0.0.1", Some("secret")),
        ] {
            let mut request = HashMap::clone(&known());
            request.extend(context(&[
                ("aws:sourceip", ip),
                ("aws:currenttime", "2026-11-01T00:00:00Z"),
            ]));
            let names = BUCKETS.iter().flat_map(|bucket| {
                let keys = KEYS.iter().map(move |key| format!("{bucket}/{key}"));
                keys.chain([(*bucket).to_owned()])
            });
            for name in names {
                let actions: &[&str] = if name.contains('/') {
                    &["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
                } else {
                    &["s3:ListBucket", "s3:CreateBucket"]
                };
                for action in actions {
                    let mut context = request.clone();
                    if let Some(prefix) = prefix.filter(|_| *action == "s3:ListBucket") {
                        context.insert("s3:prefix".to_owned(), vec![prefix.to_owned()]);
                    }
                    let resource = &format!("{ARN}{name}");
                    let asked = Request {
                        action,
                        resource,
                        context: &context,
                    };
                    let policies = own.iter().map(|policy| ("own", policy));
                    let by_own = matches!(evaluate(policies, &asked), Verdict::Allow(_));
                    let by_session = session.iter().all(|policy| {
                        matches!(evaluate([("session", policy)], &asked), Verdict::Allow(_))
                    });
                    let expected = by_own && by_session;
                    assert_eq!(
                        minio_allows(&document, action, resource, &context),
                        expected,
                        "seed {seed}: {action} on {name} from {ip} with {prefix:?}\n{own:?}\n{session:?}\n{document}"
                    );
                    compared += 1;
                    allowed += usize::from(expected);
                }
            }
        }
    }
    // Most combinations can be flattened, and both allowed and refused requests are frequent.
    assert!(compared > 15_000 && allowed > 2_000, "{compared} {allowed}");
}
