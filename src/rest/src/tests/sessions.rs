//! Tests of login, expiry and logout of sessions.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::account::{PASSWORD, USER};
use super::http::{Client, QUERY, code, login, send};
use super::*;

#[tokio::test]
async fn a_login_gives_tokens_and_the_names_that_were_asked_for() {
    let server = start(Config::default()).await;
    let query = "databaseName=retail&schemaName=%22Mixed+Case%22&warehouse=&requestId=1";
    let answer = login(server.address, "anna", PASSWORD, query).await;
    assert_eq!(answer["success"], true, "{answer}");
    let data = &answer["data"];
    assert_eq!(data["sessionInfo"]["databaseName"], "RETAIL");
    assert_eq!(data["sessionInfo"]["schemaName"], "Mixed Case");
    assert_eq!(data["sessionInfo"]["warehouseName"], Value::Null);
    assert_eq!(
        (&data["validityInSeconds"], &data["masterValidityInSeconds"]),
        (&json!(3600), &json!(14400))
    );
    let parameters = data["parameters"].as_array().unwrap();
    let timezone = parameters
        .iter()
        .find(|one| one["name"] == "TIMEZONE")
        .unwrap();
    assert_eq!(timezone["value"], "America/Los_Angeles");

    for (user, password) in [("anna", "wrong"), ("bert", PASSWORD), ("", "")] {
        let answer = login(server.address, user, password, "").await;
        assert_eq!(code(&answer), "390100");
        assert_eq!(
            answer["message"],
            "Incorrect username or password was specified."
        );
    }
    let body =
        json!({"data": {"LOGIN_NAME": USER, "PASSWORD": PASSWORD, "AUTHENTICATOR": "OAUTH"}});
    let body = body.to_string();
    let answer = send(
        server.address,
        "POST",
        "/session/v1/login-request",
        &[],
        body.as_bytes(),
    )
    .await
    .1;
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("'OAUTH' is not supported")
    );
}

#[tokio::test]
async fn tokens_are_random_and_only_good_for_what_they_are() {
    let server = start(Config::default()).await;
    let mut tokens = HashSet::new();
    for _ in 0..20 {
        let client = Client::login(server.address).await;
        assert_eq!(client.token.len(), 43);
        tokens.extend([client.token, client.master]);
    }
    assert_eq!(tokens.len(), 40);

    let mut client = Client::login(server.address).await;
    std::mem::swap(&mut client.token, &mut client.master);
    assert_eq!(code(&client.query("SELECT 1").await), "390104");
    let session_token = client.master.clone();
    for (header, expected) in [
        (None, "390101"),
        (Some("Snowflake Token=\"None\"".to_owned()), "390104"),
        (Some("Snowflake Token=\"\"".to_owned()), "390101"),
        (Some(format!("Bearer {session_token}")), "390101"),
        (
            Some(format!("Snowflake Token=\"{session_token}x\"")),
            "390104",
        ),
    ] {
        let headers: Vec<(&str, &str)> = header
            .iter()
            .map(|text| ("Authorization", text.as_str()))
            .collect();
        let (status, answer) = send(server.address, "POST", QUERY, &headers, b"{}").await;
        assert_eq!((status, code(&answer)), (401, expected), "{header:?}");
    }
}

#[tokio::test]
async fn an_expired_token_is_renewed_by_the_master_token() {
    let config = Config {
        session_validity: Duration::from_millis(200),
        ..Config::default()
    };
    let server = start(config).await;
    let mut client = Client::login(server.address).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(code(&client.query("SELECT 1").await), "390112");
    assert_eq!(
        code(&client.post("/session/heartbeat", json!({})).await),
        "390112"
    );
    let old = std::mem::replace(&mut client.token, client.master.clone());
    let body = json!({"oldSessionToken": old, "requestType": "RENEW"});
    let answer = client.post("/session/token-request", body).await;
    client.token = answer["data"]["sessionToken"].as_str().unwrap().to_owned();
    assert_eq!(client.query("SELECT 1").await["success"], true);
}

#[tokio::test]
async fn a_session_that_is_closed_or_left_alone_is_told_so() {
    let config = Config {
        master_validity: Duration::from_millis(300),
        ..Config::default()
    };
    let server = start(config).await;
    let closed = Client::login(server.address).await;
    assert_eq!(
        closed.post("/session?delete=true", json!({})).await["success"],
        true
    );
    assert_eq!(code(&closed.query("SELECT 1").await), "390111");
    assert_eq!(
        code(&closed.post("/session?delete=true", json!({})).await),
        "390111"
    );

    let mut used = Client::login(server.address).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(
            used.post("/session/heartbeat", json!({})).await["success"],
            true
        );
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(code(&used.query("SELECT 1").await), "390112");
    used.token = used.master.clone();
    assert_eq!(
        code(&used.post("/session/token-request", json!({})).await),
        "390114"
    );
}
