//! Storage integrations: the role that Snowflake assumes to reach a bucket, and the principal that
//! assumes it.

use async_trait::async_trait;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Ddl, KindInfo, ObjectKind};
use crate::object::columns::{
    COMMENT, CREATED_ON, ENABLED, NAME, column, describe_properties, text,
};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Object, Scope, ddl};
use crate::session::Session;
use crate::{Kind, State, server_access};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;

pub struct StorageIntegrationKind;

/// The type of integrations through which PostgreSQL writes.
pub const POSTGRES: &str = "POSTGRES_EXTERNAL_STORAGE";
/// The type of integrations that stages use.
pub const STAGE: &str = "EXTERNAL_STAGE";

const PROPERTIES: &[Property] = &[
    Property::new("TYPE", PropertyType::OneOf(&[POSTGRES, STAGE])).required(),
    Property::new("STORAGE_PROVIDER", PropertyType::OneOf(&["S3"])).required(),
    Property::new("ENABLED", PropertyType::Boolean).required(),
    Property::new("STORAGE_AWS_ROLE_ARN", PropertyType::Text).required(),
    Property::new("STORAGE_AWS_EXTERNAL_ID", PropertyType::Text),
    Property::new(
        "STORAGE_AWS_OBJECT_ACL",
        PropertyType::OneOf(&["bucket-owner-full-control"]),
    ),
    Property::new("STORAGE_ALLOWED_LOCATIONS", PropertyType::Texts).required(),
    Property::new("STORAGE_BLOCKED_LOCATIONS", PropertyType::Texts),
    Property::new("USE_PRIVATELINK_ENDPOINT", PropertyType::Boolean).with_default("FALSE"),
    properties::COMMENT,
];

const INFO: KindInfo = KindInfo {
    properties: PROPERTIES,
    show: &[
        NAME,
        column("type", |one| {
            text(one.properties.text("TYPE").unwrap_or_default())
        }),
        column("category", |_| "STORAGE".into()),
        ENABLED,
        COMMENT,
        CREATED_ON,
    ],
    ddl: Some(Ddl {
        object_type: "INTEGRATION",
        statement: |_, integration, name| {
            let options = ddl::options(&integration.properties, PROPERTIES, "\n\t");
            Some(format!(
                "create or replace storage integration {name}{options}"
            ))
        },
    }),
    ..KindInfo::new(
        Kind::StorageIntegration,
        &["STORAGE INTEGRATION"],
        "STORAGE INTEGRATIONS",
        Scope::Account,
        "Integration",
    )
};

/// The principal that assumes a role. Each integration and each external volume has its own
/// external id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub user_arn: String,
    pub external_id: String,
}

impl Principal {
    /// Returns a new principal. Its user is new, except for PostgreSQL, whose integrations share
    /// one user. A missing external id is generated.
    pub fn new(session: &Session, is_postgres: bool, external_id: Option<String>) -> Self {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let host = &session.account().host;
        let external_id = external_id.unwrap_or_else(|| {
            let mut random = rand::rng();
            let letters = std::iter::repeat_with(|| {
                char::from(LETTERS[random.random_range(0..LETTERS.len())])
            });
            let secret: String = letters.take(27).collect();
            format!("{}_SFCRole=2_{secret}=", host.account_locator())
        });
        Self {
            user_arn: host.iam_user(is_postgres),
            external_id,
        }
    }
}

/// Creates the IAM user of a new object's principal in AWS.
pub async fn introduce(session: &Session, kind: Kind, name: &ObjectName) -> SqlResult<()> {
    let account = session.account();
    match account.find(kind, name)?.state {
        State::Principal(principal) => account.host.add_iam_user(&principal.user_arn).await,
        _ => Ok(()),
    }
}

/// Returns the storage integration of a name, which must be of the type `ty`. Errors name
/// `parameter`, the option that the name is the value of.
pub fn of_type(
    session: &Session,
    name: &ObjectName,
    ty: &str,
    parameter: &str,
) -> SqlResult<Object> {
    let integration = session.account().find(Kind::StorageIntegration, name)?;
    if integration.properties.text("TYPE").as_deref() == Some(ty) {
        Ok(integration)
    } else {
        Err(SqlError::bad_value(
            name,
            &format!("{parameter} (must be of type {ty})"),
        ))
    }
}

/// Returns whether a location is within one of an integration's allowed locations, and within none
/// of its blocked ones.
pub fn allows(integration: &Object, location: &str) -> bool {
    let is_in = |list: &str| {
        let mut places = integration.properties.texts(list).iter();
        places.any(|place| {
            place == "*"
                || location
                    .strip_prefix(place.trim_end_matches('/'))
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    is_in("STORAGE_ALLOWED_LOCATIONS") && !is_in("STORAGE_BLOCKED_LOCATIONS")
}

/// Checks that an integration allows a location.
///
/// # Errors
/// If the integration does not allow it.
pub fn check_location(integration: &Object, location: &str) -> SqlResult<()> {
    if allows(integration, location) {
        return Ok(());
    }
    let text = format!(
        "Location '{location}' is not allowed by integration {}. Please use DESC INTEGRATION to check out allowed and blocked locations.",
        integration.name
    );
    Err(SqlError::compilation(code::LOCATION_NOT_ALLOWED, text))
}

#[async_trait]
impl ObjectKind for StorageIntegrationKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn check(&self, _: &Session, properties: &Properties) -> SqlResult<()> {
        let allowed = properties.texts("STORAGE_ALLOWED_LOCATIONS");
        let is_postgres = properties.text("TYPE").as_deref() == Some(POSTGRES);
        if allowed.is_empty() || (is_postgres && allowed.len() > 1) {
            return Err(SqlError::bad_value(
                allowed.join(", "),
                "STORAGE_ALLOWED_LOCATIONS",
            ));
        }
        let blocked = properties.texts("STORAGE_BLOCKED_LOCATIONS");
        for location in allowed.iter().chain(blocked) {
            let is_everything = location == "*" && !is_postgres;
            if !is_everything && bucket_of(location).is_none() {
                return Err(SqlError::bad_value(location, "STORAGE_ALLOWED_LOCATIONS"));
            }
        }
        Ok(())
    }

    fn state(&self, session: &Session, properties: &Properties) -> State {
        let is_postgres = properties.text("TYPE").as_deref() == Some(POSTGRES);
        let given = properties.text("STORAGE_AWS_EXTERNAL_ID");
        State::Principal(Principal::new(session, is_postgres, given))
    }

    async fn created(&self, session: &Session, name: &ObjectName) -> SqlResult<()> {
        introduce(session, Kind::StorageIntegration, name).await?;
        // A replaced integration has a new external id.
        server_access::apply_integration(session, name).await
    }

    async fn altered(&self, session: &Session, integration: &Object) -> SqlResult<()> {
        server_access::apply_integration(session, &integration.name).await
    }

    async fn describe(&self, _: &Session, one: &Object) -> SqlResult<Rows> {
        let principal = match &one.state {
            State::Principal(principal) => Some(principal),
            _ => None,
        };
        let value = |name| one.properties.text(name);
        let mut rows = vec![
            ("ENABLED", "Boolean", value("ENABLED"), "false"),
            ("STORAGE_PROVIDER", "String", value("STORAGE_PROVIDER"), ""),
            (
                "STORAGE_ALLOWED_LOCATIONS",
                "List",
                value("STORAGE_ALLOWED_LOCATIONS"),
                "[]",
            ),
            (
                "STORAGE_BLOCKED_LOCATIONS",
                "List",
                value("STORAGE_BLOCKED_LOCATIONS"),
                "[]",
            ),
            (
                "STORAGE_AWS_IAM_USER_ARN",
                "String",
                principal.map(|principal| principal.user_arn.clone()),
                "",
            ),
            (
                "STORAGE_AWS_ROLE_ARN",
                "String",
                value("STORAGE_AWS_ROLE_ARN"),
                "",
            ),
            (
                "STORAGE_AWS_EXTERNAL_ID",
                "String",
                principal.map(|principal| principal.external_id.clone()),
                "",
            ),
            (
                "USE_PRIVATELINK_ENDPOINT",
                "Boolean",
                value("USE_PRIVATELINK_ENDPOINT"),
                "false",
            ),
            ("COMMENT", "String", value("COMMENT"), ""),
        ];
        if let Some(acl) = value("STORAGE_AWS_OBJECT_ACL") {
            rows.insert(8, ("STORAGE_AWS_OBJECT_ACL", "String", Some(acl), ""));
        }
        Ok(describe_properties(rows))
    }
}

/// Splits `s3://bucket/key` into the bucket and the key.
pub fn bucket_of(location: &str) -> Option<(&str, &str)> {
    let rest = location
        .strip_prefix("s3://")
        .or_else(|| location.strip_prefix("s3gov://"))?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    (!bucket.is_empty()).then_some((bucket, key))
}
