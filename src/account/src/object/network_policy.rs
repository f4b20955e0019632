//! Network policies: the network rules, and so the addresses, that may connect.

use async_trait::async_trait;
use datafusion::common::ScalarValue;

use super::columns::{COMMENT, CREATED_ON, NAME, column, text};
use super::network_rule::{self, Block};
use super::properties::{self, Properties, Property, PropertyType};
use super::{About, Kind, Object, Scope};
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;
use icebox_sql::syntax;

pub struct Definition;

const ALLOWED_RULES: &str = "ALLOWED_NETWORK_RULE_LIST";
const BLOCKED_RULES: &str = "BLOCKED_NETWORK_RULE_LIST";
const ALLOWED_ADDRESSES: &str = "ALLOWED_IP_LIST";
const BLOCKED_ADDRESSES: &str = "BLOCKED_IP_LIST";

const ABOUT: About = About {
    kind: Kind::NetworkPolicy,
    words: &["NETWORK POLICY"],
    plural: &["NETWORK POLICIES"],
    scope: Scope::Account,
    noun: "Network policy",
    created: ("Network policy ", " successfully created."),
    properties: &[
        Property::new(ALLOWED_RULES, PropertyType::Texts),
        Property::new(BLOCKED_RULES, PropertyType::Texts),
        Property::new(ALLOWED_ADDRESSES, PropertyType::Texts),
        Property::new(BLOCKED_ADDRESSES, PropertyType::Texts),
        properties::COMMENT,
    ],
    columns: &[
        CREATED_ON,
        NAME,
        COMMENT,
        column("entries_in_allowed_ip_list", |policy| {
            count(policy, ALLOWED_ADDRESSES)
        }),
        column("entries_in_blocked_ip_list", |policy| {
            count(policy, BLOCKED_ADDRESSES)
        }),
        column("entries_in_allowed_network_rules", |policy| {
            count(policy, ALLOWED_RULES)
        }),
        column("entries_in_blocked_network_rules", |policy| {
            count(policy, BLOCKED_RULES)
        }),
    ],
};

fn count(policy: &Object, list: &str) -> ScalarValue {
    text(policy.properties.texts(list).len().to_string())
}

/// Who may connect to a server with a policy: `blocked` is checked first, then `allowed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub allowed: Vec<Block>,
    pub blocked: Vec<Block>,
}

/// Returns the full names of the rules in a list of a policy.
fn names(session: &Session, properties: &Properties, list: &str) -> SqlResult<Vec<ObjectName>> {
    let names = properties.texts(list).iter().map(|name| {
        let parsed = syntax::name(name).map_err(|_| SqlError::bad_value(name, list))?;
        session.full_name(Kind::NetworkRule, &parsed)
    });
    names.collect()
}

/// Returns the full names of all rules of a policy.
pub fn rules(session: &Session, policy: &Object) -> SqlResult<Vec<ObjectName>> {
    let mut all = names(session, &policy.properties, ALLOWED_RULES)?;
    all.extend(names(session, &policy.properties, BLOCKED_RULES)?);
    Ok(all)
}

/// Returns the access to PostgreSQL that a policy gives. Only rules of the mode `POSTGRES_INGRESS`
/// count.
pub fn access(session: &Session, policy: &Object) -> SqlResult<Access> {
    let blocks = |list| -> SqlResult<Vec<Block>> {
        let mut blocks = Vec::new();
        for name in names(session, &policy.properties, list)? {
            // A rule that no longer exists is ignored: it neither allows nor blocks anybody.
            if let Some(rule) = session.account().get(Kind::NetworkRule, &name)
                && network_rule::is_postgres_ingress(&rule)
            {
                blocks.extend(network_rule::blocks(&rule));
            }
        }
        Ok(blocks)
    };
    Ok(Access {
        allowed: blocks(ALLOWED_RULES)?,
        blocked: blocks(BLOCKED_RULES)?,
    })
}

#[async_trait]
impl super::Definition for Definition {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check(&self, session: &Session, properties: &Properties) -> SqlResult<()> {
        for list in [ALLOWED_RULES, BLOCKED_RULES] {
            for name in names(session, properties, list)? {
                session.account().find(Kind::NetworkRule, &name)?;
            }
        }
        for list in [ALLOWED_ADDRESSES, BLOCKED_ADDRESSES] {
            for value in properties.texts(list) {
                if Block::parse(value).is_none() {
                    return Err(SqlError::bad_value(value, list));
                }
            }
        }
        Ok(())
    }

    async fn altered(&self, session: &Session, _: &Object) -> SqlResult<()> {
        session.apply_network_policies().await
    }

    async fn before_drop(&self, session: &Session, policy: &Object) -> SqlResult<()> {
        for instance in session.account().list(Kind::PostgresInstance, &[]) {
            if instance.properties.name("NETWORK_POLICY") == Some(&policy.name) {
                return Err(SqlError::in_use(
                    format_args!("network policy {}", policy.name),
                    format_args!("Postgres instance {}", instance.name),
                ));
            }
        }
        Ok(())
    }

    async fn describe(&self, _: &Session, policy: &Object) -> SqlResult<Rows> {
        let lists = [
            ALLOWED_ADDRESSES,
            BLOCKED_ADDRESSES,
            ALLOWED_RULES,
            BLOCKED_RULES,
        ];
        let set = lists
            .into_iter()
            .filter(|list| policy.properties.get(list).is_some());
        Ok(Rows::texts(
            &["name", "value"],
            set.map(|list| [Some(list.to_owned()), policy.properties.text(list)]),
        ))
    }
}
