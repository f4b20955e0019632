//! The error answers of IAM and STS: a code, a status and a message
//! (<https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>, and each action's
//! page).

use std::borrow::Cow;

/// An error answer of IAM or STS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct Fault {
    pub code: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    pub message: String,
    /// The reason for the audit trail, which AWS does not send to the client.
    pub detail: Option<String>,
}

macro_rules! faults {
    ($($name:ident $code:literal $status:literal,)*) => {
        /// Constructors, one for each error code.
        impl Fault {
            $(pub(super) fn $name(message: impl Into<String>) -> Self {
                Self { code: Cow::Borrowed($code), status: $status, message: message.into(), detail: None }
            })*
        }
    };
}

faults! {
    access_denied "AccessDenied" 403,
    delete_conflict "DeleteConflict" 409,
    entity_already_exists "EntityAlreadyExists" 409,
    expired_token "ExpiredToken" 403,
    incomplete_signature "IncompleteSignature" 400,
    invalid_action "InvalidAction" 400,
    invalid_client_token_id "InvalidClientTokenId" 403,
    limit_exceeded "LimitExceeded" 409,
    malformed_policy "MalformedPolicyDocument" 400,
    malformed_query "MalformedQueryString" 400,
    missing_action "MissingAction" 400,
    missing_token "MissingAuthenticationToken" 403,
    no_such_entity "NoSuchEntity" 404,
    not_supported "NotSupported" 400,
    packed_policy_too_large "PackedPolicyTooLarge" 400,
    request_too_large "RequestEntityTooLarge" 413,
    service_failure "ServiceFailure" 500,
    signature_mismatch "SignatureDoesNotMatch" 403,
    validation "ValidationError" 400,
}

impl Fault {
    /// Returns the `ValidationError` for a value that violates its constraint, in AWS's wording.
    pub(super) fn constraint(value: Option<&str>, member: &str, constraint: &str) -> Self {
        let value = value.map_or_else(|| "null".to_owned(), |v| format!("'{v}'"));
        Self::validation(format!(
            "1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: {constraint}"
        ))
    }

    pub(super) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Returns the error for an access key or session token that cannot be used.
    pub(super) fn invalid_token() -> Self {
        Self::invalid_client_token_id("The security token included in the request is invalid.")
    }
}

impl From<super::policy::Malformed> for Fault {
    fn from(error: super::policy::Malformed) -> Self {
        Self::malformed_policy(error.to_string())
    }
}
