//! INSERT INTO a native table.

use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use sqlparser::tokenizer::Token;

use super::{Context, query};
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::names::{Ident, ObjectName};
use crate::snowflake::object::{Kind, table};
use crate::snowflake::rest::{Answer, StatementKind};
use crate::snowflake::rows::Rows;
use crate::snowflake::session::Session;
use crate::snowflake::syntax::Cursor;
use crate::snowflake::types::DataType;

/// `INSERT INTO name [(columns)] VALUES … | SELECT …`
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
    // All rows of an array binding are written at once.
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
        rows: Rows::of(
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

/// Appends rows to a table, each value as its column's type: the columns that are named, or all, in their order; the others
/// are NULL.
pub fn append_rows<'a>(
    session: &'a Session,
    name: &'a ObjectName,
    columns: Option<&'a [Ident]>,
    rows: &'a Rows,
) -> BoxFuture<'a, SqlResult<u64>> {
    async move {
        let object = session.account().find(Kind::Table, name)?;
        let Some(table) = table::of(&object) else {
            // It says itself why nothing can be appended.
            return table::append(session, name, Vec::new()).await;
        };
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
        let got = rows.schema.fields().len();
        if got != given.len() {
            let text = format!(
                "Insert value list does not match column list expecting {} but got {got}",
                given.len()
            );
            return Err(SqlError::compilation(2020, "21S01", text));
        }
        let fields = table.columns.iter().map(|column| {
            let arrow = column.data_type().to_arrow();
            Field::new(column.name.as_str(), arrow, true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut batches = Vec::with_capacity(rows.batches.len());
        for batch in &rows.batches {
            let arrays = table.columns.iter().enumerate().map(|(index, column)| {
                let field = schema.field(index);
                let position = given.iter().position(|one| *one == index);
                let array: ArrayRef = match position {
                    Some(position) => cast(batch.column(position), field.data_type())
                        .map_err(|error| SqlError::new(100_038, "22018", error.to_string()))?,
                    None => new_null_array(field.data_type(), batch.num_rows()),
                };
                if !column.is_nullable && array.null_count() > 0 {
                    let text = format!("NULL result in a non-nullable column ({})", column.name);
                    return Err(SqlError::new(100_072, "22000", text));
                }
                Ok(array)
            });
            let arrays = arrays.collect::<SqlResult<Vec<_>>>()?;
            let batch = RecordBatch::try_new(Arc::clone(&schema), arrays);
            batches.push(batch.map_err(|error| SqlError::internal(&error))?);
        }
        table::append(session, name, batches).await
    }
    .boxed()
}
