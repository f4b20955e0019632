//! IAM's state: it is persistent and private, and only principals with permission may change it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{
    ACCOUNTS, AwsLab, BUCKET, ROLE, accounts, assume_role_request, aws_error, document, trust,
};
use icebox_aws::client::AssumeRole;
use icebox_aws::{Error, Iam, Secret};

/// Users, keys, roles, policies and sessions survive a restart. A change is on disk before its
/// response is sent.
#[tokio::test]
async fn a_restart_keeps_everything() {
    let mut lab = AwsLab::start().await;
    lab.make_bucket(0, BUCKET).await;
    lab.put("frompg/a").await;
    let snowflake = lab
        .trusted("sf", "ID_1", &document("01-iam-policy.json", &[BUCKET]))
        .await;
    let session = snowflake
        .assume_role(&assume_role_request("ID_1"))
        .await
        .expect("a session");
    let role = lab.root(0).get_role(ROLE).await.expect("the role");

    // The files as `kill -9` would leave them.
    let copy = tempfile::tempdir().expect("a directory");
    let state = lab.dir.path().join("s3/.icebox/iam");
    for found in std::fs::read_dir(&state).expect("the state") {
        let path = found.expect("a file").path();
        std::fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    let iam = Iam::open(copy.path(), accounts(false)).expect("the copy opens");
    let token = session.session_token.as_ref().map(Secret::expose);
    let caller = iam
        .caller(&session.access_key_id, token)
        .expect("the session is known");
    assert_eq!(caller.principal_arn(), role.arn);
    let secret = iam.secret_of(&session.access_key_id).expect("its secret");
    assert_eq!(secret.expose(), session.secret_access_key.expose());

    lab.restart().await;
    assert_eq!(lab.root(0).get_role(ROLE).await.expect("the role"), role);
    let get = lab
        .s3(&session)
        .get_object()
        .bucket(BUCKET)
        .key("frompg/a")
        .send()
        .await;
    get.expect("the session goes on");
    let again = lab.root(1).create_user("sf").await;
    assert_eq!(aws_error(again).0, "EntityAlreadyExists");
}

#[tokio::test]
async fn state_is_private_and_locked() {
    let lab = AwsLab::start().await;
    lab.root(0).create_user("jo").await.expect("a user");
    lab.root(0).create_access_key("jo").await.expect("a key");
    let state = lab.dir.path().join("s3/.icebox/iam");
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&state), 0o700);
    for found in std::fs::read_dir(&state).expect("the state") {
        let path = found.expect("a file").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert!(matches!(
        Iam::open(&state, accounts(false)),
        Err(Error::InUse { .. })
    ));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(matches!(
        Iam::open(dir.path(), Vec::new()),
        Err(Error::NoAccount)
    ));
    let mut twice = accounts(false);
    twice[1].id = twice[0].id.clone();
    assert!(matches!(
        Iam::open(dir.path(), twice),
        Err(Error::DuplicateAccount(_))
    ));
    let file = dir.path().join(format!("{}.json", ACCOUNTS[0]));
    std::fs::write(&file, "{ not JSON").expect("written");
    let error = Iam::open(dir.path(), accounts(false))
        .err()
        .expect("an error")
        .to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
}

/// A user may do what its policy allows; any other action gives AWS's message. A deactivated key
/// and a deleted user may do nothing.
#[tokio::test]
async fn users_may_do_what_their_policies_say() {
    let lab = AwsLab::start().await;
    let root = lab.root(0);
    let arn = root.create_user("jo").await.expect("a user");
    let jo = lab.client(root.create_access_key("jo").await.expect("a key"));
    assert_eq!(jo.caller_arn().await.expect("it needs no permission"), arn);
    let (code_, status, message) = aws_error(jo.create_user("ann").await);
    assert_eq!((code_.as_str(), status), ("AccessDenied", 403));
    let ann = format!("arn:aws:iam::{}:user/ann", ACCOUNTS[0]);
    assert_eq!(
        message,
        format!(
            "User: {arn} is not authorized to perform: iam:CreateUser on resource: {ann} because no identity-based policy allows the iam:CreateUser action"
        )
    );
    let allow = format!(
        r#"{{"Version": "2012-10-17", "Statement": [
            {{"Effect": "Allow", "Action": "iam:*User", "Resource": "arn:aws:iam::*:user/*"}},
            {{"Effect": "Deny", "Action": "iam:CreateUser", "Resource": "{ann}x"}}]}}"#
    );
    root.put_user_policy("jo", "users", &allow)
        .await
        .expect("a policy");
    jo.create_user("ann").await.expect("it is allowed");
    let (_, _, message) = aws_error(jo.create_user("annx").await);
    assert!(
        message.ends_with("with an explicit deny in an identity-based policy"),
        "{message}"
    );
    assert_eq!(
        aws_error(jo.create_access_key("ann").await).0,
        "AccessDenied"
    );

    root.delete_user("jo").await.expect("deleted");
    assert_eq!(aws_error(jo.caller_arn().await).0, "InvalidClientTokenId");
    root.delete_user("jo")
        .await
        .expect("deleting a missing user succeeds");
}

/// One account cannot see the entities of another.
#[tokio::test]
async fn accounts_are_apart() {
    let lab = AwsLab::start().await;
    lab.root(0)
        .create_role(ROLE, &document("01-iam-trust-placeholder.json", &[]), 3600)
        .await
        .expect("a role");
    assert_eq!(
        aws_error(lab.root(1).get_role(ROLE).await).0,
        "NoSuchEntity"
    );
    lab.root(1).create_user("jo").await.expect("a user");
    lab.root(0).create_user("jo").await.expect("another user");
}

/// Deleting a role ends its sessions, even if a role of the same name is created again.
#[tokio::test]
async fn a_session_ends_with_its_role() {
    let lab = AwsLab::start().await;
    let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
    let snowflake = lab.trusted("sf", "ID_1", policy).await;
    let second = AssumeRole {
        role_arn: format!("arn:aws:iam::{}:role/second", ACCOUNTS[0]),
        ..assume_role_request("ID_1")
    };
    let principal = snowflake.caller_arn().await.expect("an ARN");
    let admin = lab.client(
        snowflake
            .assume_role(&assume_role_request("ID_1"))
            .await
            .expect("a session"),
    );
    admin
        .create_role("second", &trust(&[&principal], &["ID_1"]), 3600)
        .await
        .expect("a role");
    let session = lab.client(snowflake.assume_role(&second).await.expect("a session"));
    session.caller_arn().await.expect("it is alive");
    for _ in 0..2 {
        let deleted = super::protocol::SignedRequest::root(
            "iam",
            "Action=DeleteRole&Version=2010-05-08&RoleName=second",
        );
        assert_eq!(deleted.send(&lab).await.0, 200);
        assert_eq!(
            aws_error(session.caller_arn().await).0,
            "InvalidClientTokenId"
        );
        admin
            .create_role("second", &trust(&[&principal], &["ID_1"]), 3600)
            .await
            .expect("a role");
        assert_eq!(
            aws_error(session.caller_arn().await).0,
            "InvalidClientTokenId"
        );
    }
}
