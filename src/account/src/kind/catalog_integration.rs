//! Catalog integrations: where Snowflake finds Iceberg tables that other engines write.

use async_trait::async_trait;

use super::{KindInfo, ObjectKind};
use crate::Kind;
use crate::object::columns::{COMMENT, CREATED_ON, ENABLED, NAME, column, describe_properties};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Object, Scope};
use crate::references::SNOWFLAKE_POSTGRES;
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;

pub struct CatalogIntegrationKind;

/// The `CATALOG_SOURCE` of tables that are created from metadata files.
const OBJECT_STORE: &str = "OBJECT_STORE";
const INFO: KindInfo = KindInfo {
    created_noun: "Integration",
    properties: &[
        Property::new(
            "CATALOG_SOURCE",
            PropertyType::OneOf(&[OBJECT_STORE, SNOWFLAKE_POSTGRES]),
        )
        .required(),
        Property::new("TABLE_FORMAT", PropertyType::OneOf(&["ICEBERG"])).required(),
        Property::new("ENABLED", PropertyType::Boolean).required(),
        Property::new(
            "REFRESH_INTERVAL_SECONDS",
            PropertyType::Integer(30, 86_400),
        )
        .with_default("30"),
        Property::new("CATALOG_NAMESPACE", PropertyType::Text),
        Property::new("REST_CONFIG", PropertyType::Options(REST_CONFIG)),
        properties::COMMENT,
    ],
    show: &[
        NAME,
        ENABLED,
        column("type", |_| "CATALOG".into()),
        column("category", |_| "CATALOG".into()),
        COMMENT,
        CREATED_ON,
    ],
    ..KindInfo::new(
        Kind::CatalogIntegration,
        &["CATALOG INTEGRATION"],
        "CATALOG INTEGRATIONS",
        Scope::Account,
        "Catalog integration",
    )
};

/// The options of `REST_CONFIG`, in the order in which DESCRIBE shows them.
const REST_CONFIG: &[Property] = &[
    Property::new("CATALOG_NAME", PropertyType::Text).required(),
    Property::new(
        "ACCESS_DELEGATION_MODE",
        PropertyType::OneOf(&["VENDED_CREDENTIALS"]),
    )
    .with_default("VENDED_CREDENTIALS"),
    Property::new("POSTGRES_INSTANCE", PropertyType::Name).required(),
];

#[async_trait]
impl ObjectKind for CatalogIntegrationKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn missing(&self, name: &ObjectName) -> SqlError {
        SqlError::no_such("Integration", name)
    }

    fn check(&self, session: &Session, properties: &Properties) -> SqlResult<()> {
        let is_postgres = properties.text("CATALOG_SOURCE").as_deref() == Some(SNOWFLAKE_POSTGRES);
        match properties.options("REST_CONFIG") {
            None if is_postgres => Err(SqlError::compilation(
                code::MISSING_OPTION,
                "Missing option(s): REST_CONFIG",
            )),
            Some(_) if !is_postgres => Err(SqlError::bad_value("REST_CONFIG", "CATALOG_SOURCE")),
            Some(config) => {
                let name = config.name("POSTGRES_INSTANCE");
                let name = name.ok_or_else(|| SqlError::bad_value("", "POSTGRES_INSTANCE"))?;
                let name = session.full_name(Kind::PostgresInstance, name)?;
                session.account().find(Kind::PostgresInstance, &name)?;
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn before_drop(&self, session: &Session, one: &Object) -> SqlResult<()> {
        for table in session.account().list(Kind::IcebergTable, &[]) {
            if table.properties.name("CATALOG") == Some(&one.name) {
                return Err(SqlError::in_use(
                    format_args!("catalog integration {}", one.name),
                    format_args!("Iceberg table {}", table.name),
                ));
            }
        }
        Ok(())
    }

    async fn describe(&self, _: &Session, one: &Object) -> SqlResult<Rows> {
        let value = |name| one.properties.text(name);
        let mut rows = vec![
            ("ENABLED", "Boolean", value("ENABLED"), "true"),
            ("CATALOG_SOURCE", "String", value("CATALOG_SOURCE"), ""),
            ("TABLE_FORMAT", "String", value("TABLE_FORMAT"), ""),
            (
                "REFRESH_INTERVAL_SECONDS",
                "Integer",
                value("REFRESH_INTERVAL_SECONDS"),
                "30",
            ),
        ];
        if let Some(config) = one.properties.options("REST_CONFIG") {
            let options = REST_CONFIG.iter().filter_map(|option| {
                let value = config.text(option.name)?;
                Some(format!("{}={value}", option.name))
            });
            let options: Vec<_> = options.collect();
            let config = format!("{{{}}}", options.join(", "));
            rows.push(("REST_CONFIG", "EnumMap", Some(config), ""));
        }
        rows.push(("COMMENT", "String", value("COMMENT"), ""));
        Ok(describe_properties(rows))
    }
}
