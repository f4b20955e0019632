//! The AWS accounts of a sandbox: the user's, and that of Snowflake, in which the principals of its integrations are.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::aws::AccountId;
use crate::aws::client::{Client, Credentials, Error};
use crate::objectstore::S3Config;

/// The name of the role that is there from the beginning.
const ROLE: &str = "icebox-lake";
/// What pg_lake asks for: twelve hours.
const SESSION_SECONDS: u32 = 43_200;

/// What the user's account has at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AccountState {
    /// A bucket, and a role for it that Snowflake's account may take on.
    #[default]
    Ready,
    /// Nothing.
    Empty,
}

/// Snowflake's account.
pub fn snowflake_account() -> AccountId {
    "231580209547".parse().expect("it is twelve digits")
}

/// The ARN of the role that is there from the beginning.
pub fn role_arn() -> String {
    format!("arn:aws:iam::{}:role/{ROLE}", AccountId::LOCAL)
}

/// A client of IAM and STS with these keys.
pub fn client(s3: &S3Config) -> Client {
    let credentials = Credentials::new(s3.access_key_id.clone(), s3.secret_access_key.clone());
    Client::new(s3.endpoint.clone(), s3.region.clone(), credentials)
}

/// Makes the role, if it is not there: for all of the bucket, and trusting all of Snowflake's principals.
///
/// # Errors
/// What IAM says.
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
    // The bucket may be another than the last time.
    iam.put_role_policy(ROLE, "bucket", &policy.to_string())
        .await
}
