//! Network policies: the network rules, and so the addresses, that may connect.

use async_trait::async_trait;
use datafusion::common::ScalarValue;

use super::{KindInfo, ObjectKind};
use crate::Kind;
use crate::host::AddressBlock;
use crate::object::columns::{COMMENT, CREATED_ON, NAME, column, text};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Object, Scope};
use crate::server_access::{self, ALLOWED_RULES, BLOCKED_RULES, rule_names};
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::rows::Rows;

pub struct NetworkPolicyKind;

const ALLOWED_ADDRESSES: &str = "ALLOWED_IP_LIST";
const BLOCKED_ADDRESSES: &str = "BLOCKED_IP_LIST";

const INFO: KindInfo = KindInfo {
    properties: &[
        Property::new(ALLOWED_RULES, PropertyType::Texts),
        Property::new(BLOCKED_RULES, PropertyType::Texts),
        Property::new(ALLOWED_ADDRESSES, PropertyType::Texts),
        Property::new(BLOCKED_ADDRESSES, PropertyType::Texts),
        properties::COMMENT,
    ],
    show: &[
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
    ..KindInfo::new(
        Kind::NetworkPolicy,
        &["NETWORK POLICY"],
        "NETWORK POLICIES",
        Scope::Account,
        "Network policy",
    )
};

fn count(policy: &Object, list: &str) -> ScalarValue {
    text(policy.properties.texts(list).len().to_string())
}

#[async_trait]
impl ObjectKind for NetworkPolicyKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn check(&self, session: &Session, properties: &Properties) -> SqlResult<()> {
        for list in [ALLOWED_RULES, BLOCKED_RULES] {
            for name in rule_names(session, properties, list)? {
                session.account().find(Kind::NetworkRule, &name)?;
            }
        }
        for list in [ALLOWED_ADDRESSES, BLOCKED_ADDRESSES] {
            for value in properties.texts(list) {
                if AddressBlock::parse(value).is_none() {
                    return Err(SqlError::bad_value(value, list));
                }
            }
        }
        Ok(())
    }

    async fn altered(&self, session: &Session, _: &Object) -> SqlResult<()> {
        server_access::apply_policies(session).await
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
