//! Queries that `postgres_fdw` sends but the lake does not support: a reader's row locks, and a
//! `ctid` that a user selects.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, visit_expressions};

use super::error::Error;

/// The unsupported feature that a query uses.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unsupported {
    Lock,
    Ctid,
}

/// Returns the unsupported feature of a query. The scan of an UPDATE or DELETE both locks its rows
/// and reads their `ctid`, which is allowed. A user's query does only one of the two.
pub(super) fn unsupported(query: &Query) -> Option<Unsupported> {
    match (!query.locks.is_empty(), asks_for_ctid(query)) {
        (true, false) => Some(Unsupported::Lock),
        (false, true) => Some(Unsupported::Ctid),
        _ => None,
    }
}

impl Unsupported {
    /// Returns the error with `pg_lake`'s message. `name` is the table's name if the query reads
    /// only one.
    pub(super) fn error(&self, name: Option<&str>) -> Error {
        let message = match (self, name) {
            (Self::Lock, _) => {
                "SELECT .. FOR UPDATE is not yet supported on pg_lake tables".to_owned()
            }
            // The two blanks are pg_lake's.
            (Self::Ctid, Some(name)) => {
                format!("System column \"ctid\" is not supported for pg_lake table  \"{name}\"")
            }
            (Self::Ctid, None) => {
                "System column \"ctid\" is not supported for pg_lake tables".to_owned()
            }
        };
        Error::new("0A000", message)
    }
}

fn asks_for_ctid(query: &Query) -> bool {
    visit_expressions(query, |expr: &Expr| {
        let name = match expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(names) => names.last(),
            _ => None,
        };
        match name {
            Some(name) if name.value == "ctid" => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })
    .is_break()
}

#[cfg(test)]
mod tests {
    use super::super::statement::{Statement, parse};
    use super::*;

    #[test]
    fn only_the_scan_of_a_change_locks_and_tells_ctid() {
        for (sql, expected) in [
            ("SELECT a FROM pg_temp.\"7\"", None),
            ("SELECT a, ctid FROM pg_temp.\"7\" FOR UPDATE", None),
            (
                "SELECT r1.ctid, r2.a FROM (pg_temp.\"7\" r1 INNER JOIN pg_temp.\"8\" r2 ON (TRUE)) FOR UPDATE OF r1",
                None,
            ),
            (
                "SELECT a FROM pg_temp.\"7\" WHERE ((a = 'ctid')) FOR UPDATE",
                Some(Unsupported::Lock),
            ),
            (
                "SELECT a FROM pg_temp.\"7\" FOR SHARE",
                Some(Unsupported::Lock),
            ),
            ("SELECT ctid FROM pg_temp.\"7\"", Some(Unsupported::Ctid)),
            (
                "SELECT a FROM pg_temp.\"7\" WHERE ((ctid = '(0,1)'))",
                Some(Unsupported::Ctid),
            ),
        ] {
            let Some(Statement::Select(query)) = parse(sql).unwrap().pop() else {
                panic!("{sql} is a query");
            };
            assert_eq!(unsupported(&query), expected, "{sql}");
        }
    }
}
