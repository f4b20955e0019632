//! Column names in an alias, `… AS t(a, b)`, of a query in FROM or in WITH. DataFusion would look
//! for the query's own columns in lower case, so the names are given in another way.

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
};

use super::Rewriter;
use super::select::select_from;
use crate::error::{SqlError, SqlResult, code};
use crate::query::syntax_tree::{call, quoted};

impl Rewriter<'_> {
    /// Gives a derived table the column names of its alias. Called before the relation is visited.
    pub(super) fn named_columns(&mut self, factor: &mut TableFactor) -> SqlResult<()> {
        if let TableFactor::Derived {
            subquery,
            alias: Some(alias),
            ..
        } = factor
            && !alias.name.value.starts_with("#values")
        {
            let columns = std::mem::take(&mut alias.columns);
            if !columns.is_empty() {
                self.renamed(subquery, columns)?;
            }
        }
        Ok(())
    }

    /// Gives the columns of a query other names, with another query around it.
    pub(super) fn renamed(
        &mut self,
        query: &mut Box<Query>,
        columns: Vec<TableAliasColumnDef>,
    ) -> SqlResult<()> {
        if let SetExpr::Values(values) = query.body.as_ref() {
            let select = self.values(values.clone(), Some(columns));
            *query.body = SetExpr::Select(Box::new(select));
            return Ok(());
        }
        let mut names = Vec::new();
        for (place, item) in first_items(query)?.iter_mut().enumerate() {
            let name = match item {
                SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
                SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident.value.clone(),
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) => idents
                    .last()
                    .map(|ident| ident.value.clone())
                    .unwrap_or_default(),
                SelectItem::UnnamedExpr(expr) => {
                    let name = format!("#column{place}");
                    let (expr, alias) = (expr.clone(), quoted(&name));
                    *item = SelectItem::ExprWithAlias { expr, alias };
                    name
                }
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                    return Err(star());
                }
            };
            names.push(name);
        }
        check_count(names.len(), columns.len())?;
        let items =
            names
                .into_iter()
                .zip(columns)
                .map(|(name, column)| SelectItem::ExprWithAlias {
                    expr: Expr::Identifier(quoted(name)),
                    alias: quoted(column.name.value),
                });
        let items = items.collect();
        self.unnamed += 1;
        let relation = TableFactor::Derived {
            lateral: false,
            subquery: query.clone(),
            alias: Some(TableAlias {
                explicit: true,
                name: quoted(format!("#renamed{}", self.unnamed)),
                columns: Vec::new(),
            }),
            sample: None,
        };
        **query = select_from(items, relation);
        Ok(())
    }
}

/// Returns the SELECT list that names the columns of a query: for a set operation, that of the
/// first SELECT.
fn first_items(query: &mut Query) -> SqlResult<&mut Vec<SelectItem>> {
    let mut body = query.body.as_mut();
    loop {
        match body {
            SetExpr::Select(select) => return Ok(&mut select.projection),
            SetExpr::SetOperation { left, .. } => body = left.as_mut(),
            SetExpr::Query(query) => body = query.body.as_mut(),
            _ => return Err(star()),
        }
    }
}

/// Gives the columns of a recursive query other names, in its first half.
pub(super) fn rename_first(query: &mut Query, columns: Vec<TableAliasColumnDef>) -> SqlResult<()> {
    if let SetExpr::SetOperation { left, .. } = query.body.as_ref()
        && let SetExpr::Select(select) = left.as_ref()
    {
        let grouped = match &select.group_by {
            GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
            GroupByExpr::All(_) => true,
        };
        // These clauses may use the aliases that are replaced.
        if grouped || select.having.is_some() || select.qualify.is_some() {
            return Err(SqlError::unsupported(
                "column names of a recursive query that begins with GROUP BY, HAVING or QUALIFY",
            ));
        }
    }
    let items = first_items(query)?;
    check_count(items.len(), columns.len())?;
    for (item, column) in items.iter_mut().zip(columns) {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            return Err(star());
        };
        let (expr, alias) = (expr.clone(), quoted(column.name.value));
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
    Ok(())
}

/// Widens the types of a recursive query's first rows, so that the later rows fit in them.
pub(super) fn widen_first(query: &mut Query) -> SqlResult<()> {
    for item in first_items(query)? {
        match item {
            SelectItem::ExprWithAlias { expr, .. } => *expr = call("$widen", vec![expr.clone()]),
            SelectItem::UnnamedExpr(expr) => {
                let alias = match &expr {
                    Expr::Identifier(ident) => ident.clone(),
                    Expr::CompoundIdentifier(idents) => match idents.last() {
                        Some(ident) => ident.clone(),
                        None => continue,
                    },
                    other => quoted(other.to_string().to_uppercase()),
                };
                let expr = call("$widen", vec![expr.clone()]);
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                return Err(SqlError::unsupported(
                    "* in the first half of a recursive query",
                ));
            }
        }
    }
    Ok(())
}

fn check_count(own: usize, given: usize) -> SqlResult<()> {
    if own == given {
        Ok(())
    } else {
        let text = format!(
            "number of columns in alias list ({given}) does not match that of the query ({own})"
        );
        Err(SqlError::compilation(code::COLUMN_COUNT, text))
    }
}

fn star() -> SqlError {
    SqlError::unsupported("column names for a query with *; name its columns")
}
