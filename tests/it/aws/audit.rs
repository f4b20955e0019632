//! The audit trail of requests.

use icebox::aws::client::Credentials;

use super::access::session;
use super::{ACCOUNTS, BUCKET, ROLE, document, role_arn};

/// What is done is written down: who, what, on which key, and why.
#[tokio::test]
async fn the_audit_trail() {
    let (mut lab, credentials) = session(&document("01-iam-policy.json", &[BUCKET])).await;
    let s3 = lab.s3(&credentials);
    let got = s3
        .get_object()
        .bucket(BUCKET)
        .key("frompg/a")
        .send()
        .await
        .expect("the object");
    got.body.collect().await.expect("a body");
    assert!(
        s3.get_object()
            .bucket("elsewhere")
            .key("x")
            .send()
            .await
            .is_err()
    );
    let nobody = lab.s3(&Credentials::new("AKIANOBODY", "x"));
    assert!(
        nobody
            .get_object()
            .bucket(BUCKET)
            .key("frompg/a")
            .send()
            .await
            .is_err()
    );
    let audit = lab.audit().await;
    let session = format!("arn:aws:sts::{}:assumed-role/{ROLE}/session", ACCOUNTS[0]);

    let gets: Vec<_> = audit
        .iter()
        .filter(|e| e.action == "s3:GetObject")
        .collect();
    let [got, denied] = gets[..] else {
        panic!("{gets:?}")
    };
    assert_eq!(got.principal.as_deref(), Some(session.as_str()));
    assert_eq!(
        got.access_key_id.as_deref(),
        Some(credentials.access_key_id.as_str())
    );
    assert_eq!(
        (got.resource.as_str(), got.bytes, got.status),
        ("arn:aws:s3:::lake/frompg/a", 4, 200)
    );
    assert_eq!(
        (got.allowed, got.reason.as_str()),
        (true, "statement 1 of policy s3 allows it")
    );
    assert!(
        got.user_agent
            .as_deref()
            .is_some_and(|agent| agent.contains("aws-sdk-rust"))
    );
    assert_eq!(got.source_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!((denied.allowed, denied.status), (false, 403));
    assert_eq!(denied.reason, "no identity-based policy allows it");
    assert_eq!(denied.error_code.as_deref(), Some("AccessDenied"));

    let unknown = audit.last().expect("entries");
    assert_eq!(
        (unknown.allowed, unknown.error_code.as_deref()),
        (false, Some("InvalidAccessKeyId"))
    );
    assert_eq!(unknown.principal, None);

    let assumed = audit
        .iter()
        .find(|e| e.action == "sts:AssumeRole")
        .expect("an entry");
    assert_eq!(
        (assumed.resource.as_str(), assumed.allowed),
        (role_arn().as_str(), true)
    );
    let text = serde_json::to_string(&audit).expect("JSON");
    for secret in [
        credentials.secret_access_key.expose(),
        credentials
            .session_token
            .as_ref()
            .expect("a token")
            .expose(),
    ] {
        assert!(!text.contains(secret), "a secret is in the audit trail");
    }
}
