//! Execution of a block.

mod flow;
mod query;
mod scope;

use std::sync::Arc;

use futures::future::BoxFuture;

use self::scope::{Cursor, Scopes, Slot};
use super::ast::{
    Block, Catch, Declaration, Declared, Handler, Kind, Operand, Query, Reference, Return,
    Statement,
};
use super::value::Value;
use super::{Host, Returned};
use crate::exception::{ExceptionKind, RaisedException, scripting};
use icebox_sql::error::{Position, SqlError, SqlResult};
use icebox_sql::names::Ident;
use icebox_sql::types::DataType;

/// How execution continues after a statement.
enum Flow {
    Next,
    Break(Option<Ident>),
    Continue(Option<Ident>),
    Return(Returned),
}

type Outcome<T> = Result<T, RaisedException>;

/// Runs a body whose names have been checked.
pub async fn run(
    body: &Block,
    arguments: Vec<(Ident, Value)>,
    host: &mut dyn Host,
) -> SqlResult<Returned> {
    let mut run = Run {
        host,
        scopes: Scopes::default(),
        handlers: Vec::new(),
        caught: Vec::new(),
        affected: None,
    };
    run.scopes.open();
    for (name, value) in arguments {
        run.scopes.introduce(&name, Slot::Value(value));
    }
    match run.block(body).await {
        Ok(Flow::Return(returned)) => Ok(returned),
        Ok(_) => Ok(Returned::Value(Value::null(DataType::TEXT))),
        Err(exception) => Err(exception.uncaught()),
    }
}

struct Run<'a, 'h> {
    host: &'h mut dyn Host,
    scopes: Scopes<'a>,
    /// The handlers of the enclosing blocks. While a handler runs, those of its block are not among
    /// them.
    handlers: Vec<&'a [Handler]>,
    /// The exceptions that the enclosing handlers are handling, for SQLERRM and the like.
    caught: Vec<RaisedException>,
    /// The number of rows that the last statement inserted, updated or deleted; `None` if it was
    /// not DML.
    affected: Option<i128>,
}

impl<'a> Run<'a, '_> {
    async fn block(&mut self, block: &'a Block) -> Outcome<Flow> {
        let outside = self.scopes.depth();
        self.scopes.open();
        for declaration in &block.declarations {
            self.declare(declaration).await?;
        }
        let declared = self.scopes.depth();
        self.scopes.open();
        self.handlers.push(&block.handlers);
        let outcome = self.guarded(block, declared).await;
        self.handlers.pop();
        self.scopes.close_to(outside);
        match outcome? {
            Flow::Break(Some(label)) if block.label.as_ref() == Some(&label) => Ok(Flow::Next),
            flow => Ok(flow),
        }
    }

    /// Runs the statements of a block under its handlers. `declared` is the depth of the scopes
    /// that an EXIT handler sees.
    async fn guarded(&mut self, block: &'a Block, declared: usize) -> Outcome<Flow> {
        for statement in &block.body {
            let flow = match self.statement(statement).await {
                Ok(flow) => flow,
                Err(exception) => {
                    self.scopes.close_to(declared + 1);
                    let handler = self.handler(&exception);
                    let Some(handler) = handler else {
                        return Err(exception);
                    };
                    if !handler.is_continue {
                        self.scopes.close_to(declared);
                        return self.handle(handler, exception).await;
                    }
                    self.handle(handler, exception).await?
                }
            };
            if !matches!(flow, Flow::Next) {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// Returns the first handler of the innermost block that catches an exception.
    fn handler(&self, exception: &RaisedException) -> Option<&'a Handler> {
        let catches = |catch: &Catch| match (catch, &exception.kind) {
            (_, ExceptionKind::Cancelled) => false,
            (Catch::Other, _)
            | (Catch::StatementError, ExceptionKind::Statement)
            | (Catch::ExpressionError, ExceptionKind::Expression) => true,
            (Catch::Exception(name), ExceptionKind::Declared(raised)) => {
                let known = self.scopes.exception(&name.name);
                known.is_some_and(|known| Arc::ptr_eq(known, raised))
            }
            _ => false,
        };
        let mut handlers = self.handlers.last()?.iter();
        handlers.find(|handler| handler.catches.iter().any(catches))
    }

    fn handle<'s>(
        &'s mut self,
        handler: &'a Handler,
        exception: RaisedException,
    ) -> BoxFuture<'s, Outcome<Flow>>
    where
        'a: 's,
    {
        Box::pin(async move {
            // An exception in a handler is for the enclosing blocks.
            self.handlers.push(&[]);
            self.caught.push(exception);
            let outcome = self.statements(&handler.body).await;
            self.caught.pop();
            self.handlers.pop();
            outcome
        })
    }

    /// Runs statements in a scope of their own, until one of them breaks, continues or returns.
    fn statements<'s>(&'s mut self, statements: &'a [Statement]) -> BoxFuture<'s, Outcome<Flow>>
    where
        'a: 's,
    {
        Box::pin(async move {
            let outside = self.scopes.depth();
            self.scopes.open();
            let mut flow = Flow::Next;
            for statement in statements {
                flow = self.statement(statement).await?;
                if !matches!(flow, Flow::Next) {
                    break;
                }
            }
            self.scopes.close_to(outside);
            Ok(flow)
        })
    }

    /// Yields to other tasks, and fails if the run was cancelled.
    async fn yield_or_cancel(&mut self, position: Position) -> Outcome<()> {
        tokio::task::coop::consume_budget().await;
        if self.host.is_cancelled() {
            Err(RaisedException::cancelled(position))
        } else {
            Ok(())
        }
    }

    /// Runs a statement. The futures are boxed so that nested statements need little stack.
    async fn statement(&mut self, statement: &'a Statement) -> Outcome<Flow> {
        let position = statement.position;
        self.yield_or_cancel(position).await?;
        match &statement.kind {
            Kind::Let(declaration) => Box::pin(self.declare(declaration)).await?,
            Kind::Assign { target, value } => Box::pin(self.assign(target, value)).await?,
            Kind::If {
                branches,
                otherwise,
            } => return Box::pin(self.branch(branches, otherwise)).await,
            Kind::Case {
                subject,
                branches,
                otherwise,
            } => return Box::pin(self.case(subject.as_ref(), branches, otherwise)).await,
            Kind::Loop(it) => return Box::pin(self.each(it, position)).await,
            Kind::Block(block) => return Box::pin(self.block(block)).await,
            Kind::Break(label) => return Ok(Flow::Break(label.as_ref().map(name))),
            Kind::Continue(label) => return Ok(Flow::Continue(label.as_ref().map(name))),
            Kind::Open { cursor, using } => {
                let using = self.used(using, position)?;
                Box::pin(self.open(cursor, using, position)).await?;
            }
            Kind::Fetch { cursor, into } => Box::pin(self.fetch(cursor, into, position)).await?,
            Kind::Close(cursor) => self.close(cursor, position)?,
            Kind::Raise(exception) => return Err(self.raised(exception.as_ref(), position)),
            Kind::Return(returned) => {
                return Ok(Flow::Return(
                    Box::pin(self.returned(returned, position)).await?,
                ));
            }
            Kind::Null => {}
            Kind::Query { query, into } => Box::pin(self.query_into(query, into, position)).await?,
        }
        Ok(Flow::Next)
    }

    async fn declare(&mut self, declaration: &'a Declaration) -> Outcome<()> {
        let slot = match &declaration.kind {
            Declared::Exception(exception) => {
                self.scopes.introduce_exception(exception);
                return Ok(());
            }
            Declared::Cursor(source) => Slot::Cursor(Cursor {
                source,
                opened: None,
            }),
            Declared::ResultSet(None) => Slot::ResultSet(None),
            Declared::ResultSet(Some(query)) => {
                let rows = self.query(query, query.position()).await?;
                Slot::ResultSet(Some(Arc::new(rows)))
            }
            Declared::Variable {
                ty: Some(ty),
                initial: None,
            } => Slot::Value(Value::null(*ty)),
            Declared::Variable { ty, initial } => {
                let Some(initial) = initial else {
                    return Ok(());
                };
                let value = self.operand(initial).await?;
                let place = initial.expression.template.position;
                let ty = match ty {
                    Some(ty) => *ty,
                    None => inferred(&value, initial).ok_or_else(|| {
                        let text = format!(
                            " variable '{}' cannot have its type inferred from initializer",
                            declaration.name.as_str()
                        );
                        let error = crate::exception::compilation(declaration.position, text);
                        RaisedException::expression(place, error)
                    })?,
                };
                let shown = &initial.expression.template.text;
                Slot::Value(self.converted(value, ty, shown, place).await?)
            }
        };
        self.scopes.introduce(&declaration.name, slot);
        Ok(())
    }

    async fn assign(&mut self, target: &'a Reference, value: &'a Operand) -> Outcome<()> {
        let place = value.expression.template.position;
        if let Some(Slot::ResultSet(_)) = self.scopes.find(&target.name) {
            let Some(query) = &value.query else {
                let text = format!("RESULTSET {} takes a query in brackets.", target.shown);
                return Err(RaisedException::expression(place, scripting(text)));
            };
            let rows = self.query(query, query.position()).await?;
            if let Some(slot) = self.scopes.find_mut(&target.name) {
                *slot = Slot::ResultSet(Some(Arc::new(rows)));
            }
            return Ok(());
        }
        let found = self.operand(value).await?;
        let shown = value.expression.template.text.as_str();
        let set = self.set(target, found, shown).await;
        set.map_err(|error| RaisedException::expression(place, error))
    }

    /// Assigns a value to a variable, converted to the variable's type.
    async fn set(&mut self, target: &Reference, value: Value, shown: &str) -> SqlResult<()> {
        let Some(Slot::Value(old)) = self.scopes.find(&target.name) else {
            let position = Some(target.position);
            return Err(SqlError::invalid_identifier(&target.shown, position));
        };
        let ty = old.ty;
        let value = self.cast(value, ty, shown).await?;
        if let Some(slot) = self.scopes.find_mut(&target.name) {
            *slot = Slot::Value(value);
        }
        Ok(())
    }

    fn raised(&self, exception: Option<&Reference>, position: Position) -> RaisedException {
        let again = || self.caught.last().cloned();
        let declared = |reference: &Reference| {
            let exception = self.scopes.exception(&reference.name)?;
            Some(RaisedException::declared(position, exception))
        };
        exception.map_or_else(again, declared).unwrap_or_else(|| {
            let text = "RAISE without an exception is possible only in an exception handler.";
            RaisedException::statement(position, scripting(text))
        })
    }

    async fn returned(&mut self, what: &'a Return, position: Position) -> Outcome<Returned> {
        Ok(match what {
            Return::Nothing => Returned::Value(Value::null(DataType::TEXT)),
            Return::Value(value) => Returned::Value(self.operand(value).await?),
            Return::ResultSet(name) => {
                if let Some(Slot::ResultSet(Some(rows))) = self.scopes.find(&name.name) {
                    Returned::Table(rows.as_ref().clone())
                } else {
                    let text = format!(
                        "RESULTSET {} has no rows: no query was assigned to it.",
                        name.shown
                    );
                    return Err(RaisedException::expression(position, scripting(text)));
                }
            }
            Return::Cursor(name) => Returned::Table(self.rows_of(name, position)?.as_ref().clone()),
        })
    }
}

fn name(reference: &Reference) -> Ident {
    reference.name.clone()
}

/// Returns the type of a variable that is declared without one (documentation, "How Snowflake
/// Scripting infers the data type of a variable": a wide type of the kind, FLOAT for a literal with
/// a fraction).
fn inferred(value: &Value, initial: &Operand) -> Option<DataType> {
    let is_literal = || {
        let mut bytes = initial.expression.template.text.bytes();
        bytes.all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
    };
    match value.ty {
        _ if value.value == datafusion::common::ScalarValue::Null => None,
        DataType::Number { scale: 1.., .. } if is_literal() => Some(DataType::Float),
        DataType::Number { scale, .. } => Some(DataType::Number {
            precision: 38,
            scale,
        }),
        DataType::Text { .. } => Some(DataType::TEXT),
        DataType::Variant => None,
        ty => Some(ty),
    }
}

impl Query {
    /// Returns whether the statement is a query that may appear where a value is expected.
    fn is_subquery(&self) -> bool {
        matches!(self, Self::Sql(template)
        if ["SELECT", "WITH"].iter().any(|word| {
            let text = template.text.as_bytes();
            text.len() > word.len()
                && text[..word.len()].eq_ignore_ascii_case(word.as_bytes())
                && !text[word.len()].is_ascii_alphanumeric()
        }))
    }
}
