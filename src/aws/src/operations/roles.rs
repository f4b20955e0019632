//! The actions on IAM roles.

use chrono::Utc;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::params::{DESCRIPTION, PATH_PREFIX, POLICY_DOCUMENT, ROLE_NAME, TRUST_DOCUMENT};
use super::{Answer, Call, check_quota, is_taken, policy_size, timestamp};
use crate::policy::{Policy, Purpose};
use crate::state::{AccountState, Directory, Grants, Role, Trust};
use crate::xml::Element;
use crate::{AccountId, Fault, id, trust};

/// The default and the allowed range of a role's maximum session duration, in seconds.
const DEFAULT_SESSION: u32 = 3600;
const SESSION: std::ops::RangeInclusive<u32> = 3600..=43200;

/// The characters that IAM percent-encodes in documents (RFC 3986).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(super) fn encoded(document: &str) -> String {
    utf8_percent_encode(document, RESERVED).to_string()
}

fn element(role: &Role, account: &AccountId, directory: &Directory) -> Element {
    let document = trust::render(&role.trust, directory);
    Element::new("Role")
        .with("Path", &role.path)
        .with("RoleName", &role.name)
        .with("RoleId", &role.id)
        .with("Arn", role.arn(account))
        .with("CreateDate", timestamp(role.created))
        .with("AssumeRolePolicyDocument", encoded(&document))
        .with_some("Description", role.description.as_ref())
        .with("MaxSessionDuration", role.max_session.to_string())
}

fn not_found(name: &str) -> Fault {
    Fault::no_such_entity(format!("The role with name {name} cannot be found."))
}

pub(super) fn find<'s>(state: &'s AccountState, name: &str) -> Result<&'s Role, Fault> {
    state.roles.get(name).ok_or_else(|| not_found(name))
}

pub(super) fn find_mut<'s>(state: &'s mut AccountState, name: &str) -> Result<&'s mut Role, Fault> {
    state.roles.get_mut(name).ok_or_else(|| not_found(name))
}

fn read_trust(text: &str, directory: &Directory) -> Result<Trust, Fault> {
    check_quota(policy_size(text), "ACLSizePerRole", 2048)?;
    trust::bind(Policy::parse(text, Purpose::Trust)?, directory)
}

pub(super) fn create(call: &Call<'_>) -> Answer {
    let params = call.params;
    let name = params.required(&ROLE_NAME)?;
    let document = params.required(&TRUST_DOCUMENT)?;
    let description = params.optional(&DESCRIPTION)?.map(str::to_owned);
    let max_session = params.integer("MaxSessionDuration", SESSION)?;
    let path = params.path()?;
    call.update(|state, directory| {
        if is_taken(state.roles.keys(), name) {
            return Err(Fault::entity_already_exists(format!(
                "Role with name {name} already exists."
            )));
        }
        check_quota(state.roles.len() + 1, "RolesPerAccount", 1000)?;
        let role = Role {
            name: name.to_owned(),
            path,
            id: id::new(id::Kind::Role),
            created: Utc::now(),
            description,
            max_session: max_session.unwrap_or(DEFAULT_SESSION),
            trust: read_trust(document, directory)?,
            grants: Grants::default(),
        };
        let shown = element(&role, &call.caller.account, directory);
        state.roles.insert(name.to_owned(), role);
        Ok(Some(Element::new("Result").child(shown)))
    })
}

pub(super) fn get(call: &Call<'_>) -> Answer {
    let name = call.params.required(&ROLE_NAME)?;
    let account = &call.caller.account;
    call.iam.read(|directory| {
        let state = directory.get(account).ok_or_else(|| not_found(name))?;
        let role = element(find(state, name)?, account, directory);
        Ok(Some(Element::new("Result").child(role)))
    })
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let prefix = call.params.optional(&PATH_PREFIX)?.unwrap_or("/");
    let account = &call.caller.account;
    call.iam.read(|directory| {
        let roles = directory.get(account).into_iter();
        let roles = roles.flat_map(|state| state.roles.values());
        let items = roles
            .filter(|role| role.path.starts_with(prefix))
            .map(|role| (role.name.clone(), element(role, account, directory)));
        call.page("Roles", items).map(Some)
    })
}

pub(super) fn update(call: &Call<'_>) -> Answer {
    let name = call.params.required(&ROLE_NAME)?;
    let description = call.params.optional(&DESCRIPTION)?.map(str::to_owned);
    let max_session = call.params.integer("MaxSessionDuration", SESSION)?;
    call.update(|state, _| {
        let role = find_mut(state, name)?;
        // A missing duration is reset to that of a new role.
        role.max_session = max_session.unwrap_or(DEFAULT_SESSION);
        if description.is_some() {
            role.description = description;
        }
        Ok(Some(Element::new("Result")))
    })
}

pub(super) fn update_trust(call: &Call<'_>) -> Answer {
    let name = call.params.required(&ROLE_NAME)?;
    let document = call.params.required(&POLICY_DOCUMENT)?;
    call.update(|state, directory| {
        find_mut(state, name)?.trust = read_trust(document, directory)?;
        Ok(None)
    })
}

pub(super) fn delete(call: &Call<'_>) -> Answer {
    let name = call.params.required(&ROLE_NAME)?;
    call.update(|state, _| {
        let grants = &find(state, name)?.grants;
        if !grants.attached.is_empty() {
            return Err(Fault::delete_conflict(
                "Cannot delete entity, must detach all policies first.",
            ));
        }
        if !grants.inline.is_empty() {
            return Err(Fault::delete_conflict(
                "Cannot delete entity, must delete policies first.",
            ));
        }
        state.roles.remove(name);
        Ok(None)
    })
}

/// Returns an empty list: icebox has no instance profiles, but clients ask for them before they
/// delete a role.
pub(super) fn list_instance_profiles(call: &Call<'_>) -> Answer {
    let name = call.params.required(&ROLE_NAME)?;
    call.read(|state, _| {
        find(state, name)?;
        call.page("InstanceProfiles", []).map(Some)
    })
}
