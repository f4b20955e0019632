//! Result types of scalar functions that do not depend on the arguments.

use super::ScalarCall;
use crate::error::SqlResult;
use crate::types::{DataType, MAX_BINARY};

pub fn text(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::TEXT)
}

pub fn boolean(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::Boolean)
}

pub fn integer(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::Number {
        precision: 18,
        scale: 0,
    })
}

/// The type of date parts such as months and hours.
pub fn small(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::Number {
        precision: 4,
        scale: 0,
    })
}

pub fn float(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::Float)
}

pub fn variant(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::Variant)
}

pub fn object(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::Object)
}

pub fn array(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::Array)
}

pub fn date(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::Date)
}

pub fn binary(_: &ScalarCall) -> SqlResult<DataType> {
    Ok(DataType::Binary { length: MAX_BINARY })
}
