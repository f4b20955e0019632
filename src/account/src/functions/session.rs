//! Scalar functions that query the session or the account.

use std::time::Duration;

use datafusion::common::ScalarValue;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;

use super::access_check;
use super::ddl::get_ddl;
use crate::kind::{iceberg_table, stream, task};
use crate::object::Object;
use crate::object::columns::{optional, text};
use crate::session::Session;
use crate::{Kind, linked_database};
use icebox_schedule::ScaleError;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::Ident;
use icebox_sql::syntax;
use icebox_sql::types::DataType;

/// A call of a function: the session and the arguments.
struct Call<'a> {
    session: &'a Session,
    name: &'a str,
    arguments: &'a [ScalarValue],
}

/// A scalar function: its name, its least and greatest number of arguments, and its value, which is
/// a VARCHAR unless the function gives another type.
struct Function {
    name: &'static str,
    arity: (usize, usize),
    value: for<'a> fn(Call<'a>) -> BoxFuture<'a, SqlResult<Value>>,
}

type Value = (ScalarValue, DataType);

macro_rules! functions {
    ($($name:literal ($least:literal, $most:literal) => $value:expr;)*) => {
        &[$(Function {
            name: $name,
            arity: ($least, $most),
            value: |call| async move { IntoValue::into_value($value(call)) }.boxed(),
        }),*]
    };
    (waiting $($name:literal ($least:literal, $most:literal) => $value:expr;)*) => {
        &[$(Function {
            name: $name,
            arity: ($least, $most),
            value: |call| $value(call).boxed(),
        }),*]
    };
}

/// A value that a function may return.
trait IntoValue {
    fn into_value(self) -> SqlResult<Value>;
}

impl IntoValue for ScalarValue {
    fn into_value(self) -> SqlResult<Value> {
        let ty = match self {
            Self::Boolean(_) => DataType::Boolean,
            Self::UInt64(_) => DataType::INTEGER,
            _ => DataType::TEXT,
        };
        Ok((self, ty))
    }
}

impl IntoValue for SqlResult<ScalarValue> {
    fn into_value(self) -> SqlResult<Value> {
        self.and_then(IntoValue::into_value)
    }
}

const FUNCTIONS: &[Function] = functions! {
    "CURRENT_ROLE" (0, 0) => |call: Call<'_>| ident(call.session.current().role);
    "CURRENT_PRIMARY_ROLE" (0, 0) => |call: Call<'_>| ident(call.session.current().role);
    "CURRENT_WAREHOUSE" (0, 0) => |call: Call<'_>| ident(call.session.current().warehouse);
    "CURRENT_DATABASE" (0, 0) => |call: Call<'_>| ident(call.session.current().database);
    "CURRENT_SCHEMA" (0, 0) => |call: Call<'_>| ident(call.session.current().schema);
    "CURRENT_USER" (0, 0) => |call: Call<'_>| text(call.session.user().as_str());
    "CURRENT_SESSION" (0, 0) => |call: Call<'_>| text(call.session.id().to_string());
    "CURRENT_ACCOUNT" (0, 0) => |call: Call<'_>| text(call.session.account().host.account_locator());
    "CURRENT_ACCOUNT_NAME" (0, 0) => |call: Call<'_>| text(call.session.account().host.account_locator());
    "CURRENT_ORGANIZATION_NAME" (0, 0) => |_| text("ICEBOX");
    "CURRENT_REGION" (0, 0) => |_| text("AWS_US_EAST_1");
    "CURRENT_VERSION" (0, 0) => |_| text(env!("CARGO_PKG_VERSION"));
    "CURRENT_CLIENT" (0, 0) => |_| text("icebox");
    "CURRENT_SECONDARY_ROLES" (0, 0) => |_| text("{\"roles\":\"\",\"value\":\"\"}");
    "CURRENT_SCHEMAS" (0, 0) => schemas;
    "LAST_QUERY_ID" (0, 1) => last_query_id;
    "GETVARIABLE" (1, 1) => variable;
    "GET_DDL" (2, 3) => ddl;
    "SYSTEM$STREAM_HAS_DATA" (1, 1) => stream_has_data;
    "SYSTEM$TASK_DEPENDENTS_ENABLE" (1, 1) => enable_dependents;
    "SYSTEM$GET_ICEBERG_TABLE_INFORMATION" (1, 1) => table_information;
    "SYSTEM$AUTO_REFRESH_STATUS" (1, 1) => auto_refresh_status;
    "SYSTEM$CATALOG_LINK_STATUS" (1, 1) => link_status;
    "SYSTEM$CANCEL_QUERY" (1, 1) => cancel_query;
    "SYSTEM$TYPEOF" (1, 1) => |call: Call<'_>| text(DataType::of_arrow(&call.arguments[0].data_type()).to_string());
};

/// Functions that await something.
const WAITING: &[Function] = functions! {
    waiting
    "SYSTEM$VALIDATE_STORAGE_INTEGRATION" (4, 4) => validate_integration;
    "SYSTEM$VERIFY_EXTERNAL_VOLUME" (1, 1) => verify_volume;
    "SYSTEM$ICEBOX_CLOCK" (0, 2) => clock;
    "SYSTEM$WAIT" (1, 2) => wait;
};

/// Returns the value of a function of the session; `None` if there is no such function.
///
/// # Errors
/// If the number of arguments is wrong, or the function fails.
pub async fn session_function(
    session: &Session,
    name: &str,
    arguments: &[ScalarValue],
) -> SqlResult<Option<Value>> {
    let mut functions = FUNCTIONS.iter().chain(WAITING);
    let Some(function) = functions.find(|one| one.name == name) else {
        return Ok(None);
    };
    let (least, most) = function.arity;
    let given = arguments.len();
    if !(least..=most).contains(&given) {
        let (amount, expected) = if given < least {
            ("not enough", least)
        } else {
            ("too many", most)
        };
        let text =
            format!("{amount} arguments for function [{name}], expected {expected}, got {given}");
        return Err(SqlError::compilation(code::ARGUMENT_COUNT, text));
    }
    let call = Call {
        session,
        name,
        arguments,
    };
    (function.value)(call).await.map(Some)
}

/// Returns the names of all functions of the session.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS
        .iter()
        .chain(WAITING)
        .map(|function| function.name)
}

impl Call<'_> {
    fn text(&self, index: usize) -> SqlResult<&str> {
        let value = self.arguments.get(index);
        let text = value.and_then(|value| value.try_as_str().flatten());
        text.ok_or_else(|| {
            let shown = value.map(ToString::to_string).unwrap_or_default();
            SqlError::bad_value(shown, self.name)
        })
    }

    fn number(&self, index: usize) -> SqlResult<i64> {
        let value = &self.arguments[index];
        match value.cast_to(&arrow::datatypes::DataType::Int64) {
            Ok(ScalarValue::Int64(Some(number))) => Ok(number),
            _ => Err(SqlError::bad_value(value, self.name)),
        }
    }

    /// Returns the object that the first argument names.
    fn object(&self, kind: Kind) -> SqlResult<Object> {
        let name = syntax::name(self.text(0)?)?;
        let full = self.session.full_name(kind, &name)?;
        self.session.account().find(kind, &full)
    }
}

fn ident(ident: Option<Ident>) -> ScalarValue {
    optional(ident.map(|ident| ident.as_str().to_owned()))
}

fn schemas(call: Call<'_>) -> ScalarValue {
    let current = call.session.current();
    let path: Vec<_> = match (current.database, current.schema) {
        (Some(database), Some(schema)) => vec![format!("{database}.{schema}")],
        _ => Vec::new(),
    };
    text(json!(path).to_string())
}

fn last_query_id(call: Call<'_>) -> SqlResult<ScalarValue> {
    let index = match call.arguments {
        [] => -1,
        _ => call.number(0)?,
    };
    Ok(optional(call.session.last_query_id(index)))
}

/// Returns the value of a session variable by its name; NULL if it is not set.
fn variable(call: Call<'_>) -> SqlResult<ScalarValue> {
    let name = Ident::quoted(call.text(0)?);
    let current = call.session.current();
    let variable = current.variables.get(&name);
    let value = variable.map(|one| one.value.cast_to(&arrow::datatypes::DataType::Utf8));
    match value {
        Some(Ok(value)) => Ok(value),
        _ => Ok(optional(None)),
    }
}

fn stream_has_data(call: Call<'_>) -> SqlResult<ScalarValue> {
    let name = syntax::name(call.text(0)?)?;
    let has_data = stream::has_data(call.session, &name)?;
    Ok(ScalarValue::Boolean(Some(has_data)))
}

fn enable_dependents(call: Call<'_>) -> SqlResult<ScalarValue> {
    task::enable_dependents(call.session, &syntax::name(call.text(0)?)?)?;
    Ok(text("Statement executed successfully."))
}

fn table_information(call: Call<'_>) -> SqlResult<ScalarValue> {
    let name = syntax::name(call.text(0)?)?;
    iceberg_table::information(call.session, &name).map(text)
}

fn auto_refresh_status(call: Call<'_>) -> SqlResult<ScalarValue> {
    let table = call.object(Kind::Table)?;
    Ok(optional(iceberg_table::auto_refresh_status(&table)))
}

/// Returns the link status of a catalog-linked database, as JSON.
fn link_status(call: Call<'_>) -> SqlResult<ScalarValue> {
    let database = call.object(Kind::Database)?;
    if linked_database::link(&database).is_none() {
        let text = format!("Database {} is not linked to a catalog.", database.name);
        return Err(SqlError::compilation(code::INVALID_PROPERTY, text));
    }
    let link = call.session.account().polls.last_sync(database.id);
    let error = link.as_ref().and_then(|link| link.error.clone());
    let mut status = json!({
        "executionState": if error.is_some() { "FAILED" } else { "RUNNING" },
        "lastLinkAttemptStartTime": link.map(|link| link.at.to_rfc3339()),
    });
    if let Some(error) = error {
        status["failedExecutionStateReason"] = json!(error);
    }
    Ok(text(status.to_string()))
}

fn cancel_query(call: Call<'_>) -> SqlResult<ScalarValue> {
    let id = call.text(0)?;
    Ok(if call.session.account().history.cancel(id) {
        text(format!("query [{id}] terminated."))
    } else {
        text("Identified SQL statement is not currently executing.")
    })
}

fn ddl(call: Call<'_>) -> SqlResult<ScalarValue> {
    let is_full = call.arguments.get(2) == Some(&ScalarValue::Boolean(Some(true)));
    get_ddl(call.session, call.text(0)?, call.text(1)?, is_full).map(text)
}

async fn validate_integration(call: Call<'_>) -> SqlResult<Value> {
    let name = call
        .session
        .full_name(Kind::StorageIntegration, &syntax::name(call.text(0)?)?)?;
    let (location, action) = (call.text(1)?, call.text(3)?);
    let account = call.session.account();
    let answer = access_check::validate_integration(account, &name, location, action).await?;
    Ok((text(answer), DataType::TEXT))
}

async fn verify_volume(call: Call<'_>) -> SqlResult<Value> {
    let name = syntax::name(call.text(0)?)?;
    let answer = access_check::verify_volume(call.session.account(), &name).await?;
    Ok((text(answer), DataType::TEXT))
}

/// Runs `SYSTEM$ICEBOX_CLOCK()`, which returns the sandbox's time as JSON.
/// `SYSTEM$ICEBOX_CLOCK('ADVANCE', '2 MINUTES')` advances the clock, and
/// `SYSTEM$ICEBOX_CLOCK('SCALE', '60')` makes it run faster. Snowflake does not have this function.
async fn clock(call: Call<'_>) -> SqlResult<Value> {
    let clock = call.session.account().host.clock();
    if !call.arguments.is_empty() {
        let value = call.text(1)?;
        let bad = || SqlError::bad_value(value, call.name);
        match call.text(0)?.to_uppercase().as_str() {
            "ADVANCE" => {
                let (amount, unit) = value.trim().split_once(' ').ok_or_else(bad)?;
                let amount = amount.parse().map_err(|_| bad())?;
                let (_, by) = duration(amount, unit.trim()).ok_or_else(bad)?;
                // The clock waits for running tasks, so a task that advances it would wait for
                // itself.
                let advanced = tokio::time::timeout(MOST_PATIENCE, clock.advance(by)).await;
                advanced.map_err(|_| {
                    let text = "The clock was not advanced: a task did not end within 60 seconds.";
                    SqlError::new(code::INTERNAL, text)
                })?;
            }
            "SCALE" => {
                clock.set_scale(value.parse().map_err(|error: ScaleError| {
                    SqlError::compilation(code::INVALID_VALUE, error)
                })?);
            }
            other => return Err(SqlError::bad_value(other, call.name)),
        }
    }
    let state = clock.state();
    let answer = json!({"now": state.now.to_rfc3339(), "scale": state.scale});
    Ok((text(answer.to_string()), DataType::TEXT))
}

/// How long advancing the clock may take, in real time.
const MOST_PATIENCE: Duration = Duration::from_mins(1);

/// Returns the unit's name in lower case, and the duration of `amount` units.
fn duration(amount: u64, unit: &str) -> Option<(String, Duration)> {
    const UNITS: &[(&str, u64)] = &[
        ("MILLISECONDS", 1),
        ("SECONDS", 1000),
        ("MINUTES", 60_000),
        ("HOURS", 3_600_000),
        ("DAYS", 86_400_000),
    ];
    let unit = unit.to_uppercase();
    let is_it = |name: &str| name == unit || name.strip_suffix('S') == Some(unit.as_str());
    let (name, milliseconds) = UNITS.iter().find(|(name, _)| is_it(name))?;
    let length = Duration::from_millis(amount.saturating_mul(*milliseconds));
    Some((name.to_lowercase(), length))
}

/// Runs `SYSTEM$WAIT(amount [, unit])`, which waits by the account's clock.
async fn wait(call: Call<'_>) -> SqlResult<Value> {
    let unit = match call.arguments.len() {
        1 => "SECONDS",
        _ => call.text(1)?,
    };
    let amount = call.number(0)?;
    let bad = |value: &dyn std::fmt::Display| SqlError::bad_value(value, call.name);
    let amount = u64::try_from(amount).map_err(|_| bad(&amount))?;
    let (name, wait) = duration(amount, unit).ok_or_else(|| bad(&unit))?;
    let clock = call.session.account().host.clock();
    let until = chrono::TimeDelta::from_std(wait).ok();
    let until = until.and_then(|wait| clock.now().checked_add_signed(wait));
    let until = until.ok_or_else(|| bad(&amount))?;
    drop(clock.sleep_until(until).await);
    Ok((text(format!("waited {amount} {name}")), DataType::TEXT))
}
