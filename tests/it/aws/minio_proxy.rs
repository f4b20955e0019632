//! The MinIO proxy: IAM and STS in front of another S3 service. That service itself enforces the
//! policies of the roles on the sessions.

use aws_sdk_s3::primitives::ByteStream;

use super::access::{all_operations, policy, session_at};
use super::credentials::presigned;
use super::{
    ACCOUNTS, AwsLab, BUCKET, ROLE, ServerKind, assume_role_request, aws_error, document, role_arn,
    root_credentials,
};
use crate::s3::error;
use icebox_aws::client::{AssumeRole, Credentials, Error};

const KINDS: [ServerKind; 2] = [ServerKind::Icebox, ServerKind::BehindProxy];

async fn behind_proxy() -> AwsLab {
    AwsLab::start_as(ServerKind::BehindProxy).await
}

/// Names of cases, each with a role's policy and a session policy.
fn cases() -> Vec<(&'static str, String, Option<String>)> {
    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let (all, frompg) = (format!("{bucket}/*"), format!("{bucket}/frompg/*"));
    let secret = format!("{bucket}/secret/*");
    let listing = format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "s3:*", "Resource": "{bucket}",
            "Condition": {{"StringLike": {{"s3:prefix": ["frompg/*"]}}}}}}]}}"#
    );
    let everything = || policy(&[("Allow", &["s3:*"], "*")]);
    vec![
        (
            "the guide's",
            document("01-iam-policy.json", &[BUCKET]),
            None,
        ),
        (
            "a denied prefix",
            policy(&[("Allow", &["s3:*"], "*"), ("Deny", &["s3:*"], &secret)]),
            None,
        ),
        ("objects only", policy(&[("Allow", &["s3:*"], &all)]), None),
        (
            "the bucket only",
            policy(&[("Allow", &["s3:*"], &bucket)]),
            None,
        ),
        ("a condition", listing, None),
        ("nothing of S3", policy(&[("Allow", &["iam:*"], "*")]), None),
        (
            "narrowed",
            policy(&[("Allow", &["s3:GetObject", "s3:PutObject"], &all)]),
            Some(policy(&[(
                "Allow",
                &["s3:Get*", "s3:DeleteObject"],
                &frompg,
            )])),
        ),
        (
            "narrowed by a denial",
            everything(),
            Some(policy(&[
                ("Allow", &["*"], "*"),
                ("Deny", &["s3:Put*"], &frompg),
            ])),
        ),
        (
            "widened",
            policy(&[("Allow", &["s3:GetObject"], &secret)]),
            Some(everything()),
        ),
    ]
}

/// Sends the requests of [`all_operations`] for a key inside and for a key outside of `frompg/`,
/// and returns the status of each.
async fn answers(kind: ServerKind, role: &str, session: Option<String>) -> Vec<(String, u16)> {
    let (lab, _) = session_at(AwsLab::start_as(kind).await, role).await;
    let key = lab.root(1).create_access_key("sf").await.expect("a key");
    let request = AssumeRole {
        policy: session,
        ..assume_role_request("ID_1")
    };
    let credentials = lab.client(key).assume_role(&request).await;
    let s3 = lab.s3(&credentials.expect("a session"));
    let mut found = Vec::new();
    for key in ["frompg/a", "secret/c"] {
        let answers = all_operations(&s3, key).await;
        let named = |(verb, status, _): &(&str, u16, String)| (format!("{verb} {key}"), *status);
        found.extend(answers.iter().map(named));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_behind_the_proxy_has_the_same_permissions() {
    for (name, role, session) in cases() {
        let [whole, before] = KINDS.map(|kind| answers(kind, &role, session.clone()));
        let (whole, before) = tokio::join!(whole, before);
        assert_eq!(before, whole, "{name}");
    }
}

/// Requests and responses pass through the proxy unchanged.
#[tokio::test]
async fn objects_pass_as_they_are() {
    let (lab, credentials) =
        session_at(behind_proxy().await, &policy(&[("Allow", &["s3:*"], "*")])).await;
    let s3 = lab.s3(&credentials);
    let bytes: Vec<u8> = (0..9_000_000u32).map(|n| (n % 251) as u8).collect();
    for key in ["frompg/large", "frompg/a b+ü/%2F?"] {
        let put = s3.put_object().bucket(BUCKET).key(key);
        let sent = put.body(ByteStream::from(bytes.clone())).send().await;
        sent.expect("it is put");
        let got = s3
            .get_object()
            .bucket(BUCKET)
            .key(key)
            .send()
            .await
            .expect("it is there");
        assert_eq!(got.content_length(), Some(9_000_000));
        assert!(
            got.body.collect().await.expect("a body").to_vec() == bytes,
            "{key}"
        );
    }
    let part = s3
        .get_object()
        .bucket(BUCKET)
        .key("frompg/large")
        .range("bytes=5-9");
    let got = part.send().await.expect("a part");
    assert_eq!(
        got.body.collect().await.expect("a body").to_vec(),
        bytes[5..10]
    );
    let statuses: Vec<u16> = presigned(&s3, "frompg/a")
        .await
        .iter()
        .map(|answer| answer.1)
        .collect();
    assert_eq!(statuses, [200, 200, 200, 204]);
}

#[tokio::test]
async fn whom_it_knows() {
    let (lab, credentials) =
        session_at(behind_proxy().await, &policy(&[("Allow", &["s3:*"], "*")])).await;
    let session = format!("arn:aws:sts::{}:assumed-role/{ROLE}/session", ACCOUNTS[0]);
    assert_eq!(
        lab.client(credentials.clone())
            .caller_arn()
            .await
            .expect("it is known"),
        session
    );
    let bad_token = Credentials {
        session_token: Some("another".into()),
        ..credentials.clone()
    };
    assert_eq!(
        aws_error(lab.client(bad_token.clone()).caller_arn().await).0,
        "InvalidClientTokenId"
    );
    for (wrong, status, code) in [
        (bad_token, 400, "InvalidToken"),
        (
            Credentials::new("AKIANOBODY", "x"),
            403,
            "InvalidAccessKeyId",
        ),
    ] {
        let get = lab.s3(&wrong).get_object().bucket(BUCKET).key("frompg/a");
        assert_eq!(error(get.send().await), (status, code.to_owned()));
    }
    // A principal that the role does not trust is refused.
    let (_, key) = lab
        .root(1)
        .create_principal("other")
        .await
        .expect("a principal");
    let refused = lab
        .client(key)
        .assume_role(&assume_role_request("ID_1"))
        .await;
    assert_eq!(aws_error(refused).0, "AccessDenied");
}

/// A user's keys and sessions have the permissions that the user's policies grant now.
#[tokio::test]
async fn users_have_the_permissions_of_their_policies() {
    let lab = behind_proxy().await;
    lab.make_bucket(0, BUCKET).await;
    let root = lab.root(0);
    root.create_user("jo").await.expect("a user");
    let home = format!("arn:aws:s3:::{BUCKET}/home/${{aws:username}}/*");
    let network = |network: &str| {
        serde_json::json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"], "Resource": home,
            "Condition": {"IpAddress": {"aws:SourceIp": network}, "Bool": {"aws:SecureTransport": "false"}},
        }]})
        .to_string()
    };
    let key = root.create_access_key("jo").await.expect("a key");
    let session = lab.client(key.clone()).get_session_token().await;
    let session = session.expect("a session");
    for who in [&key, &session] {
        root.put_user_policy("jo", "home", &network("127.0.0.0/8"))
            .await
            .expect("a policy");
        let s3 = lab.s3(who);
        let put = |key: &str| {
            let put = s3
                .put_object()
                .bucket(BUCKET)
                .key(key)
                .metadata("a", "b  c");
            put.body(ByteStream::from_static(b"body")).send()
        };
        put("home/jo/x y+ü").await.expect("it is jo's");
        let got = s3.get_object().bucket(BUCKET).key("home/jo/x y+ü").send();
        let got = got.await.expect("it is there");
        assert_eq!(got.metadata().expect("metadata")["a"], "b  c");
        assert_eq!(got.body.collect().await.expect("a body").to_vec(), b"body");
        assert_eq!(error(put("home/ann/x").await), (403, "AccessDenied".into()));
        put("home/jo/x").await.expect("it is jo's");
        let answers = presigned(&s3, "home/jo/x").await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.1).collect();
        assert_eq!(statuses, [200, 200, 200, 204], "{answers:?}");
        let wrong = Credentials {
            secret_access_key: "wrong".into(),
            ..who.clone()
        };
        let refused = lab
            .s3(&wrong)
            .put_object()
            .bucket(BUCKET)
            .key("home/jo/x")
            .send();
        assert_eq!(error(refused.await), (403, "SignatureDoesNotMatch".into()));
        for (verb, status, _) in presigned(&lab.s3(&wrong), "home/jo/x").await {
            assert_eq!(status, 403, "{verb}");
        }
        root.put_user_policy("jo", "home", &network("10.0.0.0/8"))
            .await
            .expect("a policy");
        assert_eq!(error(put("home/jo/x").await), (403, "AccessDenied".into()));
    }
    root.delete_user("jo").await.expect("jo goes");
    let gone = lab
        .s3(&session)
        .get_object()
        .bucket(BUCKET)
        .key("home/jo/x")
        .send();
    assert_eq!(error(gone.await), (400, "InvalidToken".into()));
    let gone = lab
        .s3(&key)
        .get_object()
        .bucket(BUCKET)
        .key("home/jo/x")
        .send();
    assert_eq!(error(gone.await), (403, "InvalidAccessKeyId".into()));
}

/// A session has the permissions that the role's policies grant now, not those from when the
/// session was created.
#[tokio::test]
async fn a_changed_policy_holds_at_once() {
    let listing = policy(&[("Allow", &["s3:ListBucket"], "*")]);
    let (lab, session) = session_at(behind_proxy().await, &listing).await;
    let s3 = lab.s3(&session);
    let get = async || {
        let got = s3.get_object().bucket(BUCKET).key("frompg/a").send().await;
        got.is_ok()
    };
    assert!(!get().await);
    let both = policy(&[("Allow", &["s3:GetObject"], "*")]);
    let change = async |policy: &str| {
        let put = lab.root(0).put_role_policy(ROLE, "s3", policy).await;
        put.expect("a policy");
    };
    change(&both).await;
    assert!(get().await);
    change(&listing).await;
    assert!(!get().await);
}

#[tokio::test]
async fn what_the_service_cannot_be_told_is_refused() {
    let lab = behind_proxy().await;
    let snowflake = lab
        .trusted("sf", "ID_1", &policy(&[("Allow", &["s3:*"], "*")]))
        .await;
    let many: Vec<String> = (0..100)
        .map(|n| format!("arn:aws:s3:::{BUCKET}/a/long/prefix/{n}/*"))
        .collect();
    let long = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": many}]});
    let unknown = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"StringEqualsIfExists": {"s3:prefix": "a"}}}]});
    for (document, code_is, says) in [
        (long, "PackedPolicyTooLarge", "accepts at most 2048"),
        (
            unknown,
            "ValidationError",
            "the condition StringEqualsIfExists on s3:prefix",
        ),
    ] {
        lab.root(0)
            .put_role_policy(ROLE, "s3", &document.to_string())
            .await
            .expect("IAM takes it");
        let (found, _, message) =
            aws_error(snowflake.assume_role(&assume_role_request("ID_1")).await);
        assert_eq!(found, code_is);
        assert!(message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn without_the_service_behind_the_proxy() {
    let (mut lab, credentials) =
        session_at(behind_proxy().await, &policy(&[("Allow", &["s3:*"], "*")])).await;
    let key = lab.root(1).create_access_key("sf").await.expect("a key");
    lab.stop_minio().await;
    let got = lab
        .s3(&credentials)
        .get_object()
        .bucket(BUCKET)
        .key("frompg/a")
        .send()
        .await;
    assert_eq!(error(got), (503, "ServiceUnavailable".into()));
    let (found, _, message) = aws_error(
        lab.client(key)
            .assume_role(&assume_role_request("ID_1"))
            .await,
    );
    assert_eq!(found, "ServiceFailure");
    assert!(message.contains("did not create a session"), "{message}");
    // IAM works without the service behind the proxy.
    assert_eq!(
        lab.root(0).get_role(ROLE).await.expect("the role").arn,
        role_arn()
    );
    let endpoint = lab.endpoint.clone();
    let root = lab.root(0);
    lab.stop().await;
    let unreachable = root.get_role(ROLE).await.expect_err("nobody answers");
    assert!(matches!(unreachable, Error::Unreachable { .. }));
    assert!(unreachable.to_string().contains(&endpoint), "{unreachable}");
}

#[tokio::test]
async fn the_audit_trail() {
    let guides = document("01-iam-policy.json", &[BUCKET]);
    let (mut lab, credentials) = session_at(behind_proxy().await, &guides).await;
    let s3 = lab.s3(&credentials);
    all_operations(&s3, "frompg/a").await;
    let mut wrong = credentials.clone();
    wrong.secret_access_key = "wrong".into();
    let got = lab
        .s3(&wrong)
        .get_object()
        .bucket(BUCKET)
        .key("x")
        .send()
        .await;
    assert_eq!(error(got), (403, "SignatureDoesNotMatch".into()));
    let buckets = lab.s3(&root_credentials(0)).list_buckets().send().await;
    buckets.expect("the root user may");
    let audit = lab.audit().await;
    let session = format!("arn:aws:sts::{}:assumed-role/{ROLE}/session", ACCOUNTS[0]);
    let of_session: Vec<_> = audit
        .iter()
        .filter(|e| e.principal.as_deref() == Some(&session))
        .collect();
    let found: Vec<String> = of_session
        .iter()
        .map(|e| {
            format!(
                "{} {} {}",
                e.status,
                e.action,
                e.resource.trim_start_matches("arn:aws:s3:::")
            )
        })
        .collect();
    insta::assert_snapshot!(found.join("\n"));
    assert!(of_session.iter().all(|e| e.allowed == (e.status != 403)));
    let get = of_session
        .iter()
        .find(|e| e.action == "s3:GetObject")
        .expect("a line");
    assert_eq!(
        (get.bytes, get.allowed, get.session_name.as_deref()),
        (4, true, Some("session"))
    );
    // A request with a wrong signature has no principal in the audit trail.
    let forged = audit
        .iter()
        .find(|e| e.error_code.as_deref() == Some("SignatureDoesNotMatch"));
    let forged = forged.expect("a line");
    assert_eq!((forged.principal.as_deref(), forged.allowed), (None, false));
    assert_eq!(
        forged.access_key_id.as_deref(),
        Some(credentials.access_key_id.as_str())
    );
    let root = audit
        .iter()
        .find(|e| e.action == "s3:ListAllMyBuckets" && e.allowed);
    assert_eq!(
        root.expect("a line").principal,
        Some(format!("arn:aws:iam::{}:root", ACCOUNTS[0]))
    );
    let assumed = audit
        .iter()
        .find(|e| e.action == "sts:AssumeRole")
        .expect("a line");
    assert_eq!(
        (assumed.resource.as_str(), assumed.allowed),
        (role_arn().as_str(), true)
    );
}
