//! INSERT INTO a native table.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::Schema;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlparser::tokenizer::Token;

use super::{Context, query};
use crate::Kind;
use crate::answer::{Answer, StatementKind};
use crate::kind::native_table::{self, Table};
use crate::session::Session;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::{Ident, ObjectName};
use icebox_sql::query::store;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::DataType;

/// Runs `INSERT INTO name [(columns)] VALUES … | SELECT …`.
pub async fn insert(context: Context<'_>, mut cursor: Cursor<'_>) -> SqlResult<Answer> {
    let session = context.session;
    let name = session.full_name(Kind::Table, &cursor.name(3)?)?;
    session.account().find(Kind::Table, &name)?;
    let columns = match cursor.peek() {
        Some(Token::LParen) if !is_query_in_brackets(&cursor) => Some(cursor.list(Cursor::ident)?),
        _ => None,
    };
    if cursor.is_at_end() {
        return Err(cursor.unexpected());
    }
    let query = cursor.take_rest();
    let mut read = query::read(context, query).await?;
    // All rows of an array binding are appended at once.
    for bindings in context.repeats.iter().skip(1) {
        let again = Context {
            bindings,
            ..context
        };
        let more = query::read(again, query).await?;
        read.rows.batches.extend(more.rows.batches);
    }
    let count = append_rows(session, &name, columns.as_deref(), &read.rows).await?;
    read.consume(session)?;
    Ok(Answer {
        rows: Rows::from_values(
            &[("number of rows inserted", DataType::INTEGER)],
            [vec![ScalarValue::UInt64(Some(count))]],
        )?,
        kind: StatementKind::Insert,
    })
}

fn is_query_in_brackets(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    while ahead.accept_token(&Token::LParen) {}
    ahead.is_next("SELECT") || ahead.is_next("WITH") || ahead.is_next("VALUES")
}

/// Appends rows to a table, with each value converted to its column's type. The values are for the
/// columns in `columns`, in that order, or for all columns. Other columns get NULL. Returns the
/// number of rows.
pub fn append_rows<'a>(
    session: &'a Session,
    name: &'a ObjectName,
    columns: Option<&'a [Ident]>,
    rows: &'a Rows,
) -> BoxFuture<'a, SqlResult<u64>> {
    async move {
        let object = session.account().find(Kind::Table, name)?;
        let Some(table) = object.state::<Table>() else {
            return Err(native_table::read_only(name));
        };
        let batches = as_stored(table, columns, rows, session.current().zone());
        let batches = batches.map_err(|refused| refused.error)?;
        native_table::append(session, name, batches).await
    }
    .boxed()
}

/// A row that a table does not accept.
#[derive(Debug)]
pub struct Refused {
    /// The index of the row and of the table's column, both from 0; `None` if the error does not
    /// concern one value.
    pub at: Option<(usize, usize)>,
    pub error: SqlError,
}

/// Returns rows with all columns of a table, and each value converted to its column's type.
pub fn as_stored(
    table: &Table,
    columns: Option<&[Ident]>,
    rows: &Rows,
    zone: Tz,
) -> Result<Vec<RecordBatch>, Refused> {
    let given = positions(table, columns, rows.schema.fields().len());
    let whole = |error| Refused { at: None, error };
    let given = given.map_err(whole)?;
    let fields = table.columns.iter();
    let fields = fields.map(|column| column.data_type().to_field(column.name.as_str(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut before = 0;
    let mut batches = Vec::with_capacity(rows.batches.len());
    for batch in &rows.batches {
        let arrays = table.columns.iter().enumerate().map(|(index, column)| {
            let refused = |row, error| Refused {
                at: Some((before + row, index)),
                error,
            };
            let to = schema.field(index);
            let array = match given.iter().position(|one| *one == index) {
                Some(at) => {
                    let array = batch.column(at);
                    // Rows of an array binding have types of their own.
                    let of_batch = batch.schema();
                    let from = [rows.schema.field(at), of_batch.field(at)];
                    let from = from[usize::from(from[0].data_type() != array.data_type())];
                    store(array, from, to, zone)
                        .map_err(|misfit| refused(misfit.row, misfit.error))?
                }
                None => new_null_array(to.data_type(), batch.num_rows()),
            };
            let mut nulls = (0..array.len()).filter(|row| array.is_null(*row));
            if !column.is_nullable
                && let Some(row) = nulls.next()
            {
                let text = format!("NULL result in a non-nullable column ({})", column.name);
                return Err(refused(row, SqlError::new(code::NULL_NOT_ALLOWED, text)));
            }
            Ok(array)
        });
        let arrays = arrays.collect::<Result<Vec<ArrayRef>, _>>()?;
        before += batch.num_rows();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays);
        batches.push(batch.map_err(|error| whole(SqlError::internal(&error)))?);
    }
    Ok(batches)
}

/// Returns the positions in the table of the named columns, or of all columns.
fn positions(table: &Table, columns: Option<&[Ident]>, got: usize) -> SqlResult<Vec<usize>> {
    let given: Vec<usize> = match columns {
        None => (0..table.columns.len()).collect(),
        Some(columns) => {
            let find = |column: &Ident| {
                let found = table.columns.iter().position(|one| one.name == *column);
                found.ok_or_else(|| SqlError::invalid_identifier(column, None))
            };
            columns.iter().map(find).collect::<SqlResult<_>>()?
        }
    };
    if got != given.len() {
        let text = format!(
            "Insert value list does not match column list expecting {} but got {got}",
            given.len()
        );
        return Err(SqlError::compilation(code::COLUMN_COUNT, text));
    }
    Ok(given)
}
