//! Amazon Resource Names.

use super::AccountId;

/// Returns `arn:aws:iam::<account>:<kind><path><name>`. The path begins and ends with a slash.
pub(super) fn iam(account: &AccountId, kind: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{kind}{path}{name}")
}

pub(super) fn root(account: &AccountId) -> String {
    format!("arn:aws:iam::{account}:root")
}

pub(super) fn assumed_role(account: &AccountId, role: &str, session: &str) -> String {
    format!("arn:aws:sts::{account}:assumed-role/{role}/{session}")
}

/// Returns the ARN of a bucket.
pub fn bucket_arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

/// Returns the ARN of an object.
pub fn object_arn(bucket: &str, key: &str) -> String {
    format!("arn:aws:s3:::{bucket}/{key}")
}

/// The parts of an IAM entity's ARN.
pub(super) struct IamArn<'a> {
    pub account: AccountId,
    /// The kind of entity, such as `user`, `role` or `policy`.
    pub kind: &'a str,
    /// The path, with a slash at both ends.
    pub path: &'a str,
    pub name: &'a str,
}

/// Parses `arn:aws:iam::<account>:<kind><path><name>`. Returns `None` for any other text.
pub(super) fn parse_iam(arn: &str) -> Option<IamArn<'_>> {
    let rest = arn.strip_prefix("arn:aws:iam::")?;
    let (account, entity) = rest.split_once(':')?;
    let slash = entity.find('/')?;
    let (kind, path_and_name) = entity.split_at(slash);
    let name_at = path_and_name.rfind('/')? + 1;
    let (path, name) = path_and_name.split_at(name_at);
    (!name.is_empty()).then_some(IamArn {
        account: account.parse().ok()?,
        kind,
        path,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_taken_apart() {
        let arn = parse_iam("arn:aws:iam::123456789012:role/a/b/name").expect("an ARN");
        assert_eq!((arn.kind, arn.path, arn.name), ("role", "/a/b/", "name"));
        assert_eq!(
            iam(&arn.account, arn.kind, arn.path, arn.name),
            "arn:aws:iam::123456789012:role/a/b/name"
        );
        for wrong in [
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::12345678901:role/x",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:s3:::b/k",
            "",
        ] {
            assert!(parse_iam(wrong).is_none(), "{wrong}");
        }
    }
}
