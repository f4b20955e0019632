//! Values as functions compute them.

use std::borrow::Cow;

use super::clock::Timestamp;
use super::number::Number;

/// A value of any type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Number(Number),
    Float(f64),
    Text(Cow<'a, str>),
    Boolean(bool),
    /// Days since 1970-01-01.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
    Timestamp(Timestamp),
    /// VARIANT, OBJECT and ARRAY, as JSON text.
    Json(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
}

impl Value<'_> {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub fn text(text: impl Into<String>) -> Value<'static> {
        Value::Text(Cow::Owned(text.into()))
    }

    pub fn json(text: impl Into<String>) -> Value<'static> {
        Value::Json(Cow::Owned(text.into()))
    }

    pub fn integer(value: impl Into<i128>) -> Value<'static> {
        Value::Number(Number::integer(value.into()))
    }

    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Number(number) => Value::Number(number),
            Value::Float(float) => Value::Float(float),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Boolean(boolean) => Value::Boolean(boolean),
            Value::Date(date) => Value::Date(date),
            Value::Time(time) => Value::Time(time),
            Value::Timestamp(timestamp) => Value::Timestamp(timestamp),
            Value::Json(json) => Value::Json(Cow::Owned(json.into_owned())),
            Value::Binary(bytes) => Value::Binary(Cow::Owned(bytes.into_owned())),
        }
    }
}
