//! A small client of IAM and STS for the rest of icebox: the query protocol over HTTP, signed with
//! `aws-sigv4`.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use http::Request;
use icebox_base::chain;
use percent_encoding::percent_decode_str;
use reqwest::redirect;

use super::Secret;
use super::operations::Service;
use super::signature::Signing;
use super::xml::Element;

pub use super::credentials::Credentials;

/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The HTTP client of all [`Client`]s. It keeps no connection, because the runtime that a
/// connection belongs to may end before the program does.
static HTTP: LazyLock<reqwest::Result<reqwest::Client>> = LazyLock::new(|| {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .timeout(TIMEOUT)
        .build()
});

/// The parameters of [`assume_role`](Client::assume_role).
#[derive(Debug, Clone, Default)]
pub struct AssumeRole {
    pub role_arn: String,
    pub session_name: String,
    pub external_id: Option<String>,
    /// The duration of the session in seconds; `None` for STS's default of an hour.
    pub duration: Option<u32>,
    /// The session policy.
    pub policy: Option<String>,
}

/// A role as IAM returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub arn: String,
    pub id: String,
    /// The trust policy.
    pub trust_policy: String,
    /// The maximum duration of a session, in seconds.
    pub max_session_duration: u32,
}

/// The error of a request that was not answered, or was answered with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An error answer of AWS, with its code and message unchanged.
    #[error("{code}: {message}")]
    Aws {
        code: String,
        message: String,
        status: u16,
    },
    #[error("cannot reach IAM and STS at {endpoint}: {reason}; check that the sandbox runs")]
    Unreachable { endpoint: String, reason: String },
    #[error("IAM and STS at {endpoint} gave an answer to {action} that cannot be read: {reason}")]
    Answer {
        endpoint: String,
        action: String,
        reason: String,
    },
}

/// The result of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// A client with its credentials. It opens a connection for each request.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: String,
    region: String,
    credentials: Credentials,
}

impl Client {
    /// Creates a client of `endpoint`, a URL like `http://127.0.0.1:9000`.
    pub fn new(
        endpoint: impl Into<String>,
        region: impl Into<String>,
        credentials: Credentials,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            region: region.into(),
            credentials,
        }
    }

    /// Creates a user and returns its ARN.
    ///
    /// # Errors
    /// [`Error`], as for every request.
    pub async fn create_user(&self, name: &str) -> Result<String> {
        let answer = self.iam("CreateUser", &[("UserName", name)]).await?;
        self.text(&answer, "CreateUser", &["User", "Arn"])
    }

    /// Deletes a user with its access keys and policies. A user that does not exist is not an
    /// error.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_user(&self, name: &str) -> Result<()> {
        let user = ("UserName", name);
        let keys = match self.iam("ListAccessKeys", &[user]).await {
            Err(Error::Aws { code, .. }) if code == "NoSuchEntity" => return Ok(()),
            other => other?,
        };
        let belongings = [
            (
                "DeleteAccessKey",
                "AccessKeyId",
                texts(&keys, &["AccessKeyMetadata"], "AccessKeyId"),
            ),
            (
                "DeleteUserPolicy",
                "PolicyName",
                texts(
                    &self.iam("ListUserPolicies", &[user]).await?,
                    &["PolicyNames"],
                    "",
                ),
            ),
            (
                "DetachUserPolicy",
                "PolicyArn",
                texts(
                    &self.iam("ListAttachedUserPolicies", &[user]).await?,
                    &["AttachedPolicies"],
                    "PolicyArn",
                ),
            ),
        ];
        for (action, parameter, values) in belongings {
            for value in values {
                self.iam(action, &[user, (parameter, &value)]).await?;
            }
        }
        self.iam("DeleteUser", &[user]).await?;
        Ok(())
    }

    /// Creates an access key of a user.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_access_key(&self, user: &str) -> Result<Credentials> {
        let action = "CreateAccessKey";
        let answer = self.iam(action, &[("UserName", user)]).await?;
        let id = self.text(&answer, action, &["AccessKey", "AccessKeyId"])?;
        let secret = self.text(&answer, action, &["AccessKey", "SecretAccessKey"])?;
        Ok(Credentials::new(id, secret))
    }

    /// Creates a user that may assume any role that trusts it, as each of Snowflake's principals
    /// may. Returns its ARN and access key.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_principal(&self, name: &str) -> Result<(String, Credentials)> {
        let arn = self.create_user(name).await?;
        let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}"#;
        self.put_user_policy(name, "assume-roles", policy).await?;
        Ok((arn, self.create_access_key(name).await?))
    }

    /// Adds an inline policy to a user, or replaces it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn put_user_policy(&self, user: &str, name: &str, document: &str) -> Result<()> {
        let fields = [
            ("UserName", user),
            ("PolicyName", name),
            ("PolicyDocument", document),
        ];
        self.iam("PutUserPolicy", &fields).await.map(|_| ())
    }

    /// Creates a role and returns its ARN. `max_session_duration` is in seconds.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_role(
        &self,
        name: &str,
        trust_policy: &str,
        max_session_duration: u32,
    ) -> Result<String> {
        let fields = [
            ("RoleName", name),
            ("AssumeRolePolicyDocument", trust_policy),
            ("MaxSessionDuration", &max_session_duration.to_string()),
        ];
        let answer = self.iam("CreateRole", &fields).await?;
        self.text(&answer, "CreateRole", &["Role", "Arn"])
    }

    /// Adds an inline policy to a role, or replaces it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn put_role_policy(&self, role: &str, name: &str, document: &str) -> Result<()> {
        let fields = [
            ("RoleName", role),
            ("PolicyName", name),
            ("PolicyDocument", document),
        ];
        self.iam("PutRolePolicy", &fields).await.map(|_| ())
    }

    /// Creates a managed policy and returns its ARN.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_policy(&self, name: &str, document: &str) -> Result<String> {
        let fields = [("PolicyName", name), ("PolicyDocument", document)];
        let answer = self.iam("CreatePolicy", &fields).await?;
        self.text(&answer, "CreatePolicy", &["Policy", "Arn"])
    }

    /// Attaches a managed policy to a role.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn attach_role_policy(&self, role: &str, policy_arn: &str) -> Result<()> {
        let fields = [("RoleName", role), ("PolicyArn", policy_arn)];
        self.iam("AttachRolePolicy", &fields).await.map(|_| ())
    }

    /// Replaces a role's trust policy.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update_trust_policy(&self, role: &str, document: &str) -> Result<()> {
        let fields = [("RoleName", role), ("PolicyDocument", document)];
        self.iam("UpdateAssumeRolePolicy", &fields)
            .await
            .map(|_| ())
    }

    /// Returns a role by name.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get_role(&self, name: &str) -> Result<Role> {
        let answer = self.iam("GetRole", &[("RoleName", name)]).await?;
        let field = |name: &str| self.text(&answer, "GetRole", &["Role", name]);
        let document = field("AssumeRolePolicyDocument")?;
        let trust_policy = percent_decode_str(&document).decode_utf8();
        let seconds = field("MaxSessionDuration")?.parse();
        match (trust_policy, seconds) {
            (Ok(trust_policy), Ok(max_session_duration)) => Ok(Role {
                arn: field("Arn")?,
                id: field("RoleId")?,
                trust_policy: trust_policy.into_owned(),
                max_session_duration,
            }),
            _ => Err(self.unreadable("GetRole", "the role's properties are malformed")),
        }
    }

    /// Assumes a role and returns its temporary credentials.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn assume_role(&self, params: &AssumeRole) -> Result<Credentials> {
        let duration = params.duration.map(|seconds| seconds.to_string());
        let mut fields = vec![
            ("RoleArn", params.role_arn.as_str()),
            ("RoleSessionName", params.session_name.as_str()),
        ];
        fields.extend(params.external_id.as_deref().map(|id| ("ExternalId", id)));
        fields.extend(duration.as_deref().map(|d| ("DurationSeconds", d)));
        fields.extend(params.policy.as_deref().map(|p| ("Policy", p)));
        self.credentials("AssumeRole", &fields).await
    }

    /// Returns temporary credentials of the user that the client's credentials belong to.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get_session_token(&self) -> Result<Credentials> {
        self.credentials("GetSessionToken", &[]).await
    }

    async fn credentials(&self, action: &str, fields: &[(&str, &str)]) -> Result<Credentials> {
        let answer = self.sts(action, fields).await?;
        let field = |name: &str| self.text(&answer, action, &["Credentials", name]);
        let expires = field("Expiration")?
            .parse()
            .map_err(|_| self.unreadable(action, "Expiration is not a valid time"))?;
        Ok(Credentials {
            access_key_id: field("AccessKeyId")?,
            secret_access_key: Secret::from(field("SecretAccessKey")?),
            session_token: Some(Secret::from(field("SessionToken")?)),
            expires: Some(expires),
        })
    }

    /// Returns the ARN of the caller that the credentials belong to.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn caller_arn(&self) -> Result<String> {
        let action = "GetCallerIdentity";
        let answer = self.sts(action, &[]).await?;
        self.text(&answer, action, &["Arn"])
    }

    async fn iam(&self, action: &str, fields: &[(&str, &str)]) -> Result<Element> {
        self.call(Service::Iam, "2010-05-08", action, fields).await
    }

    async fn sts(&self, action: &str, fields: &[(&str, &str)]) -> Result<Element> {
        self.call(Service::Sts, "2011-06-15", action, fields).await
    }

    /// Sends a request and returns the answer's `…Result` element, or an empty element if there is
    /// none.
    async fn call(
        &self,
        service: Service,
        version: &str,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Result<Element> {
        // The serializer is not `Send`, so it must be dropped before the answer is awaited.
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", action)
            .append_pair("Version", version)
            .extend_pairs(fields)
            .finish();
        let request = self.signed(service.name(), form);
        let request = request.map_err(|reason| self.unreachable(reason))?;
        let answer = send(request).await;
        let (status, text) = answer.map_err(|reason| self.unreachable(reason))?;
        let answer = Element::parse(&text).map_err(|e| self.unreadable(action, &e.to_string()))?;
        if status != 200 {
            return Err(Error::Aws {
                code: self.text(&answer, action, &["Error", "Code"])?,
                message: self.text(&answer, action, &["Error", "Message"])?,
                status,
            });
        }
        let result = answer.get(&[&format!("{action}Result")]);
        Ok(result.cloned().unwrap_or_default())
    }

    fn signed(
        &self,
        service: &str,
        body: String,
    ) -> std::result::Result<Request<String>, Box<dyn std::error::Error + Send + Sync>> {
        let url = format!("{}/", self.endpoint);
        let authority: http::Uri = url.parse()?;
        let host = authority
            .authority()
            .ok_or("the endpoint names no host")?
            .to_string();
        let content_type = "application/x-www-form-urlencoded; charset=utf-8";
        let headers = [("host", host.as_str()), ("content-type", content_type)];
        let signable = SignableRequest::new(
            "POST",
            &url,
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        )?;
        let signing = Signing {
            credentials: &self.credentials,
            region: &self.region,
            service,
            time: SystemTime::now(),
        };
        let (instructions, _) = signing.sign(signable, SigningSettings::default())?;
        let mut request = Request::post(&url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request
            .header("user-agent", concat!("icebox/", env!("CARGO_PKG_VERSION")))
            .body(body)?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }

    fn text(&self, answer: &Element, action: &str, path: &[&str]) -> Result<String> {
        match answer.get(path) {
            Some(element) => Ok(element.text.clone()),
            None => Err(self.unreadable(action, &format!("{} is missing", path.join("/")))),
        }
    }

    fn unreadable(&self, action: &str, reason: &str) -> Error {
        Error::Answer {
            endpoint: self.endpoint.clone(),
            action: action.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn unreachable(&self, reason: impl std::fmt::Display) -> Error {
        Error::Unreachable {
            endpoint: self.endpoint.clone(),
            reason: reason.to_string(),
        }
    }
}

/// Sends a request and returns the status and the text of the answer, or the reason why there is
/// none.
async fn send(request: Request<String>) -> std::result::Result<(u16, String), String> {
    let http = HTTP.as_ref().map_err(|error| chain(error))?;
    let exchange = async {
        let response = http.execute(request.try_into()?).await?;
        let status = response.status().as_u16();
        Ok((status, response.text().await?))
    };
    exchange
        .await
        .map_err(|error: reqwest::Error| chain(&error.without_url()))
}

/// Returns a field of each member of a list, or each member's own text if `field` is empty.
fn texts(answer: &Element, list: &[&str], field: &str) -> Vec<String> {
    let members = answer.get(list).map_or(&[][..], |list| &list.children);
    let value = |member: &Element| {
        let path = if field.is_empty() {
            vec![]
        } else {
            vec![field]
        };
        member.get(&path).map(|e| e.text.clone())
    };
    members.iter().filter_map(value).collect()
}
