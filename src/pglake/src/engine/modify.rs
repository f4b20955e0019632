//! UPDATE and DELETE by condition.

use sqlparser::ast::{self, Ident, Query, SelectItem, SetExpr};

use super::cursor::RowSink;
use super::error::{Error, Result};
use super::evaluate::substitute;
use super::returning::{Returned, write_returned};
use super::rowid::RowId;
use super::session::{LakeSession, Parameter};
use super::statement::{Modify, Statement, parse};

/// The number of rows that are read, and then changed, at a time.
const MODIFY_ROWS: usize = 50_000;

impl LakeSession {
    /// Runs an UPDATE or DELETE by condition. A query finds the rows and computes their new values.
    pub(super) async fn modify(
        &mut self,
        modify: &Modify,
        parameters: &[Parameter],
        sink: &mut impl RowSink,
    ) -> Result<String> {
        let tag = if modify.assignments.is_empty() {
            "DELETE"
        } else {
            "UPDATE"
        };
        let transaction = &mut self.open()?.transaction;
        let columns = transaction
            .flushed_changes(modify.table)
            .await?
            .columns
            .clone();
        let target = |name: &str| match &modify.alias {
            Some(alias) => {
                ast::Expr::CompoundIdentifier(vec![alias.clone(), Ident::with_quote('"', name)])
            }
            None => ast::Expr::Identifier(Ident::with_quote('"', name)),
        };
        let mut items = vec![target("ctid")];
        for (name, value) in &modify.assignments {
            let column = columns.iter().find(|column| column.name == *name);
            let type_name = &column
                .ok_or_else(|| Error::internal(format!("no column {name}")))?
                .type_name;
            items.push(assigned(value, type_name)?);
        }
        // RETURNING of an UPDATE gives a column of the table with its new value, and any other
        // expression as the query computed it.
        let mut returned = Vec::new();
        for expr in &modify.returning {
            let own = own_column(expr, modify.alias.as_ref())
                .and_then(|name| columns.iter().position(|column| column.name == name));
            returned.push(match own {
                Some(index) if tag == "UPDATE" => Returned::Column(index),
                _ => {
                    items.push(expr.clone());
                    Returned::Item(items.len() - 1)
                }
            });
        }
        let mut query = select(items, modify);
        substitute(&mut query, parameters)?;
        let prepared = self.prepare(query).await?;
        let mut rows = prepared.run().await?;
        let names: Vec<String> = modify
            .assignments
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let mut affected = 0;
        loop {
            let mut found = Collected::default();
            let fetched = rows.fetch(MODIFY_ROWS, &mut found).await?;
            let transaction = &mut self.open()?.transaction;
            for row in &found.rows {
                let id = row[0]
                    .as_ref()
                    .and_then(|text| RowId::parse(text.as_bytes()));
                let id = id.ok_or_else(|| {
                    Error::internal("the query returned a row without a valid ctid")
                })?;
                if tag == "DELETE" {
                    if transaction.delete(modify.table, id).await? {
                        affected += 1;
                        write_returned(&returned, row, None, sink)?;
                    }
                    continue;
                }
                let values = row[1..=names.len()]
                    .iter()
                    .map(|value| value.as_deref().map(str::as_bytes));
                let updated = transaction.update(modify.table, &names, id, values).await;
                if let Err(error) = updated {
                    return Err(self.null_in_relation(error, modify.table).await);
                }
            }
            if let Some(updated) = transaction
                .flush(modify.table)
                .await?
                .filter(|_| tag == "UPDATE")
            {
                affected += updated.updates.len();
                for (index, source) in updated
                    .updates
                    .iter()
                    .enumerate()
                    .take_while(|_| !returned.is_empty())
                {
                    let new = Some((&updated.batch, index, columns.as_slice()));
                    write_returned(&returned, &found.rows[*source], new, sink)?;
                }
            }
            if fetched < MODIFY_ROWS {
                return Ok(format!("{tag} {affected}"));
            }
        }
    }
}

/// Casts a new value to the type of its column. `postgres_fdw` leaves this assignment cast to the
/// remote server.
fn assigned(value: &ast::Expr, type_name: &str) -> Result<ast::Expr> {
    let sql = format!("SELECT CAST({value} AS {type_name})");
    match parse(&sql)?.pop() {
        Some(Statement::Select(query)) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr)) => Ok(expr.clone()),
                _ => Err(Error::unsupported(&sql)),
            },
            _ => Err(Error::unsupported(&sql)),
        },
        _ => Err(Error::unsupported(&sql)),
    }
}

fn own_column<'a>(expr: &'a ast::Expr, alias: Option<&Ident>) -> Option<&'a str> {
    match expr {
        ast::Expr::Identifier(ident) => Some(&ident.value),
        ast::Expr::CompoundIdentifier(idents) => match idents.as_slice() {
            [table, name] if Some(&table.value) == alias.map(|alias| &alias.value) => {
                Some(&name.value)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Builds `SELECT items FROM …` with the tables and the condition of a modification.
fn select(items: Vec<ast::Expr>, modify: &Modify) -> Query {
    let tables: Vec<String> = modify.from.iter().map(ToString::to_string).collect();
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    let condition = modify
        .selection
        .as_ref()
        .map(|selection| format!(" WHERE {selection}"))
        .unwrap_or_default();
    let sql = format!(
        "SELECT {} FROM {}{condition}",
        items.join(", "),
        tables.join(", ")
    );
    match parse(&sql).ok().and_then(|mut statements| statements.pop()) {
        Some(Statement::Select(query)) => *query,
        _ => unreachable!("parts of a parsed statement parse again: {sql}"),
    }
}

/// A sink that keeps rows in memory.
#[derive(Default)]
struct Collected {
    rows: Vec<Vec<Option<String>>>,
    current: Vec<Option<String>>,
}

impl RowSink for Collected {
    fn value(&mut self, text: Option<&str>) {
        self.current.push(text.map(str::to_owned));
    }

    fn end_row(&mut self) {
        self.rows.push(std::mem::take(&mut self.current));
    }
}
