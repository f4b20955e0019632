//! The rewriter: from the syntax tree as written to one that DataFusion plans with Snowflake's
//! semantics.
//!
//! Whatever is not handled here is refused. Every struct of the tree is destructured without `..`,
//! so that a clause that a new version of sqlparser reads is never ignored silently.

mod aliases;
mod calls;
mod columns;
mod expressions;
mod relations;
mod select;

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Query, TableFactor, Value, VisitMut, VisitorMut, With, visit_expressions_mut,
};
use datafusion::sql::sqlparser::tokenizer::Location;

pub use aliases::use_alias;
pub use expressions::unknown;
pub use relations::{RelationRequest, Source};
pub use select::select_one;

use super::Parameters;
use super::generated_name::GENERATED_PREFIX;
use super::syntax_tree::{call, cast, quoted, string};
use crate::error::{SqlError, SqlResult};

/// A call of a function that the session evaluates.
pub struct SessionCall {
    pub name: String,
    pub arguments: Vec<Expr>,
}

/// What the session must provide before a query can be planned. A call comes after the calls in its
/// arguments, and requests may use any call.
#[derive(Default)]
pub struct Dependencies {
    pub calls: Vec<SessionCall>,
    pub requests: Vec<RelationRequest>,
}

/// Rewrites a query in place.
///
/// # Errors
/// If the query uses something that icebox does not support.
pub fn rewrite(
    query: &mut Query,
    item_names: &HashMap<Location, Vec<String>>,
    parameters: &Parameters,
    suffix_repeated_names: bool,
) -> SqlResult<Dependencies> {
    let mut rewriter = Rewriter {
        item_names,
        parameters,
        suffix_repeated_names,
        dependencies: Dependencies::default(),
        scopes: Vec::new(),
        withs: Vec::new(),
        unnamed: 0,
        positions: 0,
        in_values: false,
    };
    match query.visit(&mut rewriter) {
        ControlFlow::Continue(()) => Ok(rewriter.dependencies),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// Replaces the calls that the session evaluates by their values.
pub fn substitute_results(expr: &mut impl VisitMut, answers: &[Expr]) {
    let _: ControlFlow<()> = visit_expressions_mut(expr, |expr| {
        if let Expr::Identifier(ident) = expr
            && let Some(number) = ident.value.strip_prefix("#call")
            && let Some(answer) = number.parse().ok().and_then(|at: usize| answers.get(at))
        {
            *expr = answer.clone();
        }
        ControlFlow::Continue(())
    });
}

struct Rewriter<'a> {
    item_names: &'a HashMap<Location, Vec<String>>,
    parameters: &'a Parameters,
    suffix_repeated_names: bool,
    dependencies: Dependencies,
    /// The names of the common table expressions in scope, for each enclosing query.
    scopes: Vec<Vec<String>>,
    /// The WITH clauses of the queries that are being visited. They are taken out of these queries,
    /// so that each common table expression sees only those before it.
    withs: Vec<Option<With>>,
    unnamed: usize,
    /// Number of `?` seen so far.
    positions: usize,
    /// Whether the next query visited is a VALUES whose columns have names already.
    in_values: bool,
}

type Flow = ControlFlow<Box<SqlError>>;

fn flow(result: SqlResult<()>) -> Flow {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        let mut with = query.with.take();
        self.scopes.push(Vec::new());
        if let Some(with) = &mut with {
            flow(self.common_tables(with))?;
        }
        self.withs.push(with);
        flow(self.rewrite_query(query))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> Flow {
        query.with = self.withs.pop().flatten();
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        self.in_values = matches!(factor, TableFactor::Derived { alias: Some(alias), .. }
            if alias.name.value.starts_with("#values"));
        flow(self.named_columns(factor))?;
        flow(relations::prepare_relation(factor))
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        flow(self.rewrite_relation(factor))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        flow(self.pre_expression(expr))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        flow(self.post_expression(expr))
    }
}

impl Rewriter<'_> {
    fn common_tables(&mut self, with: &mut With) -> SqlResult<()> {
        let With {
            with_token: _,
            recursive,
            cte_tables,
        } = with;
        for table in cte_tables {
            if table.from.is_some() {
                return Err(SqlError::unsupported("FROM in a common table expression"));
            }
            let name = table.alias.name.value.clone();
            // RECURSIVE is optional: a union whose second half reads its own name is recursive.
            let own = select::reads_itself(&table.query, &name);
            *recursive |= own;
            let columns = std::mem::take(&mut table.alias.columns);
            if !columns.is_empty() {
                if own {
                    columns::rename_first(&mut table.query, columns)?;
                } else {
                    self.renamed(&mut table.query, columns)?;
                }
            }
            if own {
                columns::widen_first(&mut table.query)?;
            }
            if own {
                self.add_to_scope(name.clone());
            }
            if let ControlFlow::Break(error) = table.query.visit(self) {
                return Err(*error);
            }
            self.add_to_scope(name);
        }
        Ok(())
    }

    fn add_to_scope(&mut self, name: String) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(name);
        }
    }

    fn is_common_table(&self, name: &str) -> bool {
        self.scopes.iter().flatten().any(|known| known == name)
    }

    /// Records a call that the session evaluates, and returns the identifier that stands for its
    /// value.
    fn defer_to_session(&mut self, name: String, arguments: Vec<Expr>) -> Expr {
        let ident = quoted(format!(
            "{GENERATED_PREFIX}call{}",
            self.dependencies.calls.len()
        ));
        self.dependencies
            .calls
            .push(SessionCall { name, arguments });
        Expr::Identifier(ident)
    }
}

/// Builds an expression with a constant's value and type.
///
/// # Errors
/// If the value has no text that can be read back.
pub fn constant(
    value: &datafusion::common::ScalarValue,
    ty: crate::types::DataType,
) -> SqlResult<Expr> {
    use crate::types::DataType;
    if value.is_null() {
        let null = Expr::value(Value::Null);
        return Ok(cast(null, ty));
    }
    let text = super::render::exact(value, ty)?;
    Ok(match ty {
        DataType::Text { .. } => string(text),
        DataType::Boolean => Expr::value(Value::Boolean(text == "true")),
        DataType::Variant | DataType::Object | DataType::Array => {
            cast(call("PARSE_JSON", vec![string(text)]), ty)
        }
        _ => cast(string(text), ty),
    })
}
