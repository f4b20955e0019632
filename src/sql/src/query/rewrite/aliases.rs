//! Substitution of SELECT aliases that are used in the list itself, in WHERE and so on, where no
//! table has a column of that name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut,
};

/// Replaces an alias by its expression in the only SELECT that defines and uses it. Returns false
/// if there is no such SELECT, or more than one (it is not known then which of them lacks the
/// column).
pub fn use_alias(query: &mut Query, name: &str) -> bool {
    let mut uses = Uses {
        name,
        replace: false,
        selects: 0,
    };
    let _ = query.clone().visit(&mut uses);
    if uses.selects != 1 {
        return false;
    }
    uses.replace = true;
    let _ = query.visit(&mut uses);
    true
}

struct Uses<'a> {
    name: &'a str,
    replace: bool,
    selects: usize,
}

impl VisitorMut for Uses<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.set(&mut query.body);
        ControlFlow::Continue(())
    }
}

impl Uses<'_> {
    fn set(&mut self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.set(left);
                self.set(right);
            }
            _ => {}
        }
    }

    fn select(&mut self, select: &mut Select) {
        let found = select
            .projection
            .iter()
            .enumerate()
            .find_map(|(place, item)| match item {
                SelectItem::ExprWithAlias { expr, alias } if alias.value == self.name => {
                    Some((place, expr.clone()))
                }
                _ => None,
            });
        let Some((place, meaning)) = found else {
            return;
        };
        let mut replaced = Replacer {
            name: self.name,
            meaning,
            replace: self.replace,
            depth: 0,
            count: 0,
        };
        for item in select.projection.iter_mut().skip(place + 1) {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                let _ = expr.visit(&mut replaced);
            }
        }
        let clauses = [
            &mut select.selection,
            &mut select.having,
            &mut select.qualify,
        ];
        for expr in clauses.into_iter().flatten() {
            let _ = expr.visit(&mut replaced);
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            for expr in exprs {
                let _ = expr.visit(&mut replaced);
            }
        }
        self.selects += usize::from(replaced.count > 0);
    }
}

/// The visitor that replaces an identifier, but not within subqueries.
struct Replacer<'a> {
    name: &'a str,
    meaning: Expr,
    replace: bool,
    depth: usize,
    count: usize,
}

impl VisitorMut for Replacer<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0 && matches!(expr, Expr::Identifier(ident) if ident.value == self.name) {
            self.count += 1;
            if self.replace {
                *expr = Expr::Nested(Box::new(self.meaning.clone()));
            }
        }
        ControlFlow::Continue(())
    }
}
