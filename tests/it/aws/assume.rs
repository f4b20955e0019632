//! `AssumeRole`: who may call it, with which parameters, and for how long a session lasts.

use aws_sdk_s3::error::ProvideErrorMetadata;

use super::{
    ACCOUNTS, AwsLab, BUCKET, ROLE, ServerKind, assume_role_request, aws_error, document, role_arn,
    root_credentials, trust,
};
use icebox_aws::client::{AssumeRole, Credentials};

const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}"#;

fn refusal(principal: &str) -> String {
    format!(
        "User: {principal} is not authorized to perform: sts:AssumeRole on resource: {}",
        role_arn()
    )
}

/// The three wrong values of the guide, one at a time, each of them corrected afterwards.
#[tokio::test]
async fn one_wrong_value_at_a_time() {
    let mut lab = AwsLab::start().await;
    let snowflake = lab.trusted("sf-1", "ID_1", POLICY).await;
    let (other, _) = lab
        .root(1)
        .create_principal("sf-2")
        .await
        .expect("a principal");
    let own = snowflake.caller_arn().await.expect("an ARN");
    assert_eq!(own, format!("arn:aws:iam::{}:user/sf-1", ACCOUNTS[1]));
    let user = lab.root(0);
    let placeholder = document("01-iam-trust-placeholder.json", &[]);
    let one =
        |principal: &str, id: &str| document("03-iam-trust-one-principal.json", &[principal, id]);
    let right = one(&own, "ID_1");
    let root_of_snowflake = format!("arn:aws:iam::{}:root", ACCOUNTS[1]);

    for (what, trust_policy, external_id, allowed) in [
        ("the placeholder", placeholder, Some("ID_1"), false),
        (
            "another principal",
            one(&other, "ID_1"),
            Some("ID_1"),
            false,
        ),
        (
            "another external id",
            one(&own, "ID_2"),
            Some("ID_1"),
            false,
        ),
        (
            "the external id in lower case",
            right.clone(),
            Some("id_1"),
            false,
        ),
        ("no external id", right.clone(), None, false),
        (
            "the account instead of its user",
            one(&root_of_snowflake, "ID_1"),
            Some("ID_1"),
            true,
        ),
        (
            "another action",
            right.replace("sts:AssumeRole", "sts:TagSession"),
            Some("ID_1"),
            false,
        ),
        (
            "a denial",
            right.replace("Allow", "Deny"),
            Some("ID_1"),
            false,
        ),
        (
            "three of each, not paired",
            document(
                "12-iam-trust-three-principals.json",
                &[&other, &own, &other, "ID_3", "ID_2", "ID_1"],
            ),
            Some("ID_1"),
            true,
        ),
        ("what is right", right, Some("ID_1"), true),
    ] {
        user.update_trust_policy(ROLE, &trust_policy)
            .await
            .expect(what);
        let request = AssumeRole {
            external_id: external_id.map(str::to_owned),
            ..assume_role_request("")
        };
        let answer = snowflake.assume_role(&request).await;
        if allowed {
            answer.unwrap_or_else(|e| panic!("{what}: {e}"));
        } else {
            assert_eq!(
                aws_error(answer),
                ("AccessDenied".into(), 403, refusal(&own)),
                "{what}"
            );
        }
    }

    let audit = lab.audit().await;
    let reasons: Vec<&str> = audit
        .iter()
        .filter(|e| e.action == "sts:AssumeRole" && !e.allowed)
        .map(|e| e.reason.as_str())
        .collect();
    assert_eq!(reasons.len(), 7);
    assert_eq!(
        reasons[0],
        format!("no trust policy allows it; asked by {own} with external id ID_1")
    );
    assert!(
        reasons[4].ends_with("with no external id")
            && reasons[6].contains("explicit deny in the trust policy")
    );
}

#[tokio::test]
async fn roles_that_are_not_there_look_the_same_as_ones_that_refuse() {
    let lab = AwsLab::start().await;
    let snowflake = lab.trusted("sf-1", "ID_1", POLICY).await;
    let own = snowflake.caller_arn().await.expect("an ARN");
    for (arn, expected) in [
        (
            format!("arn:aws:iam::{}:role/other", ACCOUNTS[0]),
            "AccessDenied",
        ),
        (
            format!("arn:aws:iam::{}:role/path/{ROLE}", ACCOUNTS[0]),
            "AccessDenied",
        ),
        (
            format!("arn:aws:iam::123456789012:role/{ROLE}"),
            "AccessDenied",
        ),
        (
            format!("arn:aws:iam::{}:user/{ROLE}", ACCOUNTS[0]),
            "ValidationError",
        ),
        ("not-an-arn-at-all-but-long".to_owned(), "ValidationError"),
    ] {
        let request = AssumeRole {
            role_arn: arn.clone(),
            ..assume_role_request("ID_1")
        };
        let (found, _, message) = aws_error(snowflake.assume_role(&request).await);
        assert_eq!(found, expected, "{arn}: {message}");
        if expected == "AccessDenied" {
            assert_eq!(message, refusal(&own).replace(&role_arn(), &arn));
        }
    }
}

#[tokio::test]
async fn durations() {
    let lab = AwsLab::start().await;
    let snowflake = lab.trusted("sf-1", "ID_1", POLICY).await;
    let user = lab.root(0);
    let trust_policy = user.get_role(ROLE).await.expect("the role").trust_policy;
    // A role with IAM's default maximum session duration, one hour.
    let short = user
        .create_role("short", &trust_policy, 3600)
        .await
        .expect("a role");
    const OVER: &str =
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    for (arn, duration, expected) in [
        (role_arn(), Some(43200), Ok(43200)),
        (role_arn(), None, Ok(3600)),
        (short.clone(), Some(3600), Ok(3600)),
        (short.clone(), Some(900), Ok(900)),
        (short.clone(), Some(43200), Err(OVER)),
        (role_arn(), Some(899), Err("greater than or equal to 900")),
        (role_arn(), Some(43201), Err("less than or equal to 43200")),
    ] {
        let request = AssumeRole {
            role_arn: arn,
            duration,
            ..assume_role_request("ID_1")
        };
        match (snowflake.assume_role(&request).await, expected) {
            (Ok(credentials), Ok(seconds)) => {
                let left = credentials.expires.expect("an end") - chrono::Utc::now();
                assert!(
                    (seconds - 60..=seconds).contains(&left.num_seconds()),
                    "{left}"
                );
            }
            (answer, Err(expected)) => {
                let (code, status, message) = aws_error(answer);
                assert_eq!((code.as_str(), status), ("ValidationError", 400));
                assert!(message.contains(expected), "{message}");
            }
            (Err(e), Ok(_)) => panic!("{duration:?}: {e}"),
        }
    }
}

/// Role chaining: a session that assumes another role lasts one hour at most, whatever that role
/// allows.
#[tokio::test]
async fn chained_roles_last_an_hour() {
    let lab = AwsLab::start().await;
    let allow = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}"#;
    let snowflake = lab.trusted("sf-1", "ID_1", allow).await;
    let user = lab.root(0);
    let second = user
        .create_role("second", &trust(&[&role_arn()], &["ID_1"]), 43200)
        .await
        .expect("a role");
    let first = lab.client(
        snowflake
            .assume_role(&assume_role_request("ID_1"))
            .await
            .expect("a session"),
    );
    assert_eq!(
        first.caller_arn().await.expect("an ARN"),
        format!("arn:aws:sts::{}:assumed-role/{ROLE}/session", ACCOUNTS[0])
    );
    let chained = |duration| AssumeRole {
        role_arn: second.clone(),
        duration: Some(duration),
        ..assume_role_request("ID_1")
    };
    first.assume_role(&chained(3600)).await.expect("a session");
    let (code, _, message) = aws_error(first.assume_role(&chained(3601)).await);
    assert!(
        code == "ValidationError" && message.contains("1 hour"),
        "{message}"
    );
    // The second role does not trust Snowflake's principal itself.
    assert!(snowflake.assume_role(&chained(900)).await.is_err());
}

/// A principal of the role's own account needs an identity policy if the trust policy names the
/// account, and needs none if the trust policy names the principal. The root user may not assume a
/// role.
#[tokio::test]
async fn principals_of_the_same_account() {
    let lab = AwsLab::start().await;
    let user = lab.root(0);
    let arn = user.create_user("jo").await.expect("a user");
    let jo = lab.client(user.create_access_key("jo").await.expect("a key"));
    let account = format!("arn:aws:iam::{}:root", ACCOUNTS[0]);
    user.create_role(ROLE, &trust(&[&account], &["ID_1"]), 3600)
        .await
        .expect("a role");
    assert_eq!(
        aws_error(jo.assume_role(&assume_role_request("ID_1")).await).0,
        "AccessDenied"
    );
    let allow = format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "{}"}}]}}"#,
        role_arn()
    );
    user.put_user_policy("jo", "assume", &allow)
        .await
        .expect("a policy");
    jo.assume_role(&assume_role_request("ID_1"))
        .await
        .expect("a session");
    user.put_user_policy("jo", "assume", &allow.replace(ROLE, "other"))
        .await
        .expect("a policy");
    assert_eq!(
        aws_error(jo.assume_role(&assume_role_request("ID_1")).await).0,
        "AccessDenied"
    );
    user.update_trust_policy(ROLE, &trust(&[&arn], &["ID_1"]))
        .await
        .expect("a trust policy");
    jo.assume_role(&assume_role_request("ID_1"))
        .await
        .expect("a session");
    user.put_user_policy("jo", "assume", &allow.replace("Allow", "Deny"))
        .await
        .expect("a policy");
    assert_eq!(
        aws_error(jo.assume_role(&assume_role_request("ID_1")).await).0,
        "AccessDenied"
    );
    let (code, _, message) = aws_error(user.assume_role(&assume_role_request("ID_1")).await);
    assert_eq!(code, "AccessDenied");
    assert_eq!(message, "Roles may not be assumed by root accounts.");
}

/// A root user that behaves like MinIO's can assume a role that does not exist, and its session
/// policy is enforced.
#[tokio::test]
async fn the_root_user_of_minio() {
    let lab = AwsLab::start_as(ServerKind::LikeMinio).await;
    lab.make_bucket(0, BUCKET).await;
    let policy = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::BUCKET/inside/*"}]}"#;
    let request = AssumeRole {
        policy: Some(policy.replace("BUCKET", BUCKET)),
        ..assume_role_request("ANY")
    };
    let session = lab.root(0).assume_role(&request).await.expect("a session");
    let put = async |credentials: &Credentials, key: &str| {
        let s3 = lab.s3(credentials);
        let sent = s3.put_object().bucket(BUCKET).key(key).send().await;
        sent.map_err(|error| error.code().unwrap_or_default().to_owned())
    };
    put(&session, "inside/a").await.expect("it is allowed");
    assert_eq!(put(&session, "outside").await.unwrap_err(), "AccessDenied");
    put(&root_credentials(0), "outside")
        .await
        .expect("the root user may");
    // A session of this kind cannot assume a role.
    let again = lab.client(session).assume_role(&request).await;
    assert_eq!(aws_error(again).0, "AccessDenied");
}

/// A trust policy applies to the user that existed when it was saved, and not to a later user of
/// the same name.
#[tokio::test]
async fn a_recreated_user_is_another_principal() {
    let lab = AwsLab::start().await;
    let snowflake = lab.trusted("sf-1", "ID_1", POLICY).await;
    let arn = snowflake.caller_arn().await.expect("an ARN");
    snowflake
        .assume_role(&assume_role_request("ID_1"))
        .await
        .expect("a session");
    let (owner, user) = (lab.root(1), lab.root(0));
    owner.delete_user("sf-1").await.expect("deleted");
    assert_eq!(
        aws_error(snowflake.caller_arn().await).0,
        "InvalidClientTokenId"
    );
    let shown = user.get_role(ROLE).await.expect("the role").trust_policy;
    assert!(!shown.contains(&arn) && shown.contains("\"AIDA"), "{shown}");

    let (code_, _, message) = aws_error(
        user.update_trust_policy(ROLE, &trust(&[&arn], &["ID_1"]))
            .await,
    );
    assert_eq!(code_, "MalformedPolicyDocument");
    assert_eq!(
        message,
        format!("Invalid principal in policy: \"AWS\":\"{arn}\"")
    );

    let (again, key) = owner.create_principal("sf-1").await.expect("a principal");
    assert_eq!(again, arn);
    let snowflake = lab.client(key);
    assert_eq!(
        aws_error(snowflake.assume_role(&assume_role_request("ID_1")).await).0,
        "AccessDenied"
    );
    user.update_trust_policy(ROLE, &trust(&[&arn], &["ID_1"]))
        .await
        .expect("a trust policy");
    snowflake
        .assume_role(&assume_role_request("ID_1"))
        .await
        .expect("a session");
}
