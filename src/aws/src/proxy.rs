//! The MinIO proxy: answers requests to IAM and STS, forwards all other requests to MinIO, and
//! records both in the audit trail. MinIO decides what a request to S3 may do, by the session that
//! IAM created there. If the client did not sign with that session, the request is
//! [re-signed](re_sign); otherwise it is forwarded as it is.

mod re_sign;

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, InvalidUri, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::audit::{self, Audit, Entry};
use crate::credentials::Credentials;
use crate::{Endpoint, Fault, Iam, RequestMeta, Secret, bucket_arn, object_arn};
use icebox_base::chain;
use icebox_base::connections::{self, Listeners};
use re_sign::{Refusal, re_sign};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type AnswerBody = BoxBody<Bytes, BoxError>;

/// The largest error answer that is read for its code, in bytes.
const MAX_ERROR: usize = 1 << 16;

/// The headers that apply to one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 5] = [
    http::header::CONNECTION,
    http::header::TE,
    http::header::TRAILER,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
];

/// The action of a request, by what it targets, its method and a query parameter. An empty
/// parameter stands for any query. The first matching row counts.
const ACTIONS: [(Target, Method, &str, &str); 18] = [
    (Target::Service, Method::GET, "", "s3:ListAllMyBuckets"),
    (
        Target::Bucket,
        Method::GET,
        "location",
        "s3:GetBucketLocation",
    ),
    (
        Target::Bucket,
        Method::GET,
        "uploads",
        "s3:ListBucketMultipartUploads",
    ),
    (
        Target::Bucket,
        Method::GET,
        "versions",
        "s3:ListBucketVersions",
    ),
    (
        Target::Bucket,
        Method::GET,
        "versioning",
        "s3:GetBucketVersioning",
    ),
    (Target::Bucket, Method::GET, "policy", "s3:GetBucketPolicy"),
    (Target::Bucket, Method::GET, "", "s3:ListBucket"),
    (Target::Bucket, Method::HEAD, "", "s3:ListBucket"),
    (Target::Bucket, Method::PUT, "policy", "s3:PutBucketPolicy"),
    (Target::Bucket, Method::PUT, "", "s3:CreateBucket"),
    (Target::Bucket, Method::DELETE, "", "s3:DeleteBucket"),
    (Target::Bucket, Method::POST, "delete", "s3:DeleteObject"),
    (
        Target::Object,
        Method::GET,
        "uploadId",
        "s3:ListMultipartUploadParts",
    ),
    (Target::Object, Method::GET, "", "s3:GetObject"),
    (Target::Object, Method::HEAD, "", "s3:GetObject"),
    (
        Target::Object,
        Method::DELETE,
        "uploadId",
        "s3:AbortMultipartUpload",
    ),
    (Target::Object, Method::DELETE, "", "s3:DeleteObject"),
    (Target::Object, Method::PUT, "", "s3:PutObject"),
];

/// The error codes of refusals whose status is neither 401 nor 403.
const BAD_CREDENTIALS: [&str; 4] = [
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "ExpiredToken",
    "InvalidToken",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Service,
    Bucket,
    Object,
}

/// The MinIO proxy. Clones share the same state.
#[derive(Clone)]
pub struct MinioProxy {
    iam: Iam,
    endpoint: Endpoint,
    audit: Option<Audit>,
    minio: Authority,
    /// A client that sends a request's path byte for byte, because it is part of the signature. A
    /// client that goes by parsed URLs, such as reqwest's, resolves `..` in keys.
    client: Client<HttpConnector, Incoming>,
}

impl MinioProxy {
    /// Creates a proxy of the MinIO server at this URL, for which `iam` must have been
    /// [opened](Iam::with_minio).
    ///
    /// # Errors
    /// The URL is not valid.
    pub fn new(iam: Iam, audit: Option<Audit>, minio: &str) -> Result<Self, InvalidUri> {
        let host = minio.trim_start_matches("http://");
        let minio = host.trim_end_matches('/').parse()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self {
            endpoint: Endpoint::new(iam.clone(), audit.clone()),
            iam,
            audit,
            minio,
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Answers requests until `shutdown` completes, then gives requests under way up to five
    /// seconds.
    pub async fn serve(self, listeners: Listeners, shutdown: impl Future<Output = ()>) {
        let answer = service_fn(move |request| {
            let proxy = self.clone();
            async move { Ok::<_, Infallible>(proxy.answer(request).await) }
        });
        connections::serve(listeners, answer, shutdown, || {}).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        if Endpoint::takes(&request) {
            return self.endpoint.answer(request).await.map(full);
        }
        let requested = RequestedAction::from_request(&request);
        let meta = RequestMeta::new(request.headers(), request.extensions());
        let mut entry = meta.entry("");
        requested.record(&mut entry);
        let response = match self.sign_for_minio(request, &requested).await {
            Ok(request) => self.forward(request, &meta, &mut entry).await,
            Err(Refusal(status, code, message)) => error(status, code, &message),
        };
        if let Some(audit) = &self.audit {
            self.record_outcome(&requested, &response, &mut entry);
            audit.append(entry);
        }
        response.map(|answer| answer.body)
    }

    /// Returns the request signed with a key that MinIO knows, whose session has the current
    /// policies: either unchanged or re-signed.
    async fn sign_for_minio(
        &self,
        request: Request<Incoming>,
        requested: &RequestedAction,
    ) -> Result<Request<Incoming>, Refusal> {
        let Some(key) = requested.access_key_id.clone() else {
            return Ok(request);
        };
        let replacement = self
            .iam
            .replacement_credentials(&key, requested.token.as_deref());
        let replacement = replacement.await.map_err(refusal)?;
        let Some((replacement, secret)) = replacement.zip(self.iam.secret_of(&key)) else {
            return Ok(request);
        };
        let client = Credentials {
            session_token: requested.token.as_deref().map(Secret::from),
            ..Credentials::new(key, secret)
        };
        let (mut parts, body) = request.into_parts();
        re_sign(&mut parts, &client, &replacement)?;
        Ok(Request::from_parts(parts, body))
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        meta: &RequestMeta,
        entry: &mut Entry,
    ) -> Response<Answer> {
        let path = request.uri().path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.minio.clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build();
        let Ok(uri) = uri else {
            return error(
                StatusCode::BAD_REQUEST,
                "InvalidURI",
                "Couldn't parse the specified URI.",
            );
        };
        *request.uri_mut() = uri;
        // The host header stays unchanged, because the client signed it.
        keep_end_to_end(request.headers_mut());
        // MinIO reads `aws:SourceIp` from this header.
        if let Some(Ok(ip)) = meta
            .source_ip
            .map(|ip| HeaderValue::try_from(ip.to_string()))
        {
            request.headers_mut().insert("x-forwarded-for", ip);
        }
        let sent = audit::body_size(request.headers());
        let is_head = request.method() == Method::HEAD;
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(cause) => {
                let text = format!("The S3 server does not answer: {}", chain(&cause));
                return error(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &text);
            }
        };
        let received = if is_head {
            0
        } else {
            audit::body_size(response.headers())
        };
        entry.bytes = sent.max(received);
        if let Some(id) = header_text(response.headers(), "x-amz-request-id") {
            entry.request_id = id.to_owned();
        }
        let (mut parts, body) = response.into_parts();
        keep_end_to_end(&mut parts.headers);
        let is_error = parts.status.is_client_error() || parts.status.is_server_error();
        if !is_error {
            let body = body.map_err(BoxError::from).boxed();
            return Response::from_parts(parts, Answer { body, code: None });
        }
        let body = match Limited::new(body, MAX_ERROR).collect().await {
            Ok(body) => body.to_bytes(),
            Err(cause) => {
                let text = format!("The S3 server's answer cannot be read: {cause}");
                return error(StatusCode::BAD_GATEWAY, "InternalError", &text);
            }
        };
        // An answer to HEAD has no body, so the code is first looked for in MinIO's header.
        let from_header = header_text(&parts.headers, "x-minio-error-code").map(str::to_owned);
        let code = from_header.or_else(|| audit::error_code(parts.status, Some(&body)));
        Response::from_parts(
            parts,
            Answer {
                body: full(body),
                code,
            },
        )
    }

    /// Records the caller and the outcome.
    fn record_outcome(
        &self,
        requested: &RequestedAction,
        response: &Response<Answer>,
        entry: &mut Entry,
    ) {
        entry.status = response.status().as_u16();
        let code = response.body().code.as_deref();
        entry.error_code = code.map(str::to_owned);
        // Other errors, such as that of a missing object, are given only to callers that have
        // access.
        let is_refusal = code.is_some_and(|code| BAD_CREDENTIALS.contains(&code));
        entry.allowed = !matches!(entry.status, 401 | 403) && !is_refusal;
        let caller = requested.access_key_id.as_deref().and_then(|key| {
            // If the signature does not match, the caller is not known.
            let is_known = !matches!(code, Some("SignatureDoesNotMatch" | "InvalidAccessKeyId"));
            let caller = self.iam.caller(key, requested.token.as_deref()).ok();
            caller.filter(|_| is_known)
        });
        if let Some(caller) = &caller {
            entry.set_caller(caller);
        }
        entry.reason = match code {
            Some("AccessDenied") => "the S3 server: no policy of the session allows it".to_owned(),
            Some(code) if !entry.allowed => format!("refused before it was authorised: {code}"),
            _ => "the S3 server allows it".to_owned(),
        };
    }
}

/// The body of an answer, and the error code if it is an error.
struct Answer {
    body: AnswerBody,
    code: Option<String>,
}

/// The action and resource of a request to S3, and the access key and token that it was signed
/// with.
struct RequestedAction {
    action: String,
    resource: String,
    access_key_id: Option<String>,
    token: Option<String>,
}

impl RequestedAction {
    fn from_request<B: Body>(request: &Request<B>) -> Self {
        let path = request.uri().path().trim_start_matches('/');
        let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let (target, resource) = match path.split_once('/') {
            None if path.is_empty() => (Target::Service, "arn:aws:s3:::*".to_owned()),
            None => (Target::Bucket, bucket_arn(&path)),
            Some((bucket, "")) => (Target::Bucket, bucket_arn(bucket)),
            Some((bucket, key)) => (Target::Object, object_arn(bucket, key)),
        };
        let query = request.uri().query().unwrap_or_default();
        let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let parameter = |name: &str| {
            let mut found = parameters.iter().filter(|(key, _)| key == name);
            found.next().map(|(_, value)| value.clone().into_owned())
        };
        let method = request.method();
        let known = ACTIONS.iter().find(|(what, how, with, _)| {
            *what == target && how == method && (with.is_empty() || parameter(with).is_some())
        });
        let action = match known {
            Some((.., action)) => (*action).to_owned(),
            // The other requests on objects are those of a multipart upload.
            None if target == Target::Object => "s3:PutObject".to_owned(),
            None => format!("s3:{method}"),
        };
        let headers = request.headers();
        let signed_by = header_text(headers, "authorization").and_then(|text| {
            let (_, credential) = text.split_once("Credential=")?;
            credential.split('/').next().map(str::to_owned)
        });
        let in_query = || Some(parameter("X-Amz-Credential")?.split('/').next()?.to_owned());
        let token = header_text(headers, "x-amz-security-token").map(str::to_owned);
        Self {
            action,
            resource,
            access_key_id: signed_by.or_else(in_query),
            token: token.or_else(|| parameter("X-Amz-Security-Token")),
        }
    }

    fn record(&self, entry: &mut Entry) {
        entry.action.clone_from(&self.action);
        entry.resource.clone_from(&self.resource);
        entry.access_key_id.clone_from(&self.access_key_id);
    }
}

/// Converts a fault of IAM, which keeps a request from being forwarded, into an error of S3.
fn refusal(fault: Fault) -> Refusal {
    match fault.code.as_ref() {
        "InvalidClientTokenId" => Refusal(
            StatusCode::BAD_REQUEST,
            "InvalidToken",
            "The provided token is malformed or otherwise invalid.".to_owned(),
        ),
        "ServiceFailure" => Refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            fault.message,
        ),
        // The policies cannot be expressed for MinIO.
        _ => Refusal(StatusCode::FORBIDDEN, "AccessDenied", fault.message),
    }
}

fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn keep_end_to_end(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

fn full(bytes: Bytes) -> AnswerBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// Returns an error of the proxy itself, in S3's format.
fn error(status: StatusCode, code: &str, message: &str) -> Response<Answer> {
    let message = quick_xml::escape::escape(message);
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut response = Response::new(Answer {
        body: full(Bytes::from(document)),
        code: Some(code.to_owned()),
    });
    *response.status_mut() = status;
    let xml = HeaderValue::from_static("application/xml");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, xml);
    response
}
