//! The guide's AWS steps, run with the unmodified `aws` command and with boto3.

use std::path::Path;

use tokio::process::Command;

use super::{ACCOUNTS, AwsLab, REGION, aws_error, document, root_key, root_secret};
use crate::support::clients::python_with;
use crate::support::text;
use icebox_aws::client::{AssumeRole, Credentials};

fn environment(command: &mut Command, lab: &AwsLab, home: &Path) {
    command
        .env("HOME", home)
        .env("AWS_ENDPOINT_URL", &lab.endpoint)
        .env("AWS_ACCESS_KEY_ID", root_key(0))
        .env("AWS_SECRET_ACCESS_KEY", root_secret(0))
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        // The server is on loopback and must not be reached through an HTTP proxy.
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .current_dir(home);
}

/// The bucket, the policy, the role, its policy attachment and its session duration; then a trust
/// policy of one principal, and then of three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_by_the_aws_command() {
    let Some(python) = python_with("awscli") else {
        return;
    };
    let lab = AwsLab::start().await;
    let home = tempfile::tempdir().expect("a directory");
    let run = async |words: &str| {
        let mut command = Command::new(&python);
        command
            .args(["-m", "awscli"])
            .args(words.split_whitespace());
        environment(&mut command, &lab, home.path());
        let output = command.output().await.expect("the aws command runs");
        (output.status.success(), text(&output))
    };
    let aws = async |words: &str| {
        let (ok, printed) = run(words).await;
        assert!(ok, "aws {words}: {printed}");
        printed.trim().to_owned()
    };
    let write = |name: &str, values: &[&str]| {
        std::fs::write(home.path().join(name), document(name, values)).expect("written");
    };
    write("01-iam-policy.json", &["my-bucket"]);
    write("01-iam-trust-placeholder.json", &[]);

    aws("s3api create-bucket --bucket my-bucket").await;
    let create =
        "iam create-policy --policy-name pglake-policy --policy-document file://01-iam-policy.json";
    let policy = aws(&format!("{create} --query Policy.Arn --output text")).await;
    assert_eq!(
        policy,
        format!("arn:aws:iam::{}:policy/pglake-policy", ACCOUNTS[0])
    );
    let create = "iam create-role --role-name pglake-role --assume-role-policy-document file://01-iam-trust-placeholder.json";
    let role = aws(&format!("{create} --query Role.Arn --output text")).await;
    aws(&format!(
        "iam attach-role-policy --role-name pglake-role --policy-arn {policy}"
    ))
    .await;
    aws("iam update-role --role-name pglake-role --max-session-duration 43200").await;
    let shown = aws("iam get-role --role-name pglake-role --query Role.[MaxSessionDuration,AssumeRolePolicyDocument.Statement[0].Principal.AWS] --output text").await;
    assert_eq!(shown, "43200\tarn:aws:iam::123456789012:root");
    let attached = aws("iam list-attached-role-policies --role-name pglake-role --query AttachedPolicies[].PolicyName --output text").await;
    assert_eq!(attached, "pglake-policy");
    let own = aws("sts get-caller-identity --query Arn --output text").await;
    assert_eq!(own, format!("arn:aws:iam::{}:root", ACCOUNTS[0]));

    // The values of DESCRIBE INTEGRATION: three principals, each with an external id.
    let mut principals = Vec::new();
    for (i, id) in [
        "ACME_SFCRole=1_a+b/c=",
        "ACME_SFCRole=2_d/e=",
        "ACME_SFCRole=3_f=",
    ]
    .into_iter()
    .enumerate()
    {
        let (arn, key) = lab
            .root(1)
            .create_principal(&format!("p{i}-s-acme"))
            .await
            .expect("a principal");
        principals.push((arn, id, key));
    }
    let assume = async |(_, id, key): &(String, &str, Credentials)| {
        let request = AssumeRole {
            role_arn: role.clone(),
            session_name: "pglake".to_owned(),
            external_id: Some((*id).to_owned()),
            duration: Some(43200),
            policy: None,
        };
        lab.client(key.clone()).assume_role(&request).await
    };
    assert_eq!(
        aws_error(assume(&principals[0]).await).0,
        "AccessDenied",
        "the placeholder trusts nobody"
    );

    let update = "iam update-assume-role-policy --role-name pglake-role --policy-document file://";
    let (first, first_id, _) = &principals[0];
    write("03-iam-trust-one-principal.json", &[first, first_id]);
    aws(&format!("{update}03-iam-trust-one-principal.json")).await;
    let session = assume(&principals[0]).await.expect("the first is trusted");
    assert_eq!(
        aws_error(assume(&principals[1]).await).0,
        "AccessDenied",
        "the second is not yet"
    );
    let s3 = lab.s3(&session);
    let put = s3
        .put_object()
        .bucket("my-bucket")
        .key("frompg/tables/x")
        .send()
        .await;
    put.expect("the role may write");

    let arns = principals.iter().map(|(arn, _, _)| arn.as_str());
    let ids = principals.iter().map(|(_, id, _)| *id);
    write(
        "12-iam-trust-three-principals.json",
        &arns.chain(ids).collect::<Vec<_>>(),
    );
    aws(&format!("{update}12-iam-trust-three-principals.json")).await;
    for principal in &principals {
        assume(principal)
            .await
            .unwrap_or_else(|e| panic!("{}: {e}", principal.0));
    }

    // The first attempts of a user, which fail.
    let (ok, printed) = run(&format!(
        "sts assume-role --role-arn {role} --role-session-name test --external-id none"
    ))
    .await;
    assert!(
        !ok && printed.contains("Roles may not be assumed by root accounts"),
        "{printed}"
    );
    write(
        "03-iam-trust-one-principal.json",
        &[&first.replace("p0", "p9"), first_id],
    );
    let (ok, printed) = run(&format!("{update}03-iam-trust-one-principal.json")).await;
    assert!(
        !ok && printed.contains("(MalformedPolicyDocument)")
            && printed.contains("Invalid principal in policy: \"AWS\":\"arn:"),
        "{printed}"
    );
    let (ok, printed) = run(create).await;
    assert!(
        !ok && printed.contains("(EntityAlreadyExists)"),
        "{printed}"
    );
}

/// Every IAM and STS action, with its errors and its pagination.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3() {
    let Some(python) = python_with("boto3") else {
        return;
    };
    let lab = AwsLab::start().await;
    let home = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(python);
    command
        .arg(Path::new(crate::support::ROOT).join("tests/it/clients/boto3_iam.py"))
        .env("ICEBOX_ACCOUNT", ACCOUNTS[0]);
    environment(&mut command, &lab, home.path());
    let output = command.output().await.expect("Python runs");
    println!("{}", text(&output));
    assert!(output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .ends_with("all passed")
    );
}
