//! Warehouses. A session needs one, as in Snowflake, but they compute nothing here.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Ddl, KindInfo, ObjectKind};
use crate::object::columns::{
    COMMENT, COUNT, CREATED_ON, Column, IS_CURRENT, NAME, OWNER, OWNER_ROLE_TYPE, column, text,
};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Object, Scope, ddl};
use crate::session::Session;
use crate::{Kind, State};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;

pub struct WarehouseKind;

const SIZES: &[&str] = &[
    "XSMALL", "X-SMALL", "SMALL", "MEDIUM", "LARGE", "XLARGE", "X-LARGE", "XXLARGE", "X2LARGE",
    "2X-LARGE", "XXXLARGE", "X3LARGE", "3X-LARGE", "X4LARGE", "4X-LARGE", "X5LARGE", "5X-LARGE",
    "X6LARGE", "6X-LARGE",
];

const PROPERTIES: &[Property] = &[
    Property::new("WAREHOUSE_SIZE", PropertyType::OneOf(SIZES)).with_default("XSMALL"),
    Property::new(
        "WAREHOUSE_TYPE",
        PropertyType::OneOf(&["STANDARD", "SNOWPARK-OPTIMIZED"]),
    )
    .with_default("STANDARD"),
    Property::new("MIN_CLUSTER_COUNT", PropertyType::Integer(1, 10)).with_default("1"),
    Property::new("MAX_CLUSTER_COUNT", PropertyType::Integer(1, 10)).with_default("1"),
    Property::new(
        "SCALING_POLICY",
        PropertyType::OneOf(&["STANDARD", "ECONOMY"]),
    )
    .with_default("STANDARD"),
    Property::new("AUTO_SUSPEND", PropertyType::Integer(0, u32::MAX as u64)).with_default("600"),
    Property::new("AUTO_RESUME", PropertyType::Boolean).with_default("TRUE"),
    Property::new("INITIALLY_SUSPENDED", PropertyType::Boolean).with_default("FALSE"),
    properties::COMMENT,
];

const INFO: KindInfo = KindInfo {
    properties: PROPERTIES,
    show: &[
        NAME,
        column("state", |one| {
            text(if is_suspended(one) {
                "SUSPENDED"
            } else {
                "STARTED"
            })
        }),
        column("type", |one| {
            text(one.properties.text("WAREHOUSE_TYPE").unwrap_or_default())
        }),
        column("size", |one| text(size(one))),
        Column {
            name: "min_cluster_count",
            ty: COUNT,
            value: |one| one.properties.integer("MIN_CLUSTER_COUNT").into(),
        },
        Column {
            name: "max_cluster_count",
            ty: COUNT,
            value: |one| one.properties.integer("MAX_CLUSTER_COUNT").into(),
        },
        Column {
            name: "auto_suspend",
            ty: COUNT,
            value: |one| one.properties.integer("AUTO_SUSPEND").into(),
        },
        column("is_default", |_| "N".into()),
        IS_CURRENT,
        column("auto_resume", |one| {
            text(one.properties.is_true("AUTO_RESUME").to_string())
        }),
        CREATED_ON,
        OWNER,
        COMMENT,
        OWNER_ROLE_TYPE,
    ],
    describe: &[CREATED_ON, NAME, column("kind", |_| "WAREHOUSE".into())],
    ddl: Some(Ddl {
        object_type: "WAREHOUSE",
        statement: |_, warehouse, name| {
            let options = ddl::options(&warehouse.properties, PROPERTIES, "\n\t");
            let with = if options.is_empty() { "" } else { "\nwith" };
            Some(format!("create or replace warehouse {name}{with}{options}"))
        },
    }),
    ..KindInfo::new(
        Kind::Warehouse,
        &["WAREHOUSE"],
        "WAREHOUSES",
        Scope::Account,
        "Warehouse",
    )
};

/// The state of a warehouse.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Warehouse {
    pub is_suspended: bool,
}

fn is_suspended(warehouse: &Object) -> bool {
    matches!(&warehouse.state, State::Warehouse(state) if state.is_suspended)
}

/// Returns the size as SHOW writes it: `X-Small`, `Medium`, `2X-Large`.
fn size(warehouse: &Object) -> &'static str {
    let size = warehouse
        .properties
        .text("WAREHOUSE_SIZE")
        .unwrap_or_default();
    match size.replace('-', "").as_str() {
        "SMALL" => "Small",
        "MEDIUM" => "Medium",
        "LARGE" => "Large",
        "XLARGE" => "X-Large",
        "XXLARGE" | "X2LARGE" | "2XLARGE" => "2X-Large",
        "XXXLARGE" | "X3LARGE" | "3XLARGE" => "3X-Large",
        "X4LARGE" | "4XLARGE" => "4X-Large",
        "X5LARGE" | "5XLARGE" => "5X-Large",
        "X6LARGE" | "6XLARGE" => "6X-Large",
        _ => "X-Small",
    }
}

#[async_trait]
impl ObjectKind for WarehouseKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn options(&self, cursor: &mut Cursor<'_>) -> SqlResult<Properties> {
        cursor.accept("WITH");
        Properties::parse_new(cursor, PROPERTIES)
    }

    fn state(&self, _: &Session, properties: &Properties) -> State {
        State::Warehouse(Warehouse {
            is_suspended: properties.is_true("INITIALLY_SUSPENDED"),
        })
    }

    async fn created(&self, session: &Session, name: &ObjectName) -> SqlResult<()> {
        session.use_warehouse(name.last());
        Ok(())
    }

    async fn alter(
        &self,
        session: &Session,
        object: Object,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Rows> {
        let suspend = cursor.accept("SUSPEND");
        if !suspend {
            cursor.expect("RESUME")?;
            cursor.accept("IF SUSPENDED");
        }
        cursor.expect_end()?;
        if suspend == is_suspended(&object) && suspend {
            let text = format!(
                "Invalid state. Warehouse '{}' cannot be suspended.",
                object.name
            );
            return Err(SqlError::new(code::INVALID_WAREHOUSE_STATE, text));
        }
        session
            .account()
            .update(Kind::Warehouse, &object.name, |warehouse| {
                warehouse.state = State::Warehouse(Warehouse {
                    is_suspended: suspend,
                });
                Ok(())
            })?;
        Ok(Rows::succeeded())
    }

    fn dropped(&self, session: &Session, name: &ObjectName) {
        session.change(|current| {
            current.warehouse.take_if(|current| current == name.last());
        });
    }
}
