//! The audit trail of requests.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use tokio::sync::mpsc;

use super::access::session;
use super::{ACCOUNTS, BUCKET, ROLE, document, role_arn};
use crate::support::sandbox::icebox;
use icebox_aws::audit::Entry;
use icebox_aws::client::Credentials;

/// Every request has an entry: who sent it, what it did, on which key, and why it was allowed or
/// denied.
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

/// `icebox audit` prints the last entries, as text or as JSON, and with `--follow` the new ones
/// too.
#[tokio::test]
async fn the_command_shows_the_trail() {
    let (mut lab, _) = session(&document("01-iam-policy.json", &[BUCKET])).await;
    let dir = lab.dir.path().to_path_buf();
    let mut follower = icebox(&dir, &["audit", "--follow", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    let (sender, mut seen) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            _ = sender.send(serde_json::from_str::<Entry>(&line).expect("an entry"));
        }
    });
    // The first object may be written before the command starts; the second is written while it
    // follows.
    let mut later = Entry::default();
    for key in ["frompg/first", "frompg/later"] {
        lab.put(key).await;
        while !later.resource.ends_with(key) {
            let next = tokio::time::timeout(Duration::from_secs(20), seen.recv()).await;
            later = next.expect("in time").expect("it goes on");
        }
    }
    follower.kill().expect("it runs until then");
    follower.wait().expect("it ends");
    assert_eq!(later.action, "s3:PutObject");

    let shown = |arguments: &[&str]| {
        let output = icebox(&dir, arguments).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a text")
    };
    let people = shown(&["audit", "-n", "2"]);
    assert_eq!(people.lines().count(), 2, "{people}");
    let root = format!("by arn:aws:iam::{}:root: ", ACCOUNTS[0]);
    let last = people.lines().last().expect("a line");
    assert!(
        last.contains("allowed 200 s3:PutObject on arn:aws:s3:::lake/frompg/later"),
        "{last}"
    );
    assert!(last.contains(&root), "{last}");
    let programs = shown(&["audit", "--json", "-n", "1"]);
    assert_eq!(
        serde_json::from_str::<Entry>(&programs).expect("an entry"),
        later
    );
    let all = shown(&["audit", "--json", "-n", "1000"]).lines().count();
    assert_eq!(all, lab.audit().await.len());

    let nowhere = tempfile::tempdir().expect("a directory");
    let output = icebox(&nowhere.path().join("none"), &["audit"]).output();
    let output = output.expect("it runs");
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).expect("a text");
    assert!(
        text.contains("there is no audit trail in") && text.contains("was a sandbox ever started?"),
        "{text}"
    );
}
