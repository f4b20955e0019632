//! The actions on users' access keys.

use chrono::Utc;

use super::params::{ACCESS_KEY_ID, STATUS};
use super::users::{find, find_mut, named_or_caller};
use super::{Answer, Call, check_quota, timestamp};
use crate::state::{AccessKey, User};
use crate::xml::Element;
use crate::{Fault, Secret, id};

fn status(key: &AccessKey) -> &'static str {
    if key.active { "Active" } else { "Inactive" }
}

fn key_of<'u>(user: &'u mut User, id: &str) -> Result<&'u mut AccessKey, Fault> {
    let key = user.keys.iter_mut().find(|k| k.id == id);
    key.ok_or_else(|| {
        Fault::no_such_entity(format!("The Access Key with id {id} cannot be found."))
    })
}

pub(super) fn create(call: &Call<'_>) -> Answer {
    let name = named_or_caller(call)?;
    call.update(|state, _| {
        let user = find_mut(state, &name)?;
        check_quota(user.keys.len() + 1, "AccessKeysPerUser", 2)?;
        let key = AccessKey {
            id: id::new(id::Kind::AccessKey),
            secret: Secret::from(id::secret_access_key()),
            active: true,
            created: Utc::now(),
        };
        let shown = Element::new("AccessKey")
            .with("UserName", &name)
            .with("AccessKeyId", &key.id)
            .with("Status", status(&key))
            .with("SecretAccessKey", key.secret.expose())
            .with("CreateDate", timestamp(key.created));
        user.keys.push(key);
        Ok(Some(Element::new("Result").child(shown)))
    })
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let name = named_or_caller(call)?;
    call.read(|state, _| {
        let mut keys: Vec<&AccessKey> = find(state, &name)?.keys.iter().collect();
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        let items = keys.into_iter().map(|key| {
            let element = Element::new("member")
                .with("UserName", &name)
                .with("AccessKeyId", &key.id)
                .with("Status", status(key))
                .with("CreateDate", timestamp(key.created));
            (key.id.clone(), element)
        });
        call.page("AccessKeyMetadata", items).map(Some)
    })
}

pub(super) fn update(call: &Call<'_>) -> Answer {
    let name = named_or_caller(call)?;
    let id = call.params.required(&ACCESS_KEY_ID)?;
    let wanted = call.params.required(&STATUS)?;
    let active = match wanted {
        "Active" => true,
        "Inactive" => false,
        _ => {
            let allowed = "Member must satisfy enum value set: [Active, Inactive]";
            return Err(Fault::constraint(Some(wanted), "status", allowed));
        }
    };
    call.update(|state, _| {
        key_of(find_mut(state, &name)?, id)?.active = active;
        Ok(None)
    })
}

pub(super) fn delete(call: &Call<'_>) -> Answer {
    let name = named_or_caller(call)?;
    let id = call.params.required(&ACCESS_KEY_ID)?;
    call.update(|state, _| {
        let user = find_mut(state, &name)?;
        key_of(user, id)?;
        user.keys.retain(|k| k.id != id);
        Ok(None)
    })
}
