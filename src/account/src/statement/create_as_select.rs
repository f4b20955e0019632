//! CREATE TABLE … AS SELECT, with or without a list of columns.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Context, insert, query};
use crate::kind::native_table::{TableColumn, create_empty};
use crate::kind::table::AsSelect;
use crate::object::properties::Properties;
use crate::{Kind, State};
use icebox_sql::error::SqlResult;
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;
use icebox_sql::types::DataType;

/// Creates a table with the rows of its query.
pub fn run(context: Context<'_>, table: AsSelect) -> BoxFuture<'_, SqlResult<Rows>> {
    async move {
        let session = context.session;
        let create = &table.create;
        if session.is_skipped(Kind::Table, create)? {
            return session.create(Kind::Table, create, Properties::default(), State::None);
        }
        let read = query::read(context, &table.query).await?;
        let columns = if table.columns.is_empty() {
            let fields = read.rows.schema.fields().iter();
            let columns = fields.map(|field| TableColumn {
                name: Ident::quoted(field.name().as_str()),
                ty: DataType::of_field(field).to_string(),
                is_nullable: true,
            });
            columns.collect()
        } else {
            table.columns
        };
        let status = create_empty(session, create, columns, Properties::default()).await?;
        let name = session.full_name(Kind::Table, &create.name)?;
        insert::append_rows(session, &name, None, &read.rows).await?;
        read.consume(session)?;
        Ok(status)
    }
    .boxed()
}
