//! Conditional functions. They become CASE, `coalesce` or a comparison, so that only the arguments
//! that decide the result are evaluated.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};

use super::{Arity, Function, Kind};
use crate::query::syntax_tree::{all, any, binary, call, case, integer, null};

pub const FUNCTIONS: &[Function] = &[
    conditional("IFF", (3, 3), |a| {
        case(vec![(a[0].clone(), a[1].clone())], a[2].clone())
    }),
    conditional("NVL", (1, usize::MAX), |a| call("coalesce", a.to_vec()))
        .with_synonyms(&["COALESCE", "IFNULL"]),
    conditional("NVL2", (3, 3), |a| {
        case(vec![(is_null(&a[0]), a[2].clone())], a[1].clone())
    }),
    conditional("ZEROIFNULL", (1, 1), |a| {
        call("coalesce", vec![a[0].clone(), integer(0)])
    }),
    conditional("NULLIF", (2, 2), |a| null_if_equal(&a[0], a[1].clone())),
    conditional("NULLIFZERO", (1, 1), |a| null_if_equal(&a[0], integer(0))),
    conditional("EQUAL_NULL", (2, 2), |a| equal_or_null(&a[0], &a[1])),
    conditional("DECODE", (3, usize::MAX), decode),
    conditional("GREATEST", (1, usize::MAX), |a| {
        extreme(a, &BinaryOperator::GtEq)
    }),
    conditional("LEAST", (1, usize::MAX), |a| {
        extreme(a, &BinaryOperator::LtEq)
    }),
];

const fn conditional(name: &'static str, arity: Arity, build: fn(&[Expr]) -> Expr) -> Function {
    Function::new(name, arity, Kind::Expression(build))
}

fn nested(expr: &Expr) -> Box<Expr> {
    Box::new(Expr::Nested(Box::new(expr.clone())))
}

fn is_null(expr: &Expr) -> Expr {
    Expr::IsNull(nested(expr))
}

fn equal_or_null(a: &Expr, b: &Expr) -> Expr {
    Expr::IsNotDistinctFrom(nested(a), nested(b))
}

fn null_if_equal(value: &Expr, other: Expr) -> Expr {
    let is_equal = binary(value.clone(), BinaryOperator::Eq, other);
    case(vec![(is_equal, null())], value.clone())
}

/// Builds `DECODE(value, search, result [, search, result …] [, default])`.
fn decode(arguments: &[Expr]) -> Expr {
    let (pairs, rest) = arguments[1..].as_chunks::<2>();
    let branches = pairs
        .iter()
        .map(|[search, result]| (equal_or_null(&arguments[0], search), result.clone()));
    let default = rest.first().cloned().unwrap_or_else(null);
    case(branches.collect(), default)
}

/// Builds the argument that compares so with all others; NULL if one of them is NULL.
fn extreme(arguments: &[Expr], op: &BinaryOperator) -> Expr {
    let is_any_null = any(arguments.iter().map(is_null).collect());
    let mut branches = vec![(is_any_null, null())];
    for (index, argument) in arguments.iter().enumerate().take(arguments.len() - 1) {
        let others = arguments[index + 1..].iter();
        let wins = others.map(|other| binary(argument.clone(), op.clone(), other.clone()));
        branches.push((all(wins.collect()), argument.clone()));
    }
    // If no earlier argument won against all those after it, the last argument wins.
    case(branches, arguments[arguments.len() - 1].clone())
}
