//! Tests of the SQL API.

use std::time::Duration;

use serde_json::{Value, json};

use super::account::PASSWORD;
use super::http::send;
use super::*;

#[tokio::test]
async fn the_sql_api_answers_with_statuses() {
    let config = Config {
        patience: Duration::from_millis(300),
        ..Config::default()
    };
    let server = start(config).await;
    let bearer = format!("Bearer {PASSWORD}");
    let call = async |method: &str, target: &str, body: Value| {
        let headers = [("Authorization", bearer.as_str())];
        let body = body.to_string();
        send(
            server.address,
            method,
            &format!("/api/v2/statements{target}"),
            &headers,
            body.as_bytes(),
        )
        .await
    };
    let (status, answer) = call(
        "POST",
        "",
        json!({"statement": "SELECT B, I FROM every_type", "database": "retail"}),
    )
    .await;
    assert_eq!(
        (status, &answer["code"]),
        (200, &json!("090001")),
        "{answer}"
    );
    assert_eq!(
        answer["data"],
        json!([["true", "42"], ["false", "-1"], [null, null]])
    );
    assert_eq!(answer["resultSetMetaData"]["numRows"], 3);
    assert_eq!(answer["resultSetMetaData"]["rowType"][1]["type"], "fixed");
    let size = answer["data"].to_string().len();
    assert_eq!(
        answer["resultSetMetaData"]["partitionInfo"],
        json!([{"rowCount": 3, "uncompressedSize": size}])
    );
    let handle = answer["statementHandle"].as_str().unwrap();
    assert_eq!(
        call("GET", &format!("/{handle}?partition=0"), json!({}))
            .await
            .1["data"],
        answer["data"]
    );
    assert_eq!(
        call("GET", &format!("/{handle}?partition=1"), json!({}))
            .await
            .0,
        400
    );

    let (status, answer) = call("POST", "", json!({"statement": "SELECT * FROM missing"})).await;
    assert_eq!(
        (status, &answer["code"], &answer["sqlState"]),
        (422, &json!("002003"), &json!("42S02"))
    );
    let several = json!({"statement": "SELECT 1 AS A; SELECT 2 AS A", "parameters": {"MULTI_STATEMENT_COUNT": "2"}});
    let (_, answer) = call("POST", "", several).await;
    assert_eq!(
        answer["data"],
        json!([["Multiple statements executed successfully."]])
    );
    let second = answer["statementHandles"][1].as_str().unwrap();
    assert_eq!(
        call("GET", &format!("/{second}"), json!({})).await.1["data"],
        json!([["2"]])
    );

    let (status, answer) = call("POST", "", json!({"statement": "SELECT SYSTEM$WAIT(60)"})).await;
    assert_eq!((status, &answer["code"]), (202, &json!("333334")));
    let handle = answer["statementHandle"].as_str().unwrap();
    assert_eq!(
        call("POST", &format!("/{handle}/cancel"), json!({}))
            .await
            .0,
        200
    );
    let (status, answer) = call("GET", &format!("/{handle}"), json!({})).await;
    assert_eq!((status, &answer["code"]), (422, &json!("000604")));
    let (_, answer) = call(
        "POST",
        "?async=true",
        json!({"statement": "SELECT SYSTEM$WAIT(60)", "timeout": 1}),
    )
    .await;
    let handle = answer["statementHandle"].as_str().unwrap();
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(
        call("GET", &format!("/{handle}"), json!({})).await.1["code"],
        "000604"
    );

    for header in ["Bearer wrong", "Basic x", "Snowflake Token=\"x\""] {
        let headers = [("Authorization", header)];
        let (status, _) = send(
            server.address,
            "POST",
            "/api/v2/statements",
            &headers,
            b"{}",
        )
        .await;
        assert_eq!(status, 401, "{header}");
    }
}
