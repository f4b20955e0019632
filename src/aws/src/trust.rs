//! The principals of a role's trust policy.

use std::collections::BTreeMap;

use super::caller::{Caller, Identity};
use super::policy::{Malformed, Policy, PrincipalMatch};
use super::state::{Directory, Trust};
use super::{AccountId, Fault, arn};

/// The principal that a text in `Principal.AWS` names.
enum NamedPrincipal<'a> {
    Anyone,
    Account(AccountId),
    /// A user, a role, or one session of a role if the ARN has a session name.
    Entity {
        account: AccountId,
        kind: &'a str,
        path: Option<&'a str>,
        name: &'a str,
    },
}

fn parse_principal(principal: &str) -> Option<NamedPrincipal<'_>> {
    if principal == "*" {
        return Some(NamedPrincipal::Anyone);
    }
    let account = principal
        .strip_prefix("arn:aws:iam::")
        .and_then(|rest| rest.strip_suffix(":root"))
        .unwrap_or(principal);
    if let Ok(account) = account.parse() {
        return Some(NamedPrincipal::Account(account));
    }
    if let Some(session) = principal.strip_prefix("arn:aws:sts::") {
        let (account, rest) = session.split_once(":assumed-role/")?;
        let (name, session_name) = rest.split_once('/')?;
        return (!session_name.is_empty()).then_some(NamedPrincipal::Entity {
            account: account.parse().ok()?,
            kind: "role",
            path: None,
            name,
        });
    }
    let entity = arn::parse_iam(principal)?;
    Some(NamedPrincipal::Entity {
        account: entity.account,
        kind: entity.kind,
        path: Some(entity.path),
        name: entity.name,
    })
}

/// Returns the unique id of the user or role that a principal names, if it exists.
fn unique_id<'d>(directory: &'d Directory, named: &NamedPrincipal<'_>) -> Option<&'d str> {
    let NamedPrincipal::Entity {
        account,
        kind,
        path,
        name,
    } = named
    else {
        return None;
    };
    let state = directory.get(account)?;
    let (found_path, id) = match *kind {
        "user" => state.users.get(*name).map(|u| (&u.path, &u.id))?,
        "role" => state.roles.get(*name).map(|r| (&r.path, &r.id))?,
        _ => return None,
    };
    path.is_none_or(|p| p == found_path).then_some(id)
}

/// Looks up the unique ids of the users and roles that a trust policy names. A named account does
/// not have to belong to this service.
///
/// # Errors
/// `MalformedPolicyDocument`: `Invalid principal in policy`.
pub(super) fn bind(policy: Policy, directory: &Directory) -> Result<Trust, Fault> {
    let mut bound = BTreeMap::new();
    for principal in policy.principals() {
        let invalid = || Malformed::Principal(format!("\"AWS\":\"{principal}\""));
        let named = parse_principal(principal).ok_or_else(invalid)?;
        if matches!(named, NamedPrincipal::Entity { .. }) {
            let id = unique_id(directory, &named).ok_or_else(invalid)?;
            bound.insert(principal.to_owned(), id.to_owned());
        }
    }
    Ok(Trust { policy, bound })
}

/// Returns how a principal of the policy names the caller.
pub(super) fn match_principal(trust: &Trust, principal: &str, caller: &Caller) -> PrincipalMatch {
    match parse_principal(principal) {
        Some(NamedPrincipal::Anyone) => PrincipalMatch::Itself,
        Some(NamedPrincipal::Account(account)) if account == caller.account => {
            PrincipalMatch::Account
        }
        Some(NamedPrincipal::Entity { path, .. })
            if trust.bound.get(principal).map(String::as_str) == Some(caller.unique_id()) =>
        {
            let one_session = path.is_none() && matches!(caller.identity, Identity::Role { .. });
            if one_session && caller.arn() != principal {
                PrincipalMatch::No
            } else {
                PrincipalMatch::Itself
            }
        }
        _ => PrincipalMatch::No,
    }
}

/// Returns the document as AWS shows it: a principal that no longer exists is replaced by the
/// unique id that it had.
pub(super) fn render(trust: &Trust, directory: &Directory) -> String {
    let mut text = trust.policy.text().to_owned();
    for (principal, id) in &trust.bound {
        let current = parse_principal(principal).and_then(|named| unique_id(directory, &named));
        if current != Some(id) {
            text = text.replace(&format!("\"{principal}\""), &format!("\"{id}\""));
        }
    }
    text
}
