//! Scalar functions. Each is a row of a table: its name, how many arguments it takes, what it returns, and what it does with a row.

mod arithmetic;
mod conversion;
mod datetime;
mod hash;
mod numeric;
pub mod parts;
mod pattern;
mod semi;
mod text;

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{DataType as ArrowType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::clock;
use super::convert::Session;
use super::number::{Number, Precision};
use super::value::{Column, Value, build};
use crate::snowflake::error::{SqlError, SqlResult};
use crate::snowflake::types::DataType;

/// All functions by their names in upper case; the ones that only the rewriting calls start with `$`.
pub static FUNCTIONS: LazyLock<HashMap<&'static str, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let parts: [&[Function]; 8] = [
        arithmetic::FUNCTIONS,
        conversion::FUNCTIONS,
        datetime::FUNCTIONS,
        hash::FUNCTIONS,
        numeric::FUNCTIONS,
        pattern::FUNCTIONS,
        semi::FUNCTIONS,
        text::FUNCTIONS,
    ];
    let all = parts.into_iter().flatten();
    all.map(|function| (function.name, Arc::new(ScalarUDF::from(Udf::new(function)))))
        .collect()
});

/// A scalar function.
pub struct Function {
    pub name: &'static str,
    /// The least and the most arguments.
    pub arity: (usize, usize),
    /// The type of the result for arguments of these types.
    pub ty: fn(&Call) -> SqlResult<DataType>,
    /// The result for one row.
    pub row: for<'a> fn(&Call, &[Value<'a>]) -> SqlResult<Value<'a>>,
    /// The results for all rows at once, where that is worth it and the columns allow it.
    pub batch: Option<fn(&Call, &[Column], usize) -> SqlResult<Option<ArrayRef>>>,
    /// Whether a NULL argument makes the result NULL, without asking `row`.
    pub strict: bool,
    /// Whether equal arguments always give equal results.
    pub is_pure: bool,
}

impl Function {
    /// A function that is NULL for a NULL argument.
    pub const fn new(
        name: &'static str,
        arity: (usize, usize),
        ty: fn(&Call) -> SqlResult<DataType>,
        row: for<'a> fn(&Call, &[Value<'a>]) -> SqlResult<Value<'a>>,
    ) -> Function {
        Function {
            name,
            arity,
            ty,
            row,
            batch: None,
            strict: true,
            is_pure: true,
        }
    }

    /// The same, but asked also for rows with NULL.
    pub const fn lenient(mut self) -> Function {
        self.strict = false;
        self
    }

    pub const fn volatile(mut self) -> Function {
        self.is_pure = false;
        self
    }
}

/// An argument as far as it is known before there are rows.
#[derive(Clone, Debug)]
pub struct Argument {
    /// None for a NULL without a type.
    pub ty: Option<DataType>,
    pub literal: Option<ScalarValue>,
    /// The minutes that all values of a TIMESTAMP_TZ are ahead of UTC.
    pub offset: Option<i32>,
}

/// A call of a function.
pub struct Call {
    pub name: &'static str,
    pub arguments: Vec<Argument>,
    /// UTC while only types are asked for.
    pub session: Session,
    /// [`DataType::TEXT`] while the type is asked for.
    pub result: DataType,
    compiled: RefCell<Option<(String, Rc<dyn Any>)>>,
}

impl Call {
    fn new(
        name: &'static str,
        fields: &[FieldRef],
        literals: impl Iterator<Item = Option<ScalarValue>>,
    ) -> Call {
        let argument = |(field, literal): (&FieldRef, Option<ScalarValue>)| {
            let ty = match field.data_type() {
                ArrowType::Null => None,
                _ => Some(DataType::of_field(field)),
            };
            // A whole number has only the digits that it is written with.
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
                    Some(super::value::offset_minutes(zone))
                }
                _ => None,
            };
            Argument {
                ty,
                literal,
                offset,
            }
        };
        Call {
            name,
            arguments: fields.iter().zip(literals).map(argument).collect(),
            session: Session {
                zone: chrono_tz::UTC,
            },
            result: DataType::TEXT,
            compiled: RefCell::new(None),
        }
    }

    /// The type of an argument; a NULL counts as text.
    pub fn ty(&self, index: usize) -> DataType {
        let argument = self.arguments.get(index);
        argument
            .and_then(|argument| argument.ty)
            .unwrap_or(DataType::TEXT)
    }

    /// The digits of an argument that is a number or will be read as one; None for a float.
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
                    Err(super::convert::not_numeric(text))
                }
                None => Ok(None),
            },
            Some(_) => Err(self.wrong_types()),
        }
    }

    /// The text of an argument that is a literal.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index)?.literal.as_ref()?.try_as_str()?
    }

    /// The whole number of an argument that is a literal.
    pub fn integer(&self, index: usize) -> Option<i64> {
        match self.arguments.get(index)?.literal.as_ref()? {
            ScalarValue::Int64(value) => *value,
            ScalarValue::Decimal128(Some(value), _, 0) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// What `make` makes of a text, kept while the text is the same.
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
        SqlError::compilation(1044, "42P13", text)
    }

    fn check_arity(&self, (least, most): (usize, usize)) -> SqlResult<()> {
        let (count, name) = (self.arguments.len(), self.name);
        let text = match count {
            _ if count < least => format!(
                "error line 0 at position -1\nnot enough arguments for function [{name}], expected {least}, got {count}"
            ),
            _ if count > most => format!(
                "error line 0 at position -1\ntoo many arguments for function [{name}] expected {most}, got {count}"
            ),
            _ => return Ok(()),
        };
        Err(SqlError::compilation(938, "22023", text))
    }
}

/// A function as DataFusion calls it.
struct Udf {
    function: &'static Function,
    signature: Signature,
}

impl Udf {
    fn new(function: &'static Function) -> Udf {
        let volatility = match function.is_pure {
            true => Volatility::Immutable,
            false => Volatility::Volatile,
        };
        let signature = match function.arity {
            (0, 0) => Signature::nullary(volatility),
            _ => Signature::user_defined(volatility),
        };
        Udf {
            function,
            signature,
        }
    }
}

impl std::fmt::Debug for Udf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.function.name)
    }
}

impl PartialEq for Udf {
    fn eq(&self, other: &Udf) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Udf {}

impl std::hash::Hash for Udf {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

/// An error of ours on its way through DataFusion.
pub fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl ScalarUDFImpl for Udf {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[ArrowType]) -> Result<ArrowType> {
        datafusion::common::internal_err!("return_field_from_args is asked instead")
    }

    fn coerce_types(&self, types: &[ArrowType]) -> Result<Vec<ArrowType>> {
        Ok(types.to_vec())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let literals = args.scalar_arguments.iter().map(|one| one.cloned());
        let call = Call::new(self.function.name, args.arg_fields, literals);
        let ty = call
            .check_arity(self.function.arity)
            .and_then(|()| (self.function.ty)(&call));
        let ty = ty.map_err(external)?;
        let mut field = ty.to_field(self.function.name, true);
        // Microseconds reach the years that people write, such as 9999.
        if let DataType::TimestampNtz { scale: 0..=6 } | DataType::TimestampLtz { scale: 0..=6 } =
            ty
            && let ArrowType::Timestamp(_, zone) = field.data_type()
        {
            let unit = arrow::datatypes::TimeUnit::Microsecond;
            let arrow = ArrowType::Timestamp(unit, zone.clone());
            field = field.with_data_type(arrow);
        }
        if let Some(offset) = conversion::constant_offset(&call, ty) {
            let zone = Some(super::value::offset_text(offset).into());
            let unit = arrow::datatypes::TimeUnit::Nanosecond;
            field = field.with_data_type(ArrowType::Timestamp(unit, zone));
        }
        Ok(Arc::new(field))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = !args.args.is_empty()
            && args
                .args
                .iter()
                .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let array = self.evaluate(&args, rows)?;
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &array, 0,
            )?)),
            false => Ok(ColumnarValue::Array(array)),
        }
    }
}

impl Udf {
    fn evaluate(&self, args: &ScalarFunctionArgs, rows: usize) -> Result<ArrayRef> {
        let literals = args.args.iter().map(|arg| match arg {
            ColumnarValue::Scalar(value) => Some(value.clone()),
            ColumnarValue::Array(_) => None,
        });
        let mut call = Call::new(self.function.name, &args.arg_fields, literals);
        call.result = DataType::of_field(&args.return_field);
        if let Some(zone) = &args.config_options.execution.time_zone {
            call.session.zone = clock::zone(zone).map_err(external)?;
        }
        let mut columns = Vec::with_capacity(args.args.len());
        // A constant is one row, read again for each.
        let mut steps = Vec::with_capacity(args.args.len());
        for (arg, field) in args.args.iter().zip(&args.arg_fields) {
            let (array, step) = match arg {
                ColumnarValue::Array(array) => (Arc::clone(array), 1),
                ColumnarValue::Scalar(value) => (value.to_array()?, 0),
            };
            let field = typed_like(field, &array);
            columns.push(Column::new(&array, &field).map_err(external)?);
            steps.push(step);
        }
        let function = self.function;
        if function.strict && columns.iter().any(|column| matches!(column, Column::Null)) {
            return Ok(new_null_array(args.return_field.data_type(), rows));
        }
        if let Some(batch) = function.batch
            && let Some(array) = batch(&call, &columns, rows).map_err(external)?
        {
            return Ok(array);
        }
        let mut values = Vec::with_capacity(columns.len());
        let mut results = Vec::with_capacity(rows);
        for row in 0..rows {
            values.clear();
            let row_values = columns
                .iter()
                .zip(&steps)
                .map(|(column, step)| column.get(row * step));
            values.extend(row_values);
            results.push(match function.strict && values.iter().any(Value::is_null) {
                true => Ok(Value::Null),
                false => (function.row)(&call, &values),
            });
        }
        build(&args.return_field, results.into_iter()).map_err(external)
    }
}

/// The field, with the array's type where the two differ, as after an optimisation.
fn typed_like(field: &FieldRef, array: &ArrayRef) -> FieldRef {
    match field.data_type() == array.data_type() {
        true => Arc::clone(field),
        false => Arc::new(Field::new(field.name(), array.data_type().clone(), true)),
    }
}

/// Types of results that do not depend on the arguments.
pub mod of {
    use super::{Call, DataType, SqlResult};

    pub fn text(_: &Call) -> SqlResult<DataType> {
        Ok(DataType::TEXT)
    }

    pub fn boolean(_: &Call) -> SqlResult<DataType> {
        Ok(DataType::Boolean)
    }

    pub fn integer(_: &Call) -> SqlResult<DataType> {
        Ok(DataType::Number {
            precision: 18,
            scale: 0,
        })
    }

    /// Numbers such as months and hours.
    pub fn small(_: &Call) -> SqlResult<DataType> {
        Ok(DataType::Number {
            precision: 4,
            scale: 0,
        })
    }

    pub fn float(_: &Call) -> SqlResult<DataType> {
        Ok(DataType::Float)
    }

    pub fn variant(_: &Call) -> SqlResult<DataType> {
        Ok(DataType::Variant)
    }

    pub fn object(_: &Call) -> SqlResult<DataType> {
        Ok(DataType::Object)
    }

    pub fn array(_: &Call) -> SqlResult<DataType> {
        Ok(DataType::Array)
    }

    pub fn date(_: &Call) -> SqlResult<DataType> {
        Ok(DataType::Date)
    }

    pub fn binary(_: &Call) -> SqlResult<DataType> {
        Ok(DataType::Binary {
            length: crate::snowflake::types::MAX_BINARY,
        })
    }

    /// The type of the first argument.
    pub fn first(call: &Call) -> SqlResult<DataType> {
        Ok(call.ty(0))
    }
}

/// Reading arguments of rows.
pub mod take {
    use super::{Call, SqlError, SqlResult, Value};
    use crate::snowflake::query::convert;
    use std::borrow::Cow;

    /// An argument's text, converted if it is something else.
    pub fn text<'a>(call: &Call, values: &[Value<'a>], index: usize) -> SqlResult<Cow<'a, str>> {
        let value = values.get(index).cloned().unwrap_or(Value::Null);
        match value {
            Value::Json(json) => {
                let text = crate::snowflake::query::json::convert(
                    &json,
                    super::DataType::TEXT,
                    call.session,
                )?;
                convert::text(text, call.session)
            }
            value => convert::text(value, call.session),
        }
    }

    pub fn integer(call: &Call, values: &[Value<'_>], index: usize) -> SqlResult<i64> {
        let value = values.get(index).ok_or_else(|| call.wrong_types())?;
        let number = convert::number(value).map_err(|_| call.wrong_types())?;
        i64::try_from(number.rounded()).map_err(|_| {
            SqlError::new(
                100039,
                "22003",
                format!("Numeric value '{number}' is out of range"),
            )
        })
    }

    pub fn float(call: &Call, values: &[Value<'_>], index: usize) -> SqlResult<f64> {
        let value = values.get(index).ok_or_else(|| call.wrong_types())?;
        convert::float(value)
    }
}
