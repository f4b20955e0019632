//! Real drivers.

use super::*;

/// For trying a driver by hand: `SERVE=127.0.0.1:8085 cargo test -- --ignored serve_forever`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs until it is stopped"]
async fn serve_forever() {
    let patience = std::time::Duration::from_secs(3);
    let config = Config { patience, ..Config::default() };
    let listener = TcpListener::bind(std::env::var("SERVE").unwrap()).await.unwrap();
    let account = Arc::new(TestAccount::new());
    serve(listener, account, config, std::future::pending()).await.unwrap();
}
