//! The actions of IAM and STS, one function each.

mod grants;
mod keys;
mod params;
mod policies;
mod roles;
mod sts;
mod users;

use std::collections::HashMap;

pub(super) use params::Params;

use super::state::{AccountState, Directory};
use super::xml::Element;
use super::{AccountId, Caller, Fault, Iam, arn};

/// A service of the query protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Iam,
    Sts,
}

impl Service {
    /// Returns the service that a request's `Version` stands for.
    pub fn from_version(version: &str) -> Option<Self> {
        match version {
            "2010-05-08" => Some(Self::Iam),
            "2011-06-15" => Some(Self::Sts),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::Sts => "sts",
        }
    }

    pub fn namespace(self) -> &'static str {
        match self {
            Self::Iam => "https://iam.amazonaws.com/doc/2010-05-08/",
            Self::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        }
    }
}

/// A request that is being answered.
pub(super) struct Call<'a> {
    pub iam: &'a Iam,
    pub caller: &'a Caller,
    pub params: &'a Params,
    /// The condition keys of the request, in lower case.
    pub context: HashMap<String, Vec<String>>,
}

/// The content of the `…Result` element, if the action has one.
type Answer = Result<Option<Element>, Fault>;

/// An action of IAM or STS.
pub(super) struct Operation {
    pub service: Service,
    pub name: &'static str,
    /// Returns the ARN on which the caller's policies must allow the action; `None` if the action
    /// needs no permission or checks it itself.
    pub resource: fn(&Call<'_>) -> Option<String>,
    pub run: fn(&Call<'_>) -> Answer,
}

/// Parameters that change what an action means and that icebox does not implement. They are
/// refused, not ignored.
const NOT_SUPPORTED: [&str; 8] = [
    "Tags.",
    "PermissionsBoundary",
    "PolicyArns.",
    "TransitiveTagKeys.",
    "ProvidedContexts.",
    "SerialNumber",
    "TokenCode",
    "PolicyScopeFilter.",
];

impl Operation {
    pub fn find(service: Service, name: &str) -> Option<&'static Self> {
        OPERATIONS
            .iter()
            .find(|o| o.service == service && o.name == name)
    }

    /// Refuses parameters that icebox does not implement.
    ///
    /// # Errors
    /// `NotSupported`.
    pub fn check_params(&self, params: &Params) -> Result<(), Fault> {
        let refused = params
            .names()
            .find(|name| NOT_SUPPORTED.iter().any(|n| name.starts_with(n)));
        match refused {
            None => Ok(()),
            Some(name) => Err(Fault::not_supported(format!(
                "icebox does not implement the parameter {name} of {}",
                self.name
            ))),
        }
    }
}

macro_rules! operations {
    ($($service:ident $name:literal $resource:path => $run:path,)*) => {
        const OPERATIONS: &[Operation] = &[
            $(Operation { service: Service::$service, name: $name, resource: $resource, run: $run },)*
        ];
    };
}

operations! {
    Iam "CreateUser" user_arn => users::create,
    Iam "GetUser" user_arn => users::get,
    Iam "ListUsers" users_arn => users::list,
    Iam "DeleteUser" user_arn => users::delete,
    Iam "CreateAccessKey" user_arn => keys::create,
    Iam "ListAccessKeys" user_arn => keys::list,
    Iam "UpdateAccessKey" user_arn => keys::update,
    Iam "DeleteAccessKey" user_arn => keys::delete,
    Iam "CreateRole" role_arn => roles::create,
    Iam "GetRole" role_arn => roles::get,
    Iam "ListRoles" roles_arn => roles::list,
    Iam "UpdateRole" role_arn => roles::update,
    Iam "UpdateAssumeRolePolicy" role_arn => roles::update_trust,
    Iam "DeleteRole" role_arn => roles::delete,
    Iam "CreatePolicy" new_policy_arn => policies::create,
    Iam "GetPolicy" policy_arn => policies::get,
    Iam "ListPolicies" policies_arn => policies::list,
    Iam "DeletePolicy" policy_arn => policies::delete,
    Iam "CreatePolicyVersion" policy_arn => policies::create_version,
    Iam "GetPolicyVersion" policy_arn => policies::get_version,
    Iam "ListPolicyVersions" policy_arn => policies::list_versions,
    Iam "SetDefaultPolicyVersion" policy_arn => policies::set_default_version,
    Iam "DeletePolicyVersion" policy_arn => policies::delete_version,
    Iam "ListEntitiesForPolicy" policy_arn => policies::list_entities,
    Iam "AttachUserPolicy" user_arn => grants::attach_user,
    Iam "DetachUserPolicy" user_arn => grants::detach_user,
    Iam "ListAttachedUserPolicies" user_arn => grants::list_attached_user,
    Iam "PutUserPolicy" user_arn => grants::put_user,
    Iam "GetUserPolicy" user_arn => grants::get_user,
    Iam "ListUserPolicies" user_arn => grants::list_user,
    Iam "DeleteUserPolicy" user_arn => grants::delete_user,
    Iam "AttachRolePolicy" role_arn => grants::attach_role,
    Iam "DetachRolePolicy" role_arn => grants::detach_role,
    Iam "ListAttachedRolePolicies" role_arn => grants::list_attached_role,
    Iam "PutRolePolicy" role_arn => grants::put_role,
    Iam "GetRolePolicy" role_arn => grants::get_role,
    Iam "ListRolePolicies" role_arn => grants::list_role,
    Iam "DeleteRolePolicy" role_arn => grants::delete_role,
    Iam "ListInstanceProfilesForRole" role_arn => roles::list_instance_profiles,
    Iam "ListGroupsForUser" user_arn => users::list_groups,
    Sts "AssumeRole" checks_itself => sts::assume_role,
    Sts "GetCallerIdentity" checks_itself => sts::get_caller_identity,
    Sts "GetSessionToken" checks_itself => sts::get_session_token,
}

fn checks_itself(_: &Call<'_>) -> Option<String> {
    None
}

fn users_arn(call: &Call<'_>) -> Option<String> {
    Some(arn::iam(&call.caller.account, "user", "/", ""))
}

fn roles_arn(call: &Call<'_>) -> Option<String> {
    Some(arn::iam(&call.caller.account, "role", "/", ""))
}

fn policies_arn(call: &Call<'_>) -> Option<String> {
    Some(arn::iam(&call.caller.account, "policy", "/", ""))
}

fn user_arn(call: &Call<'_>) -> Option<String> {
    let Some(name) = call.params.get("UserName") else {
        return Some(call.caller.arn());
    };
    let known = call.read(|state, account| state.users.get(name).map(|u| u.arn(account)));
    Some(known.unwrap_or_else(|| call.new_arn("user", name)))
}

fn role_arn(call: &Call<'_>) -> Option<String> {
    let name = call.params.get("RoleName").unwrap_or_default();
    let known = call.read(|state, account| state.roles.get(name).map(|r| r.arn(account)));
    Some(known.unwrap_or_else(|| call.new_arn("role", name)))
}

fn policy_arn(call: &Call<'_>) -> Option<String> {
    Some(call.params.get("PolicyArn").unwrap_or_default().to_owned())
}

fn new_policy_arn(call: &Call<'_>) -> Option<String> {
    let name = call.params.get("PolicyName").unwrap_or_default();
    Some(call.new_arn("policy", name))
}

impl Call<'_> {
    fn new_arn(&self, kind: &str, name: &str) -> String {
        let path = self.params.get("Path").unwrap_or("/");
        arn::iam(&self.caller.account, kind, path, name)
    }

    /// Reads the caller's account.
    fn read<T>(&self, read: impl FnOnce(&AccountState, &AccountId) -> T) -> T {
        self.iam.read(|directory| {
            let account = &self.caller.account;
            match directory.get(account) {
                Some(state) => read(state, account),
                None => read(&AccountState::default(), account),
            }
        })
    }

    /// Changes the caller's account.
    fn update<T>(
        &self,
        change: impl FnOnce(&mut AccountState, &Directory) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.iam.update(&self.caller.account, change)
    }

    /// Returns the requested page of a list, with its `IsTruncated` and `Marker`. The items have
    /// keys and are sorted by them.
    fn page(
        &self,
        name: &str,
        items: impl IntoIterator<Item = (String, Element)>,
    ) -> Result<Element, Fault> {
        let (after, max) = self.params.paging()?;
        let mut items = items
            .into_iter()
            .skip_while(|(key, _)| after.as_ref().is_some_and(|a| key <= a))
            .peekable();
        let mut page = Vec::new();
        let mut last = String::new();
        while page.len() < max
            && let Some((key, element)) = items.next()
        {
            page.push(element);
            last = key;
        }
        let truncated = items.peek().is_some();
        let marker = truncated.then(|| params::marker(&last));
        Ok(Element::new("Result")
            .with("IsTruncated", truncated.to_string())
            .with_some("Marker", marker)
            .list(name, page))
    }
}

/// Returns a list member that is a text.
fn text_member(text: &str) -> Element {
    Element {
        text: text.to_owned(),
        ..Element::new("member")
    }
}

/// Formats a time like `2026-01-31T12:00:00Z`.
fn timestamp(time: chrono::DateTime<chrono::Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Returns whether a name is taken. A name that differs from another only in case counts as taken.
fn is_taken<'n>(names: impl IntoIterator<Item = &'n String>, name: &str) -> bool {
    names.into_iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// Checks a count against a quota.
///
/// # Errors
/// `LimitExceeded`, in the wording of IAM's quotas.
fn check_quota(count: usize, name: &str, limit: usize) -> Result<(), Fault> {
    if count <= limit {
        Ok(())
    } else {
        Err(Fault::limit_exceeded(format!(
            "Cannot exceed quota for {name}: {limit}"
        )))
    }
}

/// Returns a policy's size in characters as its quotas count it: without white space.
fn policy_size(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}
