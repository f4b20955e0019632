//! Requests to S3 as another would have signed them (Signature Version 4): checked by the secret that the client should have, then signed
//! anew for a service that does not know the client.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as SigningCredentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};

use super::Secret;
use super::client::Credentials;
use super::secret::same;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// How far a client's clock may be off.
const SKEW: TimeDelta = TimeDelta::minutes(15);
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// A body in chunks that are signed one by one, each by the signature before.
const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

/// Why a request is refused: status, S3's code, and what to tell.
#[derive(Debug)]
pub(super) struct Refused(pub StatusCode, pub &'static str, pub String);

impl Refused {
    fn forbidden(code: &'static str, message: &str) -> Self {
        Self(StatusCode::FORBIDDEN, code, message.to_owned())
    }

    fn malformed() -> Self {
        let text = "The authorization of the request is not one of Signature Version 4.";
        Self(
            StatusCode::BAD_REQUEST,
            "AuthorizationHeaderMalformed",
            text.to_owned(),
        )
    }
}

/// Who has signed a request, and how.
struct Signature {
    region: String,
    time: DateTime<Utc>,
    /// Of a presigned URL.
    expires: Option<Duration>,
    signed_headers: Vec<String>,
    signature: String,
}

/// Signs a request that the client has signed with `secret` as `instead` would have.
///
/// # Errors
/// SignatureDoesNotMatch and S3's other codes for what is wrong with the signature; NotImplemented for a body in signed chunks.
pub(super) fn resign(
    parts: &mut Parts,
    key: &str,
    secret: &Secret,
    instead: &Credentials,
) -> Result<(), Refused> {
    let given = Signature::read(parts)?;
    given.check(parts, key, secret, Utc::now())?;
    if payload(parts).starts_with(SIGNED_CHUNKS) {
        let text = "A body in signed chunks cannot be signed anew for the S3 server of this sandbox: take a session with this key \
                    (aws sts get-session-token), and use its credentials.";
        return Err(Refused(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            text.to_owned(),
        ));
    }
    for name in ["authorization", "x-amz-date", "x-amz-security-token"] {
        parts.headers.remove(name);
    }
    if given.expires.is_some() {
        without_signature(parts)?;
        let unsigned = HeaderValue::from_static(UNSIGNED);
        parts.headers.entry(CONTENT_SHA256).or_insert(unsigned);
    }
    let is_signed = |name: &HeaderName| name == "host" || name.as_str().starts_with("x-amz-");
    let names: Vec<HeaderName> = parts
        .headers
        .keys()
        .filter(|name| is_signed(name))
        .cloned()
        .collect();
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    let token = instead.session_token.as_ref().map(Secret::expose);
    let (key, secret) = (&instead.access_key_id, &instead.secret_access_key);
    let now = SystemTime::now();
    let (headers, _) = signed(parts, &names, key, secret, token, &given.region, now, None)?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|_| Refused::malformed())?;
        let value = HeaderValue::try_from(value).map_err(|_| Refused::malformed())?;
        parts.headers.insert(name, value);
    }
    Ok(())
}

impl Signature {
    fn read(parts: &Parts) -> Result<Self, Refused> {
        let in_header = text(parts, "authorization");
        match in_header.and_then(|text| text.strip_prefix(ALGORITHM)) {
            Some(fields) => {
                let field = |name: &str| {
                    let mut fields = fields.split(',');
                    fields.find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
                };
                let date = text(parts, "x-amz-date").map(str::to_owned);
                let owned = |name: &str| field(name).map(str::to_owned);
                let given = (
                    owned("Credential"),
                    owned("SignedHeaders"),
                    owned("Signature"),
                );
                Self::of(given, date, None)
            }
            None => {
                let query = parts.uri.query().unwrap_or_default();
                let parameter = |name: &str| {
                    let mut pairs = form_urlencoded::parse(query.as_bytes());
                    pairs
                        .find(|(key, _)| key == name)
                        .map(|(_, value)| value.into_owned())
                };
                let given = (
                    parameter("X-Amz-Credential"),
                    parameter("X-Amz-SignedHeaders"),
                    parameter("X-Amz-Signature"),
                );
                let seconds = parameter("X-Amz-Expires").and_then(|text| text.parse().ok());
                let expires = seconds.ok_or_else(Refused::malformed)?;
                Self::of(
                    given,
                    parameter("X-Amz-Date"),
                    Some(Duration::from_secs(expires)),
                )
            }
        }
    }

    fn of(
        given: (Option<String>, Option<String>, Option<String>),
        date: Option<String>,
        expires: Option<Duration>,
    ) -> Result<Self, Refused> {
        let (Some(credential), Some(signed_headers), Some(signature)) = given else {
            return Err(Refused::malformed());
        };
        let scope: Vec<&str> = credential.split('/').collect();
        let [_, _, region, "s3", "aws4_request"] = scope[..] else {
            return Err(Refused::malformed());
        };
        let time = date.and_then(|date| NaiveDateTime::parse_from_str(&date, TIME).ok());
        Ok(Self {
            region: region.to_owned(),
            time: time.ok_or_else(Refused::malformed)?.and_utc(),
            expires,
            signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
            signature,
        })
    }

    fn check(
        &self,
        parts: &Parts,
        key: &str,
        secret: &Secret,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        let lasts = self
            .expires
            .and_then(|expires| TimeDelta::from_std(expires).ok());
        if self.time > now + SKEW || self.time < now - lasts.unwrap_or(SKEW) {
            return Err(match lasts {
                Some(_) => Refused::forbidden("AccessDenied", "Request has expired"),
                None => Refused::forbidden(
                    "RequestTimeTooSkewed",
                    "The difference between the request time and the current time is too large.",
                ),
            });
        }
        let is_signed = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        let mut must_be = parts.headers.keys().map(HeaderName::as_str);
        if let Some(name) =
            must_be.find(|name| (*name == "host" || name.starts_with("x-amz-")) && !is_signed(name))
        {
            let text =
                format!("There were headers present in the request which were not signed: {name}");
            return Err(Refused::forbidden("AccessDenied", &text));
        }
        let names: Vec<&str> = self.signed_headers.iter().map(String::as_str).collect();
        let query = parts.uri.query().unwrap_or_default();
        let in_query = form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == "X-Amz-Security-Token")
            .map(|(_, value)| value.into_owned());
        let token = in_query
            .as_deref()
            .or_else(|| text(parts, "x-amz-security-token"));
        let mut unsigned = parts.clone();
        for name in ["authorization", "x-amz-date", "x-amz-security-token"] {
            unsigned.headers.remove(name);
        }
        if self.expires.is_some() {
            without_signature(&mut unsigned)?;
        }
        let time = SystemTime::from(self.time);
        let (_, signature) = signed(
            &unsigned,
            &names,
            key,
            secret,
            token,
            &self.region,
            time,
            self.expires,
        )?;
        match same(&signature, &self.signature) {
            true => Ok(()),
            false => Err(Refused::forbidden(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            )),
        }
    }
}

/// The headers that sign these headers of a request that has no signature, and the signature itself; of a presigned URL that alone counts.
#[expect(clippy::too_many_arguments, reason = "what a signature is made of")]
fn signed(
    parts: &Parts,
    names: &[&str],
    key: &str,
    secret: &Secret,
    token: Option<&str>,
    region: &str,
    time: SystemTime,
    expires: Option<Duration>,
) -> Result<(Vec<(String, String)>, String), Refused> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.excluded_headers = None;
    if let Some(expires) = expires {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(expires);
    }
    let token = token.map(str::to_owned);
    let identity = SigningCredentials::new(key, secret.expose(), token, None, "icebox").into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(time)
        .settings(settings)
        .build()
        .map_err(|_| Refused::malformed())?
        .into();
    let host = text(parts, "host").unwrap_or_default();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("http://{host}{path}");
    let headers: Vec<(&str, String)> = names
        .iter()
        .filter_map(|name| Some((*name, values(parts, name)?)))
        .collect();
    let payload = match expires {
        Some(_) if !parts.headers.contains_key(CONTENT_SHA256) => UNSIGNED.to_owned(),
        _ => payload(parts),
    };
    let request = SignableRequest::new(
        parts.method.as_str(),
        url,
        headers.iter().map(|(name, value)| (*name, value.as_str())),
        SignableBody::Precomputed(payload),
    );
    let request = request.map_err(|_| Refused::malformed())?;
    let output = sign(request, &params).map_err(|_| Refused::malformed())?;
    let (instructions, signature) = output.into_parts();
    let headers = instructions.headers();
    let owned = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok((owned.collect(), signature))
}

/// Takes a presigned URL's signature out of it.
fn without_signature(parts: &mut Parts) -> Result<(), Refused> {
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let others = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let of_signature = [
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-Security-Token",
            "X-Amz-Signature",
            "X-Amz-SignedHeaders",
        ];
        !of_signature.contains(&name)
    });
    let others: Vec<&str> = others.collect();
    let uri = match others.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", others.join("&")),
    };
    parts.uri = uri.parse().map_err(|_| Refused::malformed())?;
    Ok(())
}

/// What stands for the body in the signature.
fn payload(parts: &Parts) -> String {
    text(parts, CONTENT_SHA256).unwrap_or(UNSIGNED).to_owned()
}

fn text<'p>(parts: &'p Parts, name: &str) -> Option<&'p str> {
    parts.headers.get(name)?.to_str().ok()
}

fn values(parts: &Parts, name: &str) -> Option<String> {
    let all = parts.headers.get_all(name).iter();
    let texts: Option<Vec<&str>> = all.map(|value| value.to_str().ok()).collect();
    texts
        .filter(|texts| !texts.is_empty())
        .map(|texts| texts.join(","))
}
