//! External volumes: the location of Iceberg tables, and the role that gives access to it.

use async_trait::async_trait;
use serde_json::json;

use super::storage_integration::{self, Principal, bucket_of};
use super::{KindInfo, ObjectKind};
use crate::object::columns::{COMMENT, NAME, column, describe_property_groups, text};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Object, Scope};
use crate::session::Session;
use crate::{Kind, State, references};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;

pub struct ExternalVolumeKind;

const INFO: KindInfo = KindInfo {
    properties: &[
        Property::new("STORAGE_LOCATIONS", PropertyType::OptionsList(LOCATION)),
        Property::new("ALLOW_WRITES", PropertyType::Boolean).with_default("TRUE"),
        properties::COMMENT,
    ],
    show: &[
        NAME,
        column("allow_writes", |volume| {
            text(volume.properties.is_true("ALLOW_WRITES").to_string())
        }),
        COMMENT,
    ],
    ..KindInfo::new(
        Kind::ExternalVolume,
        &["EXTERNAL VOLUME"],
        "EXTERNAL VOLUMES",
        Scope::Account,
        "External volume",
    )
};

const LOCATION: &[Property] = &[
    Property::new("NAME", PropertyType::Text),
    Property::new("STORAGE_PROVIDER", PropertyType::OneOf(&["S3"])).required(),
    Property::new("STORAGE_BASE_URL", PropertyType::Text).required(),
    Property::new("STORAGE_AWS_ROLE_ARN", PropertyType::Text).required(),
    Property::new("STORAGE_AWS_EXTERNAL_ID", PropertyType::Text),
    Property::new("ENCRYPTION", PropertyType::Options(ENCRYPTION)),
    Property::new("USE_PRIVATELINK_ENDPOINT", PropertyType::Boolean),
];

const ENCRYPTION: &[Property] = &[
    Property::new(
        "TYPE",
        PropertyType::OneOf(&["NONE", "AWS_SSE_S3", "AWS_SSE_KMS"]),
    ),
    Property::new("KMS_KEY_ID", PropertyType::Text),
];

#[async_trait]
impl ObjectKind for ExternalVolumeKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn check(&self, _: &Session, properties: &Properties) -> SqlResult<()> {
        let locations = properties.options_list("STORAGE_LOCATIONS");
        if locations.is_empty() {
            return Err(SqlError::compilation(
                code::MISSING_OPTION,
                "External volume must have STORAGE_LOCATIONS defined.",
            ));
        }
        let mut names = std::collections::BTreeSet::new();
        for location in locations {
            let name = location.text("NAME").ok_or_else(|| {
                SqlError::compilation(
                    code::MISSING_OPTION,
                    "Property 'NAME' is required for all storage locations on an external volume.",
                )
            })?;
            if !names.insert(name.to_uppercase()) {
                return Err(SqlError::bad_value(name, "NAME"));
            }
            let url = location.text("STORAGE_BASE_URL").unwrap_or_default();
            if bucket_of(&url).is_none() {
                return Err(SqlError::bad_value(url, "STORAGE_BASE_URL"));
            }
        }
        Ok(())
    }

    fn state(&self, session: &Session, properties: &Properties) -> State {
        let given = properties
            .options_list("STORAGE_LOCATIONS")
            .first()
            .and_then(|location| location.text("STORAGE_AWS_EXTERNAL_ID"));
        State::Principal(Principal::new(session, false, given))
    }

    async fn created(&self, session: &Session, name: &ObjectName) -> SqlResult<()> {
        storage_integration::introduce(session, Kind::ExternalVolume, name).await
    }

    async fn before_drop(&self, session: &Session, volume: &Object) -> SqlResult<()> {
        for table in session.account().list(Kind::IcebergTable, &[]) {
            if table.properties.name("EXTERNAL_VOLUME") == Some(&volume.name) {
                return Err(SqlError::in_use(
                    format_args!("external volume {}", volume.name),
                    format_args!("Iceberg table {}", table.name),
                ));
            }
        }
        Ok(())
    }

    async fn describe(&self, session: &Session, volume: &Object) -> SqlResult<Rows> {
        let allow_writes = volume.properties.is_true("ALLOW_WRITES").to_string();
        let name = "ALLOW_WRITES".to_owned();
        let mut rows = vec![("", name, "Boolean", Some(allow_writes), "true")];
        let locations = volume.properties.options_list("STORAGE_LOCATIONS");
        for (index, location) in locations.iter().enumerate() {
            let (user, external_id) = match &volume.state {
                State::Principal(one) => (one.user_arn.as_str(), one.external_id.as_str()),
                _ => ("", ""),
            };
            let url = location.text("STORAGE_BASE_URL").unwrap_or_default();
            let encryption = location.options("ENCRYPTION");
            let encryption = encryption.and_then(|one| one.text("TYPE"));
            let value = json!({
                "NAME": location.text("NAME"),
                "STORAGE_PROVIDER": location.text("STORAGE_PROVIDER"),
                "STORAGE_BASE_URL": url,
                "STORAGE_ALLOWED_LOCATIONS": [format!("{}/*", url.trim_end_matches('/'))],
                "STORAGE_AWS_ROLE_ARN": location.text("STORAGE_AWS_ROLE_ARN"),
                "STORAGE_AWS_IAM_USER_ARN": user,
                "STORAGE_AWS_EXTERNAL_ID": external_id,
                "ENCRYPTION_TYPE": encryption.unwrap_or_else(|| "NONE".to_owned()),
                "ENCRYPTION_KMS_KEY_ID": "",
            });
            rows.push((
                "STORAGE_LOCATIONS",
                format!("STORAGE_LOCATION_{}", index + 1),
                "String",
                Some(value.to_string()),
                "",
            ));
        }
        // Snowflake chooses the active location at the first use.
        let tables = session.account().list(Kind::IcebergTable, &[]);
        let is_used = tables
            .iter()
            .any(|table| table.properties.name("EXTERNAL_VOLUME") == Some(&volume.name));
        let active = if is_used {
            references::active_location(volume)
        } else {
            String::new()
        };
        let name = "ACTIVE".to_owned();
        rows.push(("STORAGE_LOCATIONS", name, "String", Some(active), ""));
        if let Some(comment) = volume.properties.text("COMMENT") {
            rows.push(("", "COMMENT".to_owned(), "String", Some(comment), ""));
        }
        Ok(describe_property_groups(rows))
    }
}
