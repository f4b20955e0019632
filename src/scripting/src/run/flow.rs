//! Execution of branches and loops.

use super::{Flow, Outcome, Run, Slot};
use crate::ast::{Control, Loop, Statement};
use crate::convert::is_true;
use crate::exception::{RaisedException, scripting};
use crate::expression::Expression;
use crate::template::Template;
use crate::value::Value;
use icebox_sql::error::Position;
use icebox_sql::names::Ident;
use icebox_sql::types::DataType;

/// How a loop continues after an iteration.
enum After {
    Again,
    Leave(Flow),
}

impl<'a> Run<'a, '_> {
    pub(super) async fn branch(
        &mut self,
        branches: &'a [(Expression, Vec<Statement>)],
        otherwise: &'a [Statement],
    ) -> Outcome<Flow> {
        for (condition, body) in branches {
            if self.holds(condition).await? {
                return self.statements(body).await;
            }
        }
        self.statements(otherwise).await
    }

    pub(super) async fn case(
        &mut self,
        subject: Option<&'a Expression>,
        branches: &'a [(Expression, Vec<Statement>)],
        otherwise: &'a [Statement],
    ) -> Outcome<Flow> {
        let Some(subject) = subject else {
            return self.branch(branches, otherwise).await;
        };
        let subject = self.evaluate(subject).await?;
        for (candidate, body) in branches {
            if self.equals(&subject, candidate).await? {
                return self.statements(body).await;
            }
        }
        self.statements(otherwise).await
    }

    async fn holds(&mut self, condition: &'a Expression) -> Outcome<bool> {
        Ok(is_true(&self.evaluate(condition).await?))
    }

    /// Returns whether a value and an expression are equal, which the host decides unless both are
    /// texts or one is NULL.
    async fn equals(&mut self, value: &Value, candidate: &'a Expression) -> Outcome<bool> {
        let found = self.evaluate(candidate).await?;
        if let (Some(value), Some(found)) = (value.as_text(), found.as_text()) {
            return Ok(value == found);
        }
        if value.is_null() || found.is_null() {
            return Ok(false);
        }
        let bindings = [("SUBJECT", value.clone()), ("CANDIDATE", found)];
        let bindings = bindings.map(|(name, value)| (Ident::unquoted(name), value));
        let (sql, position) = ("SELECT :SUBJECT = :CANDIDATE", candidate.template.position);
        let is_equal = self
            .ask(sql, bindings.into_iter().collect(), position)
            .await?;
        Ok(is_true(&is_equal))
    }

    pub(super) async fn each(&mut self, it: &'a Loop, position: Position) -> Outcome<Flow> {
        let outside = self.scopes.depth();
        self.scopes.open();
        let flow = match &it.control {
            Control::Forever | Control::While(_) | Control::Until(_) => {
                Box::pin(self.repeat(it)).await
            }
            Control::Range { .. } => Box::pin(self.range(it)).await,
            Control::Rows { .. } => Box::pin(self.rows(it, position)).await,
        }?;
        self.scopes.close_to(outside);
        Ok(flow)
    }

    async fn repeat(&mut self, it: &'a Loop) -> Outcome<Flow> {
        loop {
            if let Control::While(condition) = &it.control
                && !self.holds(condition).await?
            {
                return Ok(Flow::Next);
            }
            if let After::Leave(flow) = self.iteration(it).await? {
                return Ok(flow);
            }
            if let Control::Until(condition) = &it.control
                && self.holds(condition).await?
            {
                return Ok(Flow::Next);
            }
        }
    }

    async fn range(&mut self, it: &'a Loop) -> Outcome<Flow> {
        let Control::Range {
            variable,
            is_reverse,
            start,
            end,
        } = &it.control
        else {
            return Ok(Flow::Next);
        };
        let (first, last) = (self.bound(start).await?, self.bound(end).await?);
        let (mut next, step) = match is_reverse {
            true => (last, -1),
            false => (first, 1),
        };
        while (first..=last).contains(&next) {
            self.scopes
                .introduce(variable, Slot::Value(Value::integer(next)));
            if let After::Leave(flow) = self.iteration(it).await? {
                return Ok(flow);
            }
            next += step;
        }
        Ok(Flow::Next)
    }

    /// Evaluates the start or end of a range, which is a whole number.
    async fn bound(&mut self, expression: &'a Expression) -> Outcome<i128> {
        let Template { position, text, .. } = &expression.template;
        let value = self.evaluate(expression).await?;
        let value = self
            .converted(value, DataType::INTEGER, text, *position)
            .await?;
        value.as_number().map(|(number, _)| number).ok_or_else(|| {
            let text = format!("The bound {text} of FOR is NULL; it must be a whole number.");
            RaisedException::expression(*position, scripting(text))
        })
    }

    async fn rows(&mut self, it: &'a Loop, position: Position) -> Outcome<Flow> {
        let Control::Rows { row, source } = &it.control else {
            return Ok(Flow::Next);
        };
        let result_set = match self.scopes.find(&source.name) {
            Some(Slot::ResultSet(_)) => Some(self.rows_of(source, position)?),
            _ => None,
        };
        let was_open = self.is_open(source);
        if result_set.is_none() && !was_open {
            self.open(source, Vec::new(), position).await?;
        }
        let mut number = 0;
        let mut flow = Flow::Next;
        loop {
            let next = match &result_set {
                Some(rows) => {
                    number += 1;
                    (number <= rows.len()).then(|| super::query::row(rows, number - 1))
                }
                // FETCH in the body advances the same cursor.
                None => self.next_row(source, position)?,
            };
            let Some(values) = next else {
                break;
            };
            self.scopes
                .introduce(row, Slot::Row(values.into_iter().collect()));
            if let After::Leave(other) = self.iteration(it).await? {
                flow = other;
                break;
            }
        }
        if result_set.is_none() && !was_open && self.is_open(source) {
            self.close(source, position)?;
        }
        Ok(flow)
    }

    /// Runs the body once. If a CONTINUE handler of the block catches an exception, the loop
    /// continues with the next iteration.
    async fn iteration(&mut self, it: &'a Loop) -> Outcome<After> {
        let inside = self.scopes.depth();
        let position = it.body.first().map(|statement| statement.position);
        if let Some(position) = position {
            self.yield_or_cancel(position).await?;
        }
        let flow = match self.statements(&it.body).await {
            Ok(flow) => flow,
            Err(exception) => {
                self.scopes.close_to(inside);
                match self.handler(&exception) {
                    Some(handler) if handler.is_continue => self.handle(handler, exception).await?,
                    _ => return Err(exception),
                }
            }
        };
        let is_mine = |label: &Option<Ident>| label.is_none() || *label == it.label;
        Ok(match flow {
            Flow::Next => After::Again,
            Flow::Continue(label) if is_mine(&label) => After::Again,
            Flow::Break(label) if is_mine(&label) => After::Leave(Flow::Next),
            flow => After::Leave(flow),
        })
    }
}
