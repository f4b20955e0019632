//! The registry of functions. Each function is a row of a table: its name and synonyms, the number
//! of its arguments, which of them is a date part, and what the function is. The tables are grouped
//! by subject, a file each. Whatever looks up or lists functions derives from the rows.

mod aggregate;
pub mod argument;
mod arithmetic;
mod conditional;
mod conversion;
pub mod date_part;
mod datetime;
mod hash;
mod interval;
mod now;
mod numeric;
mod parsed_call;
mod pattern;
mod result_type;
mod scalar;
mod scalar_call;
mod semi_structured;
mod text;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use datafusion::logical_expr::ScalarUDF;
use datafusion::sql::sqlparser::ast::Expr;

use crate::error::{SqlError, SqlResult, code};
use crate::types::DataType;

pub use aggregate::Aggregate;
pub use parsed_call::ParsedCall;
pub use scalar::{Scalar, external};
pub use scalar_call::ScalarCall;
pub use window::Window;

use super::value::Value;

/// All rows.
static TABLES: [&[Function]; 13] = [
    aggregate::FUNCTIONS,
    arithmetic::FUNCTIONS,
    conditional::FUNCTIONS,
    conversion::FUNCTIONS,
    datetime::FUNCTIONS,
    hash::FUNCTIONS,
    interval::FUNCTIONS,
    now::FUNCTIONS,
    numeric::FUNCTIONS,
    pattern::FUNCTIONS,
    semi_structured::FUNCTIONS,
    text::FUNCTIONS,
    window::FUNCTIONS,
];

/// The functions that queries may call, by name and by synonym.
static VISIBLE: LazyLock<HashMap<&'static str, &'static Function>> = LazyLock::new(|| {
    let visible = all().filter(|function| function.is_visible());
    visible
        .flat_map(|function| function.names().map(move |name| (name, function)))
        .collect()
});

/// The scalar functions in the form that DataFusion calls, by their own names.
pub static SCALARS: LazyLock<HashMap<&'static str, Arc<ScalarUDF>>> = LazyLock::new(|| {
    all()
        .filter_map(|function| match &function.kind {
            Kind::Scalar(scalar) => Some((function.name, scalar::udf(function, scalar))),
            _ => None,
        })
        .collect()
});

/// A function: a row of a table.
pub struct Function {
    /// The name in upper case. Operators, and functions that only the rewriter calls, have names
    /// that do not start with a letter.
    pub name: &'static str,
    pub synonyms: &'static [&'static str],
    pub arity: Arity,
    /// The index of the argument that is a date part. A bare word there is the name of a date part
    /// and not a column.
    pub date_part: Option<usize>,
    pub kind: Kind,
}

/// The least and the greatest number of arguments.
pub type Arity = (usize, usize);

/// What a function is, and how it is computed.
pub enum Kind {
    /// A function of one row, computed by icebox.
    Scalar(Scalar),
    /// A function that is another expression, made from the arguments.
    Expression(fn(&[Expr]) -> Expr),
    /// A function of the statement's moment, which is its only input.
    Now(fn(DateTime<Utc>) -> Expr),
    Aggregate(Aggregate),
    Window(Window),
}

impl Function {
    pub const fn new(name: &'static str, arity: Arity, kind: Kind) -> Self {
        Self {
            name,
            synonyms: &[],
            arity,
            date_part: None,
            kind,
        }
    }

    /// Creates a scalar function that returns NULL for a NULL argument.
    pub const fn scalar(
        name: &'static str,
        arity: Arity,
        result_type: fn(&ScalarCall) -> SqlResult<DataType>,
        row: for<'a> fn(&ScalarCall, &[Value<'a>]) -> SqlResult<Value<'a>>,
    ) -> Self {
        Self::new(name, arity, Kind::Scalar(Scalar::new(result_type, row)))
    }

    /// Adds other names of the function. Error texts show its own name.
    pub const fn with_synonyms(mut self, synonyms: &'static [&'static str]) -> Self {
        self.synonyms = synonyms;
        self
    }

    /// Makes the argument at an index a date part.
    pub const fn with_date_part(mut self, index: usize) -> Self {
        self.date_part = Some(index);
        self
    }

    /// Returns whether queries may call the function.
    fn is_visible(&self) -> bool {
        self.name
            .starts_with(|first: char| first.is_ascii_alphabetic())
    }

    /// Returns the function's name and its synonyms.
    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.synonyms.iter().copied())
    }
}

fn all() -> impl Iterator<Item = &'static Function> {
    TABLES.iter().copied().flatten()
}

/// Finds a function that queries may call, by its name or a synonym in upper case.
pub fn find(name: &str) -> Option<&'static Function> {
    VISIBLE.get(name).copied()
}

/// Returns the names, with the synonyms, of the functions that queries may call, in no particular
/// order.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    VISIBLE.keys().copied()
}

/// Returns whether a function is an aggregate. The name is in upper case.
pub fn is_aggregate(name: &str) -> bool {
    find(name).is_some_and(|function| matches!(function.kind, Kind::Aggregate(_)))
}

/// Returns the index of the argument of a function that is a date part; None if none of them is.
/// The name is in upper case.
pub fn date_part_argument(name: &str) -> Option<usize> {
    find(name)?.date_part
}

/// Checks the number of arguments of a call.
///
/// # Errors
/// If there are too few or too many.
pub fn check_arity(name: &str, (least, most): Arity, count: usize) -> SqlResult<()> {
    let problem = match count {
        _ if count < least => {
            format!("not enough arguments for function [{name}], expected {least}")
        }
        _ if count > most => format!("too many arguments for function [{name}] expected {most}"),
        _ => return Ok(()),
    };
    let text = format!("error line 0 at position -1\n{problem}, got {count}");
    Err(SqlError::compilation(code::ARGUMENT_COUNT, text))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let mut seen = HashSet::new();
        let twice: Vec<_> = all()
            .flat_map(Function::names)
            .filter(|name| !seen.insert(*name))
            .collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn operators_and_functions_of_the_rewriter_are_not_listed() {
        let names: HashSet<_> = function_names().collect();
        for listed in [
            "IFF",
            "COALESCE",
            "GREATEST",
            "COUNT",
            "LAG",
            "CURRENT_DATE",
            "UPPER",
        ] {
            assert!(names.contains(listed), "{listed}");
        }
        for internal in ["||", "+", "$cast", "$summand"] {
            assert!(!names.contains(internal), "{internal}");
        }
    }

    #[test]
    fn a_date_part_is_an_argument_and_no_more_are_required_than_allowed() {
        for function in all() {
            let (least, most) = function.arity;
            assert!(least <= most, "{}", function.name);
            assert!(
                function.date_part.is_none_or(|index| index < most),
                "{}",
                function.name
            );
        }
    }
}
