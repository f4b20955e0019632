//! Queries with Snowflake's semantics, on DataFusion.
//!
//! A query goes through five steps: [`parse`] reads it, with names in upper case. [`rewrite`]
//! replaces what Snowflake and DataFusion read differently by functions of icebox ([`functions`]),
//! and lists what the session must provide. The [`Catalog`] provides it. [`planner`], [`unify`] and
//! [`coerce`] plan the query with Snowflake's types. DataFusion runs it. Whatever none of these
//! steps supports is an error.

mod aggregates;
mod array;
mod clock;
mod coerce;
mod convert;
mod engine;
mod format;
mod functions;
mod generated_name;
mod json;
mod number;
mod parse;
mod planner;
mod render;
mod rewrite;
mod store;
mod syntax_tree;
#[cfg(test)]
mod tests;
mod translate_error;
mod unify;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use datafusion::datasource::TableProvider;

use super::error::SqlResult;
use super::names::{Ident, ObjectName};
use super::rows::Rows;
use super::types::DataType;

pub use clock::zone;
pub use engine::{Engine, Plan};
pub use functions::{date_part_argument, function_names, is_aggregate};
pub use render::render;
pub use store::{StoreError, store};

/// The default of the session parameter TIMEZONE.
pub const DEFAULT_ZONE: Tz = chrono_tz::America::Los_Angeles;

/// What a query needs from its session.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Finds a table or view, now or at a moment in the past. The name is as written, with one to
    /// three parts. The columns have Snowflake's names.
    async fn table(
        &self,
        name: &ObjectName,
        at: Option<&TimeTravel>,
    ) -> SqlResult<Arc<dyn TableProvider>>;

    /// Returns the rows of `TABLE(name(arguments))`.
    async fn table_function(
        &self,
        name: &ObjectName,
        arguments: &[TableFunctionArgument],
    ) -> SqlResult<Rows>;

    /// Returns the rows of `DIRECTORY(@stage)`.
    async fn directory(&self, stage: &ObjectName) -> SqlResult<Rows>;

    /// Evaluates a function that depends on the session, such as `CURRENT_ROLE()` or
    /// `SYSTEM$STREAM_HAS_DATA('s')`. The name is in upper case. None if there is no such function.
    async fn session_function(
        &self,
        name: &str,
        arguments: &[ScalarValue],
    ) -> SqlResult<Option<(ScalarValue, DataType)>>;
}

/// An argument of a table function.
#[derive(Clone, Debug)]
pub struct TableFunctionArgument {
    /// None for an argument without a name.
    pub name: Option<Ident>,
    pub value: ScalarValue,
    pub ty: DataType,
}

/// The clause `AT(…)` or `BEFORE(…)` of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeTravel {
    pub before: bool,
    pub moment: Moment,
}

/// The state of a table that AT or BEFORE selects.
#[derive(Clone, Debug, PartialEq)]
pub enum Moment {
    /// A timestamp of any kind.
    Timestamp(ScalarValue, DataType),
    /// Seconds relative to now; negative for the past.
    Offset(ScalarValue),
    /// A query id.
    Statement(String),
    Stream(String),
    /// An Iceberg snapshot id.
    Version(ScalarValue),
}

/// The settings and variables on which a query depends, besides its tables.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// The session parameter TIMEZONE.
    pub zone: Tz,
    /// The moment of the statement, which `CURRENT_TIMESTAMP` returns.
    pub now: DateTime<Utc>,
    /// Values of bind variables: of `:name` by name in upper case, and of `?` and `:1` by number.
    pub bindings: HashMap<String, (ScalarValue, DataType)>,
    /// Values of session variables, by name in upper case.
    pub variables: HashMap<String, (ScalarValue, DataType)>,
    /// The results of the earlier statements of a pipe, the latest first. `FROM $1`, `FROM $2` and
    /// so on read them.
    pub earlier: Vec<Rows>,
}

impl Parameters {
    /// Returns the parameters of a statement at a moment, in Snowflake's default time zone, without
    /// variables.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self {
            zone: DEFAULT_ZONE,
            now,
            bindings: HashMap::new(),
            variables: HashMap::new(),
            earlier: Vec::new(),
        }
    }
}
