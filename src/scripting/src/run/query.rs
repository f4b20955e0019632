//! Statements and expressions that the host runs, and the cursors over their results.

use std::sync::Arc;

use super::scope::Opened;
use super::{Outcome, Run, Slot};
use crate::ast::{self, Operand, Query, Reference};
use crate::convert;
use crate::exception::{RaisedException, scripting};
use crate::expression::Expression;
use crate::template::{Template, VariableRef};
use crate::value::{Bindings, Value};
use icebox_sql::error::{Position, SqlError, SqlResult};
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;
use icebox_sql::types::DataType;

impl<'a> Run<'a, '_> {
    /// Returns the value of an expression, or of a statement in parentheses.
    pub(super) async fn operand(&mut self, operand: &'a Operand) -> Outcome<Value> {
        match &operand.query {
            Some(query) if !query.is_subquery() => {
                let rows = self.query(query, query.position()).await?;
                Ok(cell(&rows, 0, 0))
            }
            _ => self.evaluate(&operand.expression).await,
        }
    }

    pub(super) async fn evaluate(&mut self, expression: &'a Expression) -> Outcome<Value> {
        if let Some(literal) = &expression.literal {
            return Ok(literal.clone());
        }
        let template = &expression.template;
        if let Some(value) = template
            .sole_variable()
            .and_then(|variable| self.value_at(variable))
        {
            return Ok(value);
        }
        let local = expression.local.as_ref();
        if let Some(value) =
            local.and_then(|it| it.value(template, |variable| self.value_at(variable)))
        {
            return Ok(value);
        }
        let failed = |error| RaisedException::expression(template.position, error);
        let (text, bindings) = self.bound_text(template).map_err(failed)?;
        self.ask(&format!("SELECT {text}"), bindings, template.position)
            .await
    }

    /// Evaluates a query of one value on the host, for an expression.
    pub(super) async fn ask(
        &mut self,
        sql: &str,
        bindings: Bindings,
        position: Position,
    ) -> Outcome<Value> {
        let rows = self.host.evaluate(sql, &bindings).await;
        let rows = rows.map_err(|error| RaisedException::expression(position, error))?;
        Ok(cell(&rows, 0, 0))
    }

    /// Converts a value to a type. An error is raised as one of the expression that gave the value.
    pub(super) async fn converted(
        &mut self,
        value: Value,
        ty: DataType,
        shown: &str,
        position: Position,
    ) -> Outcome<Value> {
        let cast = self.cast(value, ty, shown).await;
        cast.map_err(|error| RaisedException::expression(position, error))
    }

    pub(super) async fn cast(
        &mut self,
        value: Value,
        ty: DataType,
        shown: &str,
    ) -> SqlResult<Value> {
        super::super::cast(self.host, value, ty, shown).await
    }

    /// Returns the text of a template with its variables as `:name`, and their values.
    fn bound_text(&self, template: &Template) -> SqlResult<(String, Bindings)> {
        let mut bindings = Bindings::default();
        let text = template.render(|variable| {
            let Some(value) = self.value_at(variable) else {
                return if variable.is_bind {
                    Err(SqlError::invalid_identifier(
                        &variable.written,
                        Some(variable.position),
                    ))
                } else {
                    Ok(None)
                };
            };
            let name = match &variable.column {
                None => variable.name.clone(),
                Some(column) => {
                    Ident::quoted(format!("{}.{}", variable.name.as_str(), column.as_str()))
                }
            };
            let text = format!(":{name}");
            bindings.insert(name, value);
            Ok(Some(text))
        })?;
        Ok((text, bindings))
    }

    fn value_at(&self, variable: &VariableRef) -> Option<Value> {
        match (self.scopes.find(&variable.name), &variable.column) {
            (Some(Slot::Value(value)), None) => Some(value.clone()),
            (Some(Slot::Row(row)), Some(column)) => row.get(column).cloned(),
            (None, None) => self.built_in(variable.name.as_str()),
            _ => None,
        }
    }

    /// Returns the value of a built-in variable (documentation, "Handling exceptions" and
    /// "Determining the number of rows affected by DML commands").
    fn built_in(&self, name: &str) -> Option<Value> {
        let error = self.caught.last().map(|exception| &exception.error);
        let affected = |of: fn(i128) -> Value, ty| match self.affected {
            Some(rows) => of(rows),
            None => Value::null(ty),
        };
        Some(match name {
            "SQLCODE" => Value::integer(error?.code.into()),
            "SQLERRM" => Value::text(error?.message.as_str()),
            "SQLSTATE" => Value::text(error?.state),
            "SQLROWCOUNT" => affected(Value::integer, DataType::INTEGER),
            "SQLFOUND" => affected(|rows| Value::boolean(rows > 0), DataType::Boolean),
            "SQLNOTFOUND" => affected(|rows| Value::boolean(rows == 0), DataType::Boolean),
            _ => return None,
        })
    }

    /// Returns the values of USING.
    pub(super) fn used(&self, using: &[Reference], position: Position) -> Outcome<Vec<Value>> {
        let mut using = using.iter();
        using.try_fold(Vec::new(), |mut values, reference| {
            let value = match self.scopes.find(&reference.name) {
                Some(Slot::Value(value)) => Some(value.clone()),
                _ => self.built_in(reference.name.as_str()),
            };
            values.push(value.ok_or_else(|| {
                let place = Some(reference.position);
                let error = SqlError::invalid_identifier(&reference.shown, place);
                RaisedException::statement(position, error)
            })?);
            Ok(values)
        })
    }

    /// Runs a statement. An error is raised at `position`.
    pub(super) async fn query(&mut self, query: &'a Query, position: Position) -> Outcome<Rows> {
        match query {
            Query::Sql(template) => {
                let bound = self.bound_text(template);
                let (sql, bindings) =
                    bound.map_err(|error| RaisedException::statement(position, error))?;
                self.execute(&sql, bindings, position).await
            }
            Query::Immediate { text, using, .. } => {
                let value = self.evaluate(text).await?;
                let shown = &text.template.text;
                let place = text.template.position;
                let value = self.converted(value, DataType::TEXT, shown, place).await?;
                let Some(sql) = value.as_text().map(str::to_owned) else {
                    return Err(RaisedException::statement(
                        position,
                        self.null_statement(text),
                    ));
                };
                let using = self.used(using, position)?;
                self.execute(&sql, Bindings::positional(using), position)
                    .await
            }
        }
    }

    async fn execute(
        &mut self,
        sql: &str,
        bindings: Bindings,
        position: Position,
    ) -> Outcome<Rows> {
        self.affected = None;
        let rows = self.host.execute(sql, &bindings).await;
        let rows = rows.map_err(|error| RaisedException::statement(position, error))?;
        self.affected = affected(sql, &rows);
        Ok(rows)
    }

    /// Returns the error of EXECUTE IMMEDIATE on NULL, with the variables that are NULL.
    /// Snowflake's own text is not known.
    fn null_statement(&self, text: &Expression) -> SqlError {
        let variables = text.template.variables.iter();
        let is_null =
            |variable: &&VariableRef| self.value_at(variable).is_some_and(|it| it.is_null());
        let mut names: Vec<&str> = variables
            .filter(is_null)
            .map(|variable| variable.written.as_str())
            .collect();
        names.dedup();
        let mut error = SqlError::bad_value("NULL", "EXECUTE IMMEDIATE");
        error.message.push_str(": the statement is NULL");
        if !names.is_empty() {
            let names = names.join(", ");
            error.message.push_str(&format!(
                ", because {names} is NULL. Check what was assigned to it; a SELECT … INTO without rows leaves NULL"
            ));
        }
        error.message.push('.');
        error
    }

    /// Runs a statement, and assigns the values of its row to variables.
    pub(super) async fn query_into(
        &mut self,
        query: &'a Query,
        into: &'a [Reference],
        position: Position,
    ) -> Outcome<()> {
        let rows = self.query(query, position).await?;
        if into.is_empty() {
            return Ok(());
        }
        let failed = |error| RaisedException::statement(position, error);
        let (count, columns) = (rows.len(), rows.schema.fields().len());
        if count > 1 {
            let text =
                format!("A SELECT INTO statement expects exactly 1 returned row, but got {count}.");
            return Err(failed(scripting(text)));
        }
        if columns != into.len() {
            let text = format!(
                "INTO has {} variables for the {columns} columns of the statement.",
                into.len()
            );
            return Err(failed(scripting(text)));
        }
        self.take(&rows, 0, into).await.map_err(failed)
    }

    /// Assigns the values of a row to variables, or NULL if there is no such row.
    async fn take(&mut self, rows: &Rows, row: usize, into: &[Reference]) -> SqlResult<()> {
        for (column, target) in into.iter().enumerate() {
            // If there are more variables than columns, the others keep their values.
            if column < rows.schema.fields().len() {
                let shown = rows.schema.field(column).name();
                self.set(target, cell(rows, row, column), shown).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn open(
        &mut self,
        cursor: &Reference,
        using: Vec<Value>,
        position: Position,
    ) -> Outcome<()> {
        let failed = |error| RaisedException::statement(position, error);
        let Some(Slot::Cursor(found)) = self.scopes.find(&cursor.name) else {
            return Err(failed(no_cursor(cursor)));
        };
        if found.opened.is_some() {
            let text = format!("Cursor {} is already open; CLOSE it first.", cursor.shown);
            return Err(failed(scripting(text)));
        }
        let rows = match found.source {
            ast::Rows::ResultSet(result_set) => self.rows_of(result_set, position)?,
            ast::Rows::Query(template) => {
                let (sql, named) = self.bound_text(template).map_err(failed)?;
                let bindings = named.with_positional(using);
                Arc::new(self.execute(&sql, bindings, position).await?)
            }
        };
        if let Some(Slot::Cursor(found)) = self.scopes.find_mut(&cursor.name) {
            found.opened = Some(Opened { rows, next: 0 });
        }
        Ok(())
    }

    pub(super) async fn fetch(
        &mut self,
        cursor: &Reference,
        into: &[Reference],
        position: Position,
    ) -> Outcome<()> {
        let opened = self.opened(cursor, position)?;
        let Opened { rows, next } = opened.clone();
        opened.next = (next + 1).min(rows.len());
        let taken = self.take(&rows, next, into).await;
        taken.map_err(|error| RaisedException::statement(position, error))
    }

    /// Returns the next row of an open cursor, as columns with values, and advances the cursor.
    pub(super) fn next_row(
        &mut self,
        cursor: &Reference,
        position: Position,
    ) -> Outcome<Option<Vec<(Ident, Value)>>> {
        let opened = self.opened(cursor, position)?;
        if opened.next >= opened.rows.len() {
            return Ok(None);
        }
        opened.next += 1;
        Ok(Some(row(&opened.rows, opened.next - 1)))
    }

    pub(super) fn close(&mut self, cursor: &Reference, position: Position) -> Outcome<()> {
        self.opened(cursor, position)?;
        if let Some(Slot::Cursor(found)) = self.scopes.find_mut(&cursor.name) {
            found.opened = None;
        }
        Ok(())
    }

    pub(super) fn is_open(&self, cursor: &Reference) -> bool {
        matches!(self.scopes.find(&cursor.name), Some(Slot::Cursor(found)) if found.opened.is_some())
    }

    fn opened(&mut self, cursor: &Reference, position: Position) -> Outcome<&mut Opened> {
        match self.scopes.find_mut(&cursor.name) {
            Some(Slot::Cursor(found)) => found.opened.as_mut().ok_or_else(|| {
                let text = format!("Cursor {} is not open; OPEN it first.", cursor.shown);
                RaisedException::statement(position, scripting(text))
            }),
            _ => Err(RaisedException::statement(position, no_cursor(cursor))),
        }
    }

    /// Returns all rows of a RESULTSET or of an open cursor.
    pub(super) fn rows_of(&mut self, of: &Reference, position: Position) -> Outcome<Arc<Rows>> {
        match self.scopes.find(&of.name) {
            Some(Slot::ResultSet(Some(rows))) => Ok(Arc::clone(rows)),
            Some(Slot::ResultSet(None)) => {
                let text = format!(
                    "RESULTSET {} has no rows: assign a query to it first.",
                    of.shown
                );
                Err(RaisedException::statement(position, scripting(text)))
            }
            _ => Ok(Arc::clone(&self.opened(of, position)?.rows)),
        }
    }
}

fn no_cursor(cursor: &Reference) -> SqlError {
    SqlError::invalid_identifier(&cursor.shown, Some(cursor.position))
}

/// Returns a value of a result set, or NULL if there is no such row or column.
fn cell(rows: &Rows, row: usize, column: usize) -> Value {
    let ty = match rows.schema.fields().get(column) {
        Some(field) => DataType::of_field(field),
        None => DataType::TEXT,
    };
    Value::new(ty, rows.value(row, column))
}

/// Returns a row as columns with values.
pub(super) fn row(rows: &Rows, number: usize) -> Vec<(Ident, Value)> {
    let fields = rows.schema.fields().iter().enumerate();
    let values = fields.map(|(column, field)| {
        let name = Ident::quoted(field.name().as_str());
        (name, cell(rows, number, column))
    });
    values.collect()
}

/// Returns the number of rows that a statement inserted, updated and deleted, from the columns of
/// its result set.
fn affected(sql: &str, rows: &Rows) -> Option<i128> {
    let word = sql
        .split(|c: char| !c.is_alphanumeric())
        .find(|word| !word.is_empty())?;
    let is_change = ["INSERT", "UPDATE", "DELETE", "MERGE"]
        .iter()
        .any(|change| word.eq_ignore_ascii_case(change));
    if !is_change {
        return None;
    }
    let counts = rows.schema.fields().iter().enumerate();
    let counts = counts.filter(|(_, field)| {
        let name = field.name();
        name.starts_with("number of rows ")
    });
    Some(counts.fold(0, |sum, (column, _)| {
        let count = convert::convert(&cell(rows, 0, column), DataType::INTEGER, "");
        let count = count.ok().flatten().and_then(|count| count.as_number());
        sum + count.map_or(0, |(count, _)| count)
    }))
}
