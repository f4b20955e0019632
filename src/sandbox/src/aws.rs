//! The AWS accounts of a sandbox: the user's account, and Snowflake's account, which holds the
//! principals of the integrations.

use serde::{Deserialize, Serialize};
use serde_json::json;

use icebox_aws::AccountId;
use icebox_aws::client::{Client, Credentials, Error};
use icebox_s3_client::S3Config;

/// The name of the role that a ready account has from the start.
const ROLE: &str = "icebox-lake";
/// The role's maximum session duration in seconds: the twelve hours that `pg_lake` asks for.
const SESSION_SECONDS: u32 = 43_200;

/// The initial content of the user's AWS account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AccountState {
    /// A bucket, and a role for it that Snowflake's account may assume.
    #[default]
    Ready,
    /// Nothing.
    Empty,
}

/// Returns the id of Snowflake's account.
pub fn snowflake_account() -> AccountId {
    "231580209547".parse().expect("it is twelve digits")
}

/// Returns the ARN of the role that a ready account has from the start.
pub fn role_arn() -> String {
    format!("arn:aws:iam::{}:role/{ROLE}", AccountId::LOCAL)
}

/// Returns a client of IAM and STS with the keys of `s3`.
pub fn client(s3: &S3Config) -> Client {
    let credentials = Credentials::new(s3.access_key_id.clone(), s3.secret_access_key.clone());
    Client::new(s3.endpoint.clone(), s3.region.clone(), credentials)
}

/// Creates the role if it does not exist. It allows everything on the bucket and trusts all of
/// Snowflake's principals.
///
/// # Errors
/// Any error of IAM.
pub async fn ensure_role(s3: &S3Config, bucket: &str) -> Result<(), Error> {
    let iam = client(s3);
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{}:root", snowflake_account())},
        "Action": "sts:AssumeRole",
    }]});
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Action": "s3:*",
        "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
    }]});
    match iam
        .create_role(ROLE, &trust.to_string(), SESSION_SECONDS)
        .await
    {
        Err(Error::Aws { code, .. }) if code == "EntityAlreadyExists" => {}
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    // The bucket may differ from that of the last start.
    iam.put_role_policy(ROLE, "bucket", &policy.to_string())
        .await
}
