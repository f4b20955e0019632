//! PostgreSQL instances, which are real servers of the sandbox's PostgreSQL engine.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use serde::{Deserialize, Serialize};

use super::storage_integration::{self, POSTGRES};
use super::{Created, KindInfo, ObjectKind};
use crate::account::Account;
use crate::host::{NewPostgres, Postgres};
use crate::object::columns::{
    self, COMMENT, CREATED_ON, Column, NAME, OWNER, OWNER_ROLE_TYPE, TIME, column, optional, text,
};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Create, Object, Scope};
use crate::server_access::{apply_policy, apply_storage};
use crate::session::Session;
use crate::{Kind, State};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::DataType;

pub struct PostgresInstanceKind;

/// The host's id of the server that exists without CREATE POSTGRES INSTANCE.
pub const OWN: u64 = 0;

/// The server of an instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Instance {
    /// The host's id of the server.
    pub id: u64,
    pub host: String,
    pub port: u16,
    pub version: String,
    pub certificate: String,
    pub is_suspended: bool,
}

/// The compute families. Those that `pg_lake` runs on come first: it does not run on burstable
/// instances.
const FAMILIES: &[&str] = &[
    "STANDARD_M",
    "STANDARD_L",
    "STANDARD_XL",
    "STANDARD_2XL",
    "STANDARD_4XL",
    "STANDARD_8XL",
    "STANDARD_12XL",
    "STANDARD_24XL",
    "HIGHMEM_L",
    "HIGHMEM_XL",
    "HIGHMEM_2XL",
    "HIGHMEM_4XL",
    "HIGHMEM_8XL",
    "HIGHMEM_12XL",
    "HIGHMEM_16XL",
    "HIGHMEM_24XL",
    "HIGHMEM_32XL",
    "HIGHMEM_48XL",
    "BURST_XS",
    "BURST_S",
    "BURST_M",
];

/// The roles that every instance is created with.
const ROLES: &[&str] = &["snowflake_admin", "application"];

const PROPERTIES: &[Property] = &[
    Property::new("COMPUTE_FAMILY", PropertyType::OneOf(FAMILIES)).required(),
    Property::new("STORAGE_SIZE_GB", PropertyType::Integer(10, 65_535)).required(),
    Property::new(
        "AUTHENTICATION_AUTHORITY",
        PropertyType::OneOf(&["POSTGRES", "POSTGRES_OR_SNOWFLAKE"]),
    )
    .required(),
    Property::new("POSTGRES_VERSION", PropertyType::Integer(15, 18)),
    Property::new("NETWORK_POLICY", PropertyType::Name),
    Property::new("STORAGE_INTEGRATION", PropertyType::Name),
    Property::new("HIGH_AVAILABILITY", PropertyType::Boolean).with_default("FALSE"),
    Property::new("POSTGRES_SETTINGS", PropertyType::Text),
    Property::new("MAINTENANCE_WINDOW_START", PropertyType::Integer(0, 23)),
    properties::COMMENT,
];

const INFO: KindInfo = KindInfo {
    properties: PROPERTIES,
    show: &[
        NAME,
        OWNER,
        OWNER_ROLE_TYPE,
        CREATED_ON,
        Column {
            name: "updated_on",
            ty: TIME,
            value: |one| columns::time(one.updated_on),
        },
        column("type", |_| "PRIMARY".into()),
        column("origin", |_| ScalarValue::Utf8(None)),
        column("host", |one| {
            optional(one.state::<Instance>().map(|one| one.host.clone()))
        }),
        column("privatelink_service_identifier", |_| {
            ScalarValue::Utf8(None)
        }),
        column("compute_family", |one| {
            optional(one.properties.text("COMPUTE_FAMILY"))
        }),
        column("authentication_authority", |one| {
            optional(one.properties.text("AUTHENTICATION_AUTHORITY"))
        }),
        Column {
            name: "storage_size",
            ty: DataType::Number {
                precision: 10,
                scale: 0,
            },
            value: |one| one.properties.integer("STORAGE_SIZE_GB").into(),
        },
        column("postgres_version", |one| {
            optional(one.state::<Instance>().map(|one| major(&one.version)))
        }),
        column("postgres_settings", |one| optional(Some(settings(one)))),
        column("is_ha", |one| {
            text(one.properties.is_true("HIGH_AVAILABILITY").to_string())
        }),
        Column {
            name: "retention_time",
            ty: DataType::Number {
                precision: 10,
                scale: 0,
            },
            value: |_| ScalarValue::UInt64(Some(0)),
        },
        column("state", |one| text(state(one))),
        COMMENT,
    ],
    ..KindInfo::new(
        Kind::PostgresInstance,
        &["POSTGRES INSTANCE"],
        "POSTGRES INSTANCES",
        Scope::Account,
        "Postgres instance",
    )
};

fn state(object: &Object) -> &'static str {
    match object.state::<Instance>() {
        Some(instance) if instance.is_suspended => "SUSPENDED",
        Some(_) => "READY",
        None => "CREATING",
    }
}

/// Returns the major version, such as `15` for `15.18`.
fn major(version: &str) -> String {
    version.split('.').next().unwrap_or(version).to_owned()
}

fn settings(object: &Object) -> String {
    let settings = object.properties.text("POSTGRES_SETTINGS");
    settings.unwrap_or_else(|| "{}".to_owned())
}

/// Records the address of a server that has started, and applies its storage integration and
/// network policy.
async fn record_running(session: &Session, object: &Object, server: &Postgres) -> SqlResult<()> {
    let account = session.account();
    let instance = Instance {
        id: object
            .state::<Instance>()
            .map_or(object.id, |instance| instance.id),
        host: server.host.clone(),
        port: server.port,
        version: server.version.clone(),
        certificate: server.certificate.clone(),
        is_suspended: false,
    };
    let object = account.update(Kind::PostgresInstance, &object.name, |object| {
        object.state = State::PostgresInstance(instance);
        Ok(object.clone())
    })?;
    apply_storage(session, &object).await?;
    apply_policy(session, &object).await
}

/// Returns whether an instance is the server that exists without CREATE POSTGRES INSTANCE.
pub fn is_own(object: &Object) -> bool {
    object
        .state::<Instance>()
        .is_some_and(|instance| instance.id == OWN)
}

/// Registers the server that exists without CREATE POSTGRES INSTANCE as an instance.
pub async fn adopt(session: &Session, name: ObjectName, server: &Postgres) -> SqlResult<()> {
    let mut properties = Properties::default();
    for (name, value) in [
        ("COMPUTE_FAMILY", FAMILIES[0]),
        ("AUTHENTICATION_AUTHORITY", "POSTGRES"),
        ("COMMENT", "The sandbox's own server"),
    ] {
        properties.set(name, properties::Value::Text(value.to_owned()));
    }
    properties.set("STORAGE_SIZE_GB", properties::Value::Integer(10));
    properties.complete(PROPERTIES)?;
    let state = State::PostgresInstance(Instance {
        id: OWN,
        host: server.host.clone(),
        port: server.port,
        version: server.version.clone(),
        certificate: server.certificate.clone(),
        is_suspended: false,
    });
    session.create_or_replace(Kind::PostgresInstance, name, properties, state)?;
    Ok(())
}

fn record_suspended(account: &Account, object: &Object) -> SqlResult<()> {
    account.update(Kind::PostgresInstance, &object.name, |object| {
        if let State::PostgresInstance(instance) = &mut object.state {
            instance.is_suspended = true;
        }
        Ok(())
    })
}

/// Starts every server that was not suspended when the account was last open. An instance whose
/// server does not start is suspended.
pub async fn resume_all(account: &Arc<Account>) {
    let session = Session::new(Arc::clone(account), Ident::unquoted("SYSTEM"));
    let instances = account.list(Kind::PostgresInstance, &[]);
    let resumed = instances.iter().map(|object| async {
        let Some(instance) = object
            .state::<Instance>()
            .filter(|instance| !instance.is_suspended)
        else {
            return;
        };
        let result = match account.host.resume_postgres(instance.id).await {
            Ok(server) => record_running(&session, object, &server).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::error!(instance = %object.name, %error, "it does not start, and is suspended");
            let _ = record_suspended(account, object);
        }
    });
    futures::future::join_all(resumed).await;
}

impl PostgresInstanceKind {
    /// Sets a new password for one of the roles that every instance has.
    async fn reset_access(
        &self,
        session: &Session,
        object: &Object,
        role: &str,
    ) -> SqlResult<Rows> {
        let instance = object
            .state::<Instance>()
            .ok_or_else(|| ObjectKind::missing(self, &object.name))?;
        if !ROLES.contains(&role) {
            let parameter = format!("RESET ACCESS FOR (one of {})", ROLES.join(", "));
            return Err(SqlError::bad_value(role, &parameter));
        }
        if instance.is_suspended {
            let name = object.name.last();
            let text = format!(
                "Postgres instance {name} is SUSPENDED. Run ALTER POSTGRES INSTANCE {name} RESUME first."
            );
            return Err(SqlError::new(code::INVALID_INSTANCE_STATE, text));
        }
        let host = &session.account().host;
        let password = host.reset_postgres(instance.id, role).await?;
        Ok(Rows::texts(&["password"], [[Some(password)]]))
    }
}

#[async_trait]
impl ObjectKind for PostgresInstanceKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn missing(&self, name: &ObjectName) -> SqlError {
        let text = format!("Object '{name}' does not exist or not authorized.");
        SqlError::compilation(code::POSTGRES_INSTANCE_NOT_FOUND, text)
    }

    fn check(&self, session: &Session, properties: &Properties) -> SqlResult<()> {
        if let Some(name) = properties.name("STORAGE_INTEGRATION") {
            storage_integration::of_type(session, name, POSTGRES, "STORAGE_INTEGRATION")?;
        }
        if let Some(name) = properties.name("NETWORK_POLICY") {
            session.account().find(Kind::NetworkPolicy, name)?;
        }
        Ok(())
    }

    async fn create(
        &self,
        session: &Session,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Created> {
        let at = cursor.position();
        let properties = Properties::parse_new(cursor, PROPERTIES)?;
        cursor.expect_end()?;
        if create.or_replace {
            return Err(SqlError::syntax(at, "OR REPLACE"));
        }
        self.check(session, &properties)?;
        if session.is_skipped(Kind::PostgresInstance, &create)? {
            return Ok(Created::Done(Rows::texts::<1>(&["status"], [])));
        }
        let version = properties.integer("POSTGRES_VERSION");
        session.create(Kind::PostgresInstance, &create, properties, State::None)?;
        let name = session.full_name(Kind::PostgresInstance, &create.name)?;
        let account = session.account();
        let object = account.find(Kind::PostgresInstance, &name)?;
        let request = NewPostgres {
            id: object.id,
            name: name.last().as_str().to_owned(),
            version,
        };
        let made = match account.host.create_postgres(&request).await {
            Ok(made) => made,
            Err(error) => {
                account.drop_object(Kind::PostgresInstance, &name)?;
                return Err(error);
            }
        };
        record_running(session, &object, &made).await?;
        let passwords: serde_json::Map<_, _> = made
            .passwords
            .into_iter()
            .map(|(role, password)| (role, password.into()))
            .collect();
        Ok(Created::Done(Rows::texts(
            &["status", "host", "access_roles", "default_database"],
            [[
                Some("Postgres instance creation initiated.".to_owned()),
                Some(made.host),
                Some(serde_json::Value::Object(passwords).to_string()),
                Some("postgres".to_owned()),
            ]],
        )))
    }

    async fn alter(
        &self,
        session: &Session,
        object: Object,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Rows> {
        if cursor.accept("RESET ACCESS FOR") {
            let role = cursor.string()?;
            cursor.expect_end()?;
            return self.reset_access(session, &object, &role).await;
        }
        let suspend = cursor.accept("SUSPEND");
        if !suspend {
            cursor.expect("RESUME")?;
        }
        cursor.expect_end()?;
        let account = session.account();
        let instance = object
            .state::<Instance>()
            .ok_or_else(|| self.missing(&object.name))?;
        match (instance.is_suspended, suspend) {
            (false, true) => {
                account.host.suspend_postgres(instance.id).await?;
                record_suspended(account, &object)?;
            }
            (true, false) => {
                let made = account.host.resume_postgres(instance.id).await?;
                record_running(session, &object, &made).await?;
            }
            _ => {}
        }
        Ok(Rows::succeeded())
    }

    async fn altered(&self, session: &Session, object: &Object) -> SqlResult<()> {
        apply_storage(session, object).await?;
        apply_policy(session, object).await
    }

    async fn before_drop(&self, session: &Session, object: &Object) -> SqlResult<()> {
        match object.state::<Instance>() {
            Some(instance) => session.account().host.drop_postgres(instance.id).await,
            None => Ok(()),
        }
    }

    async fn describe(&self, _: &Session, object: &Object) -> SqlResult<Rows> {
        let instance = object.state::<Instance>();
        let value = |name: &str| object.properties.text(name);
        let time = |at: chrono::DateTime<chrono::Utc>| {
            Some(at.format("%Y-%m-%d %H:%M:%S%.3f %z").to_string())
        };
        let rows = [
            ("name", Some(object.name.last().as_str().to_owned())),
            ("owner", Some(object.owner.as_str().to_owned())),
            ("owner_role_type", Some("ROLE".to_owned())),
            ("created_on", time(object.created_on)),
            ("updated_on", time(object.updated_on)),
            ("type", Some("PRIMARY".to_owned())),
            ("host", instance.map(|one| one.host.clone())),
            ("privatelink_service_identifier", None),
            ("compute_family", value("COMPUTE_FAMILY")),
            ("storage_size_gb", value("STORAGE_SIZE_GB")),
            ("postgres_version", instance.map(|one| major(&one.version))),
            ("postgres_settings", Some(settings(object))),
            ("high_availability", value("HIGH_AVAILABILITY")),
            (
                "authentication_authority",
                value("AUTHENTICATION_AUTHORITY"),
            ),
            (
                "maintenance_window_start",
                value("MAINTENANCE_WINDOW_START"),
            ),
            ("state", Some(state(object).to_owned())),
            ("comment", value("COMMENT")),
            ("origin", None),
            ("replicas", None),
            ("operations", Some("{ }".to_owned())),
            ("network_policy", value("NETWORK_POLICY")),
            ("storage_integration", value("STORAGE_INTEGRATION")),
            ("certificate", instance.map(|one| one.certificate.clone())),
        ];
        let rows = rows.map(|(name, value)| [Some(name.to_owned()), value]);
        Ok(Rows::texts(&["property", "value"], rows))
    }
}
