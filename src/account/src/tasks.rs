//! Execution of tasks: root tasks by their schedules, and other tasks after their predecessors
//! succeed.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use chrono::{DateTime, Utc};

use crate::account::Account;
use crate::answer::new_query_id;
use crate::history::{RunState, TaskRun};
use crate::kind::task::Task;
use crate::kind::{stream, task};
use crate::object::Object;
use crate::session::Session;
use crate::statement::{self, Statement};
use crate::{Kind, catalog_follower};
use icebox_schedule::{Hold, Schedule};
use icebox_sql::error::{SqlError, SqlResult};
use icebox_sql::names::{Ident, ObjectName};

/// Runs the account's background work until the future is dropped: tasks, and the polling of
/// catalogs. Runs that were due while this was not running are not made up for.
pub async fn run(account: Arc<Account>) {
    tokio::join!(
        scheduled_tasks(Arc::clone(&account)),
        catalog_follower::run(account)
    );
}

async fn scheduled_tasks(account: Arc<Account>) {
    let mut last = account.now();
    // While a hold exists, the clock does not advance: a run ends at the time when it was due.
    let mut held: Option<Arc<Hold>> = None;
    loop {
        for root in account.tasks.take() {
            start_graph(&account, root, account.now(), "EXECUTE TASK", None);
        }
        let now = account.now();
        let mut next: Option<DateTime<Utc>> = None;
        for object in account.list(Kind::Task, &[]) {
            let Some((resumed, schedule)) = scheduled(&object) else {
                continue;
            };
            if let Some(due) = schedule.next_after(resumed, last.max(resumed))
                && due <= now
            {
                start_graph(&account, object.name.clone(), due, "SCHEDULE", held.clone());
            }
            if let Some(due) = schedule.next_after(resumed, now.max(resumed)) {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        last = now;
        let sleep = async {
            match next {
                Some(next) => account.host.clock().sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        let mut sleep = pin!(sleep);
        // The next sleep is registered before the hold is dropped, so that the clock cannot advance
        // past it.
        let at_once = futures::poll!(sleep.as_mut());
        drop(held.take());
        if let Poll::Ready(hold) = at_once {
            held = Some(Arc::new(hold));
            continue;
        }
        tokio::select! {
            hold = sleep => held = Some(Arc::new(hold)),
            () = account.tasks.changed() => {}
        }
    }
}

/// Returns when a started root task was resumed, and its schedule.
fn scheduled(object: &Object) -> Option<(DateTime<Utc>, Schedule)> {
    let task = object.state::<Task>().filter(|task| task.is_started)?;
    let schedule = object.properties.text("SCHEDULE")?;
    Some((task.resumed_on?, Schedule::parse(&schedule).ok()?))
}

/// Starts a graph run, unless one is running that must not overlap.
fn start_graph(
    account: &Arc<Account>,
    root: ObjectName,
    due: DateTime<Utc>,
    from: &'static str,
    held: Option<Arc<Hold>>,
) {
    let Some(object) = account.get(Kind::Task, &root) else {
        return;
    };
    let overlapping = object.properties.is_true("ALLOW_OVERLAPPING_EXECUTION");
    if !account.tasks.start(&root, overlapping) {
        return;
    }
    let account = Arc::clone(account);
    tokio::spawn(async move {
        run_graph(&account, &object, due, from).await;
        account.tasks.end(&root);
        drop(held);
    });
}

/// Runs a root task, and then its dependents level by level.
async fn run_graph(account: &Arc<Account>, root: &Object, due: DateTime<Utc>, from: &'static str) {
    // The tasks that ended, with whether they count as succeeded.
    let mut ended: BTreeMap<ObjectName, bool> = BTreeMap::new();
    let begun = account.now();
    let outcome = run_task(account, root, root, due, from).await;
    ended.insert(root.name.clone(), outcome == Outcome::Succeeded);
    let mut waiting = task::descendants(account, &root.name);
    loop {
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|object| {
            let mut predecessors = task::predecessors(object).iter();
            predecessors.all(|name| ended.contains_key(name))
        });
        if ready.is_empty() {
            break;
        }
        let runs = ready.iter().map(|object| async {
            let mut predecessors = task::predecessors(object).iter();
            let succeeded = predecessors.all(|name| ended.get(name) == Some(&true));
            let is_good = match (succeeded, task::is_started(object)) {
                // A suspended task counts as succeeded for the tasks after it.
                (true, false) => true,
                (true, true) => {
                    run_task(account, object, root, due, from).await == Outcome::Succeeded
                }
                (false, _) => false,
            };
            (object.name.clone(), is_good)
        });
        ended.extend(futures::future::join_all(runs).await);
        waiting = rest;
    }
    for object in std::iter::once(root.clone()).chain(task::descendants(account, &root.name)) {
        if task::is_started(&object) && ended.get(&object.name) == Some(&true) {
            notify_unconsumed(account, &object, begun);
        }
    }
}

/// Gives a notice, once for each stream, if a task ran because a stream had data and nothing in its
/// graph consumed the stream. Such a task will run every time from now on.
fn notify_unconsumed(account: &Arc<Account>, object: &Object, begun: DateTime<Utc>) {
    let condition = object
        .state::<Task>()
        .and_then(|task| task.condition.as_deref());
    let session = session_of(account, object);
    for stream in task::streams(condition.unwrap_or_default()) {
        if !stream::is_unconsumed(&session, &stream, begun) {
            continue;
        }
        let Ok(full) = session.full_name(Kind::Stream, &stream) else {
            continue;
        };
        account.notices.once(format!("unconsumed {full}"), account.now(), || {
            format!(
                "Task {} runs when stream {full} has data, and nothing has consumed the stream: reading alone does not. As on Snowflake, the task now runs at every run of its root. To consume the stream, write what it holds: CREATE TEMPORARY TABLE seen AS SELECT * FROM {full} WHERE 1 = 0.",
                object.name
            )
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Succeeded,
    Failed,
    Skipped,
}

/// Runs one task and records the run.
async fn run_task(
    account: &Arc<Account>,
    object: &Object,
    root: &Object,
    due: DateTime<Utc>,
    from: &'static str,
) -> Outcome {
    let Some(task) = object.state::<Task>() else {
        return Outcome::Skipped;
    };
    let next = scheduled(object).and_then(|(resumed, schedule)| schedule.next_after(resumed, due));
    let mut run = TaskRun {
        query_id: new_query_id(),
        task: object.name.clone(),
        task_id: task::id(object),
        root_id: task::id(root),
        definition: task.definition.clone(),
        condition: task.condition.clone(),
        state: RunState::Executing,
        error: None,
        scheduled: due,
        started: Some(account.now()),
        completed: None,
        next,
        run_id: due.timestamp_millis(),
        return_value: None,
        scheduled_from: from,
        config: root.properties.text("CONFIG"),
    };
    let session = session_of(account, object);
    let wanted = match &task.condition {
        Some(condition) => is_condition_true(&session, condition).await,
        None => Ok(true),
    };
    let result = match wanted {
        Ok(true) => {
            account.history.upsert_run(run.clone());
            let statement = Statement {
                query_id: run.query_id.clone(),
                ..Statement::new(&*task.definition)
            };
            statement::run(&session, &statement).await.map(Some)
        }
        Ok(false) => Ok(None),
        Err(error) => Err(error),
    };
    run.completed = Some(account.now());
    let outcome = match result {
        Ok(None) => {
            run.state = RunState::Skipped;
            Outcome::Skipped
        }
        Ok(Some(_)) => {
            run.state = RunState::Succeeded;
            let _ = account.update(Kind::Task, &object.name, |object| {
                task::count_failure(object, false);
                Ok(())
            });
            Outcome::Succeeded
        }
        Err(error) => {
            run.error = Some(error.clone());
            run.state = record_failure(account, root, &error);
            Outcome::Failed
        }
    };
    account.history.upsert_run(run);
    outcome
}

/// Counts a failure of a graph, and suspends its root task after too many failures in a row.
/// Returns the state of the run.
fn record_failure(account: &Account, root: &Object, error: &SqlError) -> RunState {
    tracing::warn!(task = %root.name, %error, "a task has failed");
    let most = root
        .properties
        .integer("SUSPEND_TASK_AFTER_NUM_FAILURES")
        .unwrap_or(10);
    let failures = account.update(Kind::Task, &root.name, |object| {
        Ok(task::count_failure(object, true))
    });
    match failures {
        Ok(failures) if most > 0 && failures >= most => {
            let _ = task::suspend(account, &root.name, Some("SUSPENDED_DUE_TO_ERRORS"));
            RunState::FailedAndAutoSuspended
        }
        _ => RunState::Failed,
    }
}

/// Returns a session for a task: in the task's schema, with its warehouse and its owner's role.
fn session_of(account: &Arc<Account>, object: &Object) -> Session {
    let session = Session::new(Arc::clone(account), Ident::unquoted("SYSTEM"));
    session.use_database(&object.name.0[0], Some(&object.name.0[1]));
    let warehouse = object
        .properties
        .name("WAREHOUSE")
        .map(|name| name.last().clone());
    session.change(|current| {
        current.role = Some(object.owner.clone());
        current.warehouse = warehouse;
    });
    session
}

async fn is_condition_true(session: &Session, condition: &str) -> SqlResult<bool> {
    let value = statement::value(session, &format!("({condition})::BOOLEAN")).await?;
    Ok(value == datafusion::common::ScalarValue::Boolean(Some(true)))
}
