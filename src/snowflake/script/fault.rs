//! Errors of a running block: what kind they are, and what is left of them when nothing catches them.

use std::sync::Arc;

use super::ast::Exception;
use crate::snowflake::error::{Position, SqlError};

/// An exception that was raised.
#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    /// As a handler sees it.
    pub error: SqlError,
    /// What raised it.
    pub position: Position,
}

#[derive(Clone, Debug)]
pub enum FaultKind {
    /// STATEMENT_ERROR
    Statement,
    /// EXPRESSION_ERROR
    Expression,
    /// An exception that the body declares.
    Declared(Arc<Exception>),
    /// The run was cancelled; nothing catches it.
    Cancelled,
}

impl Fault {
    pub fn statement(position: Position, error: SqlError) -> Fault {
        Fault {
            kind: FaultKind::Statement,
            error,
            position,
        }
    }

    pub fn expression(position: Position, error: SqlError) -> Fault {
        Fault {
            kind: FaultKind::Expression,
            error,
            position,
        }
    }

    pub fn declared(position: Position, exception: &Arc<Exception>) -> Fault {
        let message = exception.message.clone().unwrap_or_default();
        Fault {
            kind: FaultKind::Declared(Arc::clone(exception)),
            error: SqlError::new(exception.code, "P0001", message),
            position,
        }
    }

    pub fn cancelled(position: Position) -> Fault {
        Fault {
            kind: FaultKind::Cancelled,
            error: SqlError::new(604, "57014", "SQL execution canceled"),
            position,
        }
    }

    /// The error of the whole run (Snowflake documentation, "Handling exceptions").
    pub fn uncaught(self) -> SqlError {
        let name = match &self.kind {
            FaultKind::Statement => "STATEMENT_ERROR",
            FaultKind::Expression => "EXPRESSION_ERROR",
            FaultKind::Declared(exception) => exception.name.as_str(),
            FaultKind::Cancelled => return self.error,
        };
        let mut message = format!("Uncaught exception of type '{name}' on {}", self.position);
        let is_bare = matches!(&self.kind, FaultKind::Declared(it) if it.message.is_none());
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

/// An error of a body that is found before any of it runs. The code is documented for types that cannot be inferred;
/// that the others have it too is a guess.
pub fn compilation(position: Position, text: impl std::fmt::Display) -> SqlError {
    SqlError::located(92_228, "P0000", position, text)
}

/// An error of a statement of scripting itself; its code is a guess.
pub fn scripting(text: impl Into<String>) -> SqlError {
    SqlError::new(92_228, "P0000", text)
}
