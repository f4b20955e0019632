//! Network rules: lists of addresses that policies allow or block.

use std::net::Ipv4Addr;

use async_trait::async_trait;

use super::columns::{
    self, COMMENT, CREATED_ON, Column, DATABASE_NAME, NAME, OWNER, OWNER_ROLE_TYPE, SCHEMA_NAME,
    column, optional, text,
};
use super::properties::{self, Properties, Property, PropertyType};
use super::{About, Kind, Object, Scope};
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::rows::Rows;

pub struct Definition;

const ABOUT: About = About {
    kind: Kind::NetworkRule,
    words: &["NETWORK RULE"],
    plural: &["NETWORK RULES"],
    scope: Scope::Schema,
    noun: "Network rule",
    created: ("Network rule ", " successfully created."),
    properties: &[
        Property::new("TYPE", PropertyType::OneOf(TYPES)).required(),
        Property::new("VALUE_LIST", PropertyType::Texts).required(),
        Property::new("MODE", PropertyType::OneOf(MODES)).with_default("INGRESS"),
        properties::COMMENT,
    ],
    columns: &[
        CREATED_ON,
        NAME,
        DATABASE_NAME,
        SCHEMA_NAME,
        OWNER,
        COMMENT,
        column("type", |rule| {
            text(rule.properties.text("TYPE").unwrap_or_default())
        }),
        column("mode", |rule| {
            text(rule.properties.text("MODE").unwrap_or_default())
        }),
        column("entries_in_valuelist", |rule| {
            text(rule.properties.texts("VALUE_LIST").len().to_string())
        }),
        OWNER_ROLE_TYPE,
    ],
};

const TYPES: &[&str] = &[
    "IPV4",
    "AWSVPCEID",
    "AZURELINKID",
    "GCPPSCID",
    "HOST_PORT",
    "PRIVATE_HOST_PORT",
];
const MODES: &[&str] = &[
    "INGRESS",
    "INTERNAL_STAGE",
    "EGRESS",
    "POSTGRES_INGRESS",
    "POSTGRES_EGRESS",
];
/// The modes of rules with IPv4 addresses.
const IPV4_MODES: &[&str] = &["INGRESS", "POSTGRES_INGRESS", "POSTGRES_EGRESS"];

/// A block of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub address: Ipv4Addr,
    /// The length of the prefix.
    pub bits: u8,
}

impl Block {
    /// Parses `1.2.3.4` or `1.2.3.0/24`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, bits.parse().ok()?),
            None => (text, 32),
        };
        let address = address.trim().parse().ok()?;
        (bits <= 32).then_some(Self { address, bits })
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Returns whether a rule controls who may connect to PostgreSQL.
pub fn is_postgres_ingress(rule: &Object) -> bool {
    rule.properties.text("MODE").as_deref() == Some("POSTGRES_INGRESS")
}

/// Returns a rule's address blocks.
pub fn blocks(rule: &Object) -> Vec<Block> {
    let values = rule.properties.texts("VALUE_LIST").iter();
    values.filter_map(|value| Block::parse(value)).collect()
}

#[async_trait]
impl super::Definition for Definition {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check(&self, _: &Session, properties: &Properties) -> SqlResult<()> {
        let mode = properties.text("MODE").unwrap_or_default();
        if properties.text("TYPE").as_deref() != Some("IPV4") {
            return Ok(());
        }
        if !IPV4_MODES.contains(&mode.as_str()) {
            let text = format!(
                "The network rule mode {mode} is not supported by the network rule type IPv4. The network rule mode must be one of [{}].",
                IPV4_MODES.join(", ")
            );
            return Err(SqlError::compilation(code::INVALID_VALUE, text));
        }
        for value in properties.texts("VALUE_LIST") {
            let block = Block::parse(value);
            let is_everything = block.is_some_and(|block| block.bits == 0);
            if block.is_none() || (is_everything && mode == "POSTGRES_EGRESS") {
                return Err(SqlError::bad_value(value, "VALUE_LIST"));
            }
        }
        Ok(())
    }

    async fn altered(&self, session: &Session, _: &Object) -> SqlResult<()> {
        session.apply_network_policies().await
    }

    async fn before_drop(&self, session: &Session, rule: &Object) -> SqlResult<()> {
        for policy in session.account().list(Kind::NetworkPolicy, &[]) {
            if super::network_policy::rules(session, &policy)?.contains(&rule.name) {
                let in_use = SqlError::in_use(
                    format_args!("network rule {}", rule.name.last()),
                    format_args!("network policy {}", policy.name),
                );
                return Err(SqlError::new(code::NETWORK_RULE_IN_USE, in_use.message));
            }
        }
        Ok(())
    }

    async fn describe(&self, _: &Session, rule: &Object) -> SqlResult<Rows> {
        columns::table(DESCRIBED, [rule])
    }
}

const DESCRIBED: &[Column] = &[
    CREATED_ON,
    NAME,
    column("type", |rule| optional(rule.properties.text("TYPE"))),
    column("mode", |rule| optional(rule.properties.text("MODE"))),
    COMMENT,
    column("value_list", |rule| {
        text(rule.properties.texts("VALUE_LIST").join(","))
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_addresses() {
        assert_eq!(Block::parse("0.0.0.0/0").unwrap().to_string(), "0.0.0.0/0");
        assert_eq!(Block::parse("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        for bad in ["", "10.1.2", "10.1.2.3/33", "10.1.2.3/x", "::1", "host"] {
            assert_eq!(Block::parse(bad), None, "{bad}");
        }
    }
}
