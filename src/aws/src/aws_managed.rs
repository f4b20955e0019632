//! Some of the policies that AWS itself manages
//! (<https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html>), limited to
//! the services that the sandbox has.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::policy::Policy;
use super::state::{ManagedPolicy, PolicyVersion};

/// The documents, by ARN.
static DOCUMENTS: LazyLock<BTreeMap<String, Policy>> = LazyLock::new(|| {
    [
        ("AdministratorAccess", r#"["*"]"#),
        ("AmazonS3FullAccess", r#"["s3:*"]"#),
        ("AmazonS3ReadOnlyAccess", r#"["s3:Get*", "s3:List*", "s3:Describe*"]"#),
        ("IAMFullAccess", r#"["iam:*"]"#),
        ("IAMReadOnlyAccess", r#"["iam:Get*", "iam:List*"]"#),
    ]
    .into_iter()
    .filter_map(|(name, actions)| {
        let text = format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": {actions}, "Resource": "*"}}]}}"#
        );
        Some((format!("arn:aws:iam::aws:policy/{name}"), text.parse().ok()?))
    })
    .collect()
});

/// Returns the ARNs of the policies that AWS manages.
pub(super) fn arns() -> impl Iterator<Item = &'static str> {
    DOCUMENTS.keys().map(String::as_str)
}

/// Returns the document of a policy that AWS manages.
pub(super) fn document(arn: &str) -> Option<&'static Policy> {
    DOCUMENTS.get(arn)
}

/// Returns a policy that AWS manages, which has a single version from 1970.
pub(super) fn policy(arn: &str) -> Option<ManagedPolicy> {
    let (arn, document) = DOCUMENTS.get_key_value(arn)?;
    let epoch = chrono::DateTime::UNIX_EPOCH;
    let name = arn.rsplit('/').next().unwrap_or_default();
    Some(ManagedPolicy {
        name: name.to_owned(),
        path: "/".to_owned(),
        id: format!(
            "ANPA{:A<17}",
            name.to_ascii_uppercase()
                .chars()
                .take(17)
                .collect::<String>()
        ),
        description: None,
        created: epoch,
        updated: epoch,
        versions: vec![PolicyVersion {
            number: 1,
            created: epoch,
            document: document.clone(),
        }],
        default: 1,
        latest: 1,
    })
}
