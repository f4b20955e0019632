//! Tasks: statements that run on a schedule or after other tasks.

mod graph;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use serde::{Deserialize, Serialize};
use sqlparser::tokenizer::Token;

use super::{Created, Ddl, KindInfo, ObjectKind};
use crate::Kind;
use crate::account::Account;
use crate::object::columns::{
    self, COMMENT, CREATED_ON, Column, DATABASE_NAME, NAME, OWNER, OWNER_ROLE_TYPE, SCHEMA_NAME,
    TIME, column, optional, text,
};
use crate::object::properties::{self, Properties, Property, PropertyType};
use crate::object::{Create, Object, Scope, ddl};
use crate::session::Session;
use graph::{after, check_graph, check_root_suspended};
pub use graph::{descendants, streams};
use icebox_schedule::Schedule;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;

pub struct TaskKind;

const PROPERTIES: &[Property] = &[
    Property::new("WAREHOUSE", PropertyType::Name),
    Property::new("SCHEDULE", PropertyType::Text),
    Property::new("CONFIG", PropertyType::Text),
    Property::new("ALLOW_OVERLAPPING_EXECUTION", PropertyType::Boolean),
    Property::new(
        "SUSPEND_TASK_AFTER_NUM_FAILURES",
        PropertyType::Integer(0, u32::MAX as u64),
    )
    .with_default("10"),
    Property::new("TASK_AUTO_RETRY_ATTEMPTS", PropertyType::Integer(0, 30)).with_default("0"),
    Property::new(
        "USER_TASK_TIMEOUT_MS",
        PropertyType::Integer(0, 604_800_000),
    )
    .with_default("3600000"),
    Property::new(
        "USER_TASK_MANAGED_INITIAL_WAREHOUSE_SIZE",
        PropertyType::Text,
    ),
    properties::COMMENT,
];

/// The columns of SHOW TASKS.
pub const SHOW: &[Column] = &[
    CREATED_ON,
    NAME,
    column("id", |task| text(id(task))),
    DATABASE_NAME,
    SCHEMA_NAME,
    OWNER,
    COMMENT,
    column("warehouse", |task| {
        optional(task.properties.text("WAREHOUSE"))
    }),
    column("schedule", |task| {
        optional(task.properties.text("SCHEDULE"))
    }),
    column("predecessors", |task| text(shown_predecessors(task))),
    column("state", |task| {
        text(if is_started(task) {
            "started"
        } else {
            "suspended"
        })
    }),
    column("definition", |task| {
        text(
            task.state::<Task>()
                .map_or("", |task| task.definition.as_str()),
        )
    }),
    column("condition", |task| {
        optional(task.state::<Task>().and_then(|task| task.condition.clone()))
    }),
    column("allow_overlapping_execution", |task| {
        text(overlapping(task))
    }),
    column("error_integration", |_| "null".into()),
    Column {
        name: "last_committed_on",
        ty: TIME,
        value: |task| time_of(task, |task| task.resumed_on),
    },
    Column {
        name: "last_suspended_on",
        ty: TIME,
        value: |task| time_of(task, |task| task.suspended_on),
    },
    OWNER_ROLE_TYPE,
    column("config", |task| optional(task.properties.text("CONFIG"))),
    column("task_relations", |task| {
        text(format!("{{\"Predecessors\":{}}}", shown_predecessors(task)))
    }),
    column("last_suspended_reason", |task| {
        optional(
            task.state::<Task>()
                .and_then(|task| task.suspended_reason.clone()),
        )
    }),
    column("success_integration", |_| "null".into()),
    column("scheduling_mode", |_| ScalarValue::Utf8(None)),
    column("target_completion_interval", |_| ScalarValue::Utf8(None)),
    column("execute_as_user", |_| ScalarValue::Utf8(None)),
    column("overlap_policy", |_| ScalarValue::Utf8(None)),
    column("created_by_user", |_| ScalarValue::Utf8(None)),
];

const INFO: KindInfo = KindInfo {
    properties: PROPERTIES,
    show: SHOW,
    has_terse: true,
    // DESCRIBE TASK returns the row of SHOW TASKS.
    describe: SHOW,
    ddl: Some(Ddl {
        object_type: "TASK",
        statement: |_, task, name| create_statement(task, name),
    }),
    ..KindInfo::new(Kind::Task, &["TASK"], "TASKS", Scope::Schema, "Task")
};

/// The definition and the state of a task.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Task {
    /// The statement after AS.
    pub definition: String,
    /// The expression after WHEN.
    pub condition: Option<String>,
    /// The full names of the predecessors.
    pub predecessors: Vec<ObjectName>,
    pub is_started: bool,
    /// When the task was last resumed. An interval of its schedule counts from here.
    pub resumed_on: Option<DateTime<Utc>>,
    pub suspended_on: Option<DateTime<Utc>>,
    pub suspended_reason: Option<String>,
    /// The number of failures in a row.
    pub failures: u64,
}

pub fn is_started(object: &Object) -> bool {
    object.state::<Task>().is_some_and(|task| task.is_started)
}

/// Returns a task's id in histories.
pub fn id(object: &Object) -> String {
    format!(
        "01ce{:04x}-0000-0000-0000-{:012x}",
        object.id & 0xffff,
        object.id
    )
}

/// Returns the full names of a task's predecessors.
pub fn predecessors(object: &Object) -> &[ObjectName] {
    object
        .state::<Task>()
        .map_or(&[], |task| &task.predecessors)
}

fn shown_predecessors(object: &Object) -> String {
    let names = predecessors(object).iter();
    let names: Vec<_> = names.map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", names.join(","))
}

/// Returns the column `allow_overlapping_execution`: `true` or `false`, or the word `null` for a
/// task that has predecessors.
fn overlapping(object: &Object) -> String {
    if object
        .state::<Task>()
        .is_some_and(|task| !task.predecessors.is_empty())
    {
        "null".to_owned()
    } else {
        object
            .properties
            .is_true("ALLOW_OVERLAPPING_EXECUTION")
            .to_string()
    }
}

fn time_of(object: &Object, time: fn(&Task) -> Option<DateTime<Utc>>) -> ScalarValue {
    columns::optional_time(object.state::<Task>().and_then(time))
}

/// Increments the number of failures in a row, or resets it after a success. Returns the new
/// number.
pub fn count_failure(object: &mut Object, is_failure: bool) -> u64 {
    let Some(task) = object.state_mut::<Task>() else {
        return 0;
    };
    task.failures = if is_failure { task.failures + 1 } else { 0 };
    task.failures
}

/// Starts a task. An interval of its schedule counts from now.
fn resume(account: &Account, name: &ObjectName) -> SqlResult<()> {
    let now = account.now();
    account.update(Kind::Task, name, |object| {
        if let Some(task) = object.state_mut::<Task>() {
            task.is_started = true;
            task.resumed_on = Some(now);
            task.failures = 0;
        }
        Ok(())
    })?;
    account.tasks.notify();
    Ok(())
}

/// Suspends a task, with a reason if the user did not suspend it.
pub fn suspend(account: &Account, name: &ObjectName, reason: Option<&str>) -> SqlResult<()> {
    let now = account.now();
    account.update(Kind::Task, name, |object| {
        if let Some(task) = object.state_mut::<Task>() {
            task.is_started = false;
            task.suspended_on = Some(now);
            task.suspended_reason = Some(reason.unwrap_or("USER_SUSPENDED").to_owned());
        }
        Ok(())
    })
}

/// Runs `SYSTEM$TASK_DEPENDENTS_ENABLE`: resumes a root and all tasks that depend on it, the
/// dependents first.
pub fn enable_dependents(session: &Session, name: &ObjectName) -> SqlResult<()> {
    let account = session.account();
    let full = session.full_name(Kind::Task, name)?;
    account.find(Kind::Task, &full)?;
    for task in descendants(account, &full) {
        resume(account, &task.name)?;
    }
    resume(account, &full)
}

/// Returns the statement that recreates a task.
fn create_statement(object: &Object, name: &str) -> Option<String> {
    let task = object.state::<Task>()?;
    let mut text = format!("create or replace task {name}");
    text += &ddl::options(&object.properties, PROPERTIES, "\n\t");
    if !task.predecessors.is_empty() {
        text += &format!("\n\tafter {}", ddl::names(&task.predecessors));
    }
    if let Some(condition) = &task.condition {
        text += &format!("\n\twhen {condition}");
    }
    text += &format!("\n\tas {}", task.definition);
    Some(text)
}

#[async_trait]
impl ObjectKind for TaskKind {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn check(&self, session: &Session, properties: &Properties) -> SqlResult<()> {
        if let Some(schedule) = properties.text("SCHEDULE") {
            Schedule::parse(&schedule)?;
        }
        if let Some(warehouse) = properties.name("WAREHOUSE")
            && session.account().get(Kind::Warehouse, warehouse).is_none()
        {
            let text = format!("Nonexistent warehouse {warehouse} was specified.");
            return Err(SqlError::compilation(code::OBJECT_NOT_FOUND, text));
        }
        Ok(())
    }

    async fn create(
        &self,
        session: &Session,
        create: Create,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Created> {
        let name = session.full_name(Kind::Task, &create.name)?;
        let mut properties = Properties::default();
        let mut task = Task::default();
        loop {
            if cursor.accept("AFTER") {
                task.predecessors = after(session, &name, cursor)?;
            } else if cursor.accept("WHEN") {
                let start = cursor.offset();
                while !cursor.is_next("AS") {
                    if cursor.bump().is_none() {
                        return Err(cursor.unexpected());
                    }
                }
                task.condition = Some(cursor.text()[start..cursor.last_end()].to_owned());
            } else if cursor.accept("AS") {
                break;
            } else {
                let at = cursor.offset();
                cursor.accept_token(&Token::Comma);
                properties.extend(Properties::parse(cursor, PROPERTIES)?);
                if cursor.offset() == at {
                    return Err(cursor.unexpected());
                }
            }
        }
        if cursor.is_at_end() {
            return Err(cursor.unexpected());
        }
        task.definition = cursor.take_rest().to_owned();
        check_graph(&name, &properties, &task)?;
        properties.complete(PROPERTIES)?;
        self.check(session, &properties)?;
        let account = session.account();
        if account.get(Kind::Task, &name).is_some() && !create.if_not_exists {
            check_root_suspended(account, &name)?;
        }
        let rows = session.create(Kind::Task, &create, properties, task.into())?;
        Ok(Created::Done(rows))
    }

    async fn alter(
        &self,
        session: &Session,
        object: Object,
        cursor: &mut Cursor<'_>,
    ) -> SqlResult<Rows> {
        let account = session.account();
        let is_root = object
            .state::<Task>()
            .is_some_and(|task| task.predecessors.is_empty());
        if cursor.accept("RESUME") {
            cursor.expect_end()?;
            if !is_root {
                check_root_suspended(account, &object.name)?;
            } else if object.properties.get("SCHEDULE").is_none() {
                let text = format!(
                    "Task {} cannot be resumed: it has neither a schedule nor a predecessor.",
                    object.name
                );
                return Err(SqlError::new(code::TASK_WITHOUT_SCHEDULE, text));
            }
            resume(account, &object.name)?;
        } else if cursor.accept("SUSPEND") {
            cursor.expect_end()?;
            if !is_root {
                check_root_suspended(account, &object.name)?;
            }
            suspend(account, &object.name, None)?;
        } else {
            check_root_suspended(account, &object.name)?;
            let mut task = object.state::<Task>().cloned().unwrap_or_default();
            if cursor.accept("ADD AFTER") {
                task.predecessors
                    .extend(after(session, &object.name, cursor)?);
                task.predecessors.dedup();
            } else if cursor.accept("REMOVE AFTER") {
                let gone = after(session, &object.name, cursor)?;
                task.predecessors.retain(|name| !gone.contains(name));
            } else if cursor.accept("MODIFY AS") {
                task.definition = cursor.take_rest().to_owned();
            } else if cursor.accept("MODIFY WHEN") {
                task.condition = Some(cursor.take_rest().to_owned());
            } else if cursor.accept("REMOVE WHEN") {
                task.condition = None;
            } else {
                return Err(cursor.unexpected());
            }
            cursor.expect_end()?;
            check_graph(&object.name, &object.properties, &task)?;
            account.update(Kind::Task, &object.name, |object| {
                object.state = task.into();
                Ok(())
            })?;
        }
        Ok(Rows::succeeded())
    }

    fn before_alter(&self, session: &Session, object: &Object) -> SqlResult<()> {
        check_root_suspended(session.account(), &object.name)
    }

    async fn before_drop(&self, session: &Session, object: &Object) -> SqlResult<()> {
        check_root_suspended(session.account(), &object.name)
    }

    fn prerequisites<'a>(&self, object: &'a Object) -> &'a [ObjectName] {
        predecessors(object)
    }
}
