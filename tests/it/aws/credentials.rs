//! S3 with credentials that are wrong in one respect, on every operation and in presigned URLs.

use std::time::Duration;

use aws_sdk_s3::Client as S3;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sigv4::sign::v4::calculate_signature;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::access::{all_operations, policy, session};
use super::{
    ACCOUNTS, AwsLab, BUCKET, ROLE, assume_role_request, aws_error, root_credentials, trust,
};
use icebox_aws::Secret;
use icebox_aws::client::{AssumeRole, Credentials};

/// A kind of wrong credentials gives the same code on every operation and in presigned URLs.
#[tokio::test]
async fn wrong_credentials() {
    let (lab, right) = session(&policy(&[("Allow", &["s3:*"], "*")])).await;
    let other = lab.root(0);
    other.create_user("jo").await.expect("a user");
    let jo = other.create_access_key("jo").await.expect("a key");
    let with = |change: &dyn Fn(&mut Credentials)| {
        let mut credentials = right.clone();
        change(&mut credentials);
        credentials
    };
    let again = lab.root(1).create_access_key("sf").await.expect("a key");
    let another = lab
        .client(again)
        .assume_role(&assume_role_request("ID_1"))
        .await
        .expect("a session");
    let mixed = with(&|c| c.session_token.clone_from(&another.session_token));
    let invented = with(&|c| c.access_key_id = "ASIAAAAAAAAAAAAAAAAA".into());
    let cases = [
        (
            "an unknown key",
            Credentials::new("AKIANOBODY", "x"),
            403,
            "InvalidAccessKeyId",
        ),
        (
            "a session key nobody was given",
            invented,
            403,
            "InvalidAccessKeyId",
        ),
        (
            "a wrong secret",
            with(&|c| c.secret_access_key = Secret::from("x")),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "no token",
            with(&|c| c.session_token = None),
            403,
            "InvalidAccessKeyId",
        ),
        (
            "a wrong token",
            with(&|c| c.session_token = Some(Secret::from("bm9uZQ=="))),
            400,
            "InvalidToken",
        ),
        ("the token of another session", mixed, 400, "InvalidToken"),
        (
            "a token with a user's key",
            Credentials {
                session_token: right.session_token.clone(),
                ..jo.clone()
            },
            400,
            "InvalidToken",
        ),
        ("a user without policies", jo, 403, "AccessDenied"),
    ];
    for (what, credentials, status, code) in &cases {
        let s3 = lab.s3(credentials);
        for (verb, found_status, found_code) in all_operations(&s3, "frompg/a").await {
            if verb.starts_with("delete many") && *code == "AccessDenied" {
                continue;
            }
            // The response to HEAD has no body, and so no code.
            let found_code = if verb.starts_with("head") {
                code
            } else {
                &found_code.as_str()
            };
            assert_eq!(
                (found_status, *found_code),
                (*status, *code),
                "{what}: {verb}"
            );
        }
        check_presigned(what, &s3, *status, code).await;
    }
    let answers = presigned(&lab.s3(&right), "frompg/a").await;
    let statuses: Vec<u16> = answers.iter().map(|(_, status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 204], "{answers:?}");
    assert_eq!(answers[0].2, "body");
}

/// Requests a presigned URL of each operation, and returns the status and body of each response.
pub async fn presigned(s3: &S3, key: &str) -> Vec<(&'static str, u16, String)> {
    let hour = || PresigningConfig::expires_in(Duration::from_hours(1)).expect("an hour");
    let (get, head) = (
        s3.get_object().bucket(BUCKET),
        s3.head_object().bucket(BUCKET),
    );
    let (put, delete) = (
        s3.put_object().bucket(BUCKET),
        s3.delete_object().bucket(BUCKET),
    );
    macro_rules! url {
        ($request:expr) => {
            $request
                .key(key)
                .presigned(hour())
                .await
                .expect("a URL")
                .uri()
                .to_owned()
        };
    }
    let urls = [
        ("GET", url!(get)),
        ("HEAD", url!(head)),
        ("PUT", url!(put)),
        ("DELETE", url!(delete)),
    ];
    let mut answers = Vec::new();
    for (verb, url) in urls {
        let (host, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .expect("a URL");
        let head = format!(
            "{verb} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        let (status, body) = super::protocol::exchange(host, head.as_bytes()).await;
        answers.push((verb, status, body));
    }
    answers
}

/// Checks that every presigned URL is refused with this status and code.
async fn check_presigned(what: &str, s3: &S3, status: u16, code: &str) {
    for (verb, found, body) in presigned(s3, "frompg/a").await {
        assert_eq!(found, status, "{what}: {verb} {body}");
        // The response to HEAD has no body.
        let has_code = verb == "HEAD" || body.contains(&format!("<Code>{code}</Code>"));
        assert!(has_code, "{what}: {verb} {body}");
    }
}

/// A session's credentials give `ExpiredToken` after its end.
#[tokio::test]
async fn expired_sessions() {
    let (lab, _) = session(&policy(&[("Allow", &["s3:*"], "*")])).await;
    let expired = lab.expired_session().await;
    let s3 = lab.s3(&expired);
    for (verb, status, code) in all_operations(&s3, "frompg/a").await {
        let code = if verb.starts_with("head") {
            "ExpiredToken"
        } else {
            &code
        };
        assert_eq!((status, code), (400, "ExpiredToken"), "{verb}");
    }
    check_presigned("expired", &s3, 400, "ExpiredToken").await;
    let (code, status, _) = aws_error(lab.client(expired).caller_arn().await);
    assert_eq!((code.as_str(), status), ("ExpiredToken", 403));
}

impl AwsLab {
    /// Returns credentials of a session that has expired.
    async fn expired_session(&self) -> Credentials {
        let client = self.client(root_credentials(1));
        let (_, key) = client.create_principal("late").await.expect("a principal");
        let user = self.root(0);
        let arn = format!("arn:aws:iam::{}:user/late", ACCOUNTS[1]);
        user.update_trust_policy(ROLE, &trust(&[&arn], &["ID_1"]))
            .await
            .expect("a trust policy");
        let request = AssumeRole {
            duration: Some(900),
            ..assume_role_request("ID_1")
        };
        let credentials = self
            .client(key)
            .assume_role(&request)
            .await
            .expect("a session");
        self.with_expired_token(credentials)
    }

    /// Returns the credentials with an expiration in the past, in a token signed with the service's
    /// own secret. A test cannot wait for a real expiration: the shortest session lasts 15 minutes.
    fn with_expired_token(&self, credentials: Credentials) -> Credentials {
        let secret = std::fs::read_to_string(self.dir.path().join("s3/.icebox/iam/session-secret"));
        let token = credentials.session_token.as_ref().expect("a token");
        let said = BASE64_STANDARD.decode(token.expose()).expect("base64");
        let mut session: serde_json::Value = serde_json::from_slice(&said[64..]).expect("JSON");
        let end = chrono::Utc::now() - chrono::TimeDelta::seconds(1);
        session["expires"] = serde_json::to_value(end).expect("JSON");
        let said = session.to_string();
        let signed = format!("session token\n{said}");
        let mac = calculate_signature(secret.expect("the secret"), signed.as_bytes());
        Credentials {
            session_token: Some(Secret::from(BASE64_STANDARD.encode(mac + &said))),
            ..credentials
        }
    }
}
