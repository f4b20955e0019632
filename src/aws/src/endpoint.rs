//! The query protocol of IAM and STS: forms posted to `/`, answers in XML
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/programming.html>).

use std::collections::HashMap;
use std::net::IpAddr;

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;

use super::audit::{Audit, Entry};
use super::caller::{CredentialsError, Identity};
use super::operations::{Call, Operation, Params, Service};
use super::signature::Authorization;
use super::xml::Element;
use super::{Caller, Decision, Fault, Iam};
use icebox_base::connections::Peer;

/// The largest request body, in bytes. Policy documents are far smaller.
const MAX_BODY: usize = 1 << 20;

/// Answers requests to IAM and STS. Clones share the same state.
#[derive(Clone)]
pub struct Endpoint {
    iam: Iam,
    audit: Option<Audit>,
}

/// The source address and user agent of a request.
#[derive(Debug, Clone, Default)]
pub struct RequestMeta {
    pub source_ip: Option<IpAddr>,
    pub user_agent: Option<String>,
}

impl RequestMeta {
    /// Reads the metadata from the headers and the connection's peer address.
    pub fn new(headers: &HeaderMap, extensions: &http::Extensions) -> Self {
        let user_agent = headers.get("user-agent").and_then(|v| v.to_str().ok());
        Self {
            source_ip: extensions.get::<Peer>().map(|peer| peer.0.ip()),
            user_agent: user_agent.map(str::to_owned),
        }
    }

    /// Returns the condition keys that every request has
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>).
    pub fn context(&self) -> HashMap<String, Vec<String>> {
        let now = Utc::now();
        let mut context = HashMap::new();
        let mut put = |key: &str, value: String| context.insert(key.to_owned(), vec![value]);
        put(
            "aws:currenttime",
            now.to_rfc3339_opts(SecondsFormat::Secs, true),
        );
        put("aws:epochtime", now.timestamp().to_string());
        // No listener of the sandbox has TLS.
        put("aws:securetransport", "false".to_owned());
        if let Some(ip) = self.source_ip {
            put("aws:sourceip", ip.to_string());
        }
        if let Some(agent) = &self.user_agent {
            put("aws:useragent", agent.clone());
        }
        context
    }

    /// Creates an entry of the audit trail with what is known of the request so far.
    pub fn entry(&self, request_id: &str) -> Entry {
        Entry {
            request_id: request_id.to_owned(),
            source_ip: self.source_ip.map(|ip| ip.to_string()),
            user_agent: self.user_agent.clone(),
            ..Entry::default()
        }
    }
}

impl Entry {
    /// Records the caller.
    pub fn set_caller(&mut self, caller: &Caller) {
        self.principal = Some(caller.arn());
        self.access_key_id = Some(caller.access_key_id.clone());
        self.session_name = caller.session_name().map(str::to_owned);
        self.source_identity = caller.source_identity().map(str::to_owned);
    }

    /// Records the action, its resource and the decision.
    pub fn set_decision(&mut self, action: &str, resource: &str, decision: &Decision) {
        self.action = action.to_owned();
        self.resource = resource.to_owned();
        self.allowed = decision.is_allowed();
        self.reason = decision.to_string();
    }
}

/// A request whose body has been read.
struct Received {
    parts: Parts,
    body: Bytes,
    params: Params,
}

impl Endpoint {
    pub fn new(iam: Iam, audit: Option<Audit>) -> Self {
        Self { iam, audit }
    }

    /// Returns whether a request is for IAM or STS. S3 has no request that posts such a form to
    /// `/`.
    pub fn takes<B>(request: &Request<B>) -> bool {
        let content_type = request.headers().get("content-type");
        let is_form = content_type.is_some_and(|value| {
            let form = b"application/x-www-form-urlencoded";
            let start = value.as_bytes().get(..form.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(form))
        });
        request.method() == Method::POST
            && request.uri().path() == "/"
            && request.uri().query().is_none()
            && is_form
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Bytes>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let meta = RequestMeta::new(&parts.headers, &parts.extensions);
        let id = uuid::Uuid::new_v4().to_string();
        let mut entry = meta.entry(&id);
        let received = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => Received::new(parts, body.to_bytes()),
            Err(_) => Err(Fault::request_too_large(format!(
                "The request could not be read, or is larger than {MAX_BODY} bytes."
            ))),
        };
        let (service, result) = match received {
            Err(fault) => (Service::Iam, Err(fault)),
            Ok(received) => {
                entry.bytes = received.body.len() as u64;
                let iam = self.iam.clone();
                // Changes are written to disk, which blocks.
                let work = tokio::task::spawn_blocking(move || {
                    let service = received.service().unwrap_or(Service::Iam);
                    let result = perform(&iam, &received, &meta, &mut entry);
                    (service, result, entry)
                });
                match work.await {
                    Ok((service, result, noted)) => {
                        entry = noted;
                        (service, result)
                    }
                    Err(error) => {
                        tracing::error!(%error, "a request to IAM or STS failed");
                        entry = Entry::default();
                        (
                            Service::Iam,
                            Err(Fault::service_failure(
                                "The request failed inside icebox; see its log.",
                            )),
                        )
                    }
                }
            }
        };
        self.respond(service, result, entry, &id)
    }

    fn respond(
        &self,
        service: Service,
        result: Result<Element, Fault>,
        mut entry: Entry,
        id: &str,
    ) -> Response<Bytes> {
        let (status, body) = match result {
            Ok(element) => (200, answer_xml(service, element, id)),
            Err(fault) => {
                entry.error_code = Some(fault.code.to_string());
                if !entry.allowed || fault.code == "AccessDenied" {
                    entry.allowed = false;
                    entry.reason = fault
                        .detail
                        .clone()
                        .unwrap_or_else(|| fault.message.clone());
                }
                (fault.status, fault_xml(service, &fault, id))
            }
        };
        entry.status = status;
        if let Some(audit) = &self.audit {
            audit.append(entry);
        }
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert("content-type", http::HeaderValue::from_static("text/xml"));
        if let Ok(id) = http::HeaderValue::try_from(id) {
            headers.insert("x-amzn-requestid", id);
        }
        response
    }
}

impl Received {
    fn new(parts: Parts, body: Bytes) -> Result<Self, Fault> {
        let params = Params::parse(&body)?;
        Ok(Self {
            parts,
            body,
            params,
        })
    }

    fn service(&self) -> Option<Service> {
        Service::from_version(self.params.get("Version")?)
    }

    /// Checks the signature. Returns the caller, and the service that the request was signed for.
    fn authenticate(&self, iam: &Iam, entry: &mut Entry) -> Result<(Caller, String), Fault> {
        let headers = &self.parts.headers;
        let authorization = Authorization::read(headers)?;
        let key = authorization.access_key_id;
        entry.access_key_id = Some(key.to_owned());
        let secret = iam.secret_of(key).ok_or_else(Fault::invalid_token)?;
        authorization.check(&self.parts, &self.body, &secret, Utc::now())?;
        let token = headers
            .get("x-amz-security-token")
            .map(|v| v.to_str().unwrap_or_default());
        let caller = iam.caller(key, token).map_err(|refused| match refused {
            CredentialsError::Expired => {
                Fault::expired_token("The security token included in the request is expired")
            }
            CredentialsError::UnknownKey | CredentialsError::BadToken => Fault::invalid_token(),
        })?;
        entry.set_caller(&caller);
        Ok((caller, authorization.service.to_owned()))
    }

    fn operation(&self) -> Result<&'static Operation, Fault> {
        let Some(action) = self.params.get("Action").filter(|a| !a.is_empty()) else {
            return Err(Fault::missing_action(
                "The request is missing an action or a required parameter.",
            ));
        };
        let version = self.params.get("Version").unwrap_or("NO_VERSION_SPECIFIED");
        let service = Service::from_version(version);
        service
            .and_then(|service| Operation::find(service, action))
            .ok_or_else(|| {
                Fault::invalid_action(format!(
                    "Could not find operation {action} for version {version}"
                ))
            })
    }
}

fn perform(
    iam: &Iam,
    received: &Received,
    meta: &RequestMeta,
    entry: &mut Entry,
) -> Result<Element, Fault> {
    let (caller, signed_for) = received.authenticate(iam, entry)?;
    let operation = received.operation()?;
    let service = operation.service;
    let action = format!("{}:{}", service.name(), operation.name);
    entry.action.clone_from(&action);
    if signed_for != service.name() {
        return Err(Fault::signature_mismatch(format!(
            "Credential should be scoped to correct service: '{}'.",
            service.name()
        )));
    }
    // The session of a user or root user may call IAM only with multi-factor authentication, which
    // icebox does not have.
    if service == Service::Iam
        && caller.is_session()
        && !matches!(caller.identity, Identity::Role { .. })
    {
        return Err(Fault::invalid_token());
    }
    let call = Call {
        iam,
        caller: &caller,
        params: &received.params,
        context: meta.context(),
    };
    if let Some(resource) = (operation.resource)(&call) {
        let decision = iam.authorize(&caller, &action, &resource, call.context.clone());
        entry.set_decision(&action, &resource, &decision);
        if !decision.is_allowed() {
            return Err(
                Fault::access_denied(decision.refusal(&caller, &action, &resource))
                    .with_detail(decision.to_string()),
            );
        }
    } else {
        let role = received.params.get("RoleArn").map(str::to_owned);
        entry.resource = role.unwrap_or_else(|| caller.arn());
    }
    operation.check_params(&received.params)?;
    let result = (operation.run)(&call)?;
    if !entry.allowed {
        entry.allowed = true;
        entry.reason = match operation.name {
            "AssumeRole" => "the trust policy allows it".to_owned(),
            _ => "needs no permission".to_owned(),
        };
    }
    let mut answer = Element::new(format!("{}Response", operation.name));
    if let Some(result) = result {
        answer = answer.child(Element {
            name: format!("{}Result", operation.name),
            ..result
        });
    }
    Ok(answer)
}

fn answer_xml(service: Service, answer: Element, id: &str) -> String {
    let metadata = Element::new("ResponseMetadata").with("RequestId", id);
    let mut answer = answer.child(metadata);
    answer.namespace = Some(service.namespace());
    answer.render()
}

fn fault_xml(service: Service, fault: &Fault, id: &str) -> String {
    let whose = if fault.status < 500 {
        "Sender"
    } else {
        "Receiver"
    };
    let error = Element::new("Error")
        .with("Type", whose)
        .with("Code", fault.code.as_ref())
        .with("Message", &fault.message);
    let mut document = Element::new("ErrorResponse")
        .child(error)
        .with("RequestId", id);
    document.namespace = Some(service.namespace());
    document.render()
}
