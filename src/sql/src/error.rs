//! Errors in Snowflake's form: a code of six digits, an SQLSTATE, a message, and a place in the
//! statement.

pub mod code;

use std::fmt;

pub use code::ErrorCode;

/// The result of an operation of a statement.
pub type SqlResult<T> = Result<T, SqlError>;

/// A place in a statement. As in Snowflake, lines count from 1 and columns from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} at position {}", self.line, self.column)
    }
}

/// An error that a client sees, such as `002003 (42S02): SQL compilation error:` and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// Six digits; negative for the exceptions that scripts declare.
    pub code: i32,
    pub state: &'static str,
    /// The whole message, including `SQL compilation error:` where Snowflake has it.
    pub message: String,
    pub position: Option<Position>,
}

impl SqlError {
    /// Creates an error whose message has no prefix, such as `Division by zero`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.number,
            state: code.state,
            message: message.into(),
            position: None,
        }
    }

    /// Creates an error with the most common prefix, `SQL compilation error:` on a line of its own.
    pub fn compilation(code: ErrorCode, text: impl fmt::Display) -> Self {
        Self::new(code, format!("SQL compilation error:\n{text}"))
    }

    /// Creates the error for a token that is not allowed at its place.
    pub fn syntax(position: Position, unexpected: &str) -> Self {
        let text = format!("syntax error {position} unexpected '{unexpected}'.");
        Self::compilation(code::SYNTAX, text).at(position)
    }

    /// Creates the error for a feature of Snowflake that icebox does not support.
    pub fn unsupported(feature: impl fmt::Display) -> Self {
        Self::compilation(
            code::UNSUPPORTED_FEATURE,
            format_args!("Unsupported feature '{feature}'."),
        )
    }

    /// Creates the error for a missing table, view or stage, by its resolved name.
    pub fn no_object(name: impl fmt::Display) -> Self {
        let text = format!("Object '{name}' does not exist or not authorized.");
        Self::compilation(code::TABLE_NOT_FOUND, text)
    }

    /// Creates the error for any other missing object. `kind` is Snowflake's word for it, such as
    /// `Schema` or `Integration`.
    pub fn no_such(kind: &str, name: impl fmt::Display) -> Self {
        let text = format!("{kind} '{name}' does not exist or not authorized.");
        Self::compilation(code::OBJECT_NOT_FOUND, text)
    }

    pub fn exists(name: impl fmt::Display) -> Self {
        Self::compilation(
            code::OBJECT_EXISTS,
            format_args!("Object '{name}' already exists."),
        )
    }

    /// Creates the error for a value that an option cannot have.
    pub fn bad_value(value: impl fmt::Display, parameter: &str) -> Self {
        let text = format!("invalid value [{value}] for parameter '{parameter}'");
        Self::compilation(code::INVALID_VALUE, text)
    }

    /// Creates the error for an object that cannot be dropped while another uses it.
    pub fn in_use(what: impl fmt::Display, user: impl fmt::Display) -> Self {
        let text = format!("Cannot drop {what} as it is in use by {user}.");
        Self::new(code::OBJECT_IN_USE, text)
    }

    /// Creates the error for a stage whose files cannot be reached.
    pub fn stage_failed(error: &(dyn std::error::Error + 'static)) -> Self {
        let cause = cause(&icebox_base::chain(error));
        let text = format!("Failure using stage area. Cause: [{cause}]");
        Self::new(code::STAGE_FAILURE, text)
    }

    /// Creates the error for an unknown column, alias or variable.
    pub fn invalid_identifier(name: impl fmt::Display, position: Option<Position>) -> Self {
        let text = format!("invalid identifier '{name}'");
        match position {
            Some(position) => Self::located(code::INVALID_IDENTIFIER, position, text),
            None => Self::compilation(code::INVALID_IDENTIFIER, text),
        }
    }

    /// Creates a compilation error with its place on the first line:
    /// `SQL compilation error: error line …`.
    pub fn located(code: ErrorCode, position: Position, text: impl fmt::Display) -> Self {
        let message = format!("SQL compilation error: error {position}\n{text}");
        Self::new(code, message).at(position)
    }

    /// Wraps an error inside icebox, or of the object store or PostgreSQL.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(code::INTERNAL, icebox_base::chain(error))
    }

    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06} ({}): {}", self.code, self.state, self.message)
    }
}

impl std::error::Error for SqlError {}

/// The text of an S3 denial, as Snowflake shows it.
const DENIED: &str = "Access Denied (Status Code: 403; Error Code: AccessDenied)";

/// Returns the cause of an S3 error to show: the denial alone if it is one, else the whole text.
pub fn cause(text: &str) -> String {
    if text.contains("AccessDenied") {
        DENIED.to_owned()
    } else {
        text.to_owned()
    }
}
