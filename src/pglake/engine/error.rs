//! Errors of the engine, with the SQLSTATE that they reach the PostgreSQL user with.

use crate::chain;
use crate::pglake::columns::FieldError;
use crate::pglake::storage;
use crate::pglake::values::ValueError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error as the PostgreSQL protocol has it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// The row, of those of one statement, and the column where a NULL is not allowed.
    pub null_in: Option<Box<(usize, String)>>,
}

impl Error {
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        Self {
            sqlstate: sqlstate.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
            null_in: None,
        }
    }

    /// A NULL where the column has none.
    pub fn null(row: usize, column: String) -> Self {
        let message = format!("null value in column \"{column}\" violates not-null constraint");
        Self {
            null_in: Some(Box::new((row, column))),
            ..Self::new("23502", message)
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Something that cannot happen as long as PostgreSQL and the engine keep their contract.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("XX000", message)
    }

    pub fn unsupported(sql: &str) -> Self {
        Self::new(
            "0A000",
            format!("the lake engine does not understand: {sql}"),
        )
    }
}

impl From<ValueError> for Error {
    fn from(error: ValueError) -> Self {
        let hint = match &error {
            ValueError::DecimalNaN => Some("Use float type instead.".to_owned()),
            _ => None,
        };
        Self {
            hint,
            ..Self::new(error.sqlstate(), error.to_string())
        }
    }
}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        match error {
            FieldError::Type(error) => Self::new("0A000", error.to_string()),
            FieldError::Default(error) => error.into(),
        }
    }
}

/// Whether the object store could not be reached, as opposed to having answered.
fn is_connection(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What was being done to which file, and the innermost cause; the layers in between say nothing that a user can use.
fn file_and_cause(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut file = None;
    let mut innermost = error;
    loop {
        if let Some(error) = innermost.downcast_ref::<crate::tables::Error>() {
            file = Some(error.to_string());
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    file.map(|file| format!("{file}: {innermost}"))
}

/// How the object store's client begins to tell of an HTTP status.
const ANSWERED: &str = "Server returned non-2xx status code: ";

/// The lake may not be asked at all.
fn no_credentials(error: &storage::Error) -> Error {
    let (sqlstate, kind) = match error.is_connection() {
        true => (
            "08006",
            "IO Error: Could not establish connection to the object store: ",
        ),
        false => ("42501", ""),
    };
    Error::new(sqlstate, format!("{kind}{error}")).hint(error.hint())
}

/// Reading or writing the lake failed.
fn lake(error: &(dyn std::error::Error + 'static)) -> Error {
    if let Some(refused) = storage::Error::behind(error) {
        return no_credentials(refused);
    }
    let message = file_and_cause(error).unwrap_or_else(|| chain(error));
    if is_connection(error) || chain(error).contains("error sending request") {
        return Error::new(
            "08006",
            format!("IO Error: Could not establish connection to the object store: {message}"),
        )
        .hint("Is the sandbox's S3 server up? (icebox status)");
    }
    // pg_lake's words for what the store answers.
    match message.split_once(ANSWERED) {
        Some((what, answer)) => Error::new("0A000", format!("HTTP Error: {what}{answer}")),
        None => Error::new("XX000", message),
    }
}

impl From<iceberg::Error> for Error {
    fn from(error: iceberg::Error) -> Self {
        lake(&error)
    }
}

impl From<crate::tables::Error> for Error {
    fn from(error: crate::tables::Error) -> Self {
        lake(&error)
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        lake(&error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(error) => Self {
                sqlstate: error.code().code().to_owned(),
                message: error.message().to_owned(),
                detail: error.detail().map(str::to_owned),
                hint: error.hint().map(str::to_owned),
                null_in: None,
            },
            None => Self::new(
                "08006",
                format!(
                    "the lake engine lost its connection to PostgreSQL: {}",
                    chain(&error)
                ),
            ),
        }
    }
}
