//! What the servers of PostgreSQL instances are told: who may connect, by network policies and
//! rules, and through which role they write, by storage integrations.

use crate::host::{Access, AddressBlock, Grant};
use crate::object::Object;
use crate::object::properties::Properties;
use crate::session::Session;
use crate::{Kind, State, access};
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::ObjectName;
use icebox_sql::syntax;

/// The option of network policies with the rules that allow.
pub const ALLOWED_RULES: &str = "ALLOWED_NETWORK_RULE_LIST";
/// The option of network policies with the rules that block.
pub const BLOCKED_RULES: &str = "BLOCKED_NETWORK_RULE_LIST";

/// Returns the host's id of an instance's server; `None` before the server has started.
fn server_id(instance: &Object) -> Option<u64> {
    match &instance.state {
        State::PostgresInstance(instance) => Some(instance.id),
        _ => None,
    }
}

/// Returns whether a rule controls who may connect to PostgreSQL.
fn is_postgres_ingress(rule: &Object) -> bool {
    rule.properties.text("MODE").as_deref() == Some("POSTGRES_INGRESS")
}

/// Returns a rule's address blocks.
fn address_blocks(rule: &Object) -> Vec<AddressBlock> {
    let values = rule.properties.texts("VALUE_LIST").iter();
    values
        .filter_map(|value| AddressBlock::parse(value))
        .collect()
}

/// Returns the full names of the rules in a list of a policy.
pub fn rule_names(
    session: &Session,
    properties: &Properties,
    list: &str,
) -> SqlResult<Vec<ObjectName>> {
    let names = properties.texts(list).iter().map(|name| {
        let parsed = syntax::name(name).map_err(|_| SqlError::bad_value(name, list))?;
        session.full_name(Kind::NetworkRule, &parsed)
    });
    names.collect()
}

/// Returns the full names of all rules of a policy.
pub fn rules_of(session: &Session, policy: &Object) -> SqlResult<Vec<ObjectName>> {
    let mut all = rule_names(session, &policy.properties, ALLOWED_RULES)?;
    all.extend(rule_names(session, &policy.properties, BLOCKED_RULES)?);
    Ok(all)
}

/// Returns the access to PostgreSQL that a policy gives. Only rules of the mode `POSTGRES_INGRESS`
/// count.
fn policy_access(session: &Session, policy: &Object) -> SqlResult<Access> {
    let blocks = |list| -> SqlResult<Vec<AddressBlock>> {
        let mut blocks = Vec::new();
        for name in rule_names(session, &policy.properties, list)? {
            // A rule that no longer exists is ignored: it neither allows nor blocks anybody.
            if let Some(rule) = session.account().get(Kind::NetworkRule, &name)
                && is_postgres_ingress(&rule)
            {
                blocks.extend(address_blocks(&rule));
            }
        }
        Ok(blocks)
    };
    Ok(Access {
        allowed: blocks(ALLOWED_RULES)?,
        blocked: blocks(BLOCKED_RULES)?,
    })
}

/// Applies the network policies of all PostgreSQL instances to their servers.
pub async fn apply_policies(session: &Session) -> SqlResult<()> {
    for instance in session.account().list(Kind::PostgresInstance, &[]) {
        apply_policy(session, &instance).await?;
    }
    Ok(())
}

/// Applies an instance's network policy to its server. Without a policy nobody may connect.
pub async fn apply_policy(session: &Session, object: &Object) -> SqlResult<()> {
    let Some(id) = server_id(object) else {
        return Ok(());
    };
    let access = match object.properties.name("NETWORK_POLICY") {
        Some(name) => {
            let policy = session.account().find(Kind::NetworkPolicy, name)?;
            policy_access(session, &policy)?
        }
        None => Access::default(),
    };
    session.account().host.allow_postgres(id, &access).await
}

/// Applies the role of an instance's storage integration to its server, which writes through it.
pub async fn apply_storage(session: &Session, object: &Object) -> SqlResult<()> {
    let Some(id) = server_id(object) else {
        return Ok(());
    };
    let account = session.account();
    let name = object.properties.name("STORAGE_INTEGRATION");
    let integration = name.and_then(|name| account.get(Kind::StorageIntegration, name));
    let grant = integration.and_then(|integration| {
        let location = integration
            .properties
            .texts("STORAGE_ALLOWED_LOCATIONS")
            .first()?;
        integration.properties.is_true("ENABLED").then_some(())?;
        Some(Grant {
            integration: integration.name.to_string(),
            role: access::role(&integration)?,
            location: format!("{}/", location.trim_end_matches('/')),
        })
    });
    account.host.grant_postgres(id, grant.as_ref()).await
}

/// Applies a storage integration to the servers of all instances that use it.
pub async fn apply_integration(session: &Session, name: &ObjectName) -> SqlResult<()> {
    for instance in session.account().list(Kind::PostgresInstance, &[]) {
        if instance.properties.name("STORAGE_INTEGRATION") == Some(name) {
            apply_storage(session, &instance).await?;
        }
    }
    Ok(())
}
