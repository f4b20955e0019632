//! Translation of DataFusion's errors to Snowflake's codes and messages.

use std::collections::HashMap;

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use super::generated_name::{DUPLICATE_SUFFIX, GENERATED_PREFIX};
use crate::error::{Position, SqlError, code};

/// Converts an error to the one that a client sees. `places` has the place in the statement where
/// each identifier first occurs.
pub fn from_datafusion(error: &DataFusionError, places: &HashMap<String, Position>) -> SqlError {
    match error {
        DataFusionError::External(inner) => external(inner.as_ref(), places),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            from_datafusion(inner, places)
        }
        DataFusionError::Shared(inner) => from_datafusion(inner, places),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => from_datafusion(first, places),
            None => SqlError::internal(error),
        },
        DataFusionError::ArrowError(inner, _) => arrow(inner, places),
        DataFusionError::SchemaError(inner, _) => schema(inner, places),
        DataFusionError::NotImplemented(text) if text.contains("Subquery") => {
            SqlError::compilation(
                code::UNSUPPORTED_SUBQUERY,
                "Unsupported subquery type cannot be evaluated",
            )
        }
        DataFusionError::NotImplemented(text) => SqlError::unsupported(text),
        DataFusionError::Plan(text) => plan(text),
        DataFusionError::Execution(text) if text.contains("more than one row") => {
            single_row_subquery()
        }
        _ => SqlError::internal(error),
    }
}

/// Returns the name of a missing column if that is the error and the name has no qualifier.
pub fn unknown_name(error: &DataFusionError) -> Option<&str> {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            unknown_name(inner)
        }
        DataFusionError::Collection(all) => all.first().and_then(unknown_name),
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, .. } if field.relation.is_none() => {
                Some(&field.name)
            }
            _ => None,
        },
        _ => None,
    }
}

fn external(
    error: &(dyn std::error::Error + Send + Sync + 'static),
    places: &HashMap<String, Position>,
) -> SqlError {
    if let Some(error) = error.downcast_ref::<SqlError>() {
        return error.clone();
    }
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return from_datafusion(error, places);
    }
    if let Some(error) = error.downcast_ref::<ArrowError>() {
        return arrow(error, places);
    }
    SqlError::internal(error)
}

fn arrow(error: &ArrowError, places: &HashMap<String, Position>) -> SqlError {
    match error {
        ArrowError::ExternalError(inner) => external(inner.as_ref(), places),
        ArrowError::DivideByZero => super::number::division_by_zero(),
        ArrowError::ArithmeticOverflow(text) => {
            SqlError::new(code::NUMBER_OUT_OF_RANGE, text.clone())
        }
        ArrowError::CastError(text) | ArrowError::ParseError(text) => {
            match text
                .strip_prefix("Cannot cast string '")
                .and_then(|rest| rest.split_once('\''))
            {
                Some((value, _)) => super::convert::not_numeric(value),
                None => SqlError::new(code::NUMBER_NOT_RECOGNIZED, text.clone()),
            }
        }
        ArrowError::InvalidArgumentError(text) if text.contains("too large") => {
            SqlError::new(code::NUMBER_OUT_OF_RANGE, text.clone())
        }
        _ => SqlError::internal(error),
    }
}

fn schema(error: &SchemaError, places: &HashMap<String, Position>) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, .. } => {
            let name = match &field.relation {
                Some(relation) if !relation.table().starts_with(GENERATED_PREFIX) => {
                    format!("{}.{}", relation.table(), field.name)
                }
                _ => field.name.clone(),
            };
            let qualifier = field
                .relation
                .as_ref()
                .map(datafusion::common::TableReference::table);
            let place = qualifier
                .and_then(|qualifier| places.get(qualifier))
                .or_else(|| places.get(&field.name));
            let place = match qualifier {
                // A qualifier usually occurs first elsewhere than before this column, so the
                // column's own place is preferred.
                Some(_) => places.get(&field.name).or(place),
                None => place,
            };
            SqlError::invalid_identifier(name, place.copied())
        }
        SchemaError::AmbiguousReference { field } => ambiguous(&field.name),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => ambiguous(name),
    }
}

fn ambiguous(name: &str) -> SqlError {
    let name = name.split(DUPLICATE_SUFFIX).next().unwrap_or(name);
    SqlError::compilation(
        code::AMBIGUOUS_COLUMN,
        format_args!("ambiguous column name '{name}'"),
    )
}

/// Returns the error of a scalar subquery with more than one row.
pub fn single_row_subquery() -> SqlError {
    SqlError::new(
        code::SUBQUERY_ROWS,
        "Single-row subquery returns more than one row.",
    )
}

/// Returns the error of a set operation on queries with different numbers of columns.
pub fn set_operation_columns() -> SqlError {
    let text = "invalid number of result columns for set operator input branches, expected the same in all";
    SqlError::compilation(code::SET_OPERATION_COLUMNS, text)
}

fn plan(text: &str) -> SqlError {
    if text.contains("must appear in the GROUP BY clause")
        || text.contains("must be in GROUP BY")
        || text.contains("could not be resolved from available columns")
    {
        let name = text
            .split_once("Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map_or(text, |(name, _)| name);
        return SqlError::compilation(
            code::NOT_IN_GROUP_BY,
            format_args!("[{name}] is not a valid group by expression"),
        );
    }
    if text.contains("more than one row") {
        return single_row_subquery();
    }
    if text.contains("different number of columns") {
        return set_operation_columns();
    }
    // The query has been parsed, so what DataFusion cannot plan is an unsupported feature and not a
    // syntax error.
    SqlError::unsupported(text)
}
