//! STS: temporary credentials.

use std::collections::HashMap;

use chrono::{TimeDelta, Utc};

use super::params::{EXTERNAL_ID, ROLE_ARN, SESSION_NAME, SESSION_POLICY, SOURCE_IDENTITY};
use super::{Answer, Call, policy_size, timestamp};
use crate::authorize::{authorize_assume, not_authorized};
use crate::caller::Identity;
use crate::policy::{Policy, Purpose};
use crate::session::{Session, SessionPrincipal};
use crate::state::Role;
use crate::xml::Element;
use crate::{AccountId, Caller, Fault, Secret, arn};

/// The duration of a role session, in seconds
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).
const ASSUME: std::ops::RangeInclusive<u32> = 900..=43200;
const CHAINED: u32 = 3600;
const SESSION_TOKEN: std::ops::RangeInclusive<u32> = 900..=129_600;
/// The maximum size of a session policy, in characters.
const MAX_POLICY: usize = 2048;

/// The parameters of an `AssumeRole` request.
struct AssumeRoleParams<'a> {
    role_arn: &'a str,
    session_name: &'a str,
    external_id: Option<&'a str>,
    source_identity: Option<&'a str>,
    duration: u32,
    policy: Option<Policy>,
}

impl<'a> AssumeRoleParams<'a> {
    fn read(call: &Call<'a>) -> Result<Self, Fault> {
        let given = call.params;
        let role_arn = given.required(&ROLE_ARN)?;
        let policy = given
            .optional(&SESSION_POLICY)?
            .map(|text| Policy::parse(text, Purpose::Identity))
            .transpose()?;
        let params = Self {
            role_arn,
            session_name: given.required(&SESSION_NAME)?,
            external_id: given.optional(&EXTERNAL_ID)?,
            source_identity: given.optional(&SOURCE_IDENTITY)?,
            duration: given.integer("DurationSeconds", ASSUME)?.unwrap_or(3600),
            policy,
        };
        match arn::parse_iam(role_arn) {
            Some(arn) if arn.kind == "role" => Ok(params),
            _ => Err(Fault::validation(format!("{role_arn} is invalid"))),
        }
    }

    /// Returns the condition keys that a trust policy may use.
    fn context(&self, call: &Call<'_>) -> HashMap<String, Vec<String>> {
        let mut context = call.context.clone();
        context.extend(call.caller.context());
        let mut put =
            |key: &str, value: &str| context.insert(key.to_owned(), vec![value.to_owned()]);
        put("sts:rolesessionname", self.session_name);
        if let Some(id) = self.external_id {
            put("sts:externalid", id);
        }
        if let Some(source) = self.source_identity {
            put("sts:sourceidentity", source);
        }
        context
    }

    /// Returns `AccessDenied`, with the reason for the audit trail. As in AWS, the client does not
    /// get the reason.
    fn refusal(&self, caller: &Caller, action: &str, why: &str) -> Fault {
        let external_id = match self.external_id {
            Some(id) => format!("external id {id}"),
            None => "no external id".to_owned(),
        };
        Fault::access_denied(not_authorized(caller, action, self.role_arn)).with_detail(format!(
            "{why}; asked by {} with {external_id}",
            caller.arn()
        ))
    }

    fn check(&self, call: &Call<'_>, account: &AccountId, role: &Role) -> Result<(), Fault> {
        let context = self.context(call);
        let actions = ["sts:AssumeRole"]
            .into_iter()
            .chain(self.source_identity.map(|_| "sts:SetSourceIdentity"));
        for action in actions {
            let decision = call.iam.read(|directory| {
                authorize_assume(directory, call.caller, account, role, action, &context)
            });
            if !decision.is_allowed() {
                return Err(self.refusal(call.caller, action, &decision.to_string()));
            }
        }
        if self.duration > role.max_session {
            return Err(Fault::validation(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            ));
        }
        if matches!(call.caller.identity, Identity::Role { .. }) && self.duration > CHAINED {
            return Err(Fault::validation(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
            ));
        }
        Ok(())
    }
}

pub(super) fn assume_role(call: &Call<'_>) -> Answer {
    let params = AssumeRoleParams::read(call)?;
    let caller = call.caller;
    if caller.identity == Identity::Root {
        if call.iam.root_may_assume_any_role(&caller.account) && !caller.is_session() {
            let session = Session {
                policy: params.policy.clone(),
                ..new_session(
                    call,
                    &caller.account,
                    SessionPrincipal::Root,
                    params.duration,
                )
            };
            let result = Element::new("Result").child(credentials(call, session)?);
            return Ok(Some(result));
        }
        return Err(Fault::access_denied(
            "Roles may not be assumed by root accounts.",
        ));
    }
    // A role that does not exist is refused like one that may not be assumed.
    let found = arn::parse_iam(params.role_arn).and_then(|named| {
        let role = call.iam.read(|directory| {
            let role = directory.get(&named.account)?.roles.get(named.name)?;
            (role.path == named.path).then(|| role.clone())
        })?;
        Some((named.account, role))
    });
    let Some((account, role)) = found else {
        return Err(params.refusal(caller, "sts:AssumeRole", "there is no such role"));
    };
    params.check(call, &account, &role)?;

    let role_id = format!("{}:{}", role.id, params.session_name);
    let role_arn = arn::assumed_role(&account, &role.name, params.session_name);
    // The first session of a role chain sets the source identity; later sessions cannot change it.
    let source_identity = caller.source_identity().or(params.source_identity);
    let packed = params.policy.as_ref().map(|p| {
        let percent = policy_size(p.text()) * 100 / MAX_POLICY;
        percent.clamp(1, 100).to_string()
    });
    let principal = SessionPrincipal::Role {
        id: role.id.clone(),
        session_name: params.session_name.to_owned(),
    };
    let session = Session {
        policy: params.policy.clone(),
        source_identity: source_identity.map(str::to_owned),
        ..new_session(call, &account, principal, params.duration)
    };
    let result = Element::new("Result")
        .child(credentials(call, session)?)
        .child(
            Element::new("AssumedRoleUser")
                .with("AssumedRoleId", role_id)
                .with("Arn", role_arn),
        )
        .with_some("PackedPolicySize", packed)
        .with_some("SourceIdentity", source_identity);
    Ok(Some(result))
}

pub(super) fn get_caller_identity(call: &Call<'_>) -> Answer {
    let result = Element::new("Result")
        .with("Arn", call.caller.arn())
        .with("UserId", call.caller.user_id())
        .with("Account", call.caller.account.as_str());
    Ok(Some(result))
}

pub(super) fn get_session_token(call: &Call<'_>) -> Answer {
    let caller = call.caller;
    if caller.is_session() {
        return Err(Fault::access_denied(
            "Cannot call GetSessionToken with session credentials",
        ));
    }
    let asked = call.params.integer("DurationSeconds", SESSION_TOKEN)?;
    let (principal, duration) = match &caller.identity {
        // A root user's session lasts an hour at most.
        Identity::Root => (SessionPrincipal::Root, asked.unwrap_or(3600).min(3600)),
        Identity::User { id, .. } => (
            SessionPrincipal::User { id: id.clone() },
            asked.unwrap_or(43200),
        ),
        Identity::Role { .. } => return Err(Fault::invalid_token()),
    };
    let session = new_session(call, &caller.account, principal, duration);
    let result = Element::new("Result").child(credentials(call, session)?);
    Ok(Some(result))
}

fn new_session(
    call: &Call<'_>,
    account: &AccountId,
    principal: SessionPrincipal,
    duration: u32,
) -> Session {
    let issued = Utc::now();
    Session {
        key: call.iam.new_session_key(),
        account: account.clone(),
        principal,
        issued,
        expires: issued + TimeDelta::seconds(i64::from(duration)),
        policy: None,
        source_identity: None,
    }
}

fn credentials(call: &Call<'_>, session: Session) -> Result<Element, Fault> {
    let credentials = call.iam.credentials(session)?;
    let token = credentials
        .session_token
        .as_ref()
        .map_or("", Secret::expose);
    Ok(Element::new("Credentials")
        .with("AccessKeyId", &credentials.access_key_id)
        .with("SecretAccessKey", credentials.secret_access_key.expose())
        .with("SessionToken", token)
        .with_some("Expiration", credentials.expires.map(timestamp)))
}
