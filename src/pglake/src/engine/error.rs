//! Errors of the engine, with the SQLSTATE that the PostgreSQL user sees.

use crate::columns::FieldError;
use crate::storage;
use crate::values::ValueError;
use icebox_base::chain;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with the fields of the PostgreSQL protocol.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// The place of a NULL that is not allowed: the index of the row within the statement, and the
    /// column.
    pub not_null_violation: Option<Box<(usize, String)>>,
}

impl Error {
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        Self {
            sqlstate: sqlstate.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
            not_null_violation: None,
        }
    }

    /// Returns the error for a NULL in a column that is NOT NULL.
    pub fn not_null(row: usize, column: String) -> Self {
        let message = format!("null value in column \"{column}\" violates not-null constraint");
        Self {
            not_null_violation: Some(Box::new((row, column))),
            ..Self::new("23502", message)
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns an error that cannot happen as long as PostgreSQL and the engine follow their
    /// protocol.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("XX000", message)
    }

    pub fn unsupported(sql: &str) -> Self {
        Self::new(
            "0A000",
            format!("the lake engine does not support this statement: {sql}"),
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

/// Whether the object store could not be reached, as opposed to having answered with an error.
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

/// Returns the failed operation with its file, and the innermost cause. The layers in between say
/// nothing that helps the user.
fn file_and_cause(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut file = None;
    let mut innermost = error;
    loop {
        if let Some(error) = innermost.downcast_ref::<icebox_tables::Error>() {
            file = Some(error.to_string());
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    file.map(|file| format!("{file}: {innermost}"))
}

/// The start of the object store client's message about an HTTP status.
const HTTP_STATUS_PREFIX: &str = "Server returned non-2xx status code: ";

/// Returns the error for missing credentials.
fn no_credentials(error: &storage::Error) -> Error {
    let (sqlstate, kind) = if error.is_connection() {
        (
            "08006",
            "IO Error: Could not establish connection to the object store: ",
        )
    } else {
        ("42501", "")
    };
    Error::new(sqlstate, format!("{kind}{error}")).hint(error.hint())
}

/// Returns the error for a failed read or write of the lake.
fn lake_error(error: &(dyn std::error::Error + 'static)) -> Error {
    if let Some(refused) = storage::Error::find_cause(error) {
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
    // pg_lake's message for an error of the object store.
    match message.split_once(HTTP_STATUS_PREFIX) {
        Some((what, answer)) => Error::new("0A000", format!("HTTP Error: {what}{answer}")),
        None => Error::new("XX000", message),
    }
}

impl From<iceberg::Error> for Error {
    fn from(error: iceberg::Error) -> Self {
        lake_error(&error)
    }
}

impl From<icebox_tables::Error> for Error {
    fn from(error: icebox_tables::Error) -> Self {
        lake_error(&error)
    }
}

impl From<icebox_tables::ChangeError> for Error {
    fn from(error: icebox_tables::ChangeError) -> Self {
        use icebox_tables::ChangeError;
        match error {
            ChangeError::Lake(error) => error.into(),
            ChangeError::Iceberg(error) => error.into(),
            ChangeError::Query(error) => error.into(),
            ChangeError::Arrow(error) => error.into(),
            error @ ChangeError::NoSuchFile { .. } => Self::internal(error.to_string()),
        }
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        lake_error(&error)
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
                not_null_violation: None,
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
