//! Signature Version 4: signs requests, and checks requests to IAM and STS, which have the
//! signature in the `Authorization` header
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use std::time::SystemTime;

use aws_credential_types::Credentials as SigningCredentials;
use aws_sigv4::http_request::{SignableRequest, SigningInstructions, SigningSettings, sign};
use aws_sigv4::sign::v4::{SigningParams, calculate_signature, generate_signing_key};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use http::HeaderMap;
use http::request::Parts;
use sha2::{Digest, Sha256};

use super::credentials::Credentials;
use super::secret::constant_time_eq;
use super::{Fault, Secret};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
pub(super) const TIME: &str = "%Y%m%dT%H%M%SZ";
/// The largest accepted difference between a client's clock and the server's.
pub(super) const SKEW: TimeDelta = TimeDelta::minutes(15);

/// The parts of an `Authorization` header.
pub(super) struct Authorization<'a> {
    pub access_key_id: &'a str,
    /// The date of the credential scope, like `20260131`.
    pub date: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    pub signed_headers: &'a str,
    pub signature: &'a str,
}

/// The credentials, scope and time that a request is signed with.
pub(super) struct Signing<'a> {
    pub credentials: &'a Credentials,
    pub region: &'a str,
    pub service: &'a str,
    pub time: SystemTime,
}

impl Signing<'_> {
    /// Signs a request. Returns the instructions that add the signature to it, and the signature
    /// itself.
    ///
    /// # Errors
    /// The request cannot be signed.
    pub fn sign(
        &self,
        request: SignableRequest<'_>,
        settings: SigningSettings,
    ) -> Result<(SigningInstructions, String), Box<dyn std::error::Error + Send + Sync>> {
        let own = self.credentials;
        let token = own.session_token.as_ref().map(|t| t.expose().to_owned());
        let (id, secret) = (&own.access_key_id, own.secret_access_key.expose());
        let identity = SigningCredentials::new(id, secret, token, None, "icebox").into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(self.time)
            .settings(settings)
            .build()?
            .into();
        Ok(sign(request, &params)?.into_parts())
    }
}

impl<'a> Authorization<'a> {
    /// Parses the `Authorization` header.
    ///
    /// # Errors
    /// `MissingAuthenticationToken`, `IncompleteSignature`.
    pub fn read(headers: &'a HeaderMap) -> Result<Self, Fault> {
        let Some(value) = headers.get("authorization") else {
            return Err(Fault::missing_token(
                "Request is missing Authentication Token",
            ));
        };
        let incomplete = |what: &str| Fault::incomplete_signature(what);
        let text = value
            .to_str()
            .map_err(|_| incomplete("Authorization header is not ASCII."))?;
        let fields = text.strip_prefix(ALGORITHM).ok_or_else(|| {
            incomplete("Unsupported authorization algorithm: use AWS4-HMAC-SHA256.")
        })?;
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='))
                .ok_or_else(|| {
                    incomplete(&format!(
                        "Authorization header requires '{name}' parameter."
                    ))
                })
        };
        let unsigned = Self::from_credential(field("Credential")?)?;
        Ok(Self {
            signed_headers: field("SignedHeaders")?,
            signature: field("Signature")?,
            ..unsigned
        })
    }

    /// Parses the value of `Credential`. The signed headers and the signature are left empty.
    ///
    /// # Errors
    /// `IncompleteSignature`.
    pub fn from_credential(credential: &'a str) -> Result<Self, Fault> {
        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = scope[..] else {
            return Err(Fault::incomplete_signature(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.",
            ));
        };
        Ok(Self {
            access_key_id,
            date,
            region,
            service,
            signed_headers: "",
            signature: "",
        })
    }

    /// Checks the request's date, and its signature against the secret of the access key.
    ///
    /// # Errors
    /// `IncompleteSignature`, `SignatureDoesNotMatch`.
    pub fn check(
        &self,
        parts: &Parts,
        body: &[u8],
        secret: &Secret,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let date = header(&parts.headers, "x-amz-date").ok_or_else(|| {
            Fault::incomplete_signature(
                "Authorization header requires existence of 'X-Amz-Date' header.",
            )
        })?;
        let time = NaiveDateTime::parse_from_str(&date, TIME).map_err(|_| {
            Fault::incomplete_signature(format!(
                "Date must be in ISO-8601 'basic format'. Got '{date}'."
            ))
        })?;
        let time = time.and_utc();
        self.check_time(time, now)?;
        for name in ["host", "x-amz-date", "x-amz-security-token"] {
            if parts.headers.contains_key(name) && !self.signs(name) {
                return Err(Fault::signature_mismatch(format!(
                    "'{name}' must be a 'SignedHeader' in the AWS Authorization."
                )));
            }
        }
        let request = self.canonical_request(parts, body)?;
        let to_sign = format!(
            "{ALGORITHM}\n{date}\n{}/{}/{}/aws4_request\n{}",
            self.date,
            self.region,
            self.service,
            sha256(request.as_bytes())
        );
        let key = generate_signing_key(
            secret.expose(),
            SystemTime::from(time),
            self.region,
            self.service,
        );
        if constant_time_eq(
            &calculate_signature(key, to_sign.as_bytes()),
            self.signature,
        ) {
            Ok(())
        } else {
            Err(Fault::signature_mismatch(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            ))
        }
    }

    fn check_time(&self, time: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Fault> {
        let show = |time: DateTime<Utc>| time.format(TIME);
        let day = time.format("%Y%m%d").to_string();
        if self.date != day {
            return Err(Fault::signature_mismatch(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != \
                 '{day}', from '{}'.",
                self.date,
                show(time)
            )));
        }
        if time < now - SKEW {
            return Err(Fault::signature_mismatch(format!(
                "Signature expired: {} is now earlier than {} ({} - 15 min.)",
                show(time),
                show(now - SKEW),
                show(now)
            )));
        }
        if time > now + SKEW {
            return Err(Fault::signature_mismatch(format!(
                "Signature not yet current: {} is still later than {} ({} + 15 min.)",
                show(time),
                show(now + SKEW),
                show(now)
            )));
        }
        Ok(())
    }

    fn signs(&self, name: &str) -> bool {
        self.signed_headers.split(';').any(|s| s == name)
    }

    /// Returns the canonical request of a POST to `/` without a query. No other requests are
    /// checked here.
    fn canonical_request(&self, parts: &Parts, body: &[u8]) -> Result<String, Fault> {
        let mut headers = String::new();
        for name in self.signed_headers.split(';') {
            let value = header(&parts.headers, name).ok_or_else(|| {
                Fault::signature_mismatch(format!(
                    "The signed header '{name}' is not in the request."
                ))
            })?;
            headers.push_str(&format!("{name}:{value}\n"));
        }
        Ok(format!(
            "{}\n/\n\n{headers}\n{}\n{}",
            parts.method,
            self.signed_headers,
            sha256(body)
        ))
    }
}

/// Returns a header's values joined by commas, with blanks trimmed and runs of blanks collapsed.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let clean = |value: &http::HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    };
    Some(values.map(clean).collect::<Vec<_>>().join(","))
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
