//! The permissions that requests need
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>).

use std::collections::HashMap;
use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopySource, PostObjectInput};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use super::auth;
use super::error;
use super::owners::Owners;
use super::trail::RequestAudit;
use icebox_aws::{Caller, Decision, Iam, RequestMeta, bucket_arn, object_arn};

/// Operations whose action has another name. Copies also need `s3:GetObject` on their source.
const ACTIONS: [(&str, &str); 15] = [
    ("ListBuckets", "s3:ListAllMyBuckets"),
    ("HeadBucket", "s3:ListBucket"),
    ("ListObjects", "s3:ListBucket"),
    ("ListObjectsV2", "s3:ListBucket"),
    ("ListObjectVersions", "s3:ListBucketVersions"),
    ("ListMultipartUploads", "s3:ListBucketMultipartUploads"),
    ("HeadObject", "s3:GetObject"),
    ("CopyObject", "s3:PutObject"),
    ("PostObject", "s3:PutObject"),
    ("CreateMultipartUpload", "s3:PutObject"),
    ("UploadPart", "s3:PutObject"),
    ("UploadPartCopy", "s3:PutObject"),
    ("CompleteMultipartUpload", "s3:PutObject"),
    ("ListParts", "s3:ListMultipartUploadParts"),
    ("DeleteObjects", "s3:DeleteObject"),
];

/// Operations whose keys are in the body. They are authorised after the body has been read.
const AUTHORISED_LATER: [&str; 2] = ["DeleteObjects", "PostObject"];

fn action_of(operation: &str, with_version: bool) -> String {
    let known = ACTIONS.iter().find(|(name, _)| *name == operation);
    let action = known.map_or_else(|| format!("s3:{operation}"), |(_, a)| (*a).to_owned());
    match action.as_str() {
        "s3:GetObject" | "s3:DeleteObject" if with_version => action + "Version",
        _ => action,
    }
}

/// A caller with the request's condition keys: an extension of every request that was admitted.
#[derive(Clone)]
pub(super) struct Permit {
    iam: Iam,
    owners: Arc<Owners>,
    pub caller: Caller,
    context: Arc<HashMap<String, Vec<String>>>,
    trail: Option<RequestAudit>,
}

impl Permit {
    /// Checks that the caller may perform an action, and records the decision.
    ///
    /// # Errors
    /// `AccessDenied`, with the reason as AWS gives it.
    pub fn require(&self, action: &str, bucket: Option<&str>, key: Option<&str>) -> S3Result<()> {
        let (decision, resource) = self.decide(action, bucket, key);
        if let Some(trail) = &self.trail {
            trail.add_decision(action, &resource, &decision);
        }
        if decision.is_allowed() {
            Ok(())
        } else {
            Err(self.refusal(&decision, action, &resource))
        }
    }

    fn decide(&self, action: &str, bucket: Option<&str>, key: Option<&str>) -> (Decision, String) {
        let resource = match (bucket, key) {
            (Some(bucket), Some(key)) => object_arn(bucket, key),
            (Some(bucket), None) => bucket_arn(bucket),
            (None, _) => "arn:aws:s3:::*".to_owned(),
        };
        let mut context = HashMap::clone(&self.context);
        let mut owner = None;
        if let Some(bucket) = bucket.filter(|_| action != "s3:CreateBucket") {
            let account = self.owners.owner_of(bucket);
            for name in ["aws:resourceaccount", "s3:resourceaccount"] {
                context.insert(name.to_owned(), vec![account.to_string()]);
            }
            owner = Some(account);
        }
        let decision = self.iam.authorize(&self.caller, action, &resource, context);
        let foreign = owner.is_some_and(|owner| owner != self.caller.account);
        if decision.is_allowed() && foreign {
            (Decision::other_account(), resource)
        } else {
            (decision, resource)
        }
    }

    fn refusal(&self, decision: &Decision, action: &str, resource: &str) -> S3Error {
        let resource = format!("\"{resource}\"");
        error::s3(
            S3ErrorCode::AccessDenied,
            decision.refusal(&self.caller, action, &resource),
        )
    }

    /// Replaces the error of an object that does not exist by `AccessDenied`, unless the caller may
    /// list the bucket
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>, Permissions).
    pub fn hide_missing(&self, bucket: &str, error: S3Error) -> S3Error {
        if *error.code() != S3ErrorCode::NoSuchKey {
            return error;
        }
        let (decision, resource) = self.decide("s3:ListBucket", Some(bucket), None);
        if decision.is_allowed() {
            error
        } else {
            self.refusal(&decision, "s3:ListBucket", &resource)
        }
    }
}

/// Returns the permit of a request.
///
/// # Errors
/// `AccessDenied`: the request was not admitted.
pub(super) fn permit<T>(request: &S3Request<T>) -> S3Result<Permit> {
    let permit = request.extensions.get::<Permit>().cloned();
    permit.ok_or_else(|| error::s3(S3ErrorCode::AccessDenied, "Access Denied"))
}

/// Admits authenticated callers, and checks what their policies allow.
pub(super) struct Access {
    pub iam: Iam,
    pub owners: Arc<Owners>,
}

impl Access {
    fn admit(&self, cx: &mut S3AccessContext<'_>, caller: Caller) -> Permit {
        let trail = cx.extensions_mut().get::<RequestAudit>().cloned();
        if let Some(trail) = &trail {
            trail.set_caller(&caller);
        }
        let headers = cx.headers().clone();
        let mut context = RequestMeta::new(&headers, cx.extensions_mut()).context();
        context.extend(request_keys(cx));
        let permit = Permit {
            iam: self.iam.clone(),
            owners: self.owners.clone(),
            caller,
            context: Arc::new(context),
            trail,
        };
        cx.extensions_mut().insert(permit.clone());
        permit
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = cx.s3_op().name().to_owned();
        let with_version = query(cx).any(|(name, _)| name == "versionId");
        let action = action_of(&operation, with_version);
        let key = cx.credentials().map(|c| c.access_key.clone());
        if let Some(trail) = cx.extensions_mut().get::<RequestAudit>() {
            trail.set_action(&action, key.as_deref());
        }
        let caller = auth::caller(&self.iam, cx)?;
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket.clone()), None),
            S3Path::Object { bucket, key } => (Some(bucket.clone()), Some(key.clone())),
        };
        let permit = self.admit(cx, caller);
        if AUTHORISED_LATER.contains(&operation.as_str()) {
            return Ok(());
        }
        permit.require(&action, bucket.as_deref(), key.as_deref())?;
        let source = cx.headers().get("x-amz-copy-source");
        match source.and_then(|v| v.to_str().ok()).map(CopySource::parse) {
            Some(Ok(CopySource::Bucket {
                bucket,
                key,
                version_id,
            })) => {
                let action = action_of("GetObject", version_id.is_some());
                permit.require(&action, Some(&bucket), Some(&key))
            }
            // There is no source, or the operation itself reports what is wrong with it.
            _ => Ok(()),
        }
    }

    async fn post_object(&self, request: &mut S3Request<PostObjectInput>) -> S3Result<()> {
        let input = &request.input;
        permit(request)?.require("s3:PutObject", Some(&input.bucket), Some(&input.key))
    }
}

fn query<'a>(cx: &'a S3AccessContext<'_>) -> impl Iterator<Item = (String, String)> + 'a {
    let text = cx.uri().query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned()))
}

/// Returns S3's own condition keys
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html>).
fn request_keys(cx: &S3AccessContext<'_>) -> HashMap<String, Vec<String>> {
    const FROM_QUERY: [(&str, &str); 4] = [
        ("prefix", "s3:prefix"),
        ("delimiter", "s3:delimiter"),
        ("max-keys", "s3:max-keys"),
        ("versionId", "s3:versionid"),
    ];
    let mut keys = HashMap::new();
    let mut kind = "REST-HEADER";
    let mut version = "AWS4-HMAC-SHA256";
    for (name, value) in query(cx) {
        match name.as_str() {
            "X-Amz-Signature" => kind = "REST-QUERY-STRING",
            "Signature" => (kind, version) = ("REST-QUERY-STRING", "AWS"),
            _ => {}
        }
        if let Some((_, key)) = FROM_QUERY.iter().find(|(n, _)| *n == name) {
            keys.insert((*key).to_owned(), vec![value]);
        }
    }
    if cx.s3_op().name() == "PostObject" {
        kind = "POST";
    }
    keys.insert("s3:authtype".to_owned(), vec![kind.to_owned()]);
    keys.insert("s3:signatureversion".to_owned(), vec![version.to_owned()]);
    for (name, value) in cx.headers() {
        let name = name.as_str();
        if name.starts_with("x-amz-")
            && name != "x-amz-security-token"
            && let Ok(value) = value.to_str()
        {
            keys.insert(format!("s3:{name}"), vec![value.to_owned()]);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions() {
        for (operation, with_version, expected) in [
            ("GetObject", false, "s3:GetObject"),
            ("HeadObject", true, "s3:GetObjectVersion"),
            ("DeleteObject", true, "s3:DeleteObjectVersion"),
            ("UploadPart", false, "s3:PutObject"),
            ("GetBucketLocation", false, "s3:GetBucketLocation"),
            ("AbortMultipartUpload", false, "s3:AbortMultipartUpload"),
        ] {
            assert_eq!(action_of(operation, with_version), expected);
        }
    }
}
