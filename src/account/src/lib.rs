//! A Snowflake account: its objects, the statements that change them, sessions, streams and tasks.
//!
//! What lies outside of an account (PostgreSQL servers, network, roles of AWS, the clock) comes
//! through the trait [`host::Host`]. Nothing here knows by which protocol a statement came in.
//!
//! The modules are layers. Each imports only from those above it in this list:
//!
//! - what is outside, and plain data: [`host`], [`answer`], [`parameters`], [`notices`],
//!   [`history`];
//! - what every object has, whatever its kind: [`object`];
//! - the objects of an account, in memory and on disk: [`account`];
//! - what objects say of each other: `references`, `linked_database`;
//! - a user's current objects: [`session`];
//! - access to buckets, catalogs, tables and PostgreSQL servers: `access`, `postgres_catalog`,
//!   `lake`, `server_access`;
//! - the kinds of objects, a file for each: [`kind`];
//! - functions of the session, and `INFORMATION_SCHEMA`: `functions`;
//! - statements: [`statement`];
//! - what happens without a statement: `catalog_follower`, [`tasks`].
//!
//! The table of kinds is here, at the root: the store keeps objects of every [`Kind`] with their
//! [`State`], and imports none of the kinds' files.

#[macro_use]
mod kind_table;

mod access;
pub mod account;
pub mod answer;
mod bounded_list;
mod catalog_follower;
mod functions;
pub mod history;
pub mod host;
pub mod kind;
mod lake;
mod linked_database;
pub mod notices;
pub mod object;
pub mod parameters;
mod postgres_catalog;
mod references;
mod server_access;
pub mod session;
pub mod statement;
pub mod tasks;

kinds! {
    Role => kind::role::RoleKind;
    Warehouse => kind::warehouse::WarehouseKind, kind::warehouse::Warehouse;
    Database => kind::database::DatabaseKind;
    Schema => kind::schema::SchemaKind;
    NetworkRule => kind::network_rule::NetworkRuleKind;
    NetworkPolicy => kind::network_policy::NetworkPolicyKind;
    StorageIntegration => kind::storage_integration::StorageIntegrationKind;
    ExternalVolume => kind::external_volume::ExternalVolumeKind;
    CatalogIntegration => kind::catalog_integration::CatalogIntegrationKind;
    PostgresInstance => kind::postgres_instance::PostgresInstanceKind, kind::postgres_instance::Instance;
    Table => kind::table::TableKind, kind::native_table::Table;
    IcebergTable => kind::iceberg_table::IcebergTableKind, kind::iceberg_table::IcebergTable;
    Stage => kind::stage::StageKind, kind::stage::Stage;
    Stream => kind::stream::StreamKind, kind::stream::Stream;
    Procedure => kind::procedure::ProcedureKind, kind::procedure::Procedure;
    Task => kind::task::TaskKind, kind::task::Task;
}
