//! Network rules: lists of addresses that policies allow or block.

use async_trait::async_trait;

use super::{KindInfo, ObjectKind};
use crate::host::AddressBlock;
use crate::object::columns::{
    COMMENT, CREATED_ON, Column, DATABASE_NAME, NAME, OWNER, OWNER_ROLE_TYPE, SCHEMA_NAME, column,
    optional, text,
};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Object, Scope};
use crate::session::Session;
use crate::{Kind, server_access};
use icebox_sql::error::{SqlError, SqlResult, code};

pub struct NetworkRuleKind;

const INFO: KindInfo = KindInfo {
    properties: &[
        Property::new("TYPE", PropertyType::OneOf(TYPES)).required(),
        Property::new("VALUE_LIST", PropertyType::Texts).required(),
        Property::new("MODE", PropertyType::OneOf(MODES)).with_default("INGRESS"),
        properties::COMMENT,
    ],
    show: &[
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
    describe: DESCRIBED,
    ..KindInfo::new(
        Kind::NetworkRule,
        &["NETWORK RULE"],
        "NETWORK RULES",
        Scope::Schema,
        "Network rule",
    )
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

#[async_trait]
impl ObjectKind for NetworkRuleKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
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
            let block = AddressBlock::parse(value);
            let is_everything = block.is_some_and(|block| block.bits == 0);
            if block.is_none() || (is_everything && mode == "POSTGRES_EGRESS") {
                return Err(SqlError::bad_value(value, "VALUE_LIST"));
            }
        }
        Ok(())
    }

    async fn altered(&self, session: &Session, _: &Object) -> SqlResult<()> {
        server_access::apply_policies(session).await
    }

    async fn before_drop(&self, session: &Session, rule: &Object) -> SqlResult<()> {
        for policy in session.account().list(Kind::NetworkPolicy, &[]) {
            if server_access::rules_of(session, &policy)?.contains(&rule.name) {
                let in_use = SqlError::in_use(
                    format_args!("network rule {}", rule.name.last()),
                    format_args!("network policy {}", policy.name),
                );
                return Err(SqlError::new(code::NETWORK_RULE_IN_USE, in_use.message));
            }
        }
        Ok(())
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
