//! Expressions on the columns of tables.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Case, Expr, Operator, binary_expr};
use sqlparser::ast::{self, BinaryOperator, UnaryOperator};

use super::constant::{array_literal, constant, literal, negative, number_or_boolean, untyped};
use super::{Translator, TypedExpr, is_null, qualified};
use crate::columns::ColumnKind;

impl Translator<'_> {
    /// Translates a condition: a boolean expression, with SQL's three-valued logic.
    pub(super) fn condition(&mut self, expr: &ast::Expr) -> Option<Expr> {
        let typed = self.expr(expr)?;
        (typed.kind == ColumnKind::Boolean).then_some(typed.expr)
    }

    pub(super) fn expr(&mut self, expr: &ast::Expr) -> Option<TypedExpr> {
        let boolean = |expr| {
            Some(TypedExpr {
                expr,
                kind: ColumnKind::Boolean,
            })
        };
        match expr {
            ast::Expr::Nested(inner) => self.expr(inner),
            ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => {
                let (alias, name) = self.name(expr)?;
                let (alias, view) = self.scope(alias.as_deref())?;
                let kind = view
                    .columns
                    .iter()
                    .find(|column| column.name == name)?
                    .kind
                    .clone();
                Some(TypedExpr {
                    expr: Expr::Column(qualified(&alias, &name)),
                    kind,
                })
            }
            ast::Expr::Value(value) => number_or_boolean(&value.value),
            ast::Expr::Cast {
                expr, data_type, ..
            } => literal(expr, &data_type.to_string()),
            ast::Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr,
            } => boolean(!self.condition(expr)?),
            ast::Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr,
            } => negative(&self.expr(expr)?),
            ast::Expr::IsNull(inner) => boolean(self.expr(inner)?.expr.is_null()),
            ast::Expr::IsNotNull(inner) => boolean(self.expr(inner)?.expr.is_not_null()),
            ast::Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => boolean(self.condition(left)?.and(self.condition(right)?)),
            ast::Expr::BinaryOp {
                left,
                op: BinaryOperator::Or,
                right,
            } => boolean(self.condition(left)?.or(self.condition(right)?)),
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
                let (left, right) = self.pair(left, right)?;
                boolean(compare(left, operator, right)?)
            }
            ast::Expr::IsDistinctFrom(left, right) => {
                let (left, right) = self.pair(left, right)?;
                boolean(compare(left, Operator::IsDistinctFrom, right)?)
            }
            ast::Expr::Case {
                operand: None,
                conditions,
                else_result,
                ..
            } => self.case(conditions, else_result.as_deref()),
            ast::Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq,
                right,
                ..
            } => {
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

    /// Translates two operands. A constant without a type gets the type of the other operand.
    fn pair(&mut self, left: &ast::Expr, right: &ast::Expr) -> Option<(TypedExpr, TypedExpr)> {
        match (untyped(left), untyped(right)) {
            (None, Some(text)) => {
                let left = self.expr(left)?;
                let right = constant(&left.kind, text)?;
                Some((left, right))
            }
            (Some(text), None) => {
                let right = self.expr(right)?;
                let left = constant(&right.kind, text)?;
                Some((left, right))
            }
            (None, None) => Some((self.expr(left)?, self.expr(right)?)),
            (Some(_), Some(_)) => None,
        }
    }

    /// Translates CASE WHEN, whose results must all have the same kind.
    fn case(
        &mut self,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Option<TypedExpr> {
        let mut branches = Vec::new();
        let mut kind = None;
        for ast::CaseWhen { condition, result } in conditions {
            let condition = self.condition(condition)?;
            let result = self.expr(result)?;
            if *kind.get_or_insert(result.kind.clone()) != result.kind {
                return None;
            }
            branches.push((Box::new(condition), Box::new(result.expr)));
        }
        let kind = kind?;
        let otherwise = match otherwise {
            None => None,
            Some(expr) if is_null(expr) => None,
            Some(expr) => {
                let result = self.expr(expr)?;
                if result.kind != kind {
                    return None;
                }
                Some(Box::new(result.expr))
            }
        };
        Some(TypedExpr {
            expr: Expr::Case(Case::new(None, branches, otherwise)),
            kind,
        })
    }

    /// Translates LIKE with a constant pattern and no escape.
    fn like(&mut self, left: &ast::Expr, pattern: &ast::Expr, negated: bool) -> Option<TypedExpr> {
        let (left, pattern) = self.pair(left, pattern)?;
        match &pattern.expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) if !text.contains('\\') => {}
            _ => return None,
        }
        if left.kind != ColumnKind::Text || pattern.kind != ColumnKind::Text {
            return None;
        }
        let expr = if negated {
            left.expr.not_like(pattern.expr)
        } else {
            left.expr.like(pattern.expr)
        };
        Some(TypedExpr {
            expr,
            kind: ColumnKind::Boolean,
        })
    }
}

/// Whether DataFusion compares and orders values of this kind as PostgreSQL does with the C
/// collation.
pub(super) fn is_groupable(kind: &ColumnKind) -> bool {
    matches!(
        kind,
        ColumnKind::Boolean
            | ColumnKind::Int
            | ColumnKind::Long
            | ColumnKind::Decimal(..)
            | ColumnKind::Text
            | ColumnKind::Date
            | ColumnKind::Time
            | ColumnKind::Timestamp
            | ColumnKind::TimestampTz
            | ColumnKind::Uuid
    )
}

/// Returns a comparison of two values of the same kind. Integers and numerics may be mixed if 38
/// digits can hold both.
fn compare(left: TypedExpr, operator: Operator, right: TypedExpr) -> Option<Expr> {
    let digits = |kind: &ColumnKind| match kind {
        ColumnKind::Int => Some((10, 0)),
        ColumnKind::Long => Some((19, 0)),
        ColumnKind::Decimal(precision, scale) => Some((precision - scale, *scale)),
        _ => None,
    };
    let is_comparable = match (digits(&left.kind), digits(&right.kind)) {
        (Some(left), Some(right)) => left.0.max(right.0) + left.1.max(right.1) <= 38,
        _ => left.kind == right.kind && is_groupable(&left.kind),
    };
    is_comparable.then(|| binary_expr(left.expr, operator, right.expr))
}
