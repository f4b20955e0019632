//! Expressions of scripting. The host evaluates them, except for literals, variables and simple
//! operations.

use datafusion::common::ScalarValue;
use sqlparser::tokenizer::Token;

use super::template::{Mode, Template};
use super::value::Value;
use crate::const_fold::Simple;
use icebox_sql::error::SqlResult;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::DataType;

#[derive(Clone, Debug)]
pub struct Expression {
    pub template: Template,
    /// The value, if the expression is a literal.
    pub literal: Option<Value>,
    /// The operation that constant folding evaluates without the host, if the expression is simple
    /// enough.
    pub simple: Option<Simple>,
}

impl Expression {
    /// Parses an expression up to a semicolon, an unmatched closing bracket, or a token for which
    /// `is_end` is true.
    pub fn read(cursor: &mut Cursor<'_>, is_end: impl Fn(&Cursor<'_>) -> bool) -> SqlResult<Self> {
        let first = cursor.clone();
        let template = Template::read(cursor, Mode::Expression, is_end)?;
        let mut ahead = first.clone();
        let literal = literal(&mut ahead).filter(|_| ahead.passed() == cursor.passed());
        let simple = Simple::read(first, &template);
        Ok(Self {
            template,
            literal,
            simple,
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

/// Parses a literal whose type is known without the host: one without fraction, exponent or prefix.
pub fn literal(cursor: &mut Cursor<'_>) -> Option<Value> {
    let is_negative = cursor.accept_token(&Token::Minus);
    match cursor.bump()? {
        Token::Number(digits, _) => {
            let number: i128 = digits.parse().ok()?;
            let precision = number.to_string().len() as u8;
            let number = if is_negative { -number } else { number };
            (precision <= 38).then(|| {
                let ty = DataType::Number {
                    precision,
                    scale: 0,
                };
                Value::new(ty, ScalarValue::Decimal128(Some(number), precision, 0))
            })
        }
        _ if is_negative => None,
        Token::SingleQuotedString(text) => Some(Value::text(text)),
        Token::DollarQuotedString(quoted) => Some(Value::text(quoted.value)),
        Token::Word(word) if word.quote_style.is_none() => match word.value.to_uppercase().as_str()
        {
            "TRUE" => Some(Value::boolean(true)),
            "FALSE" => Some(Value::boolean(false)),
            _ => None,
        },
        _ => None,
    }
}
