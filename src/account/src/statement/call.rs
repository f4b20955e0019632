//! CALL, EXECUTE IMMEDIATE, anonymous blocks and EXECUTE TASK.

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use sqlparser::tokenizer::Token;

use super::run::{evaluated, nested};
use super::{Context, query, succeeded};
use crate::Kind;
use crate::answer::{Answer, StatementKind};
use crate::kind::procedure::Procedure;
use crate::kind::task::Task;
use icebox_scripting::{Bindings, Host, Returned, Script, Value};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::DataType;

/// The host of a script, which runs its statements in a session.
struct Runner<'a> {
    context: Context<'a>,
}

#[async_trait]
impl Host for Runner<'_> {
    async fn execute(&mut self, sql: &str, bindings: &Bindings) -> SqlResult<Rows> {
        let answer = nested(self.context, sql, bindings).await?;
        Ok(answer.rows)
    }

    async fn evaluate(&mut self, sql: &str, bindings: &Bindings) -> SqlResult<Rows> {
        evaluated(self.context, sql, bindings).await
    }

    fn is_cancelled(&self) -> bool {
        self.context.cancel.is_cancelled()
    }
}

fn answer(rows: Rows) -> Answer {
    Answer {
        rows,
        kind: StatementKind::Select,
    }
}

/// Returns the result set of a script: its table, or its value as one row.
fn returned(returned: Returned, column: &str, ty: Option<DataType>) -> SqlResult<Rows> {
    match returned {
        Returned::Table(rows) => Ok(rows),
        Returned::Value(value) => {
            let ty = ty.unwrap_or(value.ty);
            Rows::from_values(&[(column, ty)], [vec![value.value]])
        }
    }
}

/// Runs an anonymous block.
pub async fn block(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let is_transaction = cursor.accept("TRANSACTION") || cursor.accept("WORK");
    if (is_transaction || cursor.is_at_end()) && cursor.text().trim_start().len() >= 5 {
        cursor.expect_end()?;
        return Err(SqlError::unsupported("transactions of several statements"));
    }
    run_block(context, cursor.text()).await
}

async fn run_block(context: Context<'_>, body: &str) -> SqlResult<Answer> {
    let mut runner = Runner { context };
    let result = Script::parse(body)?.run(Vec::new(), &mut runner).await?;
    returned(result, "anonymous block", None).map(answer)
}

/// Runs `EXECUTE IMMEDIATE 'text' | $$block$$ | expression [USING (…)]`.
pub async fn execute_immediate(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let text = match cursor.string() {
        Ok(text) if cursor.is_at_end() || cursor.is_next("USING") => text,
        Ok(_) => {
            return Err(SqlError::unsupported(
                "EXECUTE IMMEDIATE with an expression outside of a block",
            ));
        }
        Err(_) => {
            let start = cursor.offset();
            while !cursor.is_at_end() && !cursor.is_next("USING") {
                cursor.bump();
            }
            let expression = &cursor.text()[start..cursor.last_end()];
            let rows = query::run(context, &format!("SELECT {expression}")).await?;
            rows.value(0, 0)
                .try_as_str()
                .flatten()
                .unwrap_or_default()
                .to_owned()
        }
    };
    let mut values = Vec::new();
    if cursor.accept("USING") {
        for name in cursor.list(Cursor::ident)? {
            let current = context.session.current();
            let known = current.variables.get(&name);
            let known = known.ok_or_else(|| SqlError::invalid_identifier(&name, None))?;
            values.push(Value::new(known.ty, known.value.clone()));
        }
    }
    cursor.expect_end()?;
    let bindings = Bindings::positional(values);
    nested(context, &text, &bindings).await
}

/// Runs `CALL name(arguments)`.
pub async fn call(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let session = context.session;
    let given = cursor.name(3)?;
    let full = session.full_name(Kind::Procedure, &given)?;
    cursor.expect_token(&Token::LParen)?;
    let arguments = cursor.take_to_closing()?;
    cursor.expect_end()?;
    let object = session.account().get(Kind::Procedure, &full);
    let object = object.ok_or_else(|| {
        let text = match given.0.len() {
            1 => format!("Unknown function {}.", given.last()),
            _ => format!("Unknown user-defined function {full}."),
        };
        let code = if given.0.len() == 1 {
            code::UNKNOWN_FUNCTION
        } else {
            code::UNKNOWN_TABLE_FUNCTION
        };
        SqlError::compilation(code, text)
    })?;
    let procedure = object
        .state::<Procedure>()
        .ok_or_else(|| Kind::Procedure.missing(&full))?;
    let values = values(context, arguments).await?;
    let mut variables = Vec::new();
    let mut values = values.into_iter();
    for argument in &procedure.arguments {
        let ty = DataType::parse(&argument.ty).unwrap_or(DataType::TEXT);
        let value = match (values.next(), &argument.default) {
            (Some(value), _) => value,
            (None, Some(default)) => {
                let rows = query::run(context, &format!("SELECT {default}")).await?;
                rows.value(0, 0)
            }
            (None, None) => return Err(wrong_arguments(&object.name, arguments)),
        };
        variables.push((argument.name.clone(), ty, value));
    }
    if values.next().is_some() {
        return Err(wrong_arguments(&object.name, arguments));
    }
    // In a procedure with owner's rights, names are resolved in the procedure's own schema.
    let own;
    let home = if procedure.as_caller {
        session
    } else {
        own = session.in_schema(&full.0[0], &full.0[1]);
        &own
    };
    let mut runner = Runner {
        context: Context {
            session: home,
            ..context
        },
    };
    let script = Script::parse(&procedure.body)?;
    let result = script.run(variables, &mut runner).await?;
    let ty = DataType::parse(&procedure.returns);
    returned(result, object.name.last().as_str(), ty).map(answer)
}

fn wrong_arguments(name: &ObjectName, given: &str) -> SqlError {
    let text = format!(
        "error line 0 at position -1\nInvalid argument types for function '{}': ({given})",
        name.last()
    );
    SqlError::compilation(code::INVALID_ARGUMENT_TYPES, text)
}

/// Returns the values of a list of expressions.
async fn values(context: Context<'_>, list: &str) -> SqlResult<Vec<ScalarValue>> {
    if list.trim().is_empty() {
        return Ok(Vec::new());
    }
    let rows = query::run(context, &format!("SELECT {list}")).await?;
    let columns = 0..rows.schema.fields().len();
    Ok(columns.map(|column| rows.value(0, column)).collect())
}

/// Runs `EXECUTE TASK name`.
pub async fn execute_task(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let session = context.session;
    let name = session.full_name(Kind::Task, &cursor.name(3)?)?;
    if cursor.is_next("RETRY LAST") || cursor.is_next("USING CONFIG") {
        let feature = cursor.take_rest();
        return Err(SqlError::unsupported(format!("EXECUTE TASK … {feature}")));
    }
    cursor.expect_end()?;
    let account = session.account();
    let object = account.find(Kind::Task, &name)?;
    let is_root = object
        .state::<Task>()
        .is_some_and(|task| task.predecessors.is_empty());
    if !is_root {
        let text = format!(
            "Execute task cannot be called on non-root task {name}. Call EXECUTE TASK on the root task of its graph instead."
        );
        return Err(SqlError::new(code::TASK_NOT_ROOT, text));
    }
    account.run_task_now(&name);
    let rows = Rows::status(format!(
        "Task {} is scheduled to run immediately.",
        name.last()
    ));
    Ok(Answer {
        rows,
        ..succeeded()
    })
}
