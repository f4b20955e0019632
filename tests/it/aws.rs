//! IAM, STS and the access to S3 that they grant, tested with ordinary AWS clients.

mod access;
mod assume;
mod audit;
mod clients;
mod credentials;
mod iam;
mod minio_proxy;
mod protocol;

use std::collections::HashMap;
use std::path::Path;

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use icebox_aws::audit::{Audit, Entry, Reader, Settings};
use icebox_aws::client::{AssumeRole, Client, Credentials};
use icebox_aws::{Account, Iam, MinioProxy, Secret};
use icebox_base::connections::Listeners;
use icebox_s3::{Server, ServerConfig};
use icebox_s3_client::S3Config;
use icebox_s3_client::aws_client;

pub const BUCKET: &str = "lake";
pub const ROLE: &str = "lake-role";
/// The ids of the user's account and of Snowflake's account.
pub const ACCOUNTS: [&str; 2] = ["111122223333", "999988887777"];
pub const REGION: &str = "us-east-1";

/// An AWS endpoint with two accounts, which can be stopped and started again.
pub struct AwsLab {
    dir: TempDir,
    pub endpoint: String,
    kind: ServerKind,
    running: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// The servers that a [`AwsLab`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// icebox's S3 server, which includes IAM and STS.
    Icebox,
    /// icebox's S3 server, whose root users may assume any role, as MinIO's root user may.
    LikeMinio,
    /// The MinIO proxy, with IAM and STS, in front of a server like [`ServerKind::LikeMinio`].
    BehindProxy,
}

pub fn root_key(account: usize) -> String {
    format!("AKIAROOT{account}")
}

pub fn root_secret(account: usize) -> String {
    format!("the root secret of {account}")
}

fn accounts(root_may_assume_any_role: bool) -> Vec<Account> {
    let account = |i: usize| Account {
        id: ACCOUNTS[i].parse().expect("an account id"),
        root_access_key_id: root_key(i),
        root_secret_access_key: Secret::from(root_secret(i)),
        root_may_assume_any_role,
    };
    vec![account(0), account(1)]
}

fn config(dir: &Path, root_may_assume_any_role: bool) -> ServerConfig {
    ServerConfig {
        accounts: accounts(root_may_assume_any_role),
        audit: Some(Settings::new(dir.join("audit"))),
        ..ServerConfig::new(dir.join("s3"), ([127, 0, 0, 1], 0).into(), "", "")
    }
}

impl AwsLab {
    pub async fn start() -> Self {
        Self::start_as(ServerKind::Icebox).await
    }

    pub async fn start_as(kind: ServerKind) -> Self {
        let mut lab = Self {
            dir: tempfile::tempdir().expect("a directory"),
            endpoint: String::new(),
            kind,
            running: Vec::new(),
        };
        lab.run().await;
        lab
    }

    async fn run(&mut self) {
        let dir = self.dir.path();
        let mut config = config(dir, self.kind != ServerKind::Icebox);
        if self.kind == ServerKind::BehindProxy {
            config.audit = None;
        }
        let server = Server::bind(config).await.expect("the server binds");
        self.endpoint = server.client_config().endpoint;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async {
            let stopped = async { _ = stopped.await };
            server.run(stopped).await.expect("the server runs");
        });
        let s3 = (stop, task);
        if self.kind == ServerKind::BehindProxy {
            let iam = Iam::with_minio(self.root(0), &dir.join("iam"), accounts(false));
            let iam = iam.expect("IAM opens");
            let audit = Audit::open(Settings::new(dir.join("audit"))).expect("a trail");
            let proxy = MinioProxy::new(iam, Some(audit), &self.endpoint).expect("an endpoint");
            let listeners = Listeners::bind(([127, 0, 0, 1], 0).into(), None).await;
            let listeners = listeners.expect("a port");
            self.endpoint = format!("http://{}", listeners.address());
            let (stop, stopped) = oneshot::channel();
            let stopped = async { _ = stopped.await };
            self.running
                .push((stop, tokio::spawn(proxy.serve(listeners, stopped))));
        }
        self.running.push(s3);
    }

    /// Stops the servers in order, the proxy before the server behind it.
    pub async fn stop(&mut self) {
        for (stop, task) in self.running.drain(..) {
            stop.send(()).expect("the server runs");
            task.await.expect("the server stops");
        }
    }

    /// Aborts the server behind the proxy.
    pub async fn stop_minio(&mut self) {
        assert_eq!(self.kind, ServerKind::BehindProxy);
        let (_, task) = self.running.pop().expect("it runs");
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.run().await;
    }

    pub fn client(&self, credentials: Credentials) -> Client {
        Client::new(&self.endpoint, REGION, credentials)
    }

    /// Returns a client of an account's root user.
    pub fn root(&self, account: usize) -> Client {
        self.client(root_credentials(account))
    }

    pub fn s3(&self, credentials: &Credentials) -> aws_sdk_s3::Client {
        aws_client(&self.s3_config(credentials))
    }

    pub fn s3_config(&self, credentials: &Credentials) -> S3Config {
        let token = credentials.session_token.as_ref();
        S3Config {
            endpoint: self.endpoint.clone(),
            region: REGION.to_owned(),
            access_key_id: credentials.access_key_id.clone(),
            secret_access_key: credentials.secret_access_key.expose().to_owned(),
            session_token: token.map(|t| t.expose().to_owned()),
        }
    }

    pub async fn make_bucket(&self, account: usize, bucket: &str) {
        let s3 = self.s3(&root_credentials(account));
        let made = s3.create_bucket().bucket(bucket).send().await;
        made.expect("the bucket is made");
    }

    pub async fn put(&self, key: &str) {
        let s3 = self.s3(&root_credentials(0));
        let put = s3.put_object().bucket(BUCKET).key(key);
        let body = aws_sdk_s3::primitives::ByteStream::from_static(b"body");
        put.body(body).send().await.expect("the object is put");
    }

    /// Stops the servers and returns all entries of the audit trail.
    pub async fn audit(&mut self) -> Vec<Entry> {
        self.stop().await;
        let mut reader = Reader::open(self.dir.path().join("audit"));
        std::iter::from_fn(|| reader.read().expect("a trail")).collect()
    }

    /// Creates a principal in Snowflake's account and, in the user's account, a role with this
    /// policy that trusts the principal with this external id. Returns the principal's client.
    pub async fn trusted(&self, name: &str, external_id: &str, policy: &str) -> Client {
        let (arn, key) = self
            .root(1)
            .create_principal(name)
            .await
            .expect("a principal");
        let user = self.root(0);
        let trust = trust(&[&arn], &[external_id]);
        user.create_role(ROLE, &trust, 43200).await.expect("a role");
        user.put_role_policy(ROLE, "s3", policy)
            .await
            .expect("a policy");
        self.client(key)
    }
}

impl Drop for AwsLab {
    fn drop(&mut self) {
        for (_, task) in &self.running {
            task.abort();
        }
    }
}

pub fn root_credentials(account: usize) -> Credentials {
    Credentials::new(root_key(account), root_secret(account))
}

pub fn role_arn() -> String {
    format!("arn:aws:iam::{}:role/{ROLE}", ACCOUNTS[0])
}

pub fn assume_role_request(external_id: &str) -> AssumeRole {
    AssumeRole {
        role_arn: role_arn(),
        session_name: "session".to_owned(),
        external_id: Some(external_id.to_owned()),
        ..AssumeRole::default()
    }
}

/// Reads one of the guide's JSON documents and replaces its placeholders by `values`, in the order
/// in which they first appear.
pub fn document(name: &str, values: &[&str]) -> String {
    let path = Path::new(crate::support::ROOT)
        .join("fixtures/guide")
        .join(name);
    let text = std::fs::read_to_string(&path).expect("a document");
    let mut values = values.iter();
    let mut seen: HashMap<String, &str> = HashMap::new();
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('<') {
        let (placeholder, after) = after.split_once('>').expect("a placeholder");
        let value = seen.entry(placeholder.to_owned());
        let value = value.or_insert_with(|| values.next().expect("a value for it"));
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    assert!(values.next().is_none(), "a value without a placeholder");
    out + rest
}

/// Returns a trust policy like `12-iam-trust-three-principals.json`, for any number of principals.
pub fn trust(principals: &[&str], external_ids: &[&str]) -> String {
    serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"AWS": principals},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_ids}},
        }],
    })
    .to_string()
}

/// Returns the code, HTTP status and message of an error.
pub fn aws_error<T: std::fmt::Debug>(
    result: icebox_aws::client::Result<T>,
) -> (String, u16, String) {
    match result {
        Err(icebox_aws::client::Error::Aws {
            code,
            message,
            status,
        }) => (code, status, message),
        other => panic!("AWS should have refused it: {other:?}"),
    }
}
