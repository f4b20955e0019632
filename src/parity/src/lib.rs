//! Parity: a query must give the same answer wherever the rows are read.
//!
//! A [`Query`] is a file written on logical table names. Each [`Source`] (heap tables, Iceberg
//! tables through PostgreSQL, the reader of the Snowflake side) runs it on its own table names and
//! returns an [`Answer`] of typed [`Value`]s. [`verify`] compares the answers exactly and reports
//! what differs.

mod answer;
mod arrow;
mod compare;
mod decimal;
mod postgres;
mod query;
mod reader;
pub mod table;
mod value;
mod verify;

pub use answer::{Answer, Column, DecodeError};
pub use arrow::{ArrowEngine, ArrowSource, decode as decode_arrow};
pub use compare::{Difference, compare};
pub use decimal::{Decimal, Finite, ParseDecimalError};
pub use postgres::{PostgresSource, decode as decode_postgres};
pub use query::{Query, QueryError};
pub use value::{Value, ValueKind};
pub use verify::{Outcome, QueryReport, Report, Source, SourceError, verify};

/// Returns PostgreSQL's error as one text: message, SQLSTATE, detail, hint and context; or what
/// went wrong with the connection.
pub fn postgres_message(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else {
        return SourceError::engine(error).to_string();
    };
    let mut text = format!(
        "{}: {} (SQLSTATE {})",
        error.severity(),
        error.message(),
        error.code().code()
    );
    for (name, part) in [
        ("DETAIL", error.detail()),
        ("HINT", error.hint()),
        ("CONTEXT", error.where_()),
    ] {
        if let Some(part) = part {
            text.push_str(&format!("\n{name}: {part}"));
        }
    }
    text
}
