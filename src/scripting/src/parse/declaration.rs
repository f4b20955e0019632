//! Declarations in DECLARE and with LET.

use std::sync::Arc;

use sqlparser::tokenizer::Token;

use super::{Parser, asynchronous};
use crate::ast::{Declaration, Declared, Exception, Query, Rows};
use crate::exception;
use crate::template::{Mode, Template};
use icebox_sql::error::{Position, SqlError, SqlResult};
use icebox_sql::names::Ident;
use icebox_sql::types::DataType;

/// The codes that exceptions may have. The documented bounds themselves are refused (seen on a live
/// account).
const CODES: std::ops::RangeInclusive<i64> = -20_998..=-20_001;
/// The code of an exception that is declared without one.
const DEFAULT_CODE: i32 = -20_000;

impl Parser<'_> {
    /// Parses a declaration after LET or in DECLARE, without its semicolon.
    pub(super) fn declaration(&mut self, is_let: bool) -> SqlResult<Declaration> {
        let position = if is_let {
            self.start
        } else {
            self.cursor.position()
        };
        let name = self.cursor.ident()?;
        let kind = if self.cursor.accept("CURSOR FOR") {
            self.cursor_rows()?
        } else if self.cursor.accept("RESULTSET") {
            self.result_set(is_let)?
        } else if !is_let && self.cursor.accept("EXCEPTION") {
            self.exception(&name, position)?
        } else if !is_let && self.cursor.accept("PROCEDURE") {
            let what = "PROCEDURE in DECLARE (nested stored procedures)";
            return Err(SqlError::unsupported(what).at(position));
        } else {
            self.variable(is_let)?
        };
        Ok(Declaration {
            name,
            position,
            kind,
        })
    }

    fn variable(&mut self, is_let: bool) -> SqlResult<Declared> {
        let ty = if self.is_initial() {
            None
        } else {
            Some(self.data_type()?)
        };
        let initial = match self.accept_initial() {
            true => Some(self.operand()?),
            false if is_let || ty.is_none() => return Err(self.cursor.unexpected()),
            false => None,
        };
        Ok(Declared::Variable { ty, initial })
    }

    fn cursor_rows(&mut self) -> SqlResult<Declared> {
        let is_name = matches!(self.cursor.peek(), Some(Token::Word(_)))
            && self.cursor.peek_at(1) == Some(&Token::SemiColon);
        Ok(Declared::Cursor(if is_name {
            Rows::ResultSet(self.reference()?)
        } else {
            Rows::Query(Template::read(
                &mut self.cursor,
                Mode::Statement,
                |cursor| cursor.peek() == Some(&Token::SemiColon),
            )?)
        }))
    }

    fn result_set(&mut self, is_let: bool) -> SqlResult<Declared> {
        if !self.accept_initial() {
            return if is_let {
                Err(self.cursor.unexpected())
            } else {
                Ok(Declared::ResultSet(None))
            };
        }
        if self.cursor.is_next("ASYNC") {
            return Err(asynchronous("ASYNC"));
        }
        if let Some(query) = self.execute_immediate()? {
            return Ok(Declared::ResultSet(Some(query)));
        }
        let query: Option<Query> = self.query_in_brackets()?;
        match query {
            Some(query) => Ok(Declared::ResultSet(Some(query))),
            None => Err(self.cursor.unexpected()),
        }
    }

    /// Parses `[(code, 'message')]` of an exception.
    fn exception(&mut self, name: &Ident, position: Position) -> SqlResult<Declared> {
        let mut exception = Exception {
            name: name.clone(),
            code: DEFAULT_CODE,
            message: None,
        };
        if self.cursor.accept_token(&Token::LParen) {
            let is_negative = self.cursor.accept_token(&Token::Minus);
            let code = i64::try_from(self.cursor.integer()?).unwrap_or(i64::MAX);
            let code = if is_negative { -code } else { code };
            if !CODES.contains(&code) {
                let text = format!(
                    " Invalid error code '{}'. Must be between -20,999 and -20,000",
                    grouped(code)
                );
                return Err(exception::compilation(position, text));
            }
            exception.code = code as i32;
            if self.cursor.accept_token(&Token::Comma) {
                exception.message = Some(self.cursor.string()?);
            }
            self.cursor.expect_token(&Token::RParen)?;
        }
        Ok(Declared::Exception(Arc::new(exception)))
    }

    /// Parses a type, such as `NUMBER(12, 2)` or `TIMESTAMP WITH TIME ZONE`.
    fn data_type(&mut self) -> SqlResult<DataType> {
        let start = self.cursor.clone();
        let mut name = String::new();
        while matches!(self.cursor.peek(), Some(Token::Word(_))) && !self.is_initial() {
            let word = self.cursor.ident()?;
            if !name.is_empty() {
                name.push(' ');
            }
            name.push_str(word.as_str());
        }
        let arguments = if self.cursor.peek() == Some(&Token::LParen) && !name.is_empty() {
            self.cursor.list(icebox_sql::syntax::Cursor::integer)?
        } else {
            Vec::new()
        };
        let arguments: Option<Vec<u32>> = arguments
            .into_iter()
            .map(|argument| u32::try_from(argument).ok())
            .collect();
        let ty = arguments.and_then(|arguments| DataType::named(&name, &arguments));
        ty.ok_or_else(|| {
            if name.is_empty() {
                self.cursor.unexpected()
            } else {
                let text = &start.text()[start.offset()..self.cursor.last_end()];
                let what = format!("data type {}", text.to_uppercase());
                SqlError::unsupported(what).at(start.position())
            }
        })
    }

    fn is_initial(&self) -> bool {
        self.cursor.is_next("DEFAULT") || self.cursor.peek() == Some(&Token::Assignment)
    }

    fn accept_initial(&mut self) -> bool {
        self.cursor.accept("DEFAULT") || self.cursor.accept_token(&Token::Assignment)
    }
}

/// Writes a number with thousands separators, as these errors show it.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}
