//! Functions and views that tell of the session and the account.

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;

use super::error::{SqlError, SqlResult};
use super::names::{Ident, ObjectName};
use super::object::columns::{optional, text};
use super::object::{Kind, Object, iceberg_table, stream, task};
use super::query::Argument;
use super::rows::Rows;
use super::session::Session;
use super::syntax::Cursor;
use super::types::DataType;

const TIME: DataType = DataType::TimestampLtz { scale: 3 };

fn time(at: Option<DateTime<Utc>>) -> ScalarValue {
    ScalarValue::TimestampMillisecond(at.map(|at| at.timestamp_millis()), Some("UTC".into()))
}

fn count(value: u64) -> ScalarValue {
    ScalarValue::UInt64(Some(value))
}

/// The name in a text, such as the argument of `SYSTEM$STREAM_HAS_DATA('s')`.
fn named(text: &str) -> SqlResult<ObjectName> {
    let mut cursor = Cursor::new(text)?;
    let name = cursor.name(3)?;
    cursor.expect_end()?;
    Ok(name)
}

/// Functions without a table that ask the session.
pub async fn session_function(
    session: &Session,
    name: &str,
    arguments: &[ScalarValue],
) -> SqlResult<Option<(ScalarValue, DataType)>> {
    let current = session.current();
    let string = |value: Option<&Ident>| {
        let value = value.map(|ident| ident.as_str().to_owned());
        Ok(Some((optional(value), DataType::TEXT)))
    };
    let argument = || match arguments {
        [value] => Ok(value.try_as_str().flatten().unwrap_or_default().to_owned()),
        _ => Err(SqlError::compilation(
            938,
            "22023",
            format_args!(
                "not enough arguments for function [{name}], expected 1, got {}",
                arguments.len()
            ),
        )),
    };
    let found = match name {
        "CURRENT_ROLE" | "CURRENT_PRIMARY_ROLE" => return string(current.role.as_ref()),
        "CURRENT_WAREHOUSE" => return string(current.warehouse.as_ref()),
        "CURRENT_DATABASE" => return string(current.database.as_ref()),
        "CURRENT_SCHEMA" => return string(current.schema.as_ref()),
        "CURRENT_USER" => return string(Some(session.user())),
        "CURRENT_ACCOUNT" | "CURRENT_ACCOUNT_NAME" => {
            text(session.account().world.account_locator())
        }
        "CURRENT_ORGANIZATION_NAME" => text("ICEBOX"),
        "CURRENT_REGION" => text("AWS_US_EAST_1"),
        "CURRENT_VERSION" => text(env!("CARGO_PKG_VERSION")),
        "CURRENT_CLIENT" => text("icebox"),
        "LAST_QUERY_ID" => {
            let index = match arguments.first() {
                Some(value) => match value.cast_to(&arrow::datatypes::DataType::Int64) {
                    Ok(ScalarValue::Int64(Some(index))) => index,
                    _ => return Err(SqlError::bad_value(value, "num")),
                },
                None => -1,
            };
            optional(session.last_query_id(index))
        }
        "SYSTEM$STREAM_HAS_DATA" => {
            let has_data = stream::has_data(session, &named(&argument()?)?)?;
            let value = ScalarValue::Boolean(Some(has_data));
            return Ok(Some((value, DataType::Boolean)));
        }
        "SYSTEM$TASK_DEPENDENTS_ENABLE" => {
            task::enable_dependents(session, &named(&argument()?)?)?;
            text("Statement executed successfully.")
        }
        "SYSTEM$GET_ICEBERG_TABLE_INFORMATION" => {
            text(iceberg_table::information(session, &named(&argument()?)?)?)
        }
        _ => return Ok(None),
    };
    Ok(Some((found, DataType::TEXT)))
}

/// The arguments of a table function by name, those without one in the given order.
struct Arguments<'a> {
    given: &'a [Argument],
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

    fn limit(&self, default: usize) -> usize {
        let value = self.get("RESULT_LIMIT");
        let value = value.and_then(|one| one.cast_to(&arrow::datatypes::DataType::UInt64).ok());
        match value {
            Some(ScalarValue::UInt64(Some(limit))) => limit as usize,
            _ => default,
        }
    }

    /// Names that the function does not know.
    fn check(&self, function: &str) -> SqlResult<()> {
        let unknown = self.given.iter().filter_map(|one| one.name.as_ref());
        let unknown = unknown
            .map(Ident::as_str)
            .find(|name| !self.order.contains(name));
        match unknown {
            Some(name) => Err(SqlError::compilation(
                904,
                "42000",
                format_args!("invalid argument '{name}' for table function {function}"),
            )),
            None => Ok(()),
        }
    }
}

/// `TABLE(name(arguments))`.
pub fn table_function(session: &Session, name: &ObjectName, given: &[Argument]) -> SqlResult<Rows> {
    let function = name.last().as_str();
    let order: &'static [&'static str] = match function {
        "RESULT_SCAN" => &["QUERY_ID"],
        "COPY_HISTORY" => &[
            "TABLE_NAME",
            "START_TIME",
            "END_TIME",
            "PIPE_NAME",
            "RESULT_LIMIT",
        ],
        "TASK_HISTORY" => &[
            "SCHEDULED_TIME_RANGE_START",
            "SCHEDULED_TIME_RANGE_END",
            "RESULT_LIMIT",
            "TASK_NAME",
            "ERROR_ONLY",
            "ROOT_TASK_ID",
            "DATABASE_NAME",
            "SCHEMA_NAME",
        ],
        "QUERY_HISTORY" | "QUERY_HISTORY_BY_SESSION" | "QUERY_HISTORY_BY_USER" => {
            &["END_TIME_RANGE_START", "END_TIME_RANGE_END", "RESULT_LIMIT"]
        }
        "ICEBERG_TABLE_SNAPSHOT_REFRESH_HISTORY" => &["TABLE_NAME"],
        _ => {
            let text = format!("Unknown table function {name}.");
            return Err(SqlError::compilation(2141, "42601", text));
        }
    };
    let arguments = Arguments { given, order };
    arguments.check(function)?;
    match function {
        "RESULT_SCAN" => session.result(&arguments.text("QUERY_ID").unwrap_or_default()),
        "COPY_HISTORY" => copy_history(session, &arguments),
        "TASK_HISTORY" => task_history(session, &arguments),
        "ICEBERG_TABLE_SNAPSHOT_REFRESH_HISTORY" => refresh_history(session, &arguments),
        _ => query_history(session, &arguments),
    }
}

fn copy_history(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let table = arguments.text("TABLE_NAME").unwrap_or_default();
    let table = session.full_name(Kind::Table, &named(&table)?)?;
    session.account().find(Kind::Table, &table)?;
    let (from, to) = (arguments.time("START_TIME")?, arguments.time("END_TIME")?);
    let loads = session
        .account()
        .history
        .loads()
        .into_iter()
        .filter(|load| {
            load.table == table
                && from.is_none_or(|from| load.at >= from)
                && to.is_none_or(|to| load.at <= to)
        });
    let null = || ScalarValue::Null;
    let rows = loads.take(arguments.limit(10_000)).map(|load| {
        vec![
            text(load.file),
            text(load.stage_location),
            time(Some(load.at)),
            count(load.rows),
            count(load.rows),
            count(load.size),
            null(),
            null(),
            null(),
            null(),
            count(0),
            count(1),
            text("Loaded"),
            text(load.table.0[0].as_str()),
            text(load.table.0[1].as_str()),
            text(load.table.0[2].as_str()),
            null(),
            null(),
            null(),
            null(),
            null(),
        ]
    });
    let (t, n) = (DataType::TEXT, DataType::INTEGER);
    let columns = [
        ("FILE_NAME", t),
        ("STAGE_LOCATION", t),
        ("LAST_LOAD_TIME", TIME),
        ("ROW_COUNT", n),
        ("ROW_PARSED", n),
        ("FILE_SIZE", n),
        ("FIRST_ERROR_MESSAGE", t),
        ("FIRST_ERROR_LINE_NUMBER", n),
        ("FIRST_ERROR_CHARACTER_POS", n),
        ("FIRST_ERROR_COLUMN_NAME", t),
        ("ERROR_COUNT", n),
        ("ERROR_LIMIT", n),
        ("STATUS", t),
        ("TABLE_CATALOG_NAME", t),
        ("TABLE_SCHEMA_NAME", t),
        ("TABLE_NAME", t),
        ("PIPE_CATALOG_NAME", t),
        ("PIPE_SCHEMA_NAME", t),
        ("PIPE_NAME", t),
        ("PIPE_RECEIVED_TIME", TIME),
        ("BYTES_BILLED", n),
    ];
    Rows::of(&columns, rows.collect::<Vec<_>>())
}

fn task_history(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let from = arguments.time("SCHEDULED_TIME_RANGE_START")?;
    let to = arguments.time("SCHEDULED_TIME_RANGE_END")?;
    let name = arguments.text("TASK_NAME").map(|name| name.to_uppercase());
    let errors = arguments.get("ERROR_ONLY") == Some(&ScalarValue::Boolean(Some(true)));
    let runs = session.account().history.runs().into_iter().filter(|run| {
        from.is_none_or(|from| run.scheduled >= from)
            && to.is_none_or(|to| run.scheduled <= to)
            && name
                .as_ref()
                .is_none_or(|name| run.task.last().as_str() == name)
            && (!errors || run.error.is_some())
    });
    let rows = runs.take(arguments.limit(100)).map(|run| {
        vec![
            text(run.query_id),
            text(run.task.last().as_str()),
            text(run.task.0[0].as_str()),
            text(run.task.0[1].as_str()),
            text(run.definition),
            optional(run.condition),
            text(run.state.as_str()),
            optional(run.error.as_ref().map(|(code, _)| format!("{code:06}"))),
            optional(run.error.map(|(_, message)| message)),
            time(Some(run.scheduled)),
            time(run.started),
            time(run.next),
            time(run.completed),
            text(run.root_id),
            count(1),
            ScalarValue::Int64(Some(run.run_id)),
            optional(run.return_value),
            text(run.scheduled_from),
            count(1),
            ScalarValue::Null,
        ]
    });
    let (t, n) = (DataType::TEXT, DataType::INTEGER);
    let columns = [
        ("QUERY_ID", t),
        ("NAME", t),
        ("DATABASE_NAME", t),
        ("SCHEMA_NAME", t),
        ("QUERY_TEXT", t),
        ("CONDITION_TEXT", t),
        ("STATE", t),
        ("ERROR_CODE", t),
        ("ERROR_MESSAGE", t),
        ("SCHEDULED_TIME", TIME),
        ("QUERY_START_TIME", TIME),
        ("NEXT_SCHEDULED_TIME", TIME),
        ("COMPLETED_TIME", TIME),
        ("ROOT_TASK_ID", t),
        ("GRAPH_VERSION", n),
        ("RUN_ID", n),
        ("RETURN_VALUE", t),
        ("SCHEDULED_FROM", t),
        ("ATTEMPT_NUMBER", n),
        ("CONFIG", t),
    ];
    Rows::of(&columns, rows.collect::<Vec<_>>())
}

fn refresh_history(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let table = arguments.text("TABLE_NAME").unwrap_or_default();
    let table = session.full_name(Kind::Table, &named(&table)?)?;
    let object = session.account().find(Kind::Table, &table)?;
    let refreshes = iceberg_table::of(&object).map(|table| table.refreshes.as_slice());
    let refreshes = refreshes.unwrap_or_default();
    let newest = refreshes.len();
    let rows = refreshes.iter().enumerate().rev().map(|(index, refresh)| {
        vec![
            time(Some(refresh.at)),
            text(refresh.metadata_location.clone()),
            ScalarValue::Int64(refresh.snapshot_id),
            ScalarValue::Int64(Some(refresh.sequence_number)),
            ScalarValue::Int32(Some(refresh.schema_id)),
            ScalarValue::Boolean(Some(index + 1 == newest)),
        ]
    });
    let n = DataType::INTEGER;
    let columns = [
        ("REFRESHED_ON", TIME),
        ("METADATA_FILE_NAME", DataType::TEXT),
        ("SNAPSHOT_ID", n),
        ("SEQUENCE_NUMBER", n),
        ("ICEBERG_SCHEMA_ID", n),
        ("IS_CURRENT_SNAPSHOT", DataType::Boolean),
    ];
    Rows::of(&columns, rows.collect::<Vec<_>>())
}

fn query_history(session: &Session, arguments: &Arguments<'_>) -> SqlResult<Rows> {
    let from = arguments.time("END_TIME_RANGE_START")?;
    let to = arguments.time("END_TIME_RANGE_END")?;
    let queries = session
        .account()
        .history
        .queries()
        .into_iter()
        .filter(|query| {
            from.is_none_or(|from| query.ended >= from) && to.is_none_or(|to| query.ended <= to)
        });
    let name = |ident: Option<Ident>| optional(ident.map(|ident| ident.as_str().to_owned()));
    let rows = queries.take(arguments.limit(100)).map(|query| {
        let elapsed = query.ended.signed_duration_since(query.started);
        vec![
            text(query.id),
            text(query.text),
            name(query.database),
            name(query.schema),
            text(query.user.as_str()),
            name(query.role),
            name(query.warehouse),
            text(if query.error.is_some() {
                "FAILED_WITH_ERROR"
            } else {
                "SUCCESS"
            }),
            optional(query.error.as_ref().map(|(code, _)| format!("{code:06}"))),
            optional(query.error.map(|(_, message)| message)),
            time(Some(query.started)),
            time(Some(query.ended)),
            ScalarValue::Int64(Some(elapsed.num_milliseconds())),
            count(query.rows),
        ]
    });
    let (t, n) = (DataType::TEXT, DataType::INTEGER);
    let columns = [
        ("QUERY_ID", t),
        ("QUERY_TEXT", t),
        ("DATABASE_NAME", t),
        ("SCHEMA_NAME", t),
        ("USER_NAME", t),
        ("ROLE_NAME", t),
        ("WAREHOUSE_NAME", t),
        ("EXECUTION_STATUS", t),
        ("ERROR_CODE", t),
        ("ERROR_MESSAGE", t),
        ("START_TIME", TIME),
        ("END_TIME", TIME),
        ("TOTAL_ELAPSED_TIME", n),
        ("ROWS_PRODUCED", n),
    ];
    Rows::of(&columns, rows.collect::<Vec<_>>())
}

/// Whether a name is one of a view of INFORMATION_SCHEMA.
pub fn is_information_schema(name: &ObjectName) -> bool {
    let parts = &name.0;
    parts.len() >= 2 && parts[parts.len() - 2].as_str() == "INFORMATION_SCHEMA"
}

/// A view of INFORMATION_SCHEMA, of the database that is named or the current one.
pub fn information_schema(session: &Session, name: &ObjectName) -> SqlResult<Rows> {
    let mut parts = name.0.clone();
    let view = parts.pop().unwrap_or_else(|| Ident::quoted(""));
    parts.pop();
    let database = match parts.pop() {
        Some(database) => database,
        None => session
            .current()
            .database
            .ok_or_else(|| SqlError::no_object(name))?,
    };
    let account = session.account();
    let within = ObjectName(vec![database.clone()]);
    account.find(Kind::Database, &within)?;
    let objects = |kind| account.list(kind, &within.0);
    let schema_of = |object: &Object| object.name.0[1].as_str().to_owned();
    let name_of = |object: &Object| object.name.last().as_str().to_owned();
    let catalog = database.as_str().to_owned();
    let simple = |kind: Kind, prefix: &str| {
        let names = [
            format!("{prefix}_CATALOG"),
            format!("{prefix}_SCHEMA"),
            format!("{prefix}_NAME"),
        ];
        let columns = [
            (names[0].as_str(), DataType::TEXT),
            (names[1].as_str(), DataType::TEXT),
            (names[2].as_str(), DataType::TEXT),
            ("CREATED", TIME),
            ("COMMENT", DataType::TEXT),
        ];
        let rows = objects(kind).into_iter().map(|object| {
            vec![
                text(catalog.clone()),
                text(schema_of(&object)),
                text(name_of(&object)),
                time(Some(object.created_on)),
                text(object.comment()),
            ]
        });
        Rows::of(&columns, rows.collect::<Vec<_>>())
    };
    match view.as_str() {
        "DATABASES" => {
            let rows = account.list(Kind::Database, &[]).into_iter().map(|object| {
                vec![
                    text(name_of(&object)),
                    text(object.owner.as_str()),
                    text(object.comment()),
                    time(Some(object.created_on)),
                ]
            });
            Rows::of(
                &[
                    ("DATABASE_NAME", DataType::TEXT),
                    ("DATABASE_OWNER", DataType::TEXT),
                    ("COMMENT", DataType::TEXT),
                    ("CREATED", TIME),
                ],
                rows.collect::<Vec<_>>(),
            )
        }
        "SCHEMATA" => {
            let rows = objects(Kind::Schema).into_iter().map(|object| {
                vec![
                    text(catalog.clone()),
                    text(name_of(&object)),
                    text(object.owner.as_str()),
                    time(Some(object.created_on)),
                ]
            });
            Rows::of(
                &[
                    ("CATALOG_NAME", DataType::TEXT),
                    ("SCHEMA_NAME", DataType::TEXT),
                    ("SCHEMA_OWNER", DataType::TEXT),
                    ("CREATED", TIME),
                ],
                rows.collect::<Vec<_>>(),
            )
        }
        "TABLES" => {
            let rows = objects(Kind::Table).into_iter().map(|object| {
                let is_iceberg = iceberg_table::of(&object).is_some();
                vec![
                    text(catalog.clone()),
                    text(schema_of(&object)),
                    text(name_of(&object)),
                    text(object.owner.as_str()),
                    text("BASE TABLE"),
                    text(if is_iceberg { "YES" } else { "NO" }),
                    time(Some(object.created_on)),
                    text(object.comment()),
                ]
            });
            Rows::of(
                &[
                    ("TABLE_CATALOG", DataType::TEXT),
                    ("TABLE_SCHEMA", DataType::TEXT),
                    ("TABLE_NAME", DataType::TEXT),
                    ("TABLE_OWNER", DataType::TEXT),
                    ("TABLE_TYPE", DataType::TEXT),
                    ("IS_ICEBERG", DataType::TEXT),
                    ("CREATED", TIME),
                    ("COMMENT", DataType::TEXT),
                ],
                rows.collect::<Vec<_>>(),
            )
        }
        "STAGES" => simple(Kind::Stage, "STAGE"),
        "PROCEDURES" => simple(Kind::Procedure, "PROCEDURE"),
        _ => Err(SqlError::no_object(name)),
    }
}
