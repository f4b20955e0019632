//! Table functions on the history of statements, loads, refreshes and task runs.

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;

use super::Arguments;
use crate::Kind;
use crate::history::{Query, TaskRun};
use crate::kind::iceberg_table::{IcebergTable, Refresh};
use crate::kind::native_table::{Load, loads};
use crate::kind::task::{self, predecessors};
use crate::object::Object;
use crate::object::columns::{Column, count, optional, optional_time, result_set, text, time};
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::rows::Rows;
use icebox_sql::syntax;
use icebox_sql::types::DataType;

/// Returns the text of a required argument.
fn required(arguments: &Arguments<'_>, name: &str) -> SqlResult<String> {
    arguments.text(name).ok_or_else(|| {
        let text = format!("missing argument {name}");
        SqlError::compilation(code::ARGUMENT_COUNT, text)
    })
}

/// Returns the object that an argument names.
fn object(
    session: &Session,
    arguments: &Arguments<'_>,
    argument: &str,
    kind: Kind,
) -> SqlResult<Object> {
    let name = syntax::name(&required(arguments, argument)?)?;
    let full = session.full_name(kind, &name)?;
    session.account().find(kind, &full)
}

/// Returns a predicate for times within the range that two arguments give. Both bounds are
/// inclusive, and each may be missing.
pub(super) fn range(
    arguments: &Arguments<'_>,
    from: &str,
    to: &str,
) -> SqlResult<impl Fn(DateTime<Utc>) -> bool + use<>> {
    let (from, to) = (arguments.time(from)?, arguments.time(to)?);
    Ok(move |at| from.is_none_or(|from| at >= from) && to.is_none_or(|to| at <= to))
}

pub fn result_scan(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    session.result(&required(arguments, "QUERY_ID")?)
}

fn part(name: &ObjectName, index: usize) -> ScalarValue {
    optional(name.0.get(index).map(|part| part.as_str().to_owned()))
}

fn ident(ident: Option<&Ident>) -> ScalarValue {
    optional(ident.map(|ident| ident.as_str().to_owned()))
}

fn error_code(error: Option<&SqlError>) -> ScalarValue {
    optional(error.map(|error| format!("{:06}", error.code)))
}

fn error_message(error: Option<&SqlError>) -> ScalarValue {
    optional(error.map(|error| error.message.clone()))
}

pub fn copies(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let table_object = object(session, arguments, "TABLE_NAME", Kind::Table)?;
    let is_in = range(arguments, "START_TIME", "END_TIME")?;
    let mut loads = loaded([table_object]);
    loads.retain(|load| is_in(load.at));
    loads.truncate(arguments.limit(10_000)?);
    result_set(COPIES, &loads)
}

/// A loaded file with the table that it was loaded into.
pub(super) struct Loaded {
    pub(super) table: ObjectName,
    load: Load,
}

impl std::ops::Deref for Loaded {
    type Target = Load;

    fn deref(&self) -> &Load {
        &self.load
    }
}

/// Returns the files that were loaded into these tables, newest first.
pub(super) fn loaded(tables: impl IntoIterator<Item = Object>) -> Vec<Loaded> {
    let of_table = |object: Object| {
        loads(&object).to_vec().into_iter().map(move |load| Loaded {
            table: object.name.clone(),
            load,
        })
    };
    let mut all: Vec<Loaded> = tables.into_iter().flat_map(of_table).collect();
    all.sort_by_key(|load| std::cmp::Reverse(load.at));
    all
}

const COPIES: &[Column<Loaded>] = &[
    Column::text("FILE_NAME", |load| text(load.file.clone())),
    Column::text("STAGE_LOCATION", |load| text(load.stage_location.clone())),
    Column::time("LAST_LOAD_TIME", |load| time(load.at)),
    Column::number("ROW_COUNT", |load| count(load.rows)),
    Column::number("ROW_PARSED", |load| count(load.rows)),
    Column::number("FILE_SIZE", |load| count(load.size)),
    Column::null("FIRST_ERROR_MESSAGE", DataType::TEXT),
    Column::null("FIRST_ERROR_LINE_NUMBER", DataType::INTEGER),
    Column::null("FIRST_ERROR_CHARACTER_POS", DataType::INTEGER),
    Column::null("FIRST_ERROR_COLUMN_NAME", DataType::TEXT),
    Column::number("ERROR_COUNT", |_| count(0)),
    Column::number("ERROR_LIMIT", |_| count(1)),
    Column::text("STATUS", |_| text("Loaded")),
    Column::text("TABLE_CATALOG_NAME", |load| part(&load.table, 0)),
    Column::text("TABLE_SCHEMA_NAME", |load| part(&load.table, 1)),
    Column::text("TABLE_NAME", |load| part(&load.table, 2)),
    Column::null("PIPE_CATALOG_NAME", DataType::TEXT),
    Column::null("PIPE_SCHEMA_NAME", DataType::TEXT),
    Column::null("PIPE_NAME", DataType::TEXT),
    Column::null("PIPE_RECEIVED_TIME", crate::object::columns::TIME),
    Column::null("BYTES_BILLED", DataType::INTEGER),
];

pub fn task_runs(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let is_in = range(
        arguments,
        "SCHEDULED_TIME_RANGE_START",
        "SCHEDULED_TIME_RANGE_END",
    )?;
    let name = |argument| arguments.text(argument).map(|text| text.to_uppercase());
    let wanted = [
        (2, name("TASK_NAME")),
        (1, name("SCHEMA_NAME")),
        (0, name("DATABASE_NAME")),
    ];
    let root = arguments.text("ROOT_TASK_ID");
    let errors = arguments.is_true("ERROR_ONLY");
    let mut runs = session.account().history.runs();
    runs.retain(|run| {
        let named = wanted.iter().all(|(index, name)| {
            let name = name.as_ref();
            name.is_none_or(|name| run.task.0[*index].as_str().to_uppercase() == *name)
        });
        named
            && is_in(run.scheduled)
            && root.as_ref().is_none_or(|root| run.root_id == *root)
            && (!errors || run.error.is_some())
    });
    runs.truncate(arguments.limit(100)?);
    result_set(TASK_RUNS, &runs)
}

const TASK_RUNS: &[Column<TaskRun>] = &[
    Column::text("QUERY_ID", |run| text(run.query_id.clone())),
    Column::text("NAME", |run| part(&run.task, 2)),
    Column::text("DATABASE_NAME", |run| part(&run.task, 0)),
    Column::text("SCHEMA_NAME", |run| part(&run.task, 1)),
    Column::text("QUERY_TEXT", |run| text(run.definition.clone())),
    Column::text("CONDITION_TEXT", |run| optional(run.condition.clone())),
    Column::text("STATE", |run| text(run.state.as_str())),
    Column::text("ERROR_CODE", |run| error_code(run.error.as_ref())),
    Column::text("ERROR_MESSAGE", |run| error_message(run.error.as_ref())),
    Column::time("SCHEDULED_TIME", |run| time(run.scheduled)),
    Column::time("QUERY_START_TIME", |run| optional_time(run.started)),
    Column::time("NEXT_SCHEDULED_TIME", |run| optional_time(run.next)),
    Column::time("COMPLETED_TIME", |run| optional_time(run.completed)),
    Column::text("ROOT_TASK_ID", |run| text(run.root_id.clone())),
    Column::number("GRAPH_VERSION", |_| count(1)),
    Column::number("RUN_ID", |run| ScalarValue::Int64(Some(run.run_id))),
    Column::text("RETURN_VALUE", |run| optional(run.return_value.clone())),
    Column::text("SCHEDULED_FROM", |run| text(run.scheduled_from)),
    Column::number("ATTEMPT_NUMBER", |_| count(1)),
    Column::text("CONFIG", |run| optional(run.config.clone())),
];

/// Runs `TASK_DEPENDENTS(TASK_NAME => 't' [, RECURSIVE => FALSE])`: the task and its dependents,
/// with the columns of SHOW TASKS.
pub fn task_dependents(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let root = object(session, arguments, "TASK_NAME", Kind::Task)?;
    let is_recursive = arguments.get("RECURSIVE") != Some(&ScalarValue::Boolean(Some(false)));
    let mut tasks = task::descendants(session.account(), &root.name);
    tasks.retain(|one| is_recursive || predecessors(one).contains(&root.name));
    tasks.insert(0, root);
    let columns = task::SHOW.iter();
    let columns: Vec<_> = columns
        .map(|one| (one.name.to_uppercase(), one.ty, one.value))
        .collect();
    let names: Vec<_> = columns.iter().map(|(name, ty, _)| (&**name, *ty)).collect();
    let rows = tasks.iter();
    let rows = rows.map(|task| columns.iter().map(|(.., value)| value(task)).collect());
    Rows::from_values(&names, rows.collect::<Vec<_>>())
}

pub fn refreshes(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let object = object(session, arguments, "TABLE_NAME", Kind::Table)?;
    let refreshes = object
        .state::<IcebergTable>()
        .map(|table| table.refreshes.as_slice());
    let refreshes = refreshes.unwrap_or_default();
    let newest = refreshes.len();
    let rows: Vec<_> = refreshes
        .iter()
        .enumerate()
        .rev()
        .map(|(index, refresh)| (refresh.clone(), index + 1 == newest))
        .collect();
    result_set(REFRESHES, &rows)
}

const REFRESHES: &[Column<(Refresh, bool)>] = &[
    Column::time("REFRESHED_ON", |(refresh, _)| time(refresh.at)),
    Column::text("METADATA_FILE_NAME", |(refresh, _)| {
        text(refresh.metadata_location.clone())
    }),
    Column::number("SNAPSHOT_ID", |(refresh, _)| {
        ScalarValue::Int64(refresh.snapshot_id)
    }),
    Column::number("SEQUENCE_NUMBER", |(refresh, _)| {
        ScalarValue::Int64(Some(refresh.sequence_number))
    }),
    Column::number("ICEBERG_SCHEMA_ID", |(refresh, _)| {
        ScalarValue::Int32(Some(refresh.schema_id))
    }),
    Column::null("QUERY_ID", DataType::TEXT),
    Column::of(
        "IS_CURRENT_SNAPSHOT",
        DataType::Boolean,
        |(_, is_current)| ScalarValue::Boolean(Some(*is_current)),
    ),
    Column::of("SNAPSHOT_SUMMARY", DataType::Variant, |(refresh, _)| {
        optional(serde_json::to_string(&refresh.summary).ok())
    }),
];

/// Returns the statements that are wanted: running ones first, then ended ones, each newest first.
pub fn queries(
    session: &Session,
    arguments: &Arguments<'_>,
    is_wanted: impl Fn(&Query) -> bool,
) -> SqlResult<Rows> {
    let is_in = range(arguments, "END_TIME_RANGE_START", "END_TIME_RANGE_END")?;
    let account = session.account();
    let now = account.now();
    let is_wanted = |query: &Query| is_wanted(query) && is_in(query.ended.unwrap_or(now));
    let queries = account.history.queries(is_wanted, arguments.limit(100)?);
    result_set(QUERIES, &queries)
}

pub fn queries_by_session(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let id = arguments.get("SESSION_ID");
    let id = match id.map(|value| value.cast_to(&arrow::datatypes::DataType::UInt64)) {
        None => session.id(),
        Some(Ok(ScalarValue::UInt64(Some(id)))) => id,
        Some(_) => return Err(SqlError::bad_value("SESSION_ID", "SESSION_ID")),
    };
    queries(session, arguments, |query| query.session_id == id)
}

pub fn queries_by_user(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let name = arguments.text("USER_NAME");
    let name = name.map_or_else(|| session.user().clone(), |name| Ident::unquoted(&name));
    queries(session, arguments, |query| query.user == name)
}

pub fn queries_by_warehouse(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let name = arguments.text("WAREHOUSE_NAME");
    let name = name.map(|name| Ident::unquoted(&name));
    let name = name.or_else(|| session.current().warehouse);
    queries(session, arguments, |query| query.warehouse == name)
}

const QUERIES: &[Column<Query>] = &[
    Column::text("QUERY_ID", |query| text(query.id.clone())),
    Column::text("QUERY_TEXT", |query| text(query.text.clone())),
    Column::text("DATABASE_NAME", |query| ident(query.database.as_ref())),
    Column::text("SCHEMA_NAME", |query| ident(query.schema.as_ref())),
    Column::text("QUERY_TYPE", |query| text(query.kind.replace(' ', "_"))),
    Column::number("SESSION_ID", |query| count(query.session_id)),
    Column::text("USER_NAME", |query| text(query.user.as_str())),
    Column::text("ROLE_NAME", |query| ident(query.role.as_ref())),
    Column::text("WAREHOUSE_NAME", |query| ident(query.warehouse.as_ref())),
    Column::text("QUERY_TAG", |query| text(query.tag.clone())),
    Column::text("EXECUTION_STATUS", |query| {
        text(match (&query.ended, &query.error) {
            (None, _) => "RUNNING",
            (Some(_), Some(_)) => "FAILED_WITH_ERROR",
            (Some(_), None) => "SUCCESS",
        })
    }),
    Column::text("ERROR_CODE", |query| error_code(query.error.as_ref())),
    Column::text("ERROR_MESSAGE", |query| error_message(query.error.as_ref())),
    Column::time("START_TIME", |query| time(query.started)),
    Column::time("END_TIME", |query| optional_time(query.ended)),
    Column::number("TOTAL_ELAPSED_TIME", |query| {
        let elapsed = query.ended.map(|ended| ended - query.started);
        ScalarValue::Int64(elapsed.map(|elapsed| elapsed.num_milliseconds()))
    }),
    Column::number("ROWS_PRODUCED", |query| count(query.rows)),
];
