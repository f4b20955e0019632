//! Clients that were not written for icebox, run without changes.
//!
//! They are in the virtual environment `$ICEBOX_CLIENTS` (`~/.cache/icebox/clients`), which `just
//! clients` creates from `tests/it/clients/requirements.txt`. A test whose client is missing prints
//! so and passes.

use std::path::Path;

use tokio::process::Command;

use super::objects::pattern;
use super::{BUCKET, TestServer};
use crate::support::clients::python_with;
use crate::support::text;

/// Configures a client for the server by environment variables alone, as a user does.
fn environment(command: &mut Command, server: &TestServer, home: &Path) {
    command
        .env("HOME", home)
        .env("AWS_ENDPOINT_URL", &server.config.endpoint)
        .env("AWS_ACCESS_KEY_ID", &server.config.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &server.config.secret_access_key)
        .env("AWS_REGION", &server.config.region)
        .env("AWS_DEFAULT_REGION", &server.config.region)
        .env("ICEBOX_BUCKET", BUCKET)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        // The server is on loopback and must not be reached through an HTTP proxy.
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .current_dir(home);
}

async fn run_script(module: &str, script: &str) {
    let Some(python) = python_with(module) else {
        return;
    };
    let server = TestServer::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.arg(
        Path::new(crate::support::ROOT)
            .join("tests/it/clients")
            .join(script),
    );
    environment(&mut command, &server, home.path());
    let output = command.output().await.unwrap();
    println!("{}", text(&output));
    assert!(output.status.success());
    // Otherwise a script that ends early without an error would pass.
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .ends_with("all passed")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3() {
    run_script("boto3", "boto3_client.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duckdb_httpfs() {
    run_script("duckdb_extension_httpfs", "duckdb_httpfs.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_cli() {
    let Some(python) = python_with("awscli") else {
        return;
    };
    let server = TestServer::start().await;
    let home = tempfile::tempdir().unwrap();
    let aws = async |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-m", "awscli"]).args(arguments);
        environment(&mut command, &server, home.path());
        let output = command.output().await.unwrap();
        let printed = text(&output);
        (output.status.success(), printed)
    };
    let succeeds = async |arguments: &[&str]| {
        let (ok, printed) = aws(arguments).await;
        assert!(ok, "aws {arguments:?}: {printed}");
        printed
    };

    let big = pattern(20 << 20);
    std::fs::create_dir_all(home.path().join("up/sub dir")).unwrap();
    std::fs::write(home.path().join("up/big.bin"), &big).unwrap();
    std::fs::write(home.path().join("up/sub dir/ä+b.txt"), "small").unwrap();

    assert!(
        succeeds(&["s3", "mb", "s3://made-by-cli"])
            .await
            .contains("make_bucket")
    );
    assert!(succeeds(&["s3", "ls"]).await.contains("made-by-cli"));
    succeeds(&["s3", "rb", "s3://made-by-cli"]).await;
    // 20 MB are uploaded and downloaded in parts.
    succeeds(&["s3", "cp", "--recursive", "up", "s3://lake/up/"]).await;
    assert!(server.get("up/big.bin").await == big);
    let listed = succeeds(&["s3", "ls", "--recursive", "s3://lake/"]).await;
    assert!(
        listed.contains("20971520 up/big.bin") && listed.contains("5 up/sub dir/ä+b.txt"),
        "{listed}"
    );
    assert!(
        succeeds(&["s3", "ls", "s3://lake/up/"])
            .await
            .contains("PRE sub dir/")
    );
    succeeds(&["s3", "cp", "s3://lake/up/big.bin", "down.bin"]).await;
    assert!(std::fs::read(home.path().join("down.bin")).unwrap() == big);
    // A copy on the server, also in parts.
    succeeds(&[
        "s3",
        "mv",
        "s3://lake/up/big.bin",
        "s3://lake/moved/big.bin",
    ])
    .await;
    assert!(server.get("moved/big.bin").await == big);
    assert!(
        succeeds(&["s3", "sync", "up", "s3://lake/up/"])
            .await
            .contains("big.bin")
    );
    assert_eq!(
        succeeds(&["s3", "sync", "up", "s3://lake/up/"]).await,
        "",
        "nothing has changed"
    );

    let url = succeeds(&["s3", "presign", "s3://lake/up/sub dir/ä+b.txt"]).await;
    assert_eq!(server.follow("GET", url.trim(), b"").await.body, "small");
    for algorithm in ["CRC32", "CRC32C", "SHA1", "SHA256"] {
        let body = ["--body", "up/big.bin", "--checksum-algorithm", algorithm];
        let (ok, printed) = aws(&[
            &["s3api", "put-object", "--bucket", BUCKET, "--key", "sum"][..],
            &body,
        ]
        .concat())
        .await;
        // CRC32C and CRC64NVME need a library that is not part of the aws command's package.
        assert!(
            ok || printed.contains("MissingDependencyException") || printed.contains("awscrt"),
            "{algorithm}: {printed}"
        );
    }
    let (ok, printed) = aws(&[
        "s3api",
        "get-object",
        "--bucket",
        BUCKET,
        "--key",
        "missing",
        "out",
    ])
    .await;
    assert!(!ok && printed.contains("(NoSuchKey)"), "{printed}");
    succeeds(&["s3", "rm", "--recursive", "s3://lake/"]).await;
    assert!(server.keys().await.is_empty());
}
