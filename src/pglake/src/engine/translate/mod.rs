//! Translation of `postgres_fdw`'s queries to DataFusion plans, only where the result is certain to
//! equal PostgreSQL's.
//!
//! `postgres_fdw` sends any built-in function and operator that is immutable. This module
//! translates a fixed list of forms for which DataFusion and PostgreSQL agree to the last bit.
//! Every function returns `None` for anything else, and then PostgreSQL itself evaluates the query
//! (see `evaluate`). These are left out on purpose: comparing and grouping floats (PostgreSQL takes
//! 0 and -0 for equal), arithmetic (overflow is an error in PostgreSQL), `char(n)` (padding),
//! regular expressions, and any collation other than C's order of bytes.

mod aggregate;
mod constant;
mod expression;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::{Column as ColumnRef, ScalarValue, TableReference};
use datafusion::logical_expr::{Expr, JoinType, SortExpr, lit};
use datafusion::prelude::{DataFrame, SessionContext};
use sqlparser::ast::{
    self, BinaryOperator, GroupByExpr, JoinConstraint, JoinOperator, LimitClause, OrderByKind,
    Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Value,
};

use super::statement::table_oid;
use super::view::TableView;
use crate::columns::ColumnKind;
use aggregate::has_aggregate;
use expression::is_groupable;
use icebox_tables::{FILE_COLUMN, POSITION_COLUMN};

/// The source of one item of the select list: columns of the plan, by index.
#[derive(Clone, Debug)]
pub(super) enum OutputColumn {
    Column {
        index: usize,
        kind: Option<ColumnKind>,
    },
    Ctid {
        file: usize,
        position: usize,
    },
    /// PostgreSQL's `avg` of integers or numerics: a sum divided by a count, with PostgreSQL's
    /// scale.
    Average {
        sum: usize,
        count: usize,
    },
    Null,
}

/// A translated query: the plan, and how each item of the select list is made from its columns.
pub(super) struct Translated {
    pub plan: DataFrame,
    pub outputs: Vec<OutputColumn>,
}

/// An expression with the kind of its values.
struct TypedExpr {
    expr: Expr,
    kind: ColumnKind,
}

struct Translator<'a> {
    views: &'a HashMap<u32, TableView>,
    context: &'a SessionContext,
    /// Whether the query mentions `ctid`. A scan that returns row positions costs more.
    needs_row_ids: bool,
    /// The tables of the FROM clause by alias.
    scopes: Vec<(String, &'a TableView)>,
    /// The aggregates found so far: the SQL text, the expression and the kind of each.
    aggregates: Vec<(String, Expr, ColumnKind)>,
}

/// Translates a query on `views`, which are by OID. Returns `Ok(None)` where PostgreSQL has to
/// evaluate the query.
pub(super) fn translate(
    query: &Query,
    views: &HashMap<u32, TableView>,
    context: &SessionContext,
) -> datafusion::error::Result<Option<Translated>> {
    let needs_row_ids = query.to_string().contains("ctid");
    let mut translator = Translator {
        views,
        context,
        needs_row_ids,
        scopes: Vec::new(),
        aggregates: Vec::new(),
    };
    translator.query(query).transpose()
}

/// Translates the part of a query's condition that can be translated, to limit the rows that
/// PostgreSQL has to read. Returns it with the alias of the table. The query must read one table
/// only.
pub(super) fn prefilter(
    query: &Query,
    views: &HashMap<u32, TableView>,
    context: &SessionContext,
) -> Option<(String, Expr)> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let [
        TableWithJoins {
            relation: TableFactor::Table { .. },
            joins,
        },
    ] = select.from.as_slice()
    else {
        return None;
    };
    if !joins.is_empty() || query.with.is_some() {
        return None;
    }
    let mut translator = Translator {
        views,
        context,
        needs_row_ids: false,
        scopes: Vec::new(),
        aggregates: Vec::new(),
    };
    translator.factor(&select.from[0].relation)?.ok()?;
    let alias = translator.scopes.first()?.0.clone();
    let mut conjuncts = vec![select.selection.as_ref()?];
    let mut filter: Option<Expr> = None;
    while let Some(expr) = conjuncts.pop() {
        if let ast::Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } = unnested(expr)
        {
            conjuncts.extend([left.as_ref(), right.as_ref()]);
        } else if let Some(condition) = translator.condition(expr) {
            filter = Some(match filter {
                Some(filter) => filter.and(condition),
                None => condition,
            });
        }
    }
    // A condition on an aggregate cannot be applied before the aggregation.
    filter
        .filter(|_| translator.aggregates.is_empty())
        .map(|filter| (alias, filter))
}

/// Returns an error as `Some(Err(…))` from the calling function.
macro_rules! try_or_error {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Some(Err(error)),
        }
    };
}
use try_or_error;

impl<'a> Translator<'a> {
    fn query(&mut self, query: &Query) -> Option<datafusion::error::Result<Translated>> {
        let SetExpr::Select(select) = query.body.as_ref() else {
            return None;
        };
        if query.with.is_some()
            || query.fetch.is_some()
            || select.distinct.is_some()
            || select.from.len() != 1
        {
            return None;
        }
        let mut plan = try_or_error!(self.from(&select.from[0])?);
        if let Some(condition) = &select.selection {
            let condition = self.condition(condition)?;
            plan = try_or_error!(plan.filter(condition));
        }
        let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else {
            return None;
        };
        if !modifiers.is_empty() {
            return None;
        }
        let is_aggregate = !groups.is_empty() || select.having.is_some() || has_aggregate(select);
        let (plan, outputs) = if is_aggregate {
            try_or_error!(self.aggregate(plan, query, select, groups)?)
        } else {
            try_or_error!(self.select(plan, query, select)?)
        };
        let plan = match &query.limit_clause {
            None => plan,
            Some(LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            }) if limit_by.is_empty() => {
                let mut count = |expr: &ast::Expr| match self.expr(expr)?.expr {
                    Expr::Literal(ScalarValue::Int64(Some(count)), _) => {
                        usize::try_from(count).ok()
                    }
                    Expr::Literal(ScalarValue::Int32(Some(count)), _) => {
                        usize::try_from(count).ok()
                    }
                    _ => None,
                };
                let limit = match limit {
                    Some(limit) => Some(count(limit)?),
                    None => None,
                };
                let offset = match offset {
                    Some(offset) => count(&offset.value)?,
                    None => 0,
                };
                try_or_error!(plan.limit(offset, limit))
            }
            Some(_) => return None,
        };
        Some(Ok(Translated { plan, outputs }))
    }

    fn from(&mut self, table: &TableWithJoins) -> Option<datafusion::error::Result<DataFrame>> {
        let mut plan = try_or_error!(self.factor(&table.relation)?);
        for join in &table.joins {
            let right = try_or_error!(self.factor(&join.relation)?);
            let (kind, constraint) = match &join.join_operator {
                JoinOperator::Inner(constraint) | JoinOperator::Join(constraint) => {
                    (JoinType::Inner, constraint)
                }
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                    (JoinType::Left, constraint)
                }
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                    (JoinType::Right, constraint)
                }
                JoinOperator::FullOuter(constraint) => (JoinType::Full, constraint),
                _ => return None,
            };
            let condition = match constraint {
                JoinConstraint::On(condition) => self.condition(condition)?,
                _ => return None,
            };
            plan = try_or_error!(plan.join_on(right, kind, [condition]));
        }
        Some(Ok(plan))
    }

    fn factor(&mut self, factor: &TableFactor) -> Option<datafusion::error::Result<DataFrame>> {
        match factor {
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => self.from(table_with_joins),
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => {
                let oid = table_oid(name)?;
                let view = self.views.get(&oid)?;
                let alias = match alias {
                    Some(alias) if alias.columns.is_empty() => alias.name.value.clone(),
                    Some(_) => return None,
                    None => format!("t{oid}"),
                };
                let provider = view.provider.clone();
                let provider = if self.needs_row_ids {
                    provider.with_positions()
                } else {
                    provider
                };
                let plan = try_or_error!(self.context.read_table(Arc::new(provider)));
                self.scopes.push((alias.clone(), view));
                Some(plan.alias(&alias))
            }
            _ => None,
        }
    }

    /// Translates a query without aggregates: filter, sort, project.
    fn select(
        &mut self,
        plan: DataFrame,
        query: &Query,
        select: &Select,
    ) -> Option<datafusion::error::Result<(DataFrame, Vec<OutputColumn>)>> {
        let mut projection = Vec::new();
        let mut outputs = Vec::new();
        for item in &select.projection {
            let SelectItem::UnnamedExpr(expr) = item else {
                return None;
            };
            if is_null(expr) {
                outputs.push(OutputColumn::Null);
            } else if let Some((alias, _)) = self.ctid(expr) {
                let column = |name: &str| Expr::Column(qualified(&alias, name));
                outputs.push(OutputColumn::Ctid {
                    file: projection.len(),
                    position: projection.len() + 1,
                });
                projection.extend([column(FILE_COLUMN), column(POSITION_COLUMN)]);
            } else {
                let typed = self.expr(expr)?;
                outputs.push(OutputColumn::Column {
                    index: projection.len(),
                    kind: Some(typed.kind),
                });
                projection.push(typed.expr);
            }
        }
        let order = self.order(query)?;
        let plan = try_or_error!(sorted_and_named(plan, order, projection));
        Some(Ok((plan, outputs)))
    }

    fn order(&mut self, query: &Query) -> Option<Vec<SortExpr>> {
        let Some(order) = &query.order_by else {
            return Some(Vec::new());
        };
        let OrderByKind::Expressions(items) = &order.kind else {
            return None;
        };
        items
            .iter()
            .map(|item| {
                let typed = self.expr(&item.expr)?;
                if !is_groupable(&typed.kind) {
                    return None;
                }
                let ascending = item.options.asc.unwrap_or(true);
                let nulls_first = item.options.nulls_first.unwrap_or(!ascending);
                Some(typed.expr.sort(ascending, nulls_first))
            })
            .collect()
    }

    fn ctid(&self, expr: &ast::Expr) -> Option<(String, &'a TableView)> {
        let (alias, name) = self.name(expr)?;
        (name == "ctid")
            .then(|| self.scope(alias.as_deref()))
            .flatten()
    }

    fn name(&self, expr: &ast::Expr) -> Option<(Option<String>, String)> {
        match expr {
            ast::Expr::Identifier(ident) => Some((None, ident.value.clone())),
            ast::Expr::CompoundIdentifier(idents) => match idents.as_slice() {
                [alias, name] => Some((Some(alias.value.clone()), name.value.clone())),
                _ => None,
            },
            _ => None,
        }
    }

    fn scope(&self, alias: Option<&str>) -> Option<(String, &'a TableView)> {
        match alias {
            Some(alias) => self.scopes.iter().find(|(name, _)| name == alias).cloned(),
            None if self.scopes.len() == 1 => self.scopes.first().cloned(),
            None => None,
        }
    }
}

/// Completes a plan: sorts it, then selects the columns that the outputs refer to by index.
fn sorted_and_named(
    plan: DataFrame,
    order: Vec<SortExpr>,
    mut projection: Vec<Expr>,
) -> datafusion::error::Result<DataFrame> {
    let plan = if order.is_empty() {
        plan
    } else {
        plan.sort(order)?
    };
    // The plan must return the right number of rows even if the query selects no column.
    if projection.is_empty() {
        projection.push(lit(true));
    }
    let named = projection
        .into_iter()
        .enumerate()
        .map(|(index, expr)| expr.alias(format!("c{index}")));
    plan.select(named.collect::<Vec<_>>())
}

fn qualified(alias: &str, name: &str) -> ColumnRef {
    ColumnRef::new(Some(TableReference::bare(alias)), name)
}

fn unnested(expr: &ast::Expr) -> &ast::Expr {
    match expr {
        ast::Expr::Nested(inner) => unnested(inner),
        other => other,
    }
}

fn is_null(expr: &ast::Expr) -> bool {
    matches!(unnested(expr), ast::Expr::Value(value) if value.value == Value::Null)
}
