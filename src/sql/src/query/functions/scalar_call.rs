//! A call of a scalar function: the types of its arguments, and what is kept from one row to the
//! next.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;

use arrow::datatypes::{DataType as ArrowType, FieldRef};
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use crate::error::{SqlError, SqlResult, code};
use crate::query::clock;
use crate::query::convert;
use crate::query::number::{Number, Precision};
use crate::types::DataType;

/// What is known of an argument before there are rows.
#[derive(Clone, Debug)]
pub struct ScalarArgument {
    /// None for a NULL without a type.
    pub ty: Option<DataType>,
    pub literal: Option<ScalarValue>,
    /// The minutes by which all values of a `TIMESTAMP_TZ` are ahead of UTC.
    pub offset: Option<i32>,
}

/// A call of a scalar function.
pub struct ScalarCall {
    pub name: &'static str,
    pub arguments: Vec<ScalarArgument>,
    /// UTC while only the types are computed.
    pub time_zone: Tz,
    /// The type of the result; [`DataType::TEXT`] while it is being computed.
    pub result: DataType,
    compiled: RefCell<Option<(String, Rc<dyn Any>)>>,
}

impl ScalarCall {
    pub fn new(
        name: &'static str,
        fields: &[FieldRef],
        literals: impl Iterator<Item = Option<ScalarValue>>,
    ) -> Self {
        let argument = |(field, literal): (&FieldRef, Option<ScalarValue>)| {
            let ty = match field.data_type() {
                ArrowType::Null => None,
                _ => Some(DataType::of_field(field)),
            };
            // A whole-number literal has only the digits that it is written with.
            let ty = match &literal {
                Some(ScalarValue::Int64(Some(value))) => {
                    let number = Number::integer((*value).into());
                    Some(DataType::Number {
                        precision: number.precision(),
                        scale: 0,
                    })
                }
                _ => ty,
            };
            let offset = match (ty, field.data_type()) {
                (Some(DataType::TimestampTz { .. }), ArrowType::Timestamp(_, Some(zone))) => {
                    Some(clock::offset_minutes(zone))
                }
                _ => None,
            };
            ScalarArgument {
                ty,
                literal,
                offset,
            }
        };
        Self {
            name,
            arguments: fields.iter().zip(literals).map(argument).collect(),
            time_zone: Tz::UTC,
            result: DataType::TEXT,
            compiled: RefCell::new(None),
        }
    }

    /// Returns the type of an argument. A NULL without a type counts as text.
    pub fn ty(&self, index: usize) -> DataType {
        let argument = self.arguments.get(index);
        argument
            .and_then(|argument| argument.ty)
            .unwrap_or(DataType::TEXT)
    }

    /// Returns the digits of an argument that is a number or will be read as one; None if it will
    /// be read as a float.
    pub fn precision(&self, index: usize) -> SqlResult<Option<Precision>> {
        let Some(argument) = self.arguments.get(index) else {
            return Err(self.wrong_types());
        };
        match argument.ty {
            Some(DataType::Number { precision, scale }) => Ok(Some(Precision { precision, scale })),
            Some(DataType::Float | DataType::Variant) => Ok(None),
            Some(DataType::Boolean) => Ok(Some(Precision {
                precision: 1,
                scale: 0,
            })),
            None => Ok(Some(Precision {
                precision: 1,
                scale: 0,
            })),
            Some(DataType::Text { .. }) => match self.text(index).map(Number::parse) {
                Some(Some(number)) => Ok(Some(Precision {
                    precision: number.precision(),
                    scale: number.scale,
                })),
                Some(None) => {
                    let text = self.text(index).unwrap_or_default();
                    Err(convert::not_numeric(text))
                }
                None => Ok(None),
            },
            Some(_) => Err(self.wrong_types()),
        }
    }

    /// Returns the text of an argument that is a literal.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index)?.literal.as_ref()?.try_as_str()?
    }

    /// Returns the whole number of an argument that is a literal.
    pub fn integer(&self, index: usize) -> Option<i64> {
        match self.arguments.get(index)?.literal.as_ref()? {
            ScalarValue::Int64(value) => *value,
            ScalarValue::Decimal128(Some(value), _, 0) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// Returns what `make` makes of a text, such as a compiled pattern. The result is kept, and
    /// made again only for another text.
    pub fn compiled<T: 'static>(
        &self,
        text: &str,
        make: impl FnOnce(&str) -> SqlResult<T>,
    ) -> SqlResult<Rc<T>> {
        if let Some((known, made)) = self.compiled.borrow().as_ref()
            && known == text
            && let Ok(made) = Rc::clone(made).downcast::<T>()
        {
            return Ok(made);
        }
        let made = Rc::new(make(text)?);
        let kept = Rc::clone(&made) as Rc<dyn Any>;
        *self.compiled.borrow_mut() = Some((text.to_owned(), kept));
        Ok(made)
    }

    pub fn wrong_types(&self) -> SqlError {
        let types = self.arguments.iter().map(|argument| match argument.ty {
            Some(ty) => ty.to_string(),
            None => "NULL".to_owned(),
        });
        let types = types.collect::<Vec<_>>().join(", ");
        let text = format!(
            "error line 0 at position -1\nInvalid argument types for function '{}': ({types})",
            self.name.trim_start_matches('$').to_uppercase()
        );
        SqlError::compilation(code::INVALID_ARGUMENT_TYPES, text)
    }
}
