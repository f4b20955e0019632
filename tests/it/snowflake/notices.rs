//! Notices of an account: each is sent once, with an answer, to a client that shows notices.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::host::Fixture;
use icebox_base::connections::Listeners;
use icebox_rest as rest;
use icebox_rest::client::Client;
use icebox_rest::drivers::DriverLogin;

/// Logs in and runs a statement as a Snowflake driver does, and returns the response.
async fn driver_asks(address: SocketAddr, sql: &str) -> Value {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |path: &str, token: &str, body: Value| {
        http.post(format!("http://{address}{path}"))
            .header("Authorization", format!("Snowflake Token=\"{token}\""))
            .json(&body)
            .send()
    };
    let login = json!({"data": {"CLIENT_APP_ID": "PythonConnector", "CLIENT_APP_VERSION": "4.8.1",
        "ACCOUNT_NAME": "ICEBOX", "LOGIN_NAME": "ICEBOX", "PASSWORD": "secret"}});
    let answer = post("/session/v1/login-request", "None", login).await;
    let answer: Value = answer.unwrap().json().await.unwrap();
    let token = answer["data"]["token"].as_str().unwrap();
    let body = json!({"sqlText": sql, "asyncExec": false, "sequenceId": 1});
    let answer = post("/queries/v1/query-request?requestId=1", token, body).await;
    answer.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn iceboxs_own_client_is_told_each_notice_once() {
    let fixture = Fixture::new().await;
    let listener = Listeners::bind(([127, 0, 0, 1], 0).into(), None).await;
    let listener = listener.unwrap();
    let address = listener.address();
    let drivers = DriverLogin::new(Arc::clone(&fixture.account), "ICEBOX", "secret");
    let config = rest::Config::default();
    tokio::spawn(rest::serve(
        listener,
        Arc::new(drivers),
        config,
        std::future::pending(),
    ));
    let give = |about: &str| {
        let now = fixture.account.now();
        let text = || format!("the {about} is not consumed");
        fixture.account.notices.once(about.to_owned(), now, text);
    };
    let mut client = Client::connect(address, "ICEBOX", "ICEBOX", "secret", None)
        .await
        .unwrap();
    let nothing: [&str; 0] = [];
    assert_eq!(client.run("SELECT 1").await.unwrap().notices, nothing);

    give("stream A");
    give("stream B");
    give("stream A");
    // Notices are not consumed by a client that does not show them, nor by a failed statement.
    let answer = driver_asks(address, "SELECT 1").await;
    assert_eq!(answer["success"], true, "{answer}");
    assert!(!answer.to_string().contains("consumed"), "{answer}");
    assert!(client.run("SELECT nothing").await.is_err());
    assert_eq!(
        client.run("SELECT 1").await.unwrap().notices,
        [
            "the stream A is not consumed",
            "the stream B is not consumed"
        ]
    );
    assert_eq!(client.run("SELECT 1").await.unwrap().notices, nothing);
}
