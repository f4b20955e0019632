//! Re-signs requests to S3 (Signature Version 4): checks a request against its client's secret,
//! then signs it again for a service that does not know the client.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode,
};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::credentials::Credentials;
use crate::secret::constant_time_eq;
use crate::signature::{Authorization, SKEW, Signing, TIME};

const SERVICE: &str = "s3";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// The payload value of a body in chunks that are signed one by one, each with the signature before
/// it.
const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

/// A refusal: the status, S3's error code and the message.
#[derive(Debug)]
pub(super) struct Refusal(pub StatusCode, pub &'static str, pub String);

impl Refusal {
    fn forbidden(code: &'static str, message: &str) -> Self {
        Self(StatusCode::FORBIDDEN, code, message.to_owned())
    }

    fn malformed() -> Self {
        let text = "The request is not signed with a valid Signature Version 4 authorization.";
        Self(
            StatusCode::BAD_REQUEST,
            "AuthorizationHeaderMalformed",
            text.to_owned(),
        )
    }
}

/// The signature of a request.
struct Signature {
    region: String,
    time: DateTime<Utc>,
    /// The lifetime of a presigned URL; `None` for a signature in the header.
    expires: Option<Duration>,
    signed_headers: Vec<String>,
    signature: String,
}

/// Checks the signature of a request that `client` signed, and signs the request again with
/// `replacement`. A refused request may be left without a signature.
///
/// # Errors
/// `SignatureDoesNotMatch` and S3's other error codes for a bad signature; `NotImplemented` for a
/// body in signed chunks.
pub(super) fn re_sign(
    parts: &mut Parts,
    client: &Credentials,
    replacement: &Credentials,
) -> Result<(), Refusal> {
    let given = Signature::remove_checked(parts)?;
    given.check(parts, client)?;
    if payload(parts).starts_with(SIGNED_CHUNKS) {
        let text = "This S3 server does not accept a body in signed chunks with a user's access key. Get session \
                    credentials with this key (aws sts get-session-token) and use those.";
        return Err(Refusal(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            text.to_owned(),
        ));
    }
    if given.expires.is_some() {
        let unsigned = HeaderValue::from_static(UNSIGNED);
        parts.headers.entry(CONTENT_SHA256).or_insert(unsigned);
    }
    let names = parts.headers.keys().map(HeaderName::as_str);
    let names = names.filter(|name| must_be_signed(name));
    let new = Signature {
        signed_headers: names.map(str::to_owned).collect(),
        expires: None,
        time: Utc::now(),
        ..given
    };
    for (name, value) in new.compute(parts, replacement)?.0 {
        let name = HeaderName::try_from(name).map_err(|_| Refusal::malformed())?;
        let value = HeaderValue::try_from(value).map_err(|_| Refusal::malformed())?;
        parts.headers.insert(name, value);
    }
    Ok(())
}

impl Signature {
    /// Removes the signature from a request and returns it, after checking its time and that all
    /// required headers are signed.
    fn remove_checked(parts: &mut Parts) -> Result<Self, Refusal> {
        let given = Self::read(parts)?;
        given.check_time(Utc::now())?;
        let is_signed = |name: &str| given.signed_headers.iter().any(|signed| signed == name);
        let mut names = parts.headers.keys().map(HeaderName::as_str);
        if let Some(name) = names.find(|name| must_be_signed(name) && !is_signed(name)) {
            let text =
                format!("There were headers present in the request which were not signed: {name}");
            return Err(Refusal::forbidden("AccessDenied", &text));
        }
        for name in ["authorization", "x-amz-date", "x-amz-security-token"] {
            parts.headers.remove(name);
        }
        if given.expires.is_some() {
            remove_from_query(parts)?;
        }
        Ok(given)
    }

    fn read(parts: &Parts) -> Result<Self, Refusal> {
        if parts.headers.contains_key("authorization") {
            let given = Authorization::read(&parts.headers);
            let given = given.map_err(|_| Refusal::malformed())?;
            return Self::from_authorization(&given, header_text(parts, "x-amz-date"), None);
        }
        let query = parts.uri.query().unwrap_or_default();
        let parameter = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            let found = pairs.find(|(key, _)| key == name);
            let value = found.map(|(_, value)| value.into_owned());
            value.ok_or_else(Refusal::malformed)
        };
        let seconds = parameter("X-Amz-Expires")?.parse();
        let expires = Duration::from_secs(seconds.map_err(|_| Refusal::malformed())?);
        let credential = parameter("X-Amz-Credential")?;
        let given = Authorization {
            signed_headers: &parameter("X-Amz-SignedHeaders")?,
            signature: &parameter("X-Amz-Signature")?,
            ..Authorization::from_credential(&credential).map_err(|_| Refusal::malformed())?
        };
        Self::from_authorization(&given, Some(&parameter("X-Amz-Date")?), Some(expires))
    }

    fn from_authorization(
        given: &Authorization<'_>,
        date: Option<&str>,
        expires: Option<Duration>,
    ) -> Result<Self, Refusal> {
        let time = date.and_then(|date| NaiveDateTime::parse_from_str(date, TIME).ok());
        let time = time.filter(|_| given.service == SERVICE);
        Ok(Self {
            region: given.region.to_owned(),
            time: time.ok_or_else(Refusal::malformed)?.and_utc(),
            expires,
            signed_headers: given.signed_headers.split(';').map(str::to_owned).collect(),
            signature: given.signature.to_owned(),
        })
    }

    fn check_time(&self, now: DateTime<Utc>) -> Result<(), Refusal> {
        let lasts = self
            .expires
            .and_then(|expires| TimeDelta::from_std(expires).ok());
        if self.time <= now + SKEW && self.time >= now - lasts.unwrap_or(SKEW) {
            return Ok(());
        }
        Err(match lasts {
            Some(_) => Refusal::forbidden("AccessDenied", "Request has expired"),
            None => Refusal::forbidden(
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
            ),
        })
    }

    /// Checks the signature with the client's secret. `parts` no longer contain the signature.
    fn check(&self, parts: &Parts, client: &Credentials) -> Result<(), Refusal> {
        if constant_time_eq(&self.compute(parts, client)?.1, &self.signature) {
            Ok(())
        } else {
            Err(Refusal::forbidden(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            ))
        }
    }

    /// Signs a request that has no signature. Returns the headers to add, and the signature itself.
    /// For a presigned URL only the signature is of use.
    fn compute(
        &self,
        parts: &Parts,
        credentials: &Credentials,
    ) -> Result<(Vec<(String, String)>, String), Refusal> {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.excluded_headers = None;
        if let Some(expires) = self.expires {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(expires);
        }
        let host = header_text(parts, "host").unwrap_or_default();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let names = self.signed_headers.iter().map(String::as_str);
        let headers: Vec<(&str, String)> = names
            .filter_map(|name| Some((name, header_values(parts, name)?)))
            .collect();
        let request = SignableRequest::new(
            parts.method.as_str(),
            format!("http://{host}{path}"),
            headers.iter().map(|(name, value)| (*name, value.as_str())),
            SignableBody::Precomputed(payload(parts).to_owned()),
        );
        let request = request.map_err(|_| Refusal::malformed())?;
        let signing = Signing {
            credentials,
            region: &self.region,
            service: SERVICE,
            time: SystemTime::from(self.time),
        };
        let signed = signing.sign(request, settings);
        let (instructions, signature) = signed.map_err(|_| Refusal::malformed())?;
        let headers = instructions.headers();
        let owned = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok((owned.collect(), signature))
    }
}

/// Returns whether a header must be signed.
fn must_be_signed(name: &str) -> bool {
    name == "host" || name.starts_with("x-amz-")
}

/// Removes the signature from a presigned URL.
fn remove_from_query(parts: &mut Parts) -> Result<(), Refusal> {
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
    let uri = if others.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", others.join("&"))
    };
    parts.uri = uri.parse().map_err(|_| Refusal::malformed())?;
    Ok(())
}

/// Returns the value that represents the body in the signature.
fn payload(parts: &Parts) -> &str {
    header_text(parts, CONTENT_SHA256).unwrap_or(UNSIGNED)
}

fn header_text<'p>(parts: &'p Parts, name: &str) -> Option<&'p str> {
    parts.headers.get(name)?.to_str().ok()
}

fn header_values(parts: &Parts, name: &str) -> Option<String> {
    let all = parts.headers.get_all(name).iter();
    let texts: Option<Vec<&str>> = all.map(|value| value.to_str().ok()).collect();
    texts
        .filter(|texts| !texts.is_empty())
        .map(|texts| texts.join(","))
}
