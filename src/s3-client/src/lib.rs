//! The S3 clients that the rest of icebox uses.
//!
//! Their retries are short: if a store is down, a request fails within about a second, so that a
//! transaction that waits for it fails promptly.

mod config;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use object_store::aws::{AmazonS3Builder, AwsCredential, S3ConditionalPut};
use object_store::{BackoffConfig, ClientOptions, CredentialProvider, ObjectStore};

pub use config::S3Config;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_millis(200);
const RETRY_FOR: Duration = Duration::from_secs(1);

/// The error of setting up a client, or of an operation on a bucket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot set up an S3 client for {endpoint}, bucket {bucket}: {source}")]
    Setup {
        endpoint: String,
        bucket: String,
        source: object_store::Error,
    },
    #[error(
        "cannot {doing} bucket {bucket} at {endpoint}: {reason}; check that the server is running and that the access key belongs to it"
    )]
    Bucket {
        doing: &'static str,
        bucket: String,
        endpoint: String,
        reason: String,
    },
}

/// The result of setting up a client.
pub type Result<T> = std::result::Result<T, Error>;

/// Returns a client of the AWS SDK with path-style addressing.
pub fn aws_client(config: &S3Config) -> Client {
    let credentials = Credentials::new(
        &config.access_key_id,
        &config.secret_access_key,
        config.session_token.clone(),
        None,
        "icebox",
    );
    let mut builder = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&config.endpoint)
        .region(Region::new(config.region.clone()))
        .credentials_provider(credentials)
        .force_path_style(true)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(3)
                .with_initial_backoff(FIRST_BACKOFF)
                .with_max_backoff(MAX_BACKOFF),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        );
    // The SDK's own client, which sends a key's path byte for byte. A client that goes by parsed
    // URLs, such as reqwest's, would resolve `..` in a key.
    if config.endpoint.starts_with("http://") {
        builder = builder.http_client(aws_smithy_http_client::Builder::new().build_http());
    }
    Client::from_conf(builder.build())
}

/// The source that a store asks for credentials each time it needs them.
pub type CredentialSource = Arc<dyn CredentialProvider<Credential = AwsCredential>>;

/// Returns one bucket as an [`ObjectStore`]. Conditional writes are by ETag. `credentials`, if
/// given, replace those in `config`.
///
/// # Errors
/// [`Error::Setup`] if the endpoint is not a URL.
pub fn object_store(
    config: &S3Config,
    bucket: &str,
    credentials: Option<CredentialSource>,
) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::new()
        .with_endpoint(&config.endpoint)
        .with_region(&config.region)
        .with_access_key_id(&config.access_key_id)
        .with_secret_access_key(&config.secret_access_key)
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(false)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(
            ClientOptions::new()
                .with_allow_http(config.endpoint.starts_with("http://"))
                .with_connect_timeout(CONNECT_TIMEOUT),
        )
        .with_retry(object_store::RetryConfig {
            backoff: BackoffConfig {
                init_backoff: FIRST_BACKOFF,
                max_backoff: MAX_BACKOFF,
                base: 2.0,
            },
            max_retries: 5,
            retry_timeout: RETRY_FOR,
        });
    if let Some(token) = &config.session_token {
        builder = builder.with_token(token);
    }
    if let Some(credentials) = credentials {
        builder = builder.with_credentials(credentials);
    }
    let store = builder.build().map_err(|source| Error::Setup {
        endpoint: config.endpoint.clone(),
        bucket: bucket.to_owned(),
        source,
    })?;
    Ok(Arc::new(store))
}

/// How long [`ensure_bucket_at_start`] waits for a server that is starting.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);

/// Creates the bucket if it does not exist, at a server that is starting: the server may not answer
/// yet, or answer without accepting requests.
///
/// # Errors
/// The last error of [`ensure_bucket`] after 30 seconds.
pub async fn ensure_bucket_at_start(config: &S3Config, bucket: &str) -> Result<()> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        match ensure_bucket(config, bucket).await {
            Err(error) if begun.elapsed() < STARTUP_TIMEOUT => {
                tracing::debug!(%error, "no bucket yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(100));
            }
            result => return result,
        }
    }
}

/// Creates the bucket if it does not exist.
///
/// # Errors
/// [`Error::Bucket`]: the server cannot be reached, or refuses.
pub async fn ensure_bucket(config: &S3Config, bucket: &str) -> Result<()> {
    let client = aws_client(config);
    // S3 needs a location constraint for every region but us-east-1.
    let elsewhere = (config.region != "us-east-1").then(|| {
        CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(config.region.as_str()))
            .build()
    });
    let request = client
        .create_bucket()
        .bucket(bucket)
        .set_create_bucket_configuration(elsewhere);
    match request.send().await {
        Ok(_) => Ok(()),
        Err(e) if e.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
        Err(e) => Err(Error::Bucket {
            doing: "create",
            bucket: bucket.to_owned(),
            endpoint: config.endpoint.clone(),
            reason: match (e.code(), e.message()) {
                (Some(code), Some(message)) => format!("{code}: {message}"),
                (Some(code), None) => code.to_owned(),
                _ => DisplayErrorContext(&e).to_string(),
            },
        }),
    }
}
