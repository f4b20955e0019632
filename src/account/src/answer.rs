//! A statement to run, and its answer.

use serde_json::{Map, Value};

use icebox_sql::error::{SqlError, code};
use icebox_sql::rows::Rows;

/// A request to run a statement.
#[derive(Clone, Debug)]
pub struct Request {
    /// The statement's id in the query history.
    pub query_id: String,
    /// One statement without its semicolon.
    pub sql: String,
    /// The values for `?` and `:1`: the columns `1`, `2` and so on, with a row for each time that
    /// an INSERT is to run. There are no columns if no values are bound.
    pub bindings: Rows,
    /// Whether only the columns are wanted. Then the statement has no effect, and the result has no
    /// rows.
    pub describe_only: bool,
    /// Parameters for this statement alone, such as `QUERY_TAG`.
    pub parameters: Map<String, Value>,
}

/// The result of a statement.
#[derive(Clone, Debug)]
pub struct Answer {
    pub rows: Rows,
    pub kind: StatementKind,
}

/// The kind of a statement, as drivers distinguish it. The values are the protocol's
/// `statementTypeId`.
///
/// Drivers read the row counts of DML from its columns `number of rows inserted`,
/// `number of rows updated`, `number of rows deleted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum StatementKind {
    /// SELECT and CALL.
    Select = 0x1000,
    Explain = 0x2000,
    Insert = 0x3100,
    Update = 0x3200,
    Delete = 0x3300,
    Merge = 0x3400,
    Copy = 0x3600,
    AlterSession = 0x4100,
    Use = 0x4300,
    Show = 0x4400,
    Describe = 0x4500,
    List = 0x4701,
    /// BEGIN, COMMIT, ROLLBACK.
    Transaction = 0x5000,
    Ddl = 0x6000,
    /// Several statements in one request.
    Several = 0xA000,
}

/// Returns a new id for a statement, in the format that drivers check.
pub fn new_query_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Returns the error of a cancelled statement.
pub fn canceled() -> SqlError {
    SqlError::new(code::CANCELED, "SQL execution canceled")
}
