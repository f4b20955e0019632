//! Queries that postgres_fdw sends, as DataFusion plans: only those whose answer is certain to be PostgreSQL's.
//!
//! postgres_fdw sends whatever built-in immutable functions and operators allow. What is translated here is a list of
//! forms for which DataFusion and PostgreSQL agree to the last bit; every function returns `None` for anything else,
//! and then PostgreSQL itself evaluates the query (see `evaluate`). Left out on purpose: comparing and
//! grouping floats (PostgreSQL takes 0 and -0 for equal), arithmetic (overflow is an error there), `char(n)` (padding),
//! regular expressions, anything with a collation other than C's order of bytes.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::{Column as ColumnRef, ScalarValue, TableReference};
use datafusion::functions_aggregate::expr_fn::{count, count_distinct, max, min, sum};
use datafusion::logical_expr::{Expr, JoinType, Operator, SortExpr, binary_expr, cast, lit};
use datafusion::prelude::{DataFrame, SessionContext};
use arrow::datatypes::DataType;
use sqlparser::ast::{
    self, BinaryOperator, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, JoinConstraint, JoinOperator,
    LimitClause, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, UnaryOperator, Value,
    visit_expressions,
};

use super::statement::table_oid;
use super::view::TableView;
use crate::pglake::columns::Kind;
use crate::pglake::values;
use crate::tables::{FILE_COLUMN, POSITION_COLUMN};

/// What one item of the select list is made from: columns of the plan by index.
#[derive(Clone, Debug)]
pub(super) enum Output {
    Column { index: usize, kind: Option<Kind> },
    Ctid { file: usize, position: usize },
    /// PostgreSQL's `avg` of integers or numerics: a sum divided by a count, with its rule for the scale.
    Average { sum: usize, count: usize },
    Null,
}

/// A translated query.
pub(super) struct Native {
    pub plan: DataFrame,
    pub outputs: Vec<Output>,
}

/// An expression with the kind of its values; `None` is a bare NULL.
struct Typed {
    expr: Expr,
    kind: Kind,
}

struct Translator<'a> {
    views: &'a HashMap<u32, TableView>,
    context: &'a SessionContext,
    /// Whether the query asks for `ctid` anywhere: scans that tell it cost more.
    needs_row_ids: bool,
    /// Tables in the FROM clause by alias.
    scopes: Vec<(String, &'a TableView)>,
    /// Aggregates so far: their SQL text, and the expression.
    aggregates: Vec<(String, Expr, Kind)>,
}

/// The plan for a query on `views`, by OID; `Ok(None)` where PostgreSQL has to evaluate it.
pub(super) fn translate(
    query: &Query,
    views: &HashMap<u32, TableView>,
    context: &SessionContext,
) -> datafusion::error::Result<Option<Native>> {
    let needs_row_ids = query.to_string().contains("ctid");
    let mut translator = Translator { views, context, needs_row_ids, scopes: Vec::new(), aggregates: Vec::new() };
    translator.query(query).transpose()
}

/// The part of a query's condition that can be translated, for a query on one table whose alias comes with it: what the
/// rows that PostgreSQL has to look at can be limited to.
pub(super) fn prefilter(
    query: &Query,
    views: &HashMap<u32, TableView>,
    context: &SessionContext,
) -> Option<(String, Expr)> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [TableWithJoins { relation: TableFactor::Table { .. }, joins }] = select.from.as_slice() else { return None };
    if !joins.is_empty() || query.with.is_some() {
        return None;
    }
    let mut translator = Translator { views, context, needs_row_ids: false, scopes: Vec::new(), aggregates: Vec::new() };
    translator.factor(&select.from[0].relation)?.ok()?;
    let alias = translator.scopes.first()?.0.clone();
    let mut conjuncts = vec![select.selection.as_ref()?];
    let mut filter: Option<Expr> = None;
    while let Some(expr) = conjuncts.pop() {
        if let ast::Expr::BinaryOp { left, op: BinaryOperator::And, right } = unnested(expr) {
            conjuncts.extend([left.as_ref(), right.as_ref()]);
        } else if let Some(condition) = translator.condition(expr) {
            filter = Some(match filter {
                Some(filter) => filter.and(condition),
                None => condition,
            });
        }
    }
    // A condition on an aggregate has no meaning before the aggregation.
    filter.filter(|_| translator.aggregates.is_empty()).map(|filter| (alias, filter))
}

/// Turns an absence into one of the caller's, and an error likewise.
macro_rules! ok {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Some(Err(error)),
        }
    };
}

impl<'a> Translator<'a> {
    fn query(&mut self, query: &Query) -> Option<datafusion::error::Result<Native>> {
        let SetExpr::Select(select) = query.body.as_ref() else { return None };
        if query.with.is_some() || query.fetch.is_some() || select.distinct.is_some() || select.from.len() != 1 {
            return None;
        }
        let mut plan = ok!(self.from(&select.from[0])?);
        if let Some(condition) = &select.selection {
            let condition = self.condition(condition)?;
            plan = ok!(plan.filter(condition));
        }
        let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else { return None };
        if !modifiers.is_empty() {
            return None;
        }
        let is_aggregate = !groups.is_empty() || select.having.is_some() || has_aggregate(select);
        let (plan, outputs) = match is_aggregate {
            true => ok!(self.aggregate(plan, query, select, groups)?),
            false => ok!(self.rows(plan, query, select)?),
        };
        let plan = match &query.limit_clause {
            None => plan,
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                let mut count = |expr: &ast::Expr| match self.expr(expr)?.expr {
                    Expr::Literal(ScalarValue::Int64(Some(count)), _) => usize::try_from(count).ok(),
                    Expr::Literal(ScalarValue::Int32(Some(count)), _) => usize::try_from(count).ok(),
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
                ok!(plan.limit(offset, limit))
            }
            Some(_) => return None,
        };
        Some(Ok(Native { plan, outputs }))
    }

    fn from(&mut self, table: &TableWithJoins) -> Option<datafusion::error::Result<DataFrame>> {
        let mut plan = ok!(self.factor(&table.relation)?);
        for join in &table.joins {
            let right = ok!(self.factor(&join.relation)?);
            let (kind, constraint) = match &join.join_operator {
                JoinOperator::Inner(constraint) | JoinOperator::Join(constraint) => (JoinType::Inner, constraint),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (JoinType::Left, constraint),
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (JoinType::Right, constraint),
                JoinOperator::FullOuter(constraint) => (JoinType::Full, constraint),
                _ => return None,
            };
            let condition = match constraint {
                JoinConstraint::On(condition) => self.condition(condition)?,
                _ => return None,
            };
            plan = ok!(plan.join_on(right, kind, [condition]));
        }
        Some(Ok(plan))
    }

    fn factor(&mut self, factor: &TableFactor) -> Option<datafusion::error::Result<DataFrame>> {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.from(table_with_joins),
            TableFactor::Table { name, alias, args: None, .. } => {
                let oid = table_oid(name)?;
                let view = self.views.get(&oid)?;
                let alias = match alias {
                    Some(alias) if alias.columns.is_empty() => alias.name.value.clone(),
                    Some(_) => return None,
                    None => format!("t{oid}"),
                };
                let provider = view.provider.clone();
                let provider = if self.needs_row_ids { provider.with_positions() } else { provider };
                let plan = ok!(self.context.read_table(Arc::new(provider)));
                self.scopes.push((alias.clone(), view));
                Some(plan.alias(&alias))
            }
            _ => None,
        }
    }

    /// A query without aggregates: filter, sort, project.
    fn rows(
        &mut self,
        plan: DataFrame,
        query: &Query,
        select: &Select,
    ) -> Option<datafusion::error::Result<(DataFrame, Vec<Output>)>> {
        let mut projection = Vec::new();
        let mut outputs = Vec::new();
        for item in &select.projection {
            let SelectItem::UnnamedExpr(expr) = item else { return None };
            if is_null(expr) {
                outputs.push(Output::Null);
            } else if let Some((alias, _)) = self.ctid(expr) {
                let column = |name: &str| Expr::Column(qualified(&alias, name));
                outputs.push(Output::Ctid { file: projection.len(), position: projection.len() + 1 });
                projection.extend([column(FILE_COLUMN), column(POSITION_COLUMN)]);
            } else {
                let typed = self.expr(expr)?;
                outputs.push(Output::Column { index: projection.len(), kind: Some(typed.kind) });
                projection.push(typed.expr);
            }
        }
        let order = self.order(query)?;
        let mut plan = plan;
        if !order.is_empty() {
            plan = ok!(plan.sort(order));
        }
        if projection.is_empty() {
            projection.push(lit(true));
        }
        let named = projection.into_iter().enumerate().map(|(index, expr)| expr.alias(format!("c{index}")));
        let plan = ok!(plan.select(named.collect::<Vec<_>>()));
        Some(Ok((plan, outputs)))
    }

    fn aggregate(
        &mut self,
        plan: DataFrame,
        query: &Query,
        select: &Select,
        groups: &[ast::Expr],
    ) -> Option<datafusion::error::Result<(DataFrame, Vec<Output>)>> {
        let items: Vec<&ast::Expr> = select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::UnnamedExpr(expr) => Some(expr),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let mut group_exprs = Vec::new();
        for group in groups {
            // GROUP BY 1: an item of the select list.
            let item = match group {
                ast::Expr::Value(value) => match &value.value {
                    Value::Number(position, _) => items.get(position.parse::<usize>().ok()?.checked_sub(1)?)?,
                    _ => return None,
                },
                other => other,
            };
            let typed = self.expr(item)?;
            if !is_groupable(&typed.kind) {
                return None;
            }
            group_exprs.push(typed.expr);
        }
        let mut outputs = Vec::new();
        let mut projection: Vec<Expr> = Vec::new();
        let index_of = |projection: &mut Vec<Expr>, expr: Expr| {
            projection.push(expr);
            projection.len() - 1
        };
        for item in items {
            if is_null(item) {
                outputs.push(Output::Null);
            } else if let Some((sum, count)) = self.average(item) {
                let sum = index_of(&mut projection, sum);
                outputs.push(Output::Average { sum, count: index_of(&mut projection, count) });
            } else {
                let typed = self.grouped(item, &group_exprs)?;
                outputs.push(Output::Column { index: index_of(&mut projection, typed.expr), kind: Some(typed.kind) });
            }
        }
        let having = match &select.having {
            Some(having) => Some(self.condition(having)?),
            None => None,
        };
        let order = self.order(query)?;
        let aggregates: Vec<Expr> =
            self.aggregates.iter().enumerate().map(|(index, (_, expr, _))| expr.clone().alias(format!("a{index}"))).collect();
        let mut plan = ok!(plan.aggregate(group_exprs, aggregates));
        if let Some(having) = having {
            plan = ok!(plan.filter(having));
        }
        if !order.is_empty() {
            plan = ok!(plan.sort(order));
        }
        if projection.is_empty() {
            projection.push(lit(true));
        }
        let named = projection.into_iter().enumerate().map(|(index, expr)| expr.alias(format!("c{index}")));
        let plan = ok!(plan.select(named.collect::<Vec<_>>()));
        Some(Ok((plan, outputs)))
    }

    /// An item of an aggregate query: an aggregate, or one of the grouping expressions.
    fn grouped(&mut self, item: &ast::Expr, groups: &[Expr]) -> Option<Typed> {
        let typed = self.expr(item)?;
        let is_aggregate = matches!(unnested(item), ast::Expr::Function(_));
        (is_aggregate || groups.contains(&typed.expr)).then_some(typed)
    }

    fn order(&mut self, query: &Query) -> Option<Vec<SortExpr>> {
        let Some(order) = &query.order_by else { return Some(Vec::new()) };
        let OrderByKind::Expressions(items) = &order.kind else { return None };
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
        (name == "ctid").then(|| self.scope(alias.as_deref())).flatten()
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

    /// A condition: boolean, with SQL's three values.
    fn condition(&mut self, expr: &ast::Expr) -> Option<Expr> {
        let typed = self.expr(expr)?;
        (typed.kind == Kind::Boolean).then_some(typed.expr)
    }

    fn expr(&mut self, expr: &ast::Expr) -> Option<Typed> {
        let boolean = |expr| Some(Typed { expr, kind: Kind::Boolean });
        match expr {
            ast::Expr::Nested(inner) => self.expr(inner),
            ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => {
                let (alias, name) = self.name(expr)?;
                let (alias, view) = self.scope(alias.as_deref())?;
                let kind = view.columns.iter().find(|column| column.name == name)?.kind.clone();
                Some(Typed { expr: Expr::Column(qualified(&alias, &name)), kind })
            }
            ast::Expr::Value(value) => number_or_boolean(&value.value),
            ast::Expr::Cast { expr, data_type, .. } => literal(expr, &data_type.to_string()),
            ast::Expr::UnaryOp { op: UnaryOperator::Not, expr } => boolean(!self.condition(expr)?),
            ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr } => negative(&self.expr(expr)?),
            ast::Expr::IsNull(inner) => boolean(self.expr(inner)?.expr.is_null()),
            ast::Expr::IsNotNull(inner) => boolean(self.expr(inner)?.expr.is_not_null()),
            ast::Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                boolean(self.condition(left)?.and(self.condition(right)?))
            }
            ast::Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                boolean(self.condition(left)?.or(self.condition(right)?))
            }
            ast::Expr::BinaryOp { left, op, right } => {
                let operator = match op {
                    BinaryOperator::Eq => Operator::Eq,
                    BinaryOperator::NotEq => Operator::NotEq,
                    BinaryOperator::Lt => Operator::Lt,
                    BinaryOperator::LtEq => Operator::LtEq,
                    BinaryOperator::Gt => Operator::Gt,
                    BinaryOperator::GtEq => Operator::GtEq,
                    BinaryOperator::PGLikeMatch => return self.like(left, right, false),
                    BinaryOperator::PGNotLikeMatch => return self.like(left, right, true),
                    _ => return None,
                };
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                boolean(compare(left, operator, right)?)
            }
            ast::Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                let left = self.expr(left)?;
                let (elements, kind) = array_literal(right)?;
                if kind != left.kind || !is_groupable(&kind) {
                    return None;
                }
                boolean(left.expr.in_list(elements, false))
            }
            ast::Expr::Function(function) => self.aggregate_call(function),
            _ => None,
        }
    }

    /// LIKE with a constant pattern and no escape.
    fn like(&mut self, left: &ast::Expr, pattern: &ast::Expr, negated: bool) -> Option<Typed> {
        let left = self.expr(left)?;
        let pattern = self.expr(pattern)?;
        match &pattern.expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) if !text.contains('\\') => {}
            _ => return None,
        }
        if left.kind != Kind::Text || pattern.kind != Kind::Text {
            return None;
        }
        let expr = match negated {
            true => left.expr.not_like(pattern.expr),
            false => left.expr.like(pattern.expr),
        };
        Some(Typed { expr, kind: Kind::Boolean })
    }

    fn aggregate_call(&mut self, function: &ast::Function) -> Option<Typed> {
        let name = function.name.to_string().to_ascii_lowercase();
        let (argument, distinct) = aggregate_argument(function)?;
        let argument = match argument {
            Some(argument) => Some(self.expr(argument)?),
            None => None,
        };
        let (expr, kind) = match (name.as_str(), argument) {
            ("count", None) => (count(lit(1i64)), Kind::Long),
            ("count", Some(argument)) if distinct => {
                if !is_groupable(&argument.kind) {
                    return None;
                }
                (count_distinct(argument.expr), Kind::Long)
            }
            (_, _) if distinct => return None,
            ("count", Some(argument)) => (count(argument.expr), Kind::Long),
            ("sum", Some(argument)) => {
                exact_sum(argument)?
            }
            ("min", Some(argument)) if is_groupable(&argument.kind) => (min(argument.expr), argument.kind),
            ("max", Some(argument)) if is_groupable(&argument.kind) => (max(argument.expr), argument.kind),
            _ => return None,
        };
        Some(self.aggregate_column(function.to_string(), expr, kind))
    }

    /// The column that an aggregate becomes; the same text twice is one column.
    fn aggregate_column(&mut self, text: String, expr: Expr, kind: Kind) -> Typed {
        let index = self.aggregates.iter().position(|(other, ..)| *other == text).unwrap_or_else(|| {
            self.aggregates.push((text, expr, kind.clone()));
            self.aggregates.len() - 1
        });
        Typed { expr: Expr::Column(ColumnRef::new_unqualified(format!("a{index}"))), kind }
    }

    /// The sum and the count of `avg(x)` for integers and numerics.
    fn average(&mut self, item: &ast::Expr) -> Option<(Expr, Expr)> {
        let ast::Expr::Function(function) = unnested(item) else { return None };
        if !function.name.to_string().eq_ignore_ascii_case("avg") {
            return None;
        }
        let (Some(argument), false) = aggregate_argument(function)? else { return None };
        let text = argument.to_string();
        let argument = self.expr(argument)?;
        let number = count(argument.expr.clone());
        let (total, kind) = exact_sum(argument)?;
        let sum = self.aggregate_column(format!("avg sum {text}"), total, kind);
        let count = self.aggregate_column(format!("avg count {text}"), number, Kind::Long);
        Some((sum.expr, count.expr))
    }
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

/// Whether there is a function anywhere in the list; aggregates are the only ones that are translated.
fn has_aggregate(select: &Select) -> bool {
    let found = visit_expressions(&select.projection, |expr| match expr {
        ast::Expr::Function(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Values of these kinds are equal, and ordered, for DataFusion as for PostgreSQL with the C collation.
fn is_groupable(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Boolean
            | Kind::Int
            | Kind::Long
            | Kind::Decimal(..)
            | Kind::Text
            | Kind::Date
            | Kind::Time
            | Kind::Timestamp
            | Kind::TimestampTz
            | Kind::Uuid
    )
}

/// A comparison of two values of one kind, integers and numerics counting as one where nothing can overflow.
fn compare(left: Typed, operator: Operator, right: Typed) -> Option<Expr> {
    let digits = |kind: &Kind| match kind {
        Kind::Int => Some((10, 0)),
        Kind::Long => Some((19, 0)),
        Kind::Decimal(precision, scale) => Some((precision - scale, *scale)),
        _ => None,
    };
    let is_comparable = match (digits(&left.kind), digits(&right.kind)) {
        (Some(left), Some(right)) => left.0.max(right.0) + left.1.max(right.1) <= 38,
        _ => left.kind == right.kind && is_groupable(&left.kind),
    };
    is_comparable.then(|| binary_expr(left.expr, operator, right.expr))
}

/// A sum without overflow, and the kind of its value.
fn exact_sum(argument: Typed) -> Option<(Expr, Kind)> {
    match argument.kind {
        // 2^31 times the most rows there can be stays below 2^63.
        Kind::Int => Some((sum(argument.expr), Kind::Long)),
        Kind::Long => Some((sum(cast(argument.expr, DataType::Decimal128(19, 0))), Kind::Decimal(38, 0))),
        // DataFusion's sum has ten digits more than its argument.
        Kind::Decimal(precision, scale) if precision <= 28 => {
            Some((sum(argument.expr), Kind::Decimal(precision + 10, scale)))
        }
        _ => None,
    }
}

/// The argument of an aggregate (`None` for `*`), and whether it is DISTINCT; nothing else may be said.
fn aggregate_argument(function: &ast::Function) -> Option<(Option<&ast::Expr>, bool)> {
    let FunctionArguments::List(list) = &function.args else { return None };
    if function.filter.is_some() || function.over.is_some() || !list.clauses.is_empty() || !function.within_group.is_empty() {
        return None;
    }
    let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => Some((None, distinct)),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] => Some((Some(expr), distinct)),
        _ => None,
    }
}

fn number_or_boolean(value: &Value) -> Option<Typed> {
    match value {
        Value::Boolean(value) => Some(Typed { expr: lit(*value), kind: Kind::Boolean }),
        Value::Number(text, _) => number(text),
        _ => None,
    }
}

fn number(text: &str) -> Option<Typed> {
    if let Ok(value) = text.parse::<i32>() {
        return Some(Typed { expr: lit(value), kind: Kind::Int });
    }
    numeric(text)
}

fn numeric(text: &str) -> Option<Typed> {
    let digits = text.trim_start_matches('-');
    let scale = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len()) as u32;
    let precision = (digits.len() as u32).clamp(scale + 1, 38);
    let value = values::decimal(text.as_bytes(), precision, scale).ok()?;
    let value = ScalarValue::Decimal128(Some(value), precision as u8, scale as i8);
    Some(Typed { expr: lit(value), kind: Kind::Decimal(precision, scale) })
}

fn negative(typed: &Typed) -> Option<Typed> {
    let value = match &typed.expr {
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => ScalarValue::Int32(Some(-value)),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => ScalarValue::Int64(Some(-value)),
        Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale), _) => {
            ScalarValue::Decimal128(Some(-value), *precision, *scale)
        }
        _ => return None,
    };
    Some(Typed { expr: lit(value), kind: typed.kind.clone() })
}

/// The text of a constant: `'…'` or a number with a sign.
fn constant_text(expr: &ast::Expr) -> Option<String> {
    match unnested(expr) {
        ast::Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::EscapedStringLiteral(text) => Some(text.clone()),
            Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(format!("-{}", constant_text(expr)?)),
        _ => None,
    }
}

/// `'…'::type`.
fn literal(expr: &ast::Expr, type_name: &str) -> Option<Typed> {
    let text = constant_text(expr)?;
    let bytes = text.as_bytes();
    let (value, kind) = match type_name.to_ascii_lowercase().as_str() {
        "smallint" | "integer" | "int" => {
            (ScalarValue::Int32(Some(values::integer(bytes).ok()?.try_into().ok()?)), Kind::Int)
        }
        "bigint" => (ScalarValue::Int64(Some(values::integer(bytes).ok()?)), Kind::Long),
        name if name == "numeric" || name.starts_with("numeric(") => return numeric(&text),
        "text" | "character varying" => (ScalarValue::Utf8(Some(text)), Kind::Text),
        "boolean" => (ScalarValue::Boolean(Some(matches!(text.as_str(), "t" | "true"))), Kind::Boolean),
        "date" => (ScalarValue::Date32(Some(values::date(bytes).ok()?)), Kind::Date),
        "timestamp without time zone" => {
            (ScalarValue::TimestampMicrosecond(Some(values::timestamp(bytes, false).ok()?), None), Kind::Timestamp)
        }
        "timestamp with time zone" => {
            let value = values::timestamp(bytes, true).ok()?;
            (ScalarValue::TimestampMicrosecond(Some(value), Some("+00:00".into())), Kind::TimestampTz)
        }
        "time without time zone" => (ScalarValue::Time64Microsecond(Some(values::time(bytes).ok()?)), Kind::Time),
        "uuid" => {
            let value = values::uuid(bytes).ok()?.as_bytes().to_vec();
            (ScalarValue::FixedSizeBinary(16, Some(value)), Kind::Uuid)
        }
        _ => return None,
    };
    Some(Typed { expr: lit(value), kind })
}

/// The elements of `'{…}'::type[]`, without NULLs.
fn array_literal(expr: &ast::Expr) -> Option<(Vec<Expr>, Kind)> {
    let ast::Expr::Cast { expr, data_type, .. } = unnested(expr) else { return None };
    let element_type = data_type.to_string();
    let element_type = element_type.strip_suffix("[]")?;
    let mut kind = None;
    let mut elements = Vec::new();
    for element in values::array(constant_text(expr)?.as_bytes()).ok()? {
        let text = String::from_utf8(element?).ok()?;
        let quoted = ast::Expr::Value(Value::SingleQuotedString(text).into());
        let typed = literal(&quoted, element_type)?;
        kind = Some(typed.kind);
        elements.push(typed.expr);
    }
    Some((elements, kind?))
}
