//! The S3 server: the tests run one in their own process, on a free port and with its own
//! directory, and use ordinary S3 clients.

mod auth;
mod buckets;
mod checksums;
mod clients;
mod conditional;
mod listing;
mod multipart;
mod objects;
mod storage;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use icebox_s3::{Server, ServerConfig};
use icebox_s3_client::S3Config;
use icebox_s3_client::{aws_client, ensure_bucket};

pub const BUCKET: &str = "lake";
pub const KEY_ID: &str = "AKIAICEBOXTEST";
pub const SECRET: &str = "a secret/with+signs=";

/// A server with an empty bucket. It stops when dropped.
pub struct TestServer {
    pub config: S3Config,
    pub client: Client,
    address: SocketAddr,
    dir: TempDir,
    task: JoinHandle<()>,
}

impl TestServer {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let server = Server::bind(server_config(dir.path()))
            .await
            .expect("the server binds");
        let config = server.client_config();
        let address = server.local_addr();
        let task = tokio::spawn(async {
            server
                .run(std::future::pending())
                .await
                .expect("the server runs");
        });
        ensure_bucket(&config, BUCKET)
            .await
            .expect("the bucket is made");
        Self {
            client: aws_client(&config),
            config,
            address,
            dir,
            task,
        }
    }

    /// Returns the directory of the bucket's objects.
    pub fn files(&self) -> PathBuf {
        self.dir.path().join(BUCKET)
    }

    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let put = self.client.put_object().bucket(BUCKET).key(key);
        let answer = put.body(ByteStream::from(body.into())).send().await;
        answer
            .unwrap_or_else(|e| panic!("put {key:?}: {e:?}"))
            .e_tag
            .expect("an ETag")
    }

    pub async fn get(&self, key: &str) -> Vec<u8> {
        let answer = self
            .client
            .get_object()
            .bucket(BUCKET)
            .key(key)
            .send()
            .await;
        let body = answer.unwrap_or_else(|e| panic!("get {key:?}: {e:?}")).body;
        body.collect().await.expect("the whole body").to_vec()
    }

    /// Returns all keys, in as many pages as necessary.
    pub async fn keys(&self) -> Vec<String> {
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(BUCKET)
            .into_paginator()
            .send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(
                page.expect("a page")
                    .contents()
                    .iter()
                    .map(|o| o.key().unwrap().to_owned()),
            );
        }
        keys
    }

    /// Sends a raw request without a signature.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> RawResponse {
        let mut stream = tokio::net::TcpStream::connect(self.address)
            .await
            .expect("connect");
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            self.address
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        stream.write_all(text.as_bytes()).await.expect("send");
        stream.write_all(body).await.expect("send");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("receive");
        RawResponse::parse(&answer)
    }

    /// Requests a presigned URL of this server.
    pub async fn follow(&self, method: &str, url: &str, body: &[u8]) -> RawResponse {
        let path = url
            .strip_prefix(&self.config.endpoint)
            .expect("a URL of this server");
        self.raw(method, path, &[], body).await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn server_config(root: &Path) -> ServerConfig {
    ServerConfig::new(root, ([127, 0, 0, 1], 0).into(), KEY_ID, SECRET)
}

#[derive(Debug)]
pub struct RawResponse {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl RawResponse {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|l| l.split(' ').nth(1))
            .and_then(|s| s.parse().ok());
        Self {
            status: status.expect("a status"),
            headers: lines
                .filter_map(|l| l.split_once(": "))
                .map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }

    /// Returns the status, and the `Code` of an error document.
    pub fn error(&self) -> (u16, &str) {
        let code = self
            .body
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"));
        (self.status, code.map_or("", |(code, _)| code))
    }
}

/// Returns the status and code of an error response.
pub fn error<T, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (u16, String) {
    let Err(error) = result else {
        panic!("the request should have failed")
    };
    let status = error.raw_response().map(|r| r.status().as_u16());
    let status = status.unwrap_or_else(|| panic!("an answer from the server, not {error:?}"));
    (status, error.code().unwrap_or_default().to_owned())
}

/// Compares the status and code of an error response with literals.
#[macro_export]
macro_rules! assert_error {
    ($request:expr, $status:expr, $code:expr) => {
        let (status, code) = $crate::s3::error($request.send().await);
        assert_eq!((status, code.as_str()), ($status, $code));
    };
}
