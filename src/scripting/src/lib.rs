//! Snowflake Scripting: the language of procedures in SQL and of anonymous blocks (Snowflake
//! documentation, "Snowflake Scripting reference").
//!
//! A body is parsed once ([`Script::parse`]). Each run checks its names, and then runs its
//! statements. A [`Host`] runs the SQL statements and evaluates the expressions in it.

mod ast;
mod check;
mod convert;
mod exception;
mod expression;
mod local_expression;
mod parse;
mod run;
mod template;
#[cfg(test)]
mod tests;
mod value;

use async_trait::async_trait;
use datafusion::common::ScalarValue;

pub use self::value::{Bindings, Value};
use icebox_sql::error::SqlResult;
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;
use icebox_sql::types::DataType;

/// The host of a script, which runs its SQL.
#[async_trait]
pub trait Host: Send {
    /// Runs one SQL statement or a scripting block. `:name` and `?` in it refer to the values of
    /// `bindings`.
    async fn execute(&mut self, sql: &str, bindings: &Bindings) -> SqlResult<Rows>;

    /// Evaluates an expression in the form of a query of one value, `SELECT …`. Such a query is not
    /// a statement of the script.
    async fn evaluate(&mut self, sql: &str, bindings: &Bindings) -> SqlResult<Rows> {
        self.execute(sql, bindings).await
    }

    /// Returns whether the run was cancelled. This is checked before each statement.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// A parsed body.
#[derive(Clone, Debug)]
pub struct Script(ast::Block);

/// The result of a run.
#[derive(Clone, Debug)]
pub enum Returned {
    /// The value of RETURN, or NULL if there was no RETURN.
    Value(Value),
    /// The rows of `RETURN TABLE(…)`.
    Table(Rows),
}

impl Script {
    /// Parses a body: `[DECLARE …] BEGIN … END`, or one statement.
    ///
    /// # Errors
    /// If there is a syntax error, with its line and column in the body, or DECLARE introduces a
    /// name twice.
    pub fn parse(body: &str) -> SqlResult<Self> {
        parse::body(body).map(Script)
    }

    /// Runs the script with arguments, which are variables of those types in it.
    ///
    /// # Errors
    /// If a name is not declared, before anything runs; or if the script does not catch an
    /// exception, as `Uncaught exception of type …` with its position in the body.
    pub async fn run(
        &self,
        arguments: Vec<(Ident, DataType, ScalarValue)>,
        host: &mut dyn Host,
    ) -> SqlResult<Returned> {
        check::check(&self.0, arguments.iter().map(|(name, ..)| name.clone()))?;
        let mut variables = Vec::new();
        for (name, ty, value) in arguments {
            let value = cast(host, Value::from_scalar(value), ty, name.as_str()).await?;
            variables.push((name, value));
        }
        run::run(&self.0, variables, host).await
    }
}

/// Converts a value to the type of a variable. `shown` is the value as errors show it.
///
/// # Errors
/// If the value cannot be converted.
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
    // The length is checked here, because a cast may truncate the text.
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
