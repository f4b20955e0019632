//! Sandboxes on the engine `containers`, created with the library.

use super::sandbox::{Resources, is_enabled};
use icebox_postgres::connect;
use icebox_sandbox::{Engine, EngineKind, Sandbox};

#[tokio::test]
async fn dropping_a_sandbox_removes_everything() {
    if !is_enabled() {
        return;
    }
    let sandbox = Sandbox::builder()
        .engine(Engine::Containers)
        .bucket("a-bucket")
        .start()
        .await
        .unwrap();
    let info = sandbox.info().clone();
    assert_eq!(info.engine, EngineKind::Containers);
    let running = Resources::of(&info.state_dir);
    assert_eq!(
        (
            running.containers.len(),
            running.networks.len(),
            running.volumes.len()
        ),
        (2, 1, 2)
    );
    let client = connect(&info.postgres).await.unwrap();
    let row = client
        .query_one("SELECT current_user::text", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "snowflake_admin");

    drop(sandbox);
    assert!(connect(&info.postgres).await.is_err());
    assert_eq!(Resources::of(&info.state_dir), Resources::default());
    assert!(!info.state_dir.exists());
}

#[tokio::test]
async fn a_named_state_directory_keeps_its_data() {
    if !is_enabled() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().canonicalize().unwrap().join("state");
    let builder = Sandbox::builder()
        .engine(Engine::Containers)
        .state_dir(&state_dir);
    let sandbox = builder.clone().start().await.unwrap();
    let client = connect(&sandbox.info().postgres).await.unwrap();
    client
        .batch_execute("CREATE TABLE kept AS SELECT 7 AS id")
        .await
        .unwrap();
    sandbox.stop().await;
    let stopped = Resources::of(&state_dir);
    assert_eq!(
        (
            stopped.containers.len(),
            stopped.networks.len(),
            stopped.volumes.len()
        ),
        (0, 0, 2)
    );

    let sandbox = builder.start().await.unwrap();
    let client = connect(&sandbox.info().postgres).await.unwrap();
    let row = client.query_one("SELECT id FROM kept", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    sandbox.stop().await;
    let icebox = crate::support::icebox();
    let mut down = std::process::Command::new(icebox);
    let down = down
        .arg("--state-dir")
        .arg(&state_dir)
        .args(["down", "--purge"])
        .output()
        .unwrap();
    assert!(down.status.success(), "{down:?}");
    assert_eq!(Resources::of(&state_dir), Resources::default());
}
