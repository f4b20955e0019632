//! The actions on IAM users.

use chrono::Utc;

use super::params::{PATH_PREFIX, USER_NAME};
use super::{Answer, Call, check_quota, is_taken, timestamp};
use crate::caller::Identity;
use crate::state::{AccountState, Grants, User};
use crate::xml::Element;
use crate::{AccountId, Fault, arn, id};

fn element(user: &User, account: &AccountId) -> Element {
    Element::new("User")
        .with("Path", &user.path)
        .with("UserName", &user.name)
        .with("UserId", &user.id)
        .with("Arn", user.arn(account))
        .with("CreateDate", timestamp(user.created))
}

pub(super) fn not_found(name: &str) -> Fault {
    Fault::no_such_entity(format!("The user with name {name} cannot be found."))
}

pub(super) fn find<'s>(state: &'s AccountState, name: &str) -> Result<&'s User, Fault> {
    state.users.get(name).ok_or_else(|| not_found(name))
}

pub(super) fn find_mut<'s>(state: &'s mut AccountState, name: &str) -> Result<&'s mut User, Fault> {
    state.users.get_mut(name).ok_or_else(|| not_found(name))
}

/// Returns the name of the requested user, or of the caller if the request names none.
pub(super) fn named_or_caller(call: &Call<'_>) -> Result<String, Fault> {
    match (call.params.optional(&USER_NAME)?, &call.caller.identity) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, Identity::User { name, .. }) => Ok(name.clone()),
        _ => Err(Fault::validation(
            "Must specify userName when calling with non-User credentials",
        )),
    }
}

pub(super) fn create(call: &Call<'_>) -> Answer {
    let name = call.params.required(&USER_NAME)?;
    let path = call.params.path()?;
    let account = &call.caller.account;
    call.update(|state, _| {
        if is_taken(state.users.keys(), name) {
            return Err(Fault::entity_already_exists(format!(
                "User with name {name} already exists."
            )));
        }
        check_quota(state.users.len() + 1, "UsersPerAccount", 5000)?;
        let user = User {
            name: name.to_owned(),
            path,
            id: id::new(id::Kind::User),
            created: Utc::now(),
            keys: Vec::new(),
            grants: Grants::default(),
        };
        let shown = element(&user, account);
        state.users.insert(name.to_owned(), user);
        Ok(Some(Element::new("Result").child(shown)))
    })
}

pub(super) fn get(call: &Call<'_>) -> Answer {
    let account = &call.caller.account;
    if call.params.get("UserName").is_none() && call.caller.identity == Identity::Root {
        let root = Element::new("User")
            .with("UserId", account.as_str())
            .with("Arn", arn::root(account))
            .with("CreateDate", timestamp(chrono::DateTime::UNIX_EPOCH));
        return Ok(Some(Element::new("Result").child(root)));
    }
    let name = named_or_caller(call)?;
    call.read(|state, account| {
        let user = element(find(state, &name)?, account);
        Ok(Some(Element::new("Result").child(user)))
    })
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let prefix = call.params.optional(&PATH_PREFIX)?.unwrap_or("/");
    call.read(|state, account| {
        let users = state.users.values().filter(|u| u.path.starts_with(prefix));
        let items = users.map(|u| (u.name.clone(), element(u, account)));
        call.page("Users", items).map(Some)
    })
}

pub(super) fn delete(call: &Call<'_>) -> Answer {
    let name = call.params.required(&USER_NAME)?;
    call.update(|state, _| {
        let user = find(state, name)?;
        let conflict = [
            (
                !user.keys.is_empty(),
                "Cannot delete entity, must delete access keys first.",
            ),
            (
                !user.grants.attached.is_empty(),
                "Cannot delete entity, must detach all policies first.",
            ),
            (
                !user.grants.inline.is_empty(),
                "Cannot delete entity, must delete policies first.",
            ),
        ];
        if let Some((_, message)) = conflict.iter().find(|(there, _)| *there) {
            return Err(Fault::delete_conflict(*message));
        }
        state.users.remove(name);
        Ok(None)
    })
}

/// Returns an empty list: icebox has no groups, but clients ask for them before they delete a user.
pub(super) fn list_groups(call: &Call<'_>) -> Answer {
    let name = call.params.required(&USER_NAME)?;
    call.read(|state, _| {
        find(state, name)?;
        call.page("Groups", []).map(Some)
    })
}
