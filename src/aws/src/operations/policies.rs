//! The actions on managed policies and their versions.

use chrono::Utc;

use super::params::{
    DESCRIPTION, PATH_PREFIX, POLICY_ARN, POLICY_DOCUMENT, POLICY_NAME, VERSION_ID,
};
use super::roles::encoded;
use super::{Answer, Call, check_quota, is_taken, policy_size, timestamp};
use crate::policy::{Policy, Purpose};
use crate::state::{AccountState, ManagedPolicy, PolicyVersion};
use crate::xml::Element;
use crate::{AccountId, Fault, aws_managed, id};

const MAX_VERSIONS: usize = 5;
/// The maximum size of a document, in characters without white space.
const MAX_SIZE: usize = 6144;

fn element(policy: &ManagedPolicy, account: &AccountId, state: &AccountState) -> Element {
    let arn = policy.arn(account);
    Element::new("Policy")
        .with("PolicyName", &policy.name)
        .with("PolicyId", &policy.id)
        .with("Path", &policy.path)
        .with("DefaultVersionId", format!("v{}", policy.default))
        .with("AttachmentCount", state.attachments(&arn).to_string())
        .with("Arn", arn)
        .with("PermissionsBoundaryUsageCount", "0")
        .with("IsAttachable", "true")
        .with("CreateDate", timestamp(policy.created))
        .with("UpdateDate", timestamp(policy.updated))
}

fn version_element(version: &PolicyVersion, policy: &ManagedPolicy, document: bool) -> Element {
    Element::new("PolicyVersion")
        .with_some(
            "Document",
            document.then(|| encoded(version.document.text())),
        )
        .with("VersionId", format!("v{}", version.number))
        .with(
            "IsDefaultVersion",
            (version.number == policy.default).to_string(),
        )
        .with("CreateDate", timestamp(version.created))
}

fn parse_document(call: &Call<'_>) -> Result<Policy, Fault> {
    let text = call.params.required(&POLICY_DOCUMENT)?;
    check_quota(policy_size(text), "PolicySize", MAX_SIZE)?;
    Ok(Policy::parse(text, Purpose::Identity)?)
}

fn not_found(arn: &str) -> Fault {
    Fault::no_such_entity(format!("Policy {arn} was not found."))
}

/// Reads the requested policy, of the caller's account or of AWS.
fn read_policy<T>(
    call: &Call<'_>,
    with: impl FnOnce(&ManagedPolicy, &AccountState) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let arn = call.params.required(&POLICY_ARN)?;
    call.read(|state, account| {
        match (state.policy_by_arn(account, arn), aws_managed::policy(arn)) {
            (Some(own), _) => with(own, state),
            (None, Some(aws)) => with(&aws, state),
            (None, None) => Err(not_found(arn)),
        }
    })
}

/// Changes the requested policy of the caller's account.
fn update_policy<T>(
    call: &Call<'_>,
    with: impl FnOnce(&mut ManagedPolicy) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let arn = call.params.required(&POLICY_ARN)?;
    if aws_managed::document(arn).is_some() {
        return Err(Fault::access_denied(format!(
            "{arn} is managed by AWS and cannot be changed."
        )));
    }
    let account = &call.caller.account;
    call.update(|state, _| {
        let mut policies = state.policies.values_mut();
        let policy = policies.find(|p| p.arn(account) == arn);
        with(policy.ok_or_else(|| not_found(arn))?)
    })
}

fn version_number(call: &Call<'_>) -> Result<u32, Fault> {
    let text = call.params.required(&VERSION_ID)?;
    let number = text.strip_prefix('v').and_then(|n| n.parse().ok());
    number.ok_or_else(|| {
        let pattern =
            "Member must satisfy regular expression pattern: v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?";
        Fault::constraint(Some(text), "versionId", pattern)
    })
}

fn no_version(call: &Call<'_>, number: u32) -> Fault {
    let arn = call.params.get("PolicyArn").unwrap_or_default();
    Fault::no_such_entity(format!(
        "Policy {arn} version v{number} does not exist or is not attachable."
    ))
}

pub(super) fn create(call: &Call<'_>) -> Answer {
    let name = call.params.required(&POLICY_NAME)?;
    let description = call.params.optional(&DESCRIPTION)?.map(str::to_owned);
    let path = call.params.path()?;
    let document = parse_document(call)?;
    let account = &call.caller.account;
    call.update(|state, _| {
        if is_taken(state.policies.keys(), name) {
            return Err(Fault::entity_already_exists(format!(
                "A policy called {name} already exists. Duplicate names are not allowed."
            )));
        }
        check_quota(state.policies.len() + 1, "PoliciesPerAccount", 1500)?;
        let now = Utc::now();
        let policy = ManagedPolicy {
            name: name.to_owned(),
            path,
            id: id::new(id::Kind::Policy),
            description,
            created: now,
            updated: now,
            versions: vec![PolicyVersion {
                number: 1,
                created: now,
                document,
            }],
            default: 1,
            latest: 1,
        };
        let shown = element(&policy, account, state);
        state.policies.insert(name.to_owned(), policy);
        Ok(Some(Element::new("Result").child(shown)))
    })
}

pub(super) fn get(call: &Call<'_>) -> Answer {
    read_policy(call, |policy, state| {
        let account = &call.caller.account;
        let mut shown =
            element(policy, account, state).with_some("Description", policy.description.as_ref());
        if let Some(arn) = shown.children.iter_mut().find(|c| c.name == "Arn") {
            // A policy of AWS belongs to no account, so its ARN is that of the request.
            arn.text = call.params.required(&POLICY_ARN)?.to_owned();
        }
        Ok(Some(Element::new("Result").child(shown)))
    })
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let params = call.params;
    let prefix = params.optional(&PATH_PREFIX)?.unwrap_or("/");
    let scope = params.get("Scope").unwrap_or("All");
    if !["All", "AWS", "Local"].contains(&scope) {
        let allowed = "Member must satisfy enum value set: [All, AWS, Local]";
        return Err(Fault::constraint(Some(scope), "scope", allowed));
    }
    let only_attached = params.is_true("OnlyAttached");
    call.read(|state, account| {
        let own = state
            .policies
            .values()
            .cloned()
            .map(|p| (p.arn(account), p));
        let aws =
            aws_managed::arns().filter_map(|arn| Some((arn.to_owned(), aws_managed::policy(arn)?)));
        let mut found: Vec<_> = own
            .filter(|_| scope != "AWS")
            .chain(aws.filter(|_| scope != "Local"))
            .filter(|(arn, p)| {
                p.path.starts_with(prefix) && (!only_attached || state.attachments(arn) > 0)
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let items = found.into_iter().map(|(arn, policy)| {
            let mut shown = element(&policy, account, state);
            for child in &mut shown.children {
                match child.name.as_str() {
                    "Arn" => child.text.clone_from(&arn),
                    "AttachmentCount" => child.text = state.attachments(&arn).to_string(),
                    _ => {}
                }
            }
            (arn, shown)
        });
        call.page("Policies", items).map(Some)
    })
}

pub(super) fn delete(call: &Call<'_>) -> Answer {
    let arn = call.params.required(&POLICY_ARN)?;
    let account = &call.caller.account;
    call.update(|state, _| {
        let policy = state.policy_by_arn(account, arn).ok_or_else(|| not_found(arn))?;
        if state.attachments(arn) > 0 {
            return Err(Fault::delete_conflict("Cannot delete a policy attached to entities."));
        }
        if policy.versions.len() > 1 {
            return Err(Fault::delete_conflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's \
                 versions. The default version is deleted with the policy.",
            ));
        }
        let name = policy.name.clone();
        state.policies.remove(&name);
        Ok(None)
    })
}

pub(super) fn create_version(call: &Call<'_>) -> Answer {
    let document = parse_document(call)?;
    update_policy(call, |policy| {
        if policy.versions.len() >= MAX_VERSIONS {
            return Err(Fault::limit_exceeded(
                "A managed policy can have up to 5 versions. Before you create a new version, you must delete an \
                 existing version.",
            ));
        }
        policy.latest += 1;
        let number = policy.latest;
        let version = PolicyVersion {
            number,
            created: Utc::now(),
            document,
        };
        if call.params.is_true("SetAsDefault") {
            policy.default = number;
        }
        policy.updated = version.created;
        let shown = version_element(&version, policy, false);
        policy.versions.push(version);
        Ok(Some(Element::new("Result").child(shown)))
    })
}

pub(super) fn get_version(call: &Call<'_>) -> Answer {
    let number = version_number(call)?;
    read_policy(call, |policy, _| {
        let version = policy
            .version(number)
            .ok_or_else(|| no_version(call, number))?;
        Ok(Some(
            Element::new("Result").child(version_element(version, policy, true)),
        ))
    })
}

pub(super) fn list_versions(call: &Call<'_>) -> Answer {
    read_policy(call, |policy, _| {
        let items = policy.versions.iter().map(|v| {
            // The keys are padded, so that they sort like the numbers.
            (
                format!("{:010}", v.number),
                version_element(v, policy, false),
            )
        });
        call.page("Versions", items).map(Some)
    })
}

pub(super) fn set_default_version(call: &Call<'_>) -> Answer {
    let number = version_number(call)?;
    update_policy(call, |policy| {
        if policy.version(number).is_none() {
            return Err(no_version(call, number));
        }
        policy.default = number;
        policy.updated = Utc::now();
        Ok(None)
    })
}

pub(super) fn delete_version(call: &Call<'_>) -> Answer {
    let number = version_number(call)?;
    update_policy(call, |policy| {
        if policy.version(number).is_none() {
            return Err(no_version(call, number));
        }
        if policy.default == number {
            return Err(Fault::delete_conflict(
                "Cannot delete the default version of a policy.",
            ));
        }
        policy.versions.retain(|v| v.number != number);
        Ok(None)
    })
}

pub(super) fn list_entities(call: &Call<'_>) -> Answer {
    let arn = call.params.required(&POLICY_ARN)?;
    read_policy(call, |_, state| {
        let attached = |list: &[String]| list.iter().any(|a| a == arn);
        let users = state
            .users
            .values()
            .filter(|u| attached(&u.grants.attached));
        let roles = state
            .roles
            .values()
            .filter(|r| attached(&r.grants.attached));
        let result = Element::new("Result")
            .list("PolicyGroups", [])
            .list(
                "PolicyUsers",
                users.map(|u| {
                    Element::new("")
                        .with("UserName", &u.name)
                        .with("UserId", &u.id)
                }),
            )
            .list(
                "PolicyRoles",
                roles.map(|r| {
                    Element::new("")
                        .with("RoleName", &r.name)
                        .with("RoleId", &r.id)
                }),
            );
        Ok(Some(result.with("IsTruncated", "false")))
    })
}
