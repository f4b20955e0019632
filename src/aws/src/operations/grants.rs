//! The policies of users and roles: both have the same actions.

use super::params::{Constraint, POLICY_ARN, POLICY_DOCUMENT, POLICY_NAME, ROLE_NAME, USER_NAME};
use super::roles::encoded;
use super::{Answer, Call, check_quota, policy_size, roles, text_member, users};
use crate::policy::{Policy, Purpose};
use crate::state::{AccountState, Grants};
use crate::xml::Element;
use crate::{Fault, aws_managed};

/// The differences between users and roles.
struct Holder {
    name: &'static Constraint,
    /// The holder's kind as it appears in messages.
    word: &'static str,
    attached_quota: &'static str,
    /// The maximum size of all inline policies together, in characters without white space.
    max_inline: usize,
    grants: fn(&AccountState, &str) -> Result<Grants, Fault>,
    set: fn(&mut AccountState, &str, Grants) -> Result<(), Fault>,
}

static USER: Holder = Holder {
    name: &USER_NAME,
    word: "user",
    attached_quota: "PoliciesPerUser",
    max_inline: 2048,
    grants: |state, name| Ok(users::find(state, name)?.grants.clone()),
    set: |state, name, grants| {
        users::find_mut(state, name)?.grants = grants;
        Ok(())
    },
};

static ROLE: Holder = Holder {
    name: &ROLE_NAME,
    word: "role",
    attached_quota: "PoliciesPerRole",
    max_inline: 10240,
    grants: |state, name| Ok(roles::find(state, name)?.grants.clone()),
    set: |state, name, grants| {
        roles::find_mut(state, name)?.grants = grants;
        Ok(())
    },
};

/// The maximum number of managed policies that are attached to a user or role.
const MAX_ATTACHED: usize = 10;

impl Holder {
    fn read(&self, call: &Call<'_>, with: impl FnOnce(&str, Grants) -> Answer) -> Answer {
        let name = call.params.required(self.name)?;
        let grants = call.read(|state, _| (self.grants)(state, name))?;
        with(name, grants)
    }

    fn update(
        &self,
        call: &Call<'_>,
        with: impl FnOnce(&AccountState, &str, &mut Grants) -> Result<(), Fault>,
    ) -> Answer {
        let name = call.params.required(self.name)?;
        call.update(|state, _| {
            let mut grants = (self.grants)(state, name)?;
            with(state, name, &mut grants)?;
            (self.set)(state, name, grants)?;
            Ok(None)
        })
    }

    fn attach(&self, call: &Call<'_>) -> Answer {
        let arn = call.params.required(&POLICY_ARN)?;
        self.update(call, |state, _, grants| {
            let known = aws_managed::document(arn).is_some()
                || state.policy_by_arn(&call.caller.account, arn).is_some();
            if !known {
                return Err(Fault::no_such_entity(format!(
                    "Policy {arn} does not exist or is not attachable."
                )));
            }
            if !grants.attached.iter().any(|a| a == arn) {
                check_quota(grants.attached.len() + 1, self.attached_quota, MAX_ATTACHED)?;
                grants.attached.push(arn.to_owned());
            }
            Ok(())
        })
    }

    fn detach(&self, call: &Call<'_>) -> Answer {
        let arn = call.params.required(&POLICY_ARN)?;
        self.update(call, |_, _, grants| {
            let before = grants.attached.len();
            grants.attached.retain(|a| a != arn);
            if grants.attached.len() == before {
                return Err(Fault::no_such_entity(format!(
                    "Policy {arn} was not found."
                )));
            }
            Ok(())
        })
    }

    fn list_attached(&self, call: &Call<'_>) -> Answer {
        self.read(call, |_, grants| {
            let mut attached = grants.attached;
            attached.sort();
            let items = attached.into_iter().map(|arn| {
                let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
                let element = Element::new("member")
                    .with("PolicyName", name)
                    .with("PolicyArn", &arn);
                (arn, element)
            });
            call.page("AttachedPolicies", items).map(Some)
        })
    }

    fn put(&self, call: &Call<'_>) -> Answer {
        let name = call.params.required(&POLICY_NAME)?;
        let text = call.params.required(&POLICY_DOCUMENT)?;
        let policy = Policy::parse(text, Purpose::Identity)?;
        self.update(call, |_, holder, grants| {
            grants.inline.insert(name.to_owned(), policy);
            let size: usize = grants.inline.values().map(|p| policy_size(p.text())).sum();
            if size > self.max_inline {
                return Err(Fault::limit_exceeded(format!(
                    "Maximum policy size of {} bytes exceeded for {} {holder}",
                    self.max_inline, self.word
                )));
            }
            Ok(())
        })
    }

    fn not_found(&self, policy: &str) -> Fault {
        Fault::no_such_entity(format!(
            "The {} policy with name {policy} cannot be found.",
            self.word
        ))
    }

    fn get(&self, call: &Call<'_>) -> Answer {
        let policy_name = call.params.required(&POLICY_NAME)?;
        self.read(call, |holder, grants| {
            let policy = grants.inline.get(policy_name);
            let policy = policy.ok_or_else(|| self.not_found(policy_name))?;
            let result = Element::new("Result")
                .with(self.name.name, holder)
                .with("PolicyName", policy_name)
                .with("PolicyDocument", encoded(policy.text()));
            Ok(Some(result))
        })
    }

    fn list(&self, call: &Call<'_>) -> Answer {
        self.read(call, |_, grants| {
            let names = grants.inline.into_keys();
            let items = names.map(|name| (name.clone(), text_member(&name)));
            call.page("PolicyNames", items).map(Some)
        })
    }

    fn delete(&self, call: &Call<'_>) -> Answer {
        let policy_name = call.params.required(&POLICY_NAME)?;
        self.update(call, |_, _, grants| {
            match grants.inline.remove(policy_name) {
                Some(_) => Ok(()),
                None => Err(self.not_found(policy_name)),
            }
        })
    }
}

macro_rules! for_both {
    ($($method:ident $user:ident $role:ident,)*) => {
        $(pub(super) fn $user(call: &Call<'_>) -> Answer { USER.$method(call) }
        pub(super) fn $role(call: &Call<'_>) -> Answer { ROLE.$method(call) })*
    };
}

for_both! {
    attach attach_user attach_role,
    detach detach_user detach_role,
    list_attached list_attached_user list_attached_role,
    put put_user put_role,
    get get_user get_role,
    list list_user list_role,
    delete delete_user delete_role,
}
