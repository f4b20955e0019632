//! Tests of the drivers' protocol, down to the bytes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::account::every_type;
use super::http::{Client, QUERY, code, gzip, send};
use super::*;
use crate::encode::{Form, RowSet};

#[tokio::test]
async fn an_answer_tells_columns_rows_and_the_session() {
    let server = start(Config::default()).await;
    let client = Client::login(server.address).await;
    client.query("USE WAREHOUSE compute_wh").await;
    let answer = client.query("SELECT 'a' AS A, NULL AS B").await;
    let data = &answer["data"];
    assert_eq!(data["rowset"], json!([["a", null]]));
    assert_eq!((&data["total"], &data["returned"]), (&json!(1), &json!(1)));
    assert_eq!(data["queryResultFormat"], "json");
    assert_eq!(data["statementTypeId"], 0x1000);
    assert_eq!(data["finalDatabaseName"], "RETAIL");
    assert_eq!(data["finalWarehouseName"], "COMPUTE_WH");
    let column = &data["rowtype"][0];
    assert_eq!(
        (&column["name"], &column["type"]),
        (&json!("A"), &json!("text"))
    );
    for field in [
        "length",
        "byteLength",
        "precision",
        "scale",
        "nullable",
        "collation",
    ] {
        assert!(column.get(field).is_some(), "{field} is missing");
    }
    // The result can be fetched again, also from other sessions of the same user.
    let id = data["queryId"].as_str().unwrap();
    let other = Client::login(server.address).await;
    let again = other.get(&format!("/queries/{id}/result")).await;
    assert_eq!(again["data"]["rowset"], data["rowset"]);
    let unknown = format!("/queries/{}/result", icebox_account::answer::new_query_id());
    assert_eq!(code(&other.get(&unknown).await), "000709");
}

#[test]
fn every_type_is_written_as_the_protocol_has_it() {
    let rows = every_type();
    let written = |form| serde_json::to_value(RowSet::new(&rows, form).unwrap()).unwrap();
    let drivers = written(Form::DRIVERS);
    assert_eq!(
        drivers[0],
        json!([
            "42",
            "-12.30",
            "99999999999999999999999999999999999999",
            "1.5e+300",
            "grün \"q\"\n\u{1F427}",
            "1",
            "19797",
            "45296.123456789",
            "1710488096.123456789",
            "1710488096",
            "1710488096.123",
            "00ABFF",
            "{\n  \"a\": [1, null]\n}",
            "{\"k\":\"v\"}",
            "[1,2]",
            "1710488096.123456789 1770"
        ])
    );
    assert_eq!(
        drivers[1],
        json!([
            "-1",
            "0.05",
            "-1",
            "-0.25",
            "",
            "0",
            "-719162",
            "0.000000000",
            "-1.500000000",
            "-2",
            "-1.500",
            "",
            "null",
            "{}",
            "[]",
            "-1.500000000 1770"
        ])
    );
    assert_eq!(
        drivers[2],
        json!([
            null, null, null, null, null, null, null, null, null, null, null, null, null, null,
            null, null
        ])
    );
    let api = written(Form::api(false));
    assert_eq!(
        (&api[0][5], &api[0][9], &api[2][0]),
        (
            &json!("true"),
            &json!("1710488096.000000000"),
            &json!("null")
        )
    );
    let columns =
        serde_json::to_value(RowSet::new(&rows, Form::DRIVERS).unwrap().columns()).unwrap();
    let told: Vec<Value> = columns
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            json!([
                one["name"],
                one["type"],
                one["precision"],
                one["scale"],
                one["length"]
            ])
        })
        .collect();
    insta::assert_snapshot!(serde_json::to_string(&told).unwrap().replace("],[", "],\n["), @r#"
    [["I","fixed",10,0,null],
    ["N","fixed",12,2,null],
    ["BIG","fixed",38,0,null],
    ["F","real",null,null,null],
    ["S","text",null,null,16777216],
    ["B","boolean",null,null,null],
    ["D","date",null,null,null],
    ["T","time",0,9,null],
    ["NTZ","timestamp_ntz",0,9,null],
    ["NTZ0","timestamp_ntz",0,0,null],
    ["LTZ","timestamp_ltz",0,3,null],
    ["BIN","binary",null,null,8],
    ["V","variant",null,null,null],
    ["O","object",null,null,null],
    ["A","array",null,null,null],
    ["TZ","timestamp_tz",0,9,null]]
    "#);
}

#[tokio::test]
async fn an_error_has_its_code_state_and_place() {
    let server = start(Config::default()).await;
    let client = Client::login(server.address).await;
    let answer = client.query("SELECT * FROM missing").await;
    assert_eq!(code(&answer), "002003");
    let data = &answer["data"];
    assert_eq!(
        (&data["sqlState"], &data["line"], &data["pos"]),
        (&json!("42S02"), &json!(1), &json!(14))
    );
    assert_eq!(data["queryId"].as_str().unwrap().len(), 36);
    assert_eq!(code(&client.query("SELECT 'open").await), "001003");
    assert_eq!(code(&client.query(" -- nothing\n;").await), "000900");
    assert_eq!(code(&client.query("PANIC").await), "000603");
    assert_eq!(client.query("SELECT 1").await["success"], true);
}

#[tokio::test]
async fn what_is_not_a_request_is_refused_and_the_server_goes_on() {
    let config = Config {
        max_request: 10_000,
        ..Config::default()
    };
    let server = start(config).await;
    let client = Client::login(server.address).await;
    let token = format!("Snowflake Token=\"{}\"", client.token);
    let post = async |encoding: &str, body: &[u8]| {
        let headers = [
            ("Authorization", token.as_str()),
            ("Content-Encoding", encoding),
        ];
        send(server.address, "POST", QUERY, &headers, body).await
    };
    for body in [
        "",
        "null",
        "[]",
        "{\"sqlText\": 5}",
        "{\"sqlText\": \"SELECT 1\"",
        "\u{0}",
        "{\"bindings\": {\"1\": 2}}",
    ] {
        let (status, answer) = post("identity", body.as_bytes()).await;
        assert_eq!(status, 200);
        assert!(
            ["390400", "000900"].contains(&code(&answer)),
            "{body}: {answer}"
        );
    }
    assert_eq!(code(&post("gzip", b"no gzip").await.1), "390400");
    assert_eq!(code(&post("br", b"{}").await.1), "390400");
    assert_eq!(post("identity", &[b' '; 10_001]).await.0, 413);
    // Small as sent, large after decompression.
    let bomb = gzip(&vec![b' '; 1_000_000]);
    assert!(bomb.len() < 10_000, "{}", bomb.len());
    assert_eq!(post("gzip", &bomb).await.0, 413);
    assert_eq!(
        post("gzip", &gzip(br#"{"sqlText": "SELECT 1"}"#)).await.1["success"],
        true
    );
    for (method, target) in [
        ("GET", "/"),
        ("PUT", QUERY),
        ("POST", "/queries/../../x"),
        ("GET", "/%ff/%00"),
    ] {
        assert_eq!(
            send(server.address, method, target, &[], b"").await.0,
            404,
            "{target}"
        );
    }
}

#[tokio::test]
async fn bound_values_arrive_as_what_they_are() {
    let server = start(Config::default()).await;
    let client = Client::login(server.address).await;
    let bind = async |sql: &str, bindings: Value| {
        client
            .post(QUERY, json!({"sqlText": sql, "bindings": bindings}))
            .await
    };
    let answer = bind(
        "SELECT ? AS A, ? AS B, ? AS C, ? AS D, ? AS E",
        json!({
            "1": {"type": "FIXED", "value": "-0.50"},
            "2": {"type": "TEXT", "value": "it's ?"},
            "3": {"type": "DATE", "value": "-86400000"},
            "4": {"type": "ANY", "value": null},
            "5": {"type": "BOOLEAN", "value": "true"},
        }),
    )
    .await;
    assert_eq!(
        answer["data"]["rowset"],
        json!([["-0.5", "it's ?", "1969-12-31", null, "1"]]),
        "{answer}"
    );

    client
        .query("CREATE TABLE many (N DECIMAL(12,2), S VARCHAR)")
        .await;
    let numbers: Vec<String> = (0..500).map(|n| format!("{n}.25")).collect();
    let texts: Vec<Option<String>> = (0..500)
        .map(|n| (n % 2 == 0).then(|| format!("'{n}'")))
        .collect();
    let rows =
        json!({"1": {"type": "FIXED", "value": numbers}, "2": {"type": "TEXT", "value": texts}});
    let answer = bind("INSERT INTO many VALUES (?, ?)", rows).await;
    assert_eq!(answer["data"]["total"], 500, "{answer}");
    assert_eq!(answer["data"]["stats"]["numRowsInserted"], 500);
    assert_eq!(answer["data"]["statementTypeId"], 0x3100);
    let sums = client
        .query("SELECT COUNT(*), COUNT(S), SUM(N), MAX(S) FROM many")
        .await;
    assert_eq!(
        sums["data"]["rowset"],
        json!([["500", "250", "124875.00", "'98'"]])
    );

    for (bindings, expected) in [
        (json!({"1": {"type": "FIXED", "value": "one"}}), "100038"),
        (
            json!({"1": {"type": "FIXED", "value": "1".repeat(39)}}),
            "100038",
        ),
        (json!({"1": {"type": "DATE", "value": "soon"}}), "100040"),
        (
            json!({"1": {"type": "TIME", "value": "86400000000000"}}),
            "100108",
        ),
        (
            json!({"1": {"type": "TIMESTAMP_TZ", "value": "0 5000"}}),
            "100035",
        ),
        (json!({"1": {"type": "BINARY", "value": "0"}}), "100115"),
        (json!({"2": {"type": "TEXT", "value": "x"}}), "002049"),
        (
            json!({"1": {"type": "TEXT", "value": ["a"]}, "2": {"type": "TEXT", "value": ["a", "b"]}}),
            "002049",
        ),
        (json!({"1": {"type": "SHAPE", "value": "x"}}), "002049"),
    ] {
        let answer = bind("SELECT ?", bindings).await;
        assert_eq!(code(&answer), expected, "{answer}");
    }
}

#[tokio::test]
async fn describing_gives_columns_and_counts_placeholders() {
    let server = start(Config::default()).await;
    let client = Client::login(server.address).await;
    let body =
        json!({"sqlText": "SELECT I, '?' AS Q FROM every_type WHERE I = 1", "describeOnly": true});
    let data = &client.post(QUERY, body).await["data"];
    assert_eq!(
        (&data["rowset"], &data["numberOfBinds"]),
        (&json!([]), &json!(0))
    );
    assert_eq!(data["rowtype"][0]["precision"], 10);
    let body = json!({"sqlText": "SELECT ? AS A, I FROM every_type WHERE I > ? -- ?", "describeOnly": true});
    assert_eq!(client.post(QUERY, body).await["data"]["numberOfBinds"], 2);
}

#[tokio::test]
async fn a_long_statement_is_waited_for_asked_about_and_ended() {
    let config = Config {
        patience: Duration::from_millis(100),
        ..Config::default()
    };
    let server = start(config).await;
    let client = Client::login(server.address).await;
    let first = client.query("SELECT SYSTEM$WAIT(1)").await;
    assert_eq!(
        (&first["code"], &first["success"]),
        (&json!("333333"), &json!(true))
    );
    let url = first["data"]["getResultUrl"].as_str().unwrap().to_owned();
    let status = format!(
        "/monitoring/queries/{}",
        first["data"]["queryId"].as_str().unwrap()
    );
    assert_eq!(
        client.get(&status).await["data"]["queries"][0]["status"],
        "RUNNING"
    );
    let mut answer = client.get(&url).await;
    while answer["code"] == "333333" {
        answer = client.get(&url).await;
    }
    assert_eq!(answer["data"]["rowset"], json!([["waited 1 seconds"]]));
    assert_eq!(
        client.get(&status).await["data"]["queries"][0]["status"],
        "SUCCESS"
    );

    let target = format!("{QUERY}?requestId=7");
    let body = json!({"sqlText": "SELECT SYSTEM$WAIT(60)", "asyncExec": true});
    let started = client.post(&target, body.clone()).await;
    assert_eq!(started["code"], "333334");
    // A retry of the same request returns the same statement.
    let executed = server.account.executed.load(Ordering::Relaxed);
    assert_eq!(
        client.post(&target, body).await["data"]["queryId"],
        started["data"]["queryId"]
    );
    assert_eq!(server.account.executed.load(Ordering::Relaxed), executed);
    let abort = json!({"sqlText": "SELECT SYSTEM$WAIT(60)", "requestId": "7"});
    assert_eq!(
        client
            .post("/queries/v1/abort-request", abort.clone())
            .await["success"],
        true
    );
    let url = started["data"]["getResultUrl"].as_str().unwrap();
    assert_eq!(code(&client.get(url).await), "000604");
    assert_eq!(
        code(&client.post("/queries/v1/abort-request", abort).await),
        "000605"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_can_be_ended_as_soon_as_it_has_an_id() {
    let server = start(Config::default()).await;
    let client = Client::login(server.address).await;
    for _ in 0..50 {
        let body = json!({"sqlText": "SELECT SYSTEM$WAIT(60)", "asyncExec": true});
        let started = client.post(QUERY, body).await;
        let id = started["data"]["queryId"].as_str().unwrap();
        let aborted = client
            .post(&format!("/queries/{id}/abort-request"), json!({}))
            .await;
        assert_eq!(aborted["success"], true);
        let answer = client.get(&format!("/queries/{id}/result")).await;
        assert_eq!(code(&answer), "000604");
    }
}

/// The number of ended statements that are kept is limited.
#[tokio::test]
async fn what_has_ended_is_forgotten() {
    let server = start(Config::default()).await;
    let client = Client::login(server.address).await;
    let first = client.query("SELECT 0").await;
    let first = first["data"]["queryId"].as_str().unwrap().to_owned();
    for number in 1..=1000 {
        client.query(&format!("USE SCHEMA s{number}")).await;
    }
    let answer = client.get(&format!("/queries/{first}/result")).await;
    assert_eq!(code(&answer), "000709");
}

#[tokio::test]
async fn results_are_kept_up_to_a_limit() {
    let config = Config {
        max_results: 1,
        ..Config::default()
    };
    let server = start(config).await;
    let client = Client::login(server.address).await;
    let id = |answer: &Value| answer["data"]["queryId"].as_str().unwrap().to_owned();
    let first = id(&client.query("SELECT 1").await);
    let second = id(&client.query("SELECT 2").await);
    assert_eq!(
        code(&client.get(&format!("/queries/{first}/result")).await),
        "000709"
    );
    assert_eq!(
        client.get(&format!("/queries/{second}/result")).await["data"]["rowset"],
        json!([["2"]])
    );
    assert_eq!(
        client.get(&format!("/monitoring/queries/{first}")).await["data"]["queries"],
        json!([])
    );
}

#[tokio::test]
async fn a_stop_ends_what_is_running() {
    let server = start(Config::default()).await;
    let client = Client::login(server.address).await;
    let asked = tokio::spawn(async move { client.query("SELECT SYSTEM$WAIT(600)").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stopped = std::time::Instant::now();
    drop(server.stop);
    server.served.await.unwrap().unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(3));
    assert_eq!(code(&asked.await.unwrap()), "000604");
}
