//! Queries and their SELECTs: names of columns, TOP, GROUP BY ALL, and the clauses that are
//! refused.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, LimitClause, OrderBy, OrderByKind, Query, Select,
    SelectFlavor, SelectItem, SetExpr, SetOperator, SetQuantifier, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins, TopQuantity, Values, WildcardAdditionalOptions, visit_expressions,
    visit_relations,
};

use super::Rewriter;
use crate::error::{SqlError, SqlResult};
use crate::query::functions;
use crate::query::generated_name::DUPLICATE_SUFFIX;
use crate::query::syntax_tree::{cast, integer, quoted};

impl Rewriter<'_> {
    /// Rewrites a query's clauses before its parts are visited.
    pub(super) fn rewrite_query(&mut self, query: &mut Query) -> SqlResult<()> {
        let Query {
            with: _,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        let refused = [
            (!locks.is_empty(), "FOR UPDATE"),
            (for_clause.is_some(), "FOR"),
            (settings.is_some(), "SETTINGS"),
            (format_clause.is_some(), "FORMAT"),
            (!pipe_operators.is_empty(), "|>"),
        ];
        refuse(&refused)?;
        if let Some(OrderBy { kind, interpolate }) = order_by {
            if interpolate.is_some() {
                return Err(SqlError::unsupported("INTERPOLATE"));
            }
            if let OrderByKind::All(options) = kind {
                // ORDER BY ALL sorts by each column of the list, from left to right.
                let SetExpr::Select(select) = body.as_ref() else {
                    return Err(SqlError::unsupported("ORDER BY ALL of a set operation"));
                };
                let places = 1..=select.projection.len() as i64;
                let order = places.map(|place| sqlparser::ast::OrderByExpr {
                    expr: integer(place),
                    options: *options,
                    with_fill: None,
                });
                *kind = OrderByKind::Expressions(order.collect());
            }
            if let OrderByKind::Expressions(order) = kind
                && is_directory(body)
            {
                break_ties(order);
            }
        }
        if let Some(fetch) = fetch.take() {
            if fetch.with_ties || fetch.percent {
                return Err(SqlError::unsupported("FETCH … WITH TIES or PERCENT"));
            }
            limit(limit_clause, fetch.quantity.unwrap_or_else(|| integer(1)))?;
        }
        self.plain_limit(limit_clause)?;
        if let Some(LimitClause::LimitOffset {
            limit, limit_by, ..
        }) = limit_clause
        {
            if !limit_by.is_empty() {
                return Err(SqlError::unsupported("LIMIT BY"));
            }
            // LIMIT NULL means no limit.
            if matches!(limit, Some(Expr::Value(value)) if value.value == sqlparser::ast::Value::Null)
            {
                *limit = None;
            }
        }
        if let SetExpr::Select(select) = body.as_mut()
            && let Some(top) = select.top.take()
        {
            if top.with_ties || top.percent {
                return Err(SqlError::unsupported("TOP … WITH TIES or PERCENT"));
            }
            let quantity = match top.quantity {
                Some(TopQuantity::Constant(count)) => integer(count as i64),
                Some(TopQuantity::Expr(expr)) => expr,
                None => return Err(SqlError::unsupported("TOP without a number")),
            };
            limit(limit_clause, quantity)?;
        }
        self.rewrite_set_expr(body)
    }

    /// Replaces a variable in LIMIT or OFFSET by its value, because DataFusion takes only whole
    /// numbers there.
    fn plain_limit(&mut self, clause: &mut Option<LimitClause>) -> SqlResult<()> {
        let Some(LimitClause::LimitOffset { limit, offset, .. }) = clause else {
            return Ok(());
        };
        let offset = offset.as_mut().map(|offset| &mut offset.value);
        for expr in limit.as_mut().into_iter().chain(offset) {
            let Expr::Value(value) = &expr else { continue };
            let sqlparser::ast::Value::Placeholder(name) = &value.value else {
                continue;
            };
            let (value, ty) = self.value_of(name)?;
            let text = crate::query::render::exact(value, *ty)?;
            let number = crate::query::number::Number::parse(&text);
            let count = number.and_then(|number| i64::try_from(number.rounded()).ok());
            let count = count.ok_or_else(|| SqlError::unsupported(format_args!("LIMIT {text}")))?;
            *expr = integer(count);
        }
        Ok(())
    }

    fn rewrite_set_expr(&mut self, body: &mut Box<SetExpr>) -> SqlResult<()> {
        match body.as_mut() {
            SetExpr::Select(select) => self.rewrite_select(select),
            // It is visited as a query of its own.
            SetExpr::Query(_) => Ok(()),
            SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } => {
                if *op == SetOperator::Minus {
                    *op = SetOperator::Except;
                }
                match set_quantifier {
                    SetQuantifier::None | SetQuantifier::Distinct => {}
                    SetQuantifier::All if *op == SetOperator::Union => {}
                    _ => {
                        return Err(SqlError::unsupported(format_args!("{op} {set_quantifier}")));
                    }
                }
                self.rewrite_set_expr(left)?;
                self.rewrite_set_expr(right)
            }
            SetExpr::Values(_) if std::mem::take(&mut self.in_values) => Ok(()),
            SetExpr::Values(values) => {
                **body = SetExpr::Select(Box::new(self.values(values.clone(), None)));
                Ok(())
            }
            other => Err(SqlError::unsupported(format_args!("{other} as a query"))),
        }
    }

    /// Builds `SELECT * FROM (VALUES …)` with the given column names, or else COLUMN1, COLUMN2 and
    /// so on.
    pub(super) fn values(
        &mut self,
        values: Values,
        names: Option<Vec<TableAliasColumnDef>>,
    ) -> Select {
        let width = values.rows.first().map_or(0, Vec::len);
        let column = |number| TableAliasColumnDef {
            name: quoted(format!("COLUMN{number}")),
            data_type: None,
        };
        self.unnamed += 1;
        let alias = TableAlias {
            explicit: true,
            name: quoted(format!("#values{}", self.unnamed)),
            columns: names.unwrap_or_else(|| (1..=width).map(column).collect()),
        };
        let query = plain_query(SetExpr::Values(values));
        let relation = TableFactor::Derived {
            lateral: false,
            subquery: Box::new(query),
            alias: Some(alias),
            sample: None,
        };
        let mut select = empty_select();
        select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
        select.from = vec![TableWithJoins {
            relation,
            joins: Vec::new(),
        }];
        select
    }

    fn rewrite_select(&mut self, select: &mut Select) -> SqlResult<()> {
        let Select {
            select_token,
            optimizer_hint: _,
            distinct,
            select_modifiers,
            top: _,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from: _,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window: _,
            qualify: _,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let refused = [
            (matches!(distinct, Some(Distinct::On(_))), "DISTINCT ON"),
            (select_modifiers.is_some(), "SELECT modifiers"),
            (exclude.is_some(), "EXCLUDE without *"),
            (into.is_some(), "SELECT INTO"),
            (!lateral_views.is_empty(), "LATERAL VIEW"),
            (prewhere.is_some(), "PREWHERE"),
            (!connect_by.is_empty(), "CONNECT BY"),
            (!cluster_by.is_empty(), "CLUSTER BY"),
            (!distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!sort_by.is_empty(), "SORT BY"),
            (value_table_mode.is_some(), "SELECT AS"),
            (*flavor != SelectFlavor::Standard, "FROM without SELECT"),
        ];
        refuse(&refused)?;
        group_by_all(group_by, projection)?;
        let names = self.item_names.get(&select_token.0.span.start);
        let has_wildcard = projection.iter().any(|item| {
            matches!(
                item,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
            )
        });
        let mut seen: HashSet<String> = HashSet::new();
        for (place, item) in projection.iter_mut().enumerate() {
            let (expr, alias) = match item {
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.clone())),
                SelectItem::UnnamedExpr(expr) => (expr, None),
                SelectItem::QualifiedWildcard(_, options) | SelectItem::Wildcard(options) => {
                    wildcard(options)?;
                    continue;
                }
            };
            let plain = match expr {
                Expr::Identifier(ident) => Some(ident.value.clone()),
                Expr::CompoundIdentifier(idents) => idents.last().map(|last| last.value.clone()),
                _ => None,
            };
            let is_plain = plain.is_some() && alias.is_none();
            let mut name = match (&alias, plain) {
                (Some(alias), _) => alias.value.clone(),
                (None, Some(plain)) => plain,
                (None, None) => match names.and_then(|names| names.get(place)) {
                    Some(name) => name.clone(),
                    None => expr.to_string().to_uppercase(),
                },
            };
            // A whole-number literal has the digits that it is written with.
            if let Expr::Value(value) = &expr
                && let sqlparser::ast::Value::Number(digits, _) = &value.value
                && digits.bytes().all(|digit| digit.is_ascii_digit())
                && digits.len() <= 18
            {
                let precision = digits.trim_start_matches('0').len().max(1);
                *expr = cast(expr.clone(), format_args!("NUMBER({precision},0)"));
            }
            let repeats = !seen.insert(name.clone());
            if repeats || (has_wildcard && is_plain && self.suffix_repeated_names) {
                self.unnamed += 1;
                name = format!("{name}{DUPLICATE_SUFFIX}{}", self.unnamed);
            } else if is_plain {
                continue;
            }
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias: quoted(name),
            };
        }
        Ok(())
    }
}

/// Refuses the first clause that is there, by its name.
pub(super) fn refuse(refused: &[(bool, &str)]) -> SqlResult<()> {
    match refused.iter().find(|(is_there, _)| *is_there) {
        Some((_, what)) => Err(SqlError::unsupported(what)),
        None => Ok(()),
    }
}

/// Refuses options of `*`: DataFusion ignores ILIKE and has no RENAME.
fn wildcard(options: &WildcardAdditionalOptions) -> SqlResult<()> {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude: _,
        opt_except,
        opt_replace: _,
        opt_rename,
    } = options;
    refuse(&[
        (opt_ilike.is_some(), "* ILIKE"),
        (opt_except.is_some(), "* EXCEPT"),
        (opt_rename.is_some(), "* RENAME"),
    ])
}

/// Sets the number of rows of a query that has no limit yet.
fn limit(clause: &mut Option<LimitClause>, count: Expr) -> SqlResult<()> {
    match clause {
        None => {
            *clause = Some(LimitClause::LimitOffset {
                limit: Some(count),
                offset: None,
                limit_by: Vec::new(),
            });
            Ok(())
        }
        Some(LimitClause::LimitOffset {
            limit: limit @ None,
            ..
        }) => {
            *limit = Some(count);
            Ok(())
        }
        Some(_) => Err(SqlError::unsupported("TOP or FETCH together with LIMIT")),
    }
}

/// Replaces GROUP BY ALL by each column of the list that has no aggregate.
fn group_by_all(group_by: &mut GroupByExpr, projection: &[SelectItem]) -> SqlResult<()> {
    match group_by {
        GroupByExpr::Expressions(_, modifiers) | GroupByExpr::All(modifiers)
            if !modifiers.is_empty() =>
        {
            Err(SqlError::unsupported(
                "GROUP BY … WITH ROLLUP, WITH CUBE or WITH TOTALS",
            ))
        }
        GroupByExpr::Expressions(..) => Ok(()),
        GroupByExpr::All(_) => {
            let mut keys = Vec::new();
            for item in projection {
                let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item
                else {
                    return Err(SqlError::unsupported("* with GROUP BY ALL"));
                };
                if !matches!(expr, Expr::Value(_)) && !has_aggregate(expr) {
                    keys.push(expr.clone());
                }
            }
            *group_by = GroupByExpr::Expressions(keys, Vec::new());
            Ok(())
        }
    }
}

fn has_aggregate(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Function(function)
            if function.over.is_none() && functions::is_aggregate(&function.name.to_string()) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Returns whether a common table expression is a union whose second half reads it.
pub(super) fn reads_itself(query: &Query, name: &str) -> bool {
    let SetExpr::SetOperation { right, .. } = query.body.as_ref() else {
        return false;
    };
    let found = visit_relations(right.as_ref(), |relation| {
        let is_own = relation.0.len() == 1
            && relation.0[0]
                .as_ident()
                .is_some_and(|ident: &Ident| ident.value == name);
        if is_own {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    found.is_break()
}

/// Builds `SELECT expr`.
pub fn select_one(expr: Expr) -> Query {
    let mut select = empty_select();
    select.projection = vec![SelectItem::UnnamedExpr(expr)];
    plain_query(SetExpr::Select(Box::new(select)))
}

/// Builds `SELECT items FROM relation`.
pub(super) fn select_from(items: Vec<SelectItem>, relation: TableFactor) -> Query {
    let mut select = empty_select();
    select.projection = items;
    select.from = vec![TableWithJoins {
        relation,
        joins: Vec::new(),
    }];
    plain_query(SetExpr::Select(Box::new(select)))
}

fn plain_query(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

fn empty_select() -> Select {
    use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hint: None,
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: Vec::new(),
        exclude: None,
        into: None,
        from: Vec::new(),
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// Returns whether a query reads only a stage's directory table, without grouping.
fn is_directory(body: &SetExpr) -> bool {
    let SetExpr::Select(select) = body else {
        return false;
    };
    let [from] = select.from.as_slice() else {
        return false;
    };
    let is_plain = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
        && select.distinct.is_none()
        && from.joins.is_empty();
    is_plain
        && matches!(&from.relation, TableFactor::Table { name, args: Some(_), .. }
            if name.to_string() == "DIRECTORY")
}

/// Adds `RELATIVE_PATH` after `LAST_MODIFIED` in ORDER BY. S3 reports modification times in whole
/// seconds, so two files may have the same; the names of metadata files begin with an increasing
/// number. In Snowflake the order of such files is arbitrary.
fn break_ties(order: &mut Vec<sqlparser::ast::OrderByExpr>) {
    let found = order.iter().find_map(|by| {
        let mut tied = by.clone();
        let name = match &mut tied.expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(names) => names.last_mut(),
            _ => None,
        }?;
        (name.value == "LAST_MODIFIED").then(|| name.value = "RELATIVE_PATH".to_owned())?;
        Some(tied)
    });
    order.extend(found);
}
