//! Data types in statements.

use sqlparser::tokenizer::Token;

use super::Cursor;
use crate::error::{SqlError, SqlResult, code};
use crate::types::DataType;

/// Names of types that consist of more than one word.
const LONG: &[&str] = &[
    "DOUBLE PRECISION",
    "CHAR VARYING",
    "NCHAR VARYING",
    "TIMESTAMP WITHOUT TIME ZONE",
    "TIMESTAMP WITH LOCAL TIME ZONE",
    "TIMESTAMP WITH TIME ZONE",
];

/// Reads a data type, such as `NUMBER(12, 2)` or `VARCHAR`.
pub fn data_type(cursor: &mut Cursor<'_>) -> SqlResult<DataType> {
    let at = cursor.position();
    let long = LONG.iter().find(|words| cursor.accept(words));
    let name = match long {
        Some(words) => (*words).to_owned(),
        None => cursor.ident()?.as_str().to_owned(),
    };
    let arguments = match cursor.peek() {
        Some(Token::LParen) => cursor.list(Cursor::integer)?,
        _ => Vec::new(),
    };
    let narrow: Vec<u32> = arguments
        .iter()
        .filter_map(|one| u32::try_from(*one).ok())
        .collect();
    DataType::named(&name, &narrow).ok_or_else(|| {
        let text = format!("Unsupported data type '{name}'.");
        SqlError::compilation(code::UNSUPPORTED_TYPE, text).at(at)
    })
}
