//! Functions of the current moment, which is the same throughout a statement.

use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::sql::sqlparser::ast::Expr;

use super::{Function, Kind};
use crate::query::syntax_tree::{cast, string};

pub const FUNCTIONS: &[Function] = &[
    now("CURRENT_TIMESTAMP", timestamp).with_synonyms(&[
        "GETDATE",
        "LOCALTIMESTAMP",
        "SYSTIMESTAMP",
    ]),
    now("CURRENT_DATE", |now| cast(timestamp(now), "DATE")),
    now("CURRENT_TIME", |now| cast(timestamp(now), "TIME(9)")).with_synonyms(&["LOCALTIME"]),
    now("SYSDATE", wall_clock_in_utc),
];

/// Creates a function with an optional argument, the precision, which changes nothing.
const fn now(name: &'static str, build: fn(DateTime<Utc>) -> Expr) -> Function {
    Function::new(name, (0, 1), Kind::Now(build))
}

fn timestamp(now: DateTime<Utc>) -> Expr {
    let text = now.to_rfc3339_opts(SecondsFormat::Nanos, true);
    cast(string(text.replace('T', " ")), "TIMESTAMP_LTZ(9)")
}

fn wall_clock_in_utc(now: DateTime<Utc>) -> Expr {
    let text = now.naive_utc().format("%F %T%.9f").to_string();
    cast(string(text), "TIMESTAMP_NTZ(9)")
}
