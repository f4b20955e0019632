//! Queries with Snowflake's meaning, on DataFusion.
//!
//! A query goes through five steps: [`parse`] reads it with names in upper case; [`rewrite`] turns what Snowflake reads otherwise
//! than DataFusion into functions of ours ([`functions`]), and names what the session must provide; the [`Catalog`] provides it;
//! [`planner`], [`unify`] and [`coerce`] plan it with Snowflake's types; DataFusion runs it. What none of them knows is an error.

mod aggregates;
mod clock;
mod coerce;
mod convert;
mod engine;
mod failure;
mod format;
mod functions;
mod json;
mod number;
mod parse;
mod planner;
mod render;
mod rewrite;
mod store;
#[cfg(test)]
mod tests;
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
pub use render::render;
pub use rewrite::{function_names, is_aggregate};
pub use store::{Misfit, store};

/// A session's time zone until it chooses another.
pub const DEFAULT_ZONE: Tz = chrono_tz::America::Los_Angeles;

/// What a query needs of its session.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// A table or view by its name as it was written, of one to three parts, now or at a point in time. Its columns are named as
    /// Snowflake names them.
    async fn table(
        &self,
        name: &ObjectName,
        at: Option<&TimeTravel>,
    ) -> SqlResult<Arc<dyn TableProvider>>;

    /// The rows of `TABLE(name(arguments))`.
    async fn table_function(&self, name: &ObjectName, arguments: &[Argument]) -> SqlResult<Rows>;

    /// The rows of `DIRECTORY(@stage)`.
    async fn directory(&self, stage: &ObjectName) -> SqlResult<Rows>;

    /// The value of a function that asks the session, such as `CURRENT_ROLE()` or `SYSTEM$STREAM_HAS_DATA('s')`; None if there is
    /// no such function. The name is in upper case.
    async fn session_function(
        &self,
        name: &str,
        arguments: &[ScalarValue],
    ) -> SqlResult<Option<(ScalarValue, DataType)>>;
}

/// An argument of a table function.
#[derive(Clone, Debug)]
pub struct Argument {
    /// None if it stood without one.
    pub name: Option<Ident>,
    pub value: ScalarValue,
    pub ty: DataType,
}

/// `AT(…)` or `BEFORE(…)`.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeTravel {
    pub before: bool,
    pub moment: Moment,
}

/// Which state of a table is meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Moment {
    /// A timestamp of any kind.
    Timestamp(ScalarValue, DataType),
    /// Seconds from now, negative.
    Offset(ScalarValue),
    /// A query's id.
    Statement(String),
    Stream(String),
    /// An Iceberg snapshot's id.
    Version(ScalarValue),
}

/// What a query depends on besides the tables.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// TIMEZONE
    pub zone: Tz,
    /// The moment of the statement.
    pub now: DateTime<Utc>,
    /// Values of `:name` by the name in upper case, and of `?` and `:1` by their number.
    pub bindings: HashMap<String, (ScalarValue, DataType)>,
    /// Session variables, by the name in upper case.
    pub variables: HashMap<String, (ScalarValue, DataType)>,
    /// The results that `FROM $1`, `FROM $2` … of a pipe mean.
    pub earlier: Vec<Rows>,
}

impl Parameters {
    /// Those of a statement at a moment, in Snowflake's default time zone.
    pub fn at(now: DateTime<Utc>) -> Parameters {
        Parameters {
            zone: DEFAULT_ZONE,
            now,
            bindings: HashMap::new(),
            variables: HashMap::new(),
            earlier: Vec::new(),
        }
    }

    fn session(&self) -> convert::Session {
        convert::Session { zone: self.zone }
    }
}
