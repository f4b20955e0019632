//! Functions and views that query the session and the account.

mod access_check;
mod audit;
mod ddl;
mod history;
mod information_schema;
mod session;

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;

use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::query::TableFunctionArgument;
use icebox_sql::rows::Rows;

pub use information_schema::{columns_of, is_view, type_name, view};
pub use session::{names as session_functions, session_function};

/// The arguments of a table function: by name, or in the order of its declaration.
struct Arguments<'a> {
    given: &'a [TableFunctionArgument],
    order: &'static [&'static str],
}

impl Arguments<'_> {
    fn get(&self, name: &str) -> Option<&ScalarValue> {
        let named = self
            .given
            .iter()
            .find(|one| one.name.as_ref().is_some_and(|one| one.as_str() == name));
        let position = self.order.iter().position(|one| *one == name);
        let placed = position.and_then(|at| self.given.get(at));
        let found = named.or(placed.filter(|one| one.name.is_none()));
        found.map(|one| &one.value).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        value.try_as_str().flatten().map(str::to_owned)
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some(&ScalarValue::Boolean(Some(true)))
    }

    fn time(&self, name: &str) -> SqlResult<Option<DateTime<Utc>>> {
        let nanoseconds = arrow::datatypes::DataType::Timestamp(
            arrow::datatypes::TimeUnit::Nanosecond,
            Some("UTC".into()),
        );
        match self.get(name).map(|value| value.cast_to(&nanoseconds)) {
            None => Ok(None),
            Some(Ok(ScalarValue::TimestampNanosecond(Some(at), _))) => {
                Ok(Some(DateTime::from_timestamp_nanos(at)))
            }
            Some(_) => Err(SqlError::bad_value(name, name)),
        }
    }

    /// Returns `RESULT_LIMIT`, from 1 to 10,000, or `default` if it is not given.
    fn limit(&self, default: usize) -> SqlResult<usize> {
        let Some(value) = self.get("RESULT_LIMIT") else {
            return Ok(default);
        };
        match value.cast_to(&arrow::datatypes::DataType::UInt64) {
            Ok(ScalarValue::UInt64(Some(limit @ 1..=10_000))) => Ok(limit as usize),
            _ => Err(SqlError::bad_value(value, "RESULT_LIMIT")),
        }
    }

    /// Checks that the function has an argument of every given name.
    fn check(&self, function: &str) -> SqlResult<()> {
        let unknown = self.given.iter().filter_map(|one| one.name.as_ref());
        let unknown = unknown
            .map(Ident::as_str)
            .find(|name| !self.order.contains(name));
        match unknown {
            Some(name) => Err(SqlError::compilation(
                code::INVALID_IDENTIFIER,
                format_args!(
                    "invalid argument '{name}' for table function {function}; it has {}",
                    self.order.join(", ")
                ),
            )),
            None => Ok(()),
        }
    }
}

/// A table function: its name, its arguments in the order of positional ones, and its rows.
struct TableFunction {
    name: &'static str,
    arguments: &'static [&'static str],
    rows: fn(&Session, &Arguments<'_>) -> SqlResult<Rows>,
}

const TABLE_FUNCTIONS: &[TableFunction] = &[
    TableFunction {
        name: "RESULT_SCAN",
        arguments: &["QUERY_ID"],
        rows: history::result_scan,
    },
    TableFunction {
        name: "COPY_HISTORY",
        arguments: &[
            "TABLE_NAME",
            "START_TIME",
            "END_TIME",
            "PIPE_NAME",
            "RESULT_LIMIT",
        ],
        rows: history::copies,
    },
    TableFunction {
        name: "TASK_HISTORY",
        arguments: &[
            "SCHEDULED_TIME_RANGE_START",
            "SCHEDULED_TIME_RANGE_END",
            "RESULT_LIMIT",
            "TASK_NAME",
            "ERROR_ONLY",
            "ROOT_TASK_ID",
            "DATABASE_NAME",
            "SCHEMA_NAME",
        ],
        rows: history::task_runs,
    },
    TableFunction {
        name: "TASK_DEPENDENTS",
        arguments: &["TASK_NAME", "RECURSIVE"],
        rows: history::task_dependents,
    },
    TableFunction {
        name: "QUERY_HISTORY",
        arguments: &[
            "END_TIME_RANGE_START",
            "END_TIME_RANGE_END",
            "RESULT_LIMIT",
            "INCLUDE_CLIENT_GENERATED_STATEMENT",
        ],
        rows: |session, arguments| history::queries(session, arguments, |_| true),
    },
    TableFunction {
        name: "QUERY_HISTORY_BY_SESSION",
        arguments: &[
            "SESSION_ID",
            "END_TIME_RANGE_START",
            "END_TIME_RANGE_END",
            "RESULT_LIMIT",
        ],
        rows: history::queries_by_session,
    },
    TableFunction {
        name: "QUERY_HISTORY_BY_USER",
        arguments: &[
            "USER_NAME",
            "END_TIME_RANGE_START",
            "END_TIME_RANGE_END",
            "RESULT_LIMIT",
        ],
        rows: history::queries_by_user,
    },
    TableFunction {
        name: "QUERY_HISTORY_BY_WAREHOUSE",
        arguments: &[
            "WAREHOUSE_NAME",
            "END_TIME_RANGE_START",
            "END_TIME_RANGE_END",
            "RESULT_LIMIT",
        ],
        rows: history::queries_by_warehouse,
    },
    TableFunction {
        name: "ICEBOX_AUDIT",
        arguments: &["START_TIME", "END_TIME", "RESULT_LIMIT"],
        rows: audit::trail,
    },
    TableFunction {
        name: "ICEBERG_TABLE_SNAPSHOT_REFRESH_HISTORY",
        arguments: &["TABLE_NAME"],
        rows: history::refreshes,
    },
];

/// Runs `TABLE(name(arguments))`. All functions but `RESULT_SCAN` may be qualified with
/// `INFORMATION_SCHEMA`.
pub fn table_function(
    session: &Session,
    name: &ObjectName,
    given: &[TableFunctionArgument],
) -> SqlResult<Rows> {
    let last = name.last().as_str();
    let found = TABLE_FUNCTIONS.iter().find(|one| one.name == last);
    let function = found.ok_or_else(|| {
        let text = format!("Unknown table function {name}.");
        SqlError::compilation(code::UNKNOWN_TABLE_FUNCTION, text)
    })?;
    let arguments = Arguments {
        given,
        order: function.arguments,
    };
    arguments.check(function.name)?;
    (function.rows)(session, &arguments)
}
