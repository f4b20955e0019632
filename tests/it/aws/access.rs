//! S3 with users' keys and temporary credentials: what their policies allow, and the errors for
//! everything else.

use aws_sdk_s3::Client as S3;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::{ACCOUNTS, AwsLab, BUCKET, ROLE, assume_role_request, document, root_credentials};
use crate::s3::error;
use icebox_aws::client::{AssumeRole, Credentials};

/// Starts a server with a bucket of objects, and assumes a role that has this policy.
pub async fn session(policy: &str) -> (AwsLab, Credentials) {
    session_at(AwsLab::start().await, policy).await
}

pub async fn session_at(lab: AwsLab, policy: &str) -> (AwsLab, Credentials) {
    lab.make_bucket(0, BUCKET).await;
    for key in ["frompg/a", "frompg/b", "secret/c"] {
        lab.put(key).await;
    }
    let snowflake = lab.trusted("sf", "ID_1", policy).await;
    let credentials = snowflake
        .assume_role(&assume_role_request("ID_1"))
        .await
        .expect("a session");
    (lab, credentials)
}

/// Returns a policy with these statements, each given as effect, actions and resource.
pub fn policy(statements: &[(&str, &[&str], &str)]) -> String {
    let statements: Vec<_> = statements
        .iter()
        .map(|(effect, actions, resource)| {
            serde_json::json!({"Effect": effect, "Action": actions, "Resource": resource})
        })
        .collect();
    serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// Sends requests of the S3 operations on a key and its bucket, and returns the name of each
/// operation with the status and code of the response.
pub async fn all_operations(s3: &S3, key: &str) -> Vec<(&'static str, u16, String)> {
    macro_rules! ask {
        ($name:literal, $request:expr) => {
            match $request.send().await {
                Ok(_) => ($name, 200, String::new()),
                failed => {
                    let (status, code) = error(failed);
                    ($name, status, code)
                }
            }
        };
    }
    let upload = match s3
        .create_multipart_upload()
        .bucket(BUCKET)
        .key(key)
        .send()
        .await
    {
        Ok(made) => made.upload_id().unwrap_or_default().to_owned(),
        Err(_) => "none".to_owned(),
    };
    let body = || ByteStream::from_static(b"new");
    let source = format!("{BUCKET}/{key}");
    let part = s3
        .upload_part()
        .bucket(BUCKET)
        .key(key)
        .upload_id(&upload)
        .part_number(1);
    let delete = Delete::builder()
        .objects(
            ObjectIdentifier::builder()
                .key("frompg/nothing")
                .build()
                .expect("a key"),
        )
        .build()
        .expect("keys");
    vec![
        ask!("get", s3.get_object().bucket(BUCKET).key(key)),
        ask!("head", s3.head_object().bucket(BUCKET).key(key)),
        ask!("put", s3.put_object().bucket(BUCKET).key(key).body(body())),
        ask!(
            "copy",
            s3.copy_object()
                .bucket(BUCKET)
                .key("frompg/copy")
                .copy_source(&source)
        ),
        ask!(
            "create upload",
            s3.create_multipart_upload().bucket(BUCKET).key(key)
        ),
        ask!("upload part", part.body(body())),
        ask!(
            "list parts",
            s3.list_parts().bucket(BUCKET).key(key).upload_id(&upload)
        ),
        ask!(
            "abort upload",
            s3.abort_multipart_upload()
                .bucket(BUCKET)
                .key(key)
                .upload_id(&upload)
        ),
        ask!("list", s3.list_objects_v2().bucket(BUCKET)),
        ask!("list 1", s3.list_objects().bucket(BUCKET)),
        ask!("list uploads", s3.list_multipart_uploads().bucket(BUCKET)),
        ask!("location", s3.get_bucket_location().bucket(BUCKET)),
        ask!("head bucket", s3.head_bucket().bucket(BUCKET)),
        ask!("buckets", s3.list_buckets()),
        ask!("create bucket", s3.create_bucket().bucket("another")),
        ask!("delete bucket", s3.delete_bucket().bucket(BUCKET)),
        ask!("delete", s3.delete_object().bucket(BUCKET).key(key)),
        ask!(
            "delete many",
            s3.delete_objects().bucket(BUCKET).delete(delete)
        ),
    ]
}

/// Returns the names of the operations that did not succeed.
pub fn refused(answers: &[(&'static str, u16, String)]) -> Vec<&'static str> {
    let refused = answers.iter().filter(|(_, status, _)| *status != 200);
    refused.map(|(name, _, _)| *name).collect()
}

#[tokio::test]
async fn the_guides_policy_allows_what_the_guide_does_and_no_more() {
    let (lab, credentials) = session(&document("01-iam-policy.json", &[BUCKET])).await;
    let answers = all_operations(&lab.s3(&credentials), "frompg/a").await;
    assert_eq!(
        refused(&answers),
        [
            "list parts",
            "abort upload",
            "list uploads",
            "buckets",
            "create bucket",
            "delete bucket"
        ],
        "{answers:?}"
    );
    assert!(answers.iter().all(
        |(_, status, code)| *status == 200 || (*status, code.as_str()) == (403, "AccessDenied")
    ));
}

#[tokio::test]
async fn a_denied_prefix_is_refused_on_every_verb() {
    let all: &[&str] = &["s3:*"];
    let objects = format!("arn:aws:s3:::{BUCKET}/secret/*");
    let allow_and_deny = policy(&[("Allow", all, "*"), ("Deny", all, &objects)]);
    let (lab, credentials) = session(&allow_and_deny).await;
    let s3 = lab.s3(&credentials);
    assert_eq!(
        refused(&all_operations(&s3, "frompg/a").await),
        ["delete bucket"],
        "it is not empty"
    );
    let answers = all_operations(&s3, "secret/c").await;
    let on_the_key = [
        "get",
        "head",
        "put",
        "copy",
        "create upload",
        "upload part",
        "list parts",
        "abort upload",
        "delete",
    ];
    for (name, status, code) in &answers {
        if on_the_key.contains(name) {
            // The response to HEAD has no body, and so no code.
            let code = if *name == "head" {
                "AccessDenied"
            } else {
                code
            };
            assert_eq!((*status, code), (403, "AccessDenied"), "{name}");
        }
    }
    let get = s3.get_object().bucket(BUCKET).key("secret/c").send().await;
    let text = format!("{:?}", get.expect_err("refused"));
    let user = format!("arn:aws:sts::{}:assumed-role/{ROLE}/session", ACCOUNTS[0]);
    let expected = format!(
        "User: {user} is not authorized to perform: s3:GetObject on resource: \\\"arn:aws:s3:::{BUCKET}/secret/c\\\" with an explicit deny in an identity-based policy"
    );
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test]
async fn without_list_bucket_missing_keys_are_refused() {
    let objects = format!("arn:aws:s3:::{BUCKET}/*");
    let (lab, credentials) = session(&policy(&[("Allow", &["s3:*"], &objects)])).await;
    let s3 = lab.s3(&credentials);
    let listed = s3.list_objects_v2().bucket(BUCKET).send().await;
    assert_eq!(error(listed), (403, "AccessDenied".into()));
    assert!(
        s3.head_object()
            .bucket(BUCKET)
            .key("frompg/a")
            .send()
            .await
            .is_ok()
    );
    let get = |s3: &S3| s3.get_object().bucket(BUCKET).key("missing").send();
    let head = |s3: &S3| s3.head_object().bucket(BUCKET).key("missing").send();
    let copy = |s3: &S3| {
        let copy = s3.copy_object().bucket(BUCKET).key("x");
        copy.copy_source(format!("{BUCKET}/missing")).send()
    };
    assert_eq!(error(get(&s3).await), (403, "AccessDenied".into()));
    assert_eq!(error(head(&s3).await).0, 403);
    assert_eq!(error(copy(&s3).await), (403, "AccessDenied".into()));

    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let both = policy(&[
        ("Allow", &["s3:*"], &objects),
        ("Allow", &["s3:ListBucket"], &bucket),
    ]);
    lab.root(0)
        .put_role_policy(ROLE, "s3", &both)
        .await
        .expect("a policy");
    assert_eq!(error(get(&s3).await), (404, "NoSuchKey".into()));
    assert_eq!(error(head(&s3).await).0, 404);
    assert_eq!(error(copy(&s3).await), (404, "NoSuchKey".into()));
}

#[tokio::test]
async fn listing_under_a_condition_on_the_prefix() {
    let text = format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::{BUCKET}",
            "Condition": {{"StringLike": {{"s3:prefix": ["frompg/*"]}}, "NumericLessThanEquals": {{"s3:max-keys": 10}}}}}}]}}"#
    );
    let (lab, credentials) = session(&text).await;
    let s3 = lab.s3(&credentials);
    for (prefix, max, allowed) in [
        (Some("frompg/"), Some(10), true),
        (Some("frompg/"), Some(11), false),
        (Some("frompg/"), None, false),
        (Some("secret/"), Some(1), false),
        (Some(""), Some(1), false),
        (None, Some(1), false),
    ] {
        let list = s3
            .list_objects_v2()
            .bucket(BUCKET)
            .set_prefix(prefix.map(str::to_owned));
        let answer = list.set_max_keys(max).send().await;
        assert_eq!(answer.is_ok(), allowed, "{prefix:?} {max:?}");
    }
}

#[tokio::test]
async fn deleting_many_answers_for_each_key() {
    let own = format!("arn:aws:s3:::{BUCKET}/frompg/*");
    let (mut lab, credentials) = session(&policy(&[("Allow", &["s3:DeleteObject"], &own)])).await;
    let keys = ["frompg/a", "secret/c", "frompg/b"];
    let keys = keys.map(|key| ObjectIdentifier::builder().key(key).build().expect("a key"));
    let delete = Delete::builder()
        .set_objects(Some(keys.into()))
        .build()
        .expect("keys");
    let s3 = lab.s3(&credentials);
    let answer = s3
        .delete_objects()
        .bucket(BUCKET)
        .delete(delete)
        .send()
        .await;
    let answer = answer.expect("an answer");
    let deleted: Vec<_> = answer.deleted().iter().filter_map(|d| d.key()).collect();
    assert_eq!(deleted, ["frompg/a", "frompg/b"]);
    let [refused] = answer.errors() else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (refused.key(), refused.code()),
        (Some("secret/c"), Some("AccessDenied"))
    );

    let audit = lab.audit().await;
    let decided: Vec<_> = audit
        .iter()
        .filter(|e| e.action == "s3:DeleteObject")
        .map(|e| {
            (
                e.resource.rsplit("::").next().unwrap_or_default(),
                e.allowed,
            )
        })
        .collect();
    assert_eq!(
        decided,
        [
            ("lake/frompg/a", true),
            ("lake/secret/c", false),
            ("lake/frompg/b", true)
        ]
    );
}

/// A session policy restricts what the role allows, and grants nothing.
#[tokio::test]
async fn session_policies() {
    let (lab, _) = session(&policy(&[(
        "Allow",
        &["s3:GetObject", "s3:PutObject"],
        "*",
    )]))
    .await;
    let snowflake_key = lab.root(1).create_access_key("sf").await.expect("a key");
    let objects = format!("arn:aws:s3:::{BUCKET}/frompg/*");
    let narrow = policy(&[("Allow", &["s3:GetObject", "s3:DeleteObject"], &objects)]);
    let request = AssumeRole {
        policy: Some(narrow),
        ..assume_role_request("ID_1")
    };
    let credentials = lab
        .client(snowflake_key)
        .assume_role(&request)
        .await
        .expect("a session");
    let s3 = lab.s3(&credentials);
    let get = |key: &str| s3.get_object().bucket(BUCKET).key(key).send();
    assert!(get("frompg/a").await.is_ok());
    let refusal = format!(
        "{:?}",
        get("secret/c")
            .await
            .expect_err("outside of the session policy")
    );
    assert!(
        refusal.contains("because no session policy allows the s3:GetObject action"),
        "{refusal}"
    );
    let put = s3.put_object().bucket(BUCKET).key("frompg/x").send().await;
    assert_eq!(
        error(put),
        (403, "AccessDenied".into()),
        "the session policy does not allow it"
    );
    let delete = s3
        .delete_object()
        .bucket(BUCKET)
        .key("frompg/a")
        .send()
        .await;
    assert_eq!(
        error(delete),
        (403, "AccessDenied".into()),
        "the role does not allow it"
    );
}

/// A copy needs permission to read the source and to write the destination.
#[tokio::test]
async fn copies_need_permission_on_both_sides() {
    let (own, secret) = (
        format!("arn:aws:s3:::{BUCKET}/frompg/*"),
        format!("arn:aws:s3:::{BUCKET}/secret/*"),
    );
    let get_own: (&str, &[&str], &str) = ("Allow", &["s3:GetObject", "s3:PutObject"], &own);
    let (lab, credentials) = session(&policy(&[get_own])).await;
    let s3 = lab.s3(&credentials);
    let copy = |from: &str, to: &str| {
        s3.copy_object()
            .bucket(BUCKET)
            .key(to)
            .copy_source(format!("{BUCKET}/{from}"))
            .send()
    };
    assert!(copy("frompg/a", "frompg/copy").await.is_ok());
    assert_eq!(
        error(copy("secret/c", "frompg/copy").await),
        (403, "AccessDenied".into())
    );
    assert_eq!(
        error(copy("frompg/a", "secret/copy").await),
        (403, "AccessDenied".into())
    );
    let write_only = policy(&[get_own, ("Allow", &["s3:PutObject"], &secret)]);
    lab.root(0)
        .put_role_policy(ROLE, "s3", &write_only)
        .await
        .expect("a policy");
    assert!(copy("frompg/a", "secret/copy").await.is_ok());
    assert_eq!(
        error(copy("secret/copy", "frompg/copy").await),
        (403, "AccessDenied".into())
    );
}

/// A bucket belongs to its account: another account's root user cannot access it or create a bucket
/// of the same name.
#[tokio::test]
async fn buckets_of_another_account() {
    let mut lab = AwsLab::start().await;
    lab.make_bucket(0, BUCKET).await;
    lab.put("frompg/a").await;
    lab.make_bucket(1, "snowflakes").await;
    for _ in 0..2 {
        let (own, other) = (lab.s3(&root_credentials(0)), lab.s3(&root_credentials(1)));
        for (verb, status, code) in all_operations(&other, "frompg/a").await {
            match verb {
                "buckets" | "create bucket" => {
                    assert!(status == 200 || code == "BucketAlreadyOwnedByYou", "{code}");
                }
                "delete many" => {}
                "head" | "head bucket" => assert_eq!(status, 403, "{verb}"),
                _ => assert_eq!((status, code.as_str()), (403, "AccessDenied"), "{verb}"),
            }
        }
        assert!(
            own.get_object()
                .bucket(BUCKET)
                .key("frompg/a")
                .send()
                .await
                .is_ok()
        );
        let taken = own.create_bucket().bucket("snowflakes").send().await;
        assert_eq!(error(taken), (409, "BucketAlreadyExists".into()));
        let get = own.get_object().bucket("snowflakes").key("x").send().await;
        let refusal = format!("{:?}", get.expect_err("another account's"));
        assert!(
            refusal.contains("because no resource-based policy allows the s3:GetObject action"),
            "{refusal}"
        );
        let listed = own.list_buckets().send().await.expect("buckets");
        let names: Vec<_> = listed.buckets().iter().filter_map(|b| b.name()).collect();
        assert_eq!(names, [BUCKET]);
        lab.restart().await;
    }
}

/// Policy variables and conditions on the caller and the request.
#[tokio::test]
async fn homes_of_users() {
    let lab = AwsLab::start().await;
    lab.make_bucket(0, BUCKET).await;
    let root = lab.root(0);
    let home = |network: &str| {
        serde_json::json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": format!("arn:aws:s3:::{BUCKET}/home/${{aws:username}}/*"),
            "Condition": {"IpAddress": {"aws:SourceIp": network}, "Bool": {"aws:SecureTransport": "false"}},
        }]})
        .to_string()
    };
    for name in ["jo", "ann"] {
        root.create_user(name).await.expect("a user");
        root.put_user_policy(name, "home", &home("127.0.0.0/8"))
            .await
            .expect("a policy");
    }
    let jo = lab.s3(&root.create_access_key("jo").await.expect("a key"));
    let put = |key: &str| {
        let put = jo.put_object().bucket(BUCKET).key(key);
        put.body(ByteStream::from_static(b"x")).send()
    };
    assert!(put("home/jo/x").await.is_ok());
    assert_eq!(error(put("home/ann/x").await), (403, "AccessDenied".into()));
    root.put_user_policy("jo", "home", &home("10.0.0.0/8"))
        .await
        .expect("a policy");
    assert_eq!(error(put("home/jo/x").await), (403, "AccessDenied".into()));
}
