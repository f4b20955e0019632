//! Snowflake Scripting: the language of procedures in SQL and of anonymous blocks (Snowflake documentation, "Snowflake
//! Scripting reference").
//!
//! A body is parsed once ([`Script::parse`]); each run checks its names, and then goes through its statements. What is
//! SQL in it, statements and expressions alike, is run by a [`Host`].

mod ast;
mod check;
mod convert;
mod expression;
mod fault;
mod parse;
mod run;
mod simple;
mod template;
#[cfg(test)]
mod tests;
mod value;

use async_trait::async_trait;
use datafusion::common::ScalarValue;

pub use self::value::{Bindings, Value};
use super::error::SqlResult;
use super::names::Ident;
use super::rows::Rows;
use super::types::DataType;

/// What runs the SQL of a script.
#[async_trait]
pub trait Host: Send {
    /// Runs one SQL statement, or a block of scripting; `:name` and `?` in it stand for the values of `bindings`.
    async fn execute(&mut self, sql: &str, bindings: &Bindings) -> SqlResult<Rows>;

    /// Runs the query of one value that an expression became, `SELECT …`, which is no statement of the script's.
    async fn evaluate(&mut self, sql: &str, bindings: &Bindings) -> SqlResult<Rows> {
        self.execute(sql, bindings).await
    }

    /// Whether the run shall end; asked before each statement.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// A parsed body.
#[derive(Clone, Debug)]
pub struct Script(ast::Block);

/// What a run returned.
#[derive(Clone, Debug)]
pub enum Returned {
    /// The value of RETURN; NULL without one.
    Value(Value),
    /// The rows of `RETURN TABLE(…)`.
    Table(Rows),
}

impl Script {
    /// Parses a body: `[DECLARE …] BEGIN … END`, or one statement.
    ///
    /// # Errors
    /// A syntax error with its line and column in the body, and names that DECLARE introduces twice.
    pub fn parse(body: &str) -> SqlResult<Script> {
        parse::body(body).map(Script)
    }

    /// Runs it with arguments, which are variables of those types in it.
    ///
    /// # Errors
    /// Names that nothing introduced, before anything runs; then what nothing in the script catches, as
    /// `Uncaught exception of type …`, with its place in the body.
    pub async fn run(
        &self,
        arguments: Vec<(Ident, DataType, ScalarValue)>,
        host: &mut dyn Host,
    ) -> SqlResult<Returned> {
        check::check(&self.0, arguments.iter().map(|(name, ..)| name.clone()))?;
        let mut variables = Vec::new();
        for (name, ty, value) in arguments {
            let value = cast(host, Value::of(value), ty, name.as_str()).await?;
            variables.push((name, value));
        }
        run::run(&self.0, variables, host).await
    }
}

/// A value as a variable of a type holds it; `shown` is the value as an error shows it.
///
/// # Errors
/// If it cannot be converted.
pub async fn cast(
    host: &mut dyn Host,
    value: Value,
    ty: DataType,
    shown: &str,
) -> SqlResult<Value> {
    if let Some(value) = convert::convert(&value, ty, shown)? {
        return Ok(value);
    }
    let mut bindings = Bindings::default();
    bindings.insert(Ident::unquoted("VALUE"), value);
    // A length is checked here: a cast may cut.
    let wide = match ty {
        DataType::Text { .. } => DataType::TEXT,
        ty => ty,
    };
    let sql = format!("SELECT CAST(:VALUE AS {wide})");
    let rows = host.evaluate(&sql, &bindings).await?;
    let cast = rows.value(0, 0);
    if let (DataType::Text { length }, Some(text)) = (ty, cast.try_as_str().flatten()) {
        convert::fits(text, length)?;
    }
    Ok(Value::new(ty, cast))
}
