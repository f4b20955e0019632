//! Exceptions of a running block: their kinds, and the error that an uncaught one becomes.

use std::sync::Arc;

use super::ast::Exception;
use icebox_sql::error::{ErrorCode, Position, SqlError, code};

/// An exception that was raised.
#[derive(Clone, Debug)]
pub struct RaisedException {
    pub kind: ExceptionKind,
    /// The error as a handler sees it.
    pub error: SqlError,
    /// The position of the statement or expression that raised the exception.
    pub position: Position,
}

#[derive(Clone, Debug)]
pub enum ExceptionKind {
    /// `STATEMENT_ERROR`.
    Statement,
    /// `EXPRESSION_ERROR`.
    Expression,
    /// An exception that the body declares.
    Declared(Arc<Exception>),
    /// The run was cancelled. No handler catches this.
    Cancelled,
}

impl RaisedException {
    pub fn statement(position: Position, error: SqlError) -> Self {
        Self {
            kind: ExceptionKind::Statement,
            error,
            position,
        }
    }

    pub fn expression(position: Position, error: SqlError) -> Self {
        Self {
            kind: ExceptionKind::Expression,
            error,
            position,
        }
    }

    pub fn declared(position: Position, exception: &Arc<Exception>) -> Self {
        let message = exception.message.clone().unwrap_or_default();
        let code = ErrorCode {
            number: exception.code,
            state: "P0001",
        };
        Self {
            kind: ExceptionKind::Declared(Arc::clone(exception)),
            error: SqlError::new(code, message),
            position,
        }
    }

    pub fn cancelled(position: Position) -> Self {
        Self {
            kind: ExceptionKind::Cancelled,
            error: SqlError::new(code::CANCELED, "SQL execution canceled"),
            position,
        }
    }

    /// Returns the error of the whole run, for an exception that is not caught (Snowflake
    /// documentation, "Handling exceptions").
    pub fn uncaught(self) -> SqlError {
        let name = match &self.kind {
            ExceptionKind::Statement => "STATEMENT_ERROR",
            ExceptionKind::Expression => "EXPRESSION_ERROR",
            ExceptionKind::Declared(exception) => exception.name.as_str(),
            ExceptionKind::Cancelled => return self.error,
        };
        let mut message = format!("Uncaught exception of type '{name}' on {}", self.position);
        let is_bare = matches!(&self.kind, ExceptionKind::Declared(it) if it.message.is_none());
        if !is_bare {
            message.push_str(" : ");
            message.push_str(&self.error.message);
        }
        SqlError {
            message,
            position: Some(self.position),
            ..self.error
        }
    }
}

/// Returns an error that is found in a body before it runs. The code is documented for types that
/// cannot be inferred; that the other errors have it too is a guess.
pub fn compilation(position: Position, text: impl std::fmt::Display) -> SqlError {
    SqlError::located(code::SCRIPTING, position, text)
}

/// Returns an error of a scripting statement itself. Its code is a guess.
pub fn scripting(text: impl Into<String>) -> SqlError {
    SqlError::new(code::SCRIPTING, text)
}
