//! The values of variables, and the bindings through which statements refer to them.

use std::collections::BTreeMap;

use arrow::datatypes::DataType as ArrowType;
use datafusion::common::ScalarValue;

use super::template::{Mode, Template};
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::Ident;
use icebox_sql::types::DataType;

/// A value with its Snowflake type.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub ty: DataType,
    pub value: ScalarValue,
}

impl Value {
    pub fn new(ty: DataType, value: ScalarValue) -> Self {
        Self { ty, value }
    }

    /// Returns a value with the Snowflake type of its Arrow type.
    pub fn from_scalar(value: ScalarValue) -> Self {
        let ty = DataType::of_arrow(&value.data_type());
        Self { ty, value }
    }

    /// Returns NULL of a type.
    pub fn null(ty: DataType) -> Self {
        let value = ScalarValue::try_from(&ty.to_arrow()).unwrap_or(ScalarValue::Null);
        Self { ty, value }
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::new(DataType::TEXT, ScalarValue::Utf8(Some(text.into())))
    }

    pub fn boolean(value: bool) -> Self {
        Self::new(DataType::Boolean, ScalarValue::Boolean(Some(value)))
    }

    /// Returns a whole number.
    pub fn integer(value: i128) -> Self {
        let value = ScalarValue::Decimal128(Some(value), 38, 0);
        Self::new(DataType::INTEGER, value)
    }

    pub fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// Returns the text of a VARCHAR; `None` for other types and for NULL.
    pub fn as_text(&self) -> Option<&str> {
        match self.ty {
            DataType::Text { .. } => self.value.try_as_str().flatten(),
            _ => None,
        }
    }

    /// Returns the digits and the scale of a NUMBER; `None` for other types and for NULL.
    pub fn as_number(&self) -> Option<(i128, u8)> {
        if !matches!(self.ty, DataType::Number { .. }) {
            return None;
        }
        let scale = match self.value.data_type() {
            ArrowType::Decimal128(_, scale) | ArrowType::Decimal256(_, scale) => scale.max(0),
            _ => 0,
        };
        match self.value.cast_to(&ArrowType::Decimal128(38, scale)) {
            Ok(ScalarValue::Decimal128(Some(digits), ..)) => Some((digits, scale as u8)),
            _ => None,
        }
    }

    pub fn as_boolean(&self) -> Option<bool> {
        match self.value {
            ScalarValue::Boolean(value) => value,
            _ => None,
        }
    }

    pub fn as_float(&self) -> Option<f64> {
        match self.value.cast_to(&ArrowType::Float64) {
            Ok(ScalarValue::Float64(value)) if self.ty == DataType::Float => value,
            _ => None,
        }
    }
}

/// The values that a statement refers to: variables by `:name`, and the values of USING by `?`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bindings {
    named: BTreeMap<Ident, Value>,
    positional: Vec<Value>,
}

impl Bindings {
    /// Returns bindings for the `?` of a statement, in order.
    pub fn positional(values: Vec<Value>) -> Self {
        Self {
            positional: values,
            ..Self::default()
        }
    }

    /// Returns these bindings with other values for `?`.
    pub fn with_positional(mut self, values: Vec<Value>) -> Self {
        self.positional = values;
        self
    }

    pub fn insert(&mut self, name: Ident, value: Value) {
        self.named.insert(name, value);
    }

    /// Returns the value of `:name`.
    pub fn get(&self, name: &Ident) -> Option<&Value> {
        self.named.get(name)
    }

    /// Iterates over the named values.
    pub fn iter(&self) -> impl Iterator<Item = (&Ident, &Value)> {
        self.named.iter()
    }

    /// Returns the value of the `?` with this number, counted from 1, which is also that of `:1`.
    pub fn nth(&self, number: usize) -> Option<&Value> {
        number.checked_sub(1).and_then(|at| self.positional.get(at))
    }

    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.positional.is_empty()
    }

    /// Replaces each reference in a statement by the text that `render` returns for its value, such
    /// as a literal or `$1`.
    ///
    /// # Errors
    /// If a reference has no value, with its position.
    pub fn substitute(
        &self,
        sql: &str,
        mut render: impl FnMut(&Value) -> String,
    ) -> SqlResult<String> {
        let template = Template::parse(sql, Mode::Bound)?;
        let mut number = 0;
        template.render(|variable| {
            let value = match variable.written.as_str() {
                "?" => {
                    number += 1;
                    self.nth(number)
                }
                written => match written.parse() {
                    Ok(number) => self.nth(number),
                    Err(_) => self.get(&variable.name),
                },
            };
            match value {
                Some(value) => Ok(Some(render(value))),
                None if variable.written == "?" => {
                    let text = "Bind variable ? not set.";
                    Err(SqlError::located(
                        code::BIND_NOT_SET,
                        variable.position,
                        text,
                    ))
                }
                None => Err(SqlError::invalid_identifier(
                    &variable.written,
                    Some(variable.position),
                )),
            }
        })
    }
}

impl FromIterator<(Ident, Value)> for Bindings {
    fn from_iter<T: IntoIterator<Item = (Ident, Value)>>(values: T) -> Self {
        Self {
            named: values.into_iter().collect(),
            ..Self::default()
        }
    }
}
