//! Translates DataFusion filters to Iceberg predicates, which skip manifests and files.

use std::ops::Not;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, expr::InList};
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{Datum, PrimitiveType, Schema, Type};

/// Returns a predicate that holds for every row that passes all of `filters`, or `None` if there is
/// no such predicate.
///
/// `table` is the schema with the filters' column names, and `snapshot` the one with the
/// predicate's. They differ if columns were renamed in between. A filter that cannot be translated
/// exactly is left out, so the predicate may accept more rows, never fewer. Floating-point columns
/// are left out, because their bounds ignore NaN, which SQL treats as the greatest number.
pub(super) fn predicate(filters: &[Expr], table: &Schema, snapshot: &Schema) -> Option<Predicate> {
    let translator = Translator { table, snapshot };
    filters
        .iter()
        .filter_map(|filter| translator.implied_by(filter))
        .reduce(Predicate::and)
}

struct Translator<'a> {
    table: &'a Schema,
    snapshot: &'a Schema,
}

impl Translator<'_> {
    fn implied_by(&self, filter: &Expr) -> Option<Predicate> {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => match (self.implied_by(left), self.implied_by(right)) {
                    (Some(left), Some(right)) => Some(left.and(right)),
                    (one, other) => one.or(other),
                },
                Operator::Or => Some(self.implied_by(left)?.or(self.implied_by(right)?)),
                op => match (left.as_ref(), right.as_ref()) {
                    (Expr::Column(column), Expr::Literal(value, _)) => {
                        self.comparison(column, *op, value)
                    }
                    (Expr::Literal(value, _), Expr::Column(column)) => {
                        self.comparison(column, op.swap()?, value)
                    }
                    _ => None,
                },
            },
            Expr::IsNull(operand) => Some(self.reference(operand)?.is_null()),
            Expr::IsNotNull(operand) => Some(self.reference(operand)?.is_not_null()),
            Expr::Between(Between {
                expr,
                negated: false,
                low,
                high,
            }) => {
                let Expr::Column(column) = expr.as_ref() else {
                    return None;
                };
                let bound = |op, value: &Expr| match value {
                    Expr::Literal(value, _) => self.comparison(column, op, value),
                    _ => None,
                };
                let low = bound(Operator::GtEq, low)?;
                Some(low.and(bound(Operator::LtEq, high)?))
            }
            Expr::InList(InList {
                expr,
                list,
                negated: false,
            }) => {
                let Expr::Column(column) = expr.as_ref() else {
                    return None;
                };
                let (reference, r#type) = self.primitive(column)?;
                let data = list
                    .iter()
                    .map(|item| match item {
                        Expr::Literal(value, _) => datum(value, r#type),
                        _ => None,
                    })
                    .collect::<Option<Vec<_>>>()?;
                Some(reference.is_in(data))
            }
            Expr::Column(column) => self.boolean(column, true),
            Expr::Not(operand) => match operand.as_ref() {
                Expr::Column(column) => self.boolean(column, false),
                Expr::IsNull(_) | Expr::IsNotNull(_) => Some(self.implied_by(operand)?.not()),
                _ => None,
            },
            _ => None,
        }
    }

    fn boolean(&self, column: &Column, value: bool) -> Option<Predicate> {
        self.comparison(column, Operator::Eq, &ScalarValue::Boolean(Some(value)))
    }

    fn comparison(
        &self,
        column: &Column,
        operator: Operator,
        value: &ScalarValue,
    ) -> Option<Predicate> {
        let (reference, r#type) = self.primitive(column)?;
        let datum = datum(value, r#type)?;
        Some(match operator {
            Operator::Eq => reference.equal_to(datum),
            Operator::NotEq => reference.not_equal_to(datum),
            Operator::Lt => reference.less_than(datum),
            Operator::LtEq => reference.less_than_or_equal_to(datum),
            Operator::Gt => reference.greater_than(datum),
            Operator::GtEq => reference.greater_than_or_equal_to(datum),
            _ => return None,
        })
    }

    fn reference(&self, operand: &Expr) -> Option<Reference> {
        match operand {
            Expr::Column(column) => Some(self.primitive(column)?.0),
            _ => None,
        }
    }

    /// Returns a top-level column that has the same primitive type in both schemas. A column that
    /// the snapshot lacks is not treated as NULL, because it may have a default.
    fn primitive(&self, column: &Column) -> Option<(Reference, &PrimitiveType)> {
        let wanted = self.table.as_struct().field_by_name(&column.name)?;
        let stored = self.snapshot.as_struct().field_by_id(wanted.id)?;
        match stored.field_type.as_ref() {
            Type::Primitive(r#type) if stored.field_type == wanted.field_type => {
                Some((Reference::new(&stored.name), r#type))
            }
            _ => None,
        }
    }
}

fn datum(value: &ScalarValue, r#type: &PrimitiveType) -> Option<Datum> {
    match (r#type, value) {
        (PrimitiveType::Boolean, ScalarValue::Boolean(Some(v))) => Some(Datum::bool(*v)),
        (PrimitiveType::Int, ScalarValue::Int32(Some(v))) => Some(Datum::int(*v)),
        (PrimitiveType::Long, ScalarValue::Int64(Some(v))) => Some(Datum::long(*v)),
        (PrimitiveType::Date, ScalarValue::Date32(Some(v))) => Some(Datum::date(*v)),
        (PrimitiveType::Timestamp, ScalarValue::TimestampMicrosecond(Some(v), None)) => {
            Some(Datum::timestamp_micros(*v))
        }
        (PrimitiveType::Timestamptz, ScalarValue::TimestampMicrosecond(Some(v), Some(_))) => {
            Some(Datum::timestamptz_micros(*v))
        }
        (
            PrimitiveType::String,
            ScalarValue::Utf8(Some(v))
            | ScalarValue::Utf8View(Some(v))
            | ScalarValue::LargeUtf8(Some(v)),
        ) => Some(Datum::string(v)),
        (
            PrimitiveType::Decimal { scale, .. },
            ScalarValue::Decimal128(Some(v), _, value_scale),
        ) if i64::from(*scale) == i64::from(*value_scale) => {
            Datum::try_from_bytes(&v.to_be_bytes(), r#type.clone()).ok()
        }
        _ => None,
    }
}
