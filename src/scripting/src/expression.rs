//! Expressions of scripting. The host evaluates them, except for literals, variables and simple
//! operations.

use sqlparser::tokenizer::Token;

use super::template::{Mode, Template};
use super::value::Value;
use crate::local_expression::{LocalExpression, literal};
use icebox_sql::error::SqlResult;
use icebox_sql::syntax::Cursor;

#[derive(Clone, Debug)]
pub struct Expression {
    pub template: Template,
    /// The value, if the expression is a literal.
    pub literal: Option<Value>,
    /// The operation that is evaluated without the host, if the expression is one.
    pub local: Option<LocalExpression>,
}

impl Expression {
    /// Parses an expression up to a semicolon, an unmatched closing bracket, or a token for which
    /// `is_end` is true.
    pub fn read(cursor: &mut Cursor<'_>, is_end: impl Fn(&Cursor<'_>) -> bool) -> SqlResult<Self> {
        let first = cursor.clone();
        let template = Template::read(cursor, Mode::Expression, is_end)?;
        let mut ahead = first.clone();
        let literal = literal(&mut ahead).filter(|_| ahead.last_end() == cursor.last_end());
        let local = LocalExpression::read(first, &template);
        Ok(Self {
            template,
            literal,
            local,
        })
    }

    /// Parses a condition in parentheses. If the parentheses enclose all of it, they are not part
    /// of the expression.
    pub fn condition(
        cursor: &mut Cursor<'_>,
        is_end: impl Fn(&Cursor<'_>) -> bool,
    ) -> SqlResult<Self> {
        if cursor.peek() != Some(&Token::LParen) {
            return Err(cursor.unexpected());
        }
        let mut inside = cursor.clone();
        inside.bump();
        if let Ok(condition) = Self::read(&mut inside, |_| false)
            && inside.accept_token(&Token::RParen)
            && is_end(&inside)
        {
            *cursor = inside;
            return Ok(condition);
        }
        Self::read(cursor, is_end)
    }
}
