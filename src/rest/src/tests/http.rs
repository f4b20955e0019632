//! Requests as raw bytes, so that a test can send malformed ones.

use std::io::Write;
use std::net::SocketAddr;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::account::{PASSWORD, USER};

/// Sends a request, and returns the status and the JSON body of the reply.
pub(super) async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, Value) {
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server does not read a refused body to its end.
    _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A client with a session.
pub(super) struct Client {
    pub address: SocketAddr,
    pub token: String,
    pub master: String,
}

impl Client {
    pub async fn login(address: SocketAddr) -> Self {
        let answer = login(address, USER, PASSWORD, "databaseName=retail").await;
        assert_eq!(answer["success"], true, "{answer}");
        let text = |name: &str| answer["data"][name].as_str().unwrap().to_owned();
        Self {
            address,
            token: text("token"),
            master: text("masterToken"),
        }
    }

    pub async fn post(&self, target: &str, body: Value) -> Value {
        let authorization = format!("Snowflake Token=\"{}\"", self.token);
        let headers = [("Authorization", authorization.as_str())];
        send(
            self.address,
            "POST",
            target,
            &headers,
            body.to_string().as_bytes(),
        )
        .await
        .1
    }

    pub async fn get(&self, target: &str) -> Value {
        let authorization = format!("Snowflake Token=\"{}\"", self.token);
        let headers = [("Authorization", authorization.as_str())];
        send(self.address, "GET", target, &headers, b"").await.1
    }

    pub async fn query(&self, sql: &str) -> Value {
        self.post("/queries/v1/query-request", json!({"sqlText": sql}))
            .await
    }
}

pub(super) async fn login(address: SocketAddr, user: &str, password: &str, query: &str) -> Value {
    let body = json!({"data": {
        "CLIENT_APP_ID": "Test", "CLIENT_APP_VERSION": "1", "LOGIN_NAME": user, "PASSWORD": password,
    }});
    let target = format!("/session/v1/login-request?{query}");
    let body = gzip(body.to_string().as_bytes());
    send(
        address,
        "POST",
        &target,
        &[("Content-Encoding", "gzip")],
        &body,
    )
    .await
    .1
}

pub(super) const QUERY: &str = "/queries/v1/query-request";

/// Returns the code of a reply that must be a failure.
pub(super) fn code(answer: &Value) -> &str {
    assert_eq!(answer["success"], false, "{answer}");
    answer["code"].as_str().unwrap()
}
