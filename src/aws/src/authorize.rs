//! Access decisions: whether a caller may perform an action.

use std::collections::HashMap;
use std::fmt;

use super::caller::{Caller, Identity};
use super::policy::{
    DecidingStatement, Policy, PrincipalMatch, Request, Verdict, evaluate, evaluate_trust,
};
use super::state::{Directory, Grants, Role};
use super::{AccountId, aws_managed, trust};

/// An access decision with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub(super) reason: Reason,
}

/// The reason for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// The root user may do everything in its account.
    Root,
    Allowed(DecidingStatement),
    ExplicitDeny(PolicyKind, DecidingStatement),
    /// No policy of this kind allows the action, although one must.
    NoAllow(PolicyKind),
}

/// The kind of a policy that takes part in a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PolicyKind {
    Identity,
    Session,
    /// A policy of a resource, for example of a bucket in another account. icebox stores none.
    Resource,
    Trust,
}

impl PolicyKind {
    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity-based policy",
            Self::Session => "session policy",
            Self::Resource => "resource-based policy",
            Self::Trust => "trust policy",
        }
    }
}

impl Decision {
    pub fn is_allowed(&self) -> bool {
        matches!(self.reason, Reason::Root | Reason::Allowed(_))
    }

    /// Returns the refusal for a resource of another account, which has no policy that admits the
    /// caller.
    pub fn other_account() -> Self {
        Self {
            reason: Reason::NoAllow(PolicyKind::Resource),
        }
    }

    /// Returns AWS's message for a refusal
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
    /// `resource` is written as the service writes it: S3 puts it in quotes, IAM does not.
    pub fn refusal(&self, caller: &Caller, action: &str, resource: &str) -> String {
        let head = not_authorized(caller, action, resource);
        match &self.reason {
            Reason::ExplicitDeny(kind, _) => {
                let article = match kind {
                    PolicyKind::Identity => "an",
                    _ => "a",
                };
                format!("{head} with an explicit deny in {article} {}", kind.name())
            }
            Reason::NoAllow(kind) => {
                format!(
                    "{head} because no {} allows the {action} action",
                    kind.name()
                )
            }
            Reason::Root | Reason::Allowed(_) => head,
        }
    }
}

/// Returns the sentence that every refusal begins with.
pub(super) fn not_authorized(caller: &Caller, action: &str, resource: &str) -> String {
    format!(
        "User: {} is not authorized to perform: {action} on resource: {resource}",
        caller.arn()
    )
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Root => f.write_str("the root user may do everything"),
            Reason::Allowed(by) => write!(f, "{by} allows it"),
            Reason::ExplicitDeny(kind, by) => {
                write!(f, "explicit deny in the {}, {by}", kind.name())
            }
            Reason::NoAllow(kind) => write!(f, "no {} allows it", kind.name()),
        }
    }
}

/// The verdicts of the caller's own policies: those of the user or role, and the session policy.
struct OwnVerdicts {
    identity: Verdict,
    session: Option<Verdict>,
}

impl OwnVerdicts {
    fn evaluate(directory: &Directory, caller: &Caller, request: &Request<'_>) -> Self {
        let identity = match (&caller.identity, grants_of(directory, caller)) {
            (Identity::Root, _) => Verdict::Allow(DecidingStatement {
                policy: "root".to_owned(),
                statement: "1".to_owned(),
            }),
            (_, None) => Verdict::Silent,
            (_, Some(grants)) => evaluate(policies(directory, &caller.account, grants), request),
        };
        let session = caller.session.as_ref().and_then(|s| s.policy.as_ref());
        Self {
            identity,
            session: session.map(|policy| evaluate([("session policy", policy)], request)),
        }
    }

    fn denial(&self) -> Option<Reason> {
        let (kind, by) = match (&self.identity, &self.session) {
            (Verdict::Deny(by), _) => (PolicyKind::Identity, by),
            (_, Some(Verdict::Deny(by))) => (PolicyKind::Session, by),
            _ => return None,
        };
        Some(Reason::ExplicitDeny(kind, by.clone()))
    }

    fn reason(self, is_root: bool) -> Reason {
        if let Some(denial) = self.denial() {
            return denial;
        }
        match (self.identity, self.session) {
            (Verdict::Allow(_), Some(Verdict::Silent)) => Reason::NoAllow(PolicyKind::Session),
            (Verdict::Allow(_), _) if is_root => Reason::Root,
            (Verdict::Allow(by), _) => Reason::Allowed(by),
            _ => Reason::NoAllow(PolicyKind::Identity),
        }
    }
}

/// Returns the grants of a user or role; `None` for a root user, and for a user or role that no
/// longer exists.
pub(super) fn grants_of<'d>(directory: &'d Directory, caller: &Caller) -> Option<&'d Grants> {
    let state = directory.get(&caller.account)?;
    match &caller.identity {
        Identity::Root => None,
        Identity::User { name, .. } => state.users.get(name).map(|user| &user.grants),
        Identity::Role { name, .. } => state.roles.get(name).map(|role| &role.grants),
    }
}

/// Returns the granted policies with their names.
pub(super) fn policies<'d>(
    directory: &'d Directory,
    account: &'d AccountId,
    grants: &'d Grants,
) -> impl Iterator<Item = (&'d str, &'d Policy)> {
    let inline = grants.inline.iter().map(|(name, p)| (name.as_str(), p));
    let attached = grants.attached.iter().filter_map(move |policy_arn| {
        let own = || {
            let policy = directory.get(account)?.policy_by_arn(account, policy_arn)?;
            policy.default_document()
        };
        let document = aws_managed::document(policy_arn).or_else(own)?;
        Some((policy_arn.as_str(), document))
    });
    inline.chain(attached)
}

/// Decides whether the caller's own policies allow a request in its account.
pub(super) fn authorize(directory: &Directory, caller: &Caller, request: &Request<'_>) -> Decision {
    let own = OwnVerdicts::evaluate(directory, caller, request);
    Decision {
        reason: own.reason(caller.identity == Identity::Root),
    }
}

/// Decides whether the caller may assume the role. The trust policy must allow it. The caller's own
/// policies must allow it too, unless the trust policy names a principal of its own account by ARN
/// or by `*`
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html>).
pub(super) fn authorize_assume(
    directory: &Directory,
    caller: &Caller,
    account: &AccountId,
    role: &Role,
    action: &str,
    context: &HashMap<String, Vec<String>>,
) -> Decision {
    let role_arn = role.arn(account);
    let request = Request {
        action,
        resource: &role_arn,
        context,
    };
    let names = |principal: &str| trust::match_principal(&role.trust, principal, caller);
    let (trusted, named) = evaluate_trust(&role.trust.policy, &request, names);
    let by = match trusted {
        Verdict::Allow(by) => by,
        Verdict::Deny(by) => {
            return Decision {
                reason: Reason::ExplicitDeny(PolicyKind::Trust, by),
            };
        }
        Verdict::Silent => {
            return Decision {
                reason: Reason::NoAllow(PolicyKind::Trust),
            };
        }
    };
    let own = OwnVerdicts::evaluate(directory, caller, &request);
    let trust_is_enough = caller.account == *account
        && named == PrincipalMatch::Itself
        && own.denial().is_none()
        && !matches!(own.session, Some(Verdict::Silent));
    if trust_is_enough {
        return Decision {
            reason: Reason::Allowed(by),
        };
    }
    match own.reason(false) {
        Reason::Allowed(_) => Decision {
            reason: Reason::Allowed(by),
        },
        reason => Decision { reason },
    }
}
