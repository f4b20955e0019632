//! Task graphs: the order of tasks, and the check that a graph is not changed while its root is
//! started.

use std::collections::BTreeSet;

use sqlparser::tokenizer::Token;

use super::{Task, is_started, predecessors};
use crate::Kind;
use crate::account::Account;
use crate::object::Object;
use crate::object::properties::Properties;
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::syntax::{self, Cursor};

/// Returns the root of a task's graph, which is the task itself if it has no predecessors.
pub fn root(account: &Account, name: &ObjectName) -> ObjectName {
    let mut root = name.clone();
    // Graphs have no cycles; the bound guards against a damaged state file.
    for _ in 0..1000 {
        let task = account.get(Kind::Task, &root);
        let above = task.as_ref().and_then(|task| predecessors(task).first());
        match above {
            Some(above) => root = above.clone(),
            None => break,
        }
    }
    root
}

/// Returns the streams that a task's condition checks for data, with their names as written there.
pub fn streams(condition: &str) -> Vec<ObjectName> {
    let Ok(mut cursor) = Cursor::new(condition) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    while !cursor.is_at_end() {
        if cursor.accept("SYSTEM$STREAM_HAS_DATA") && cursor.accept_token(&Token::LParen) {
            let name = cursor.string().and_then(|text| syntax::name(&text));
            names.extend(name);
        } else {
            cursor.bump();
        }
    }
    names
}

/// Returns all tasks of the graph below a root, without the root.
pub fn descendants(account: &Account, root: &ObjectName) -> Vec<Object> {
    let all = account.list(Kind::Task, &root.0[..2]);
    let mut known = BTreeSet::from([root.clone()]);
    loop {
        let before = known.len();
        for task in &all {
            let mut above = predecessors(task).iter();
            if above.any(|one| known.contains(one)) {
                known.insert(task.name.clone());
            }
        }
        if known.len() == before {
            known.remove(root);
            return all
                .into_iter()
                .filter(|task| known.contains(&task.name))
                .collect();
        }
    }
}

/// Checks that the root of a task's graph is suspended: a graph must not be changed while it is
/// started.
pub(super) fn check_root_suspended(account: &Account, name: &ObjectName) -> SqlResult<()> {
    let root = root(account, name);
    let task = account.get(Kind::Task, &root);
    if task.is_some_and(|task| is_started(&task)) {
        let text = format!(
            "Unable to update graph with root task {root} since that root task is not suspended."
        );
        return Err(SqlError::new(code::ROOT_TASK_NOT_SUSPENDED, text));
    }
    Ok(())
}

/// Parses `AFTER a, b`. The tasks must be in the same schema as the task `own`.
pub(super) fn after(
    session: &Session,
    own: &ObjectName,
    cursor: &mut Cursor<'_>,
) -> SqlResult<Vec<ObjectName>> {
    let mut names: Vec<ObjectName> = Vec::new();
    loop {
        let name = match cursor.string() {
            Ok(text) => syntax::name(&text)?,
            Err(_) => cursor.name(3)?,
        };
        let full = session.full_name(Kind::Task, &name)?;
        if full.0[..2] != own.0[..2] {
            let text = format!(
                "Cannot have predecessor {} from a different schema.",
                full.last()
            );
            return Err(SqlError::compilation(code::SYNTAX, text));
        }
        let account = session.account();
        let makes_a_cycle = full == *own
            || descendants(account, own)
                .iter()
                .any(|task| task.name == full);
        if account.get(Kind::Task, &full).is_none() || makes_a_cycle {
            let text = format!("Invalid predecessor {} was specified.", full.last());
            return Err(SqlError::compilation(code::SYNTAX, text));
        }
        check_root_suspended(account, &full)?;
        if !names.contains(&full) {
            names.push(full);
        }
        if !cursor.accept_token(&Token::Comma) {
            return Ok(names);
        }
    }
}

pub(super) fn check_graph(
    name: &ObjectName,
    properties: &Properties,
    task: &Task,
) -> SqlResult<()> {
    if task.predecessors.is_empty() {
        return Ok(());
    }
    let wrong = if properties.get("SCHEDULE").is_some() {
        format!(
            "Task {} cannot have both a schedule and a predecessor.",
            name.last()
        )
    } else if properties.get("ALLOW_OVERLAPPING_EXECUTION").is_some() {
        format!("Cannot set allow_overlapping_execution on non-root task {name}.")
    } else {
        return Ok(());
    };
    Err(SqlError::compilation(code::SYNTAX, wrong))
}
