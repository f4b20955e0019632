//! Function calls: each is rewritten as its row in the registry says.

use chrono::{DateTime, Utc};
use datafusion::sql::sqlparser::ast::{Expr, Function, Ident};

use crate::error::SqlResult;
use crate::query::functions::{self, Kind, ParsedCall};
use crate::query::syntax_tree::{call, string};

/// The result of rewriting a call.
pub enum Rewritten {
    Expr(Expr),
    /// Not a function of queries; the session may know it.
    Unknown(ParsedCall),
}

/// Rewrites a call whose arguments have been rewritten. `now` is the moment of the statement.
///
/// # Errors
/// If the call has clauses or arguments that the function does not take.
pub fn rewrite(function: Function, now: DateTime<Utc>) -> SqlResult<Rewritten> {
    let mut parsed = ParsedCall::new(function)?;
    let Some(function) = functions::find(&parsed.name) else {
        parsed.refuse_clauses()?;
        return Ok(Rewritten::Unknown(parsed));
    };
    function.name.clone_into(&mut parsed.name);
    if let Some(index) = function.date_part
        && let Some(Expr::Identifier(Ident { value, .. })) = parsed.arguments.get(index)
    {
        parsed.arguments[index] = string(value.clone());
    }
    let check_arity =
        || functions::check_arity(function.name, function.arity, parsed.arguments.len());
    Ok(Rewritten::Expr(match &function.kind {
        Kind::Scalar(_) => {
            // The number of arguments is checked with their types, when the query is planned.
            parsed.refuse_clauses()?;
            call(function.name, parsed.arguments)
        }
        Kind::Expression(build) => {
            parsed.refuse_clauses()?;
            check_arity()?;
            build(&parsed.arguments)
        }
        Kind::Now(build) => {
            check_arity()?;
            build(now)
        }
        Kind::Aggregate(aggregate) => {
            check_arity()?;
            let expr = aggregate.expression(&mut parsed);
            parsed.refuse_within_group()?;
            expr
        }
        Kind::Window(window) => {
            check_arity()?;
            window.expression(&mut parsed)?
        }
    }))
}
