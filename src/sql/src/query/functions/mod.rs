//! Scalar functions. Each is a row of a table: its name, the number of its arguments, the type of
//! its result, and the computation for a row.

mod arithmetic;
mod call;
mod conversion;
pub mod date_part;
mod datetime;
mod hash;
mod numeric;
mod pattern;
mod semi_structured;
mod text;

use std::any::Any;
use std::collections::HashMap;
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
use super::value::{Column, Value, build};
use crate::error::{SqlError, SqlResult};
use crate::types::DataType;

pub use call::{Call, of, take};

/// All functions by name in upper case. Names that start with `$` are internal: only the rewriter
/// calls them.
pub static FUNCTIONS: LazyLock<HashMap<&'static str, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let parts: [&[Function]; 8] = [
        arithmetic::FUNCTIONS,
        conversion::FUNCTIONS,
        datetime::FUNCTIONS,
        hash::FUNCTIONS,
        numeric::FUNCTIONS,
        pattern::FUNCTIONS,
        semi_structured::FUNCTIONS,
        text::FUNCTIONS,
    ];
    let all = parts.into_iter().flatten();
    all.map(|function| (function.name, Arc::new(ScalarUDF::from(Udf::new(function)))))
        .collect()
});

/// A computation of all rows at once; the last argument is the number of rows. It returns None if
/// the columns do not allow it.
type Batch = fn(&Call, &[Column], usize) -> SqlResult<Option<ArrayRef>>;

/// A scalar function.
pub struct Function {
    pub name: &'static str,
    /// The minimum and maximum number of arguments.
    pub arity: (usize, usize),
    /// Computes the type of the result from the types of the arguments.
    pub ty: fn(&Call) -> SqlResult<DataType>,
    /// Computes the result for one row.
    pub row: for<'a> fn(&Call, &[Value<'a>]) -> SqlResult<Value<'a>>,
    /// Computes the results for all rows at once, where that is worthwhile and the columns allow
    /// it.
    pub batch: Option<Batch>,
    /// Whether a NULL argument makes the result NULL, without a call of `row`.
    pub strict: bool,
    /// Whether equal arguments always give equal results.
    pub is_pure: bool,
}

impl Function {
    /// Creates a function that returns NULL for a NULL argument.
    pub const fn new(
        name: &'static str,
        arity: (usize, usize),
        ty: fn(&Call) -> SqlResult<DataType>,
        row: for<'a> fn(&Call, &[Value<'a>]) -> SqlResult<Value<'a>>,
    ) -> Self {
        Self {
            name,
            arity,
            ty,
            row,
            batch: None,
            strict: true,
            is_pure: true,
        }
    }

    /// Makes `row` compute rows with a NULL argument too.
    pub const fn lenient(mut self) -> Self {
        self.strict = false;
        self
    }

    /// Adds a computation for whole columns.
    pub const fn batched(
        mut self,
        batch: fn(&Call, &[Column], usize) -> SqlResult<Option<ArrayRef>>,
    ) -> Self {
        self.batch = Some(batch);
        self
    }

    pub const fn volatile(mut self) -> Self {
        self.is_pure = false;
        self
    }
}

/// A function in the form that DataFusion calls.
struct Udf {
    function: &'static Function,
    signature: Signature,
}

impl Udf {
    fn new(function: &'static Function) -> Self {
        let volatility = if function.is_pure {
            Volatility::Immutable
        } else {
            Volatility::Volatile
        };
        let signature = match function.arity {
            (0, 0) => Signature::nullary(volatility),
            _ => Signature::user_defined(volatility),
        };
        Self {
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
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Udf {}

impl std::hash::Hash for Udf {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

/// Wraps an error of icebox so that DataFusion passes it on.
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
        // 64 bits of nanoseconds end in 2262. Microseconds reach years such as 9999.
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
        if is_constant {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &array, 0,
            )?))
        } else {
            Ok(ColumnarValue::Array(array))
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
        // A constant has one row, which a step of 0 reads again for each row.
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
            results.push(if function.strict && values.iter().any(Value::is_null) {
                Ok(Value::Null)
            } else {
                (function.row)(&call, &values)
            });
        }
        build(&args.return_field, results.into_iter()).map_err(external)
    }
}

/// Returns the field with the array's type. The two may differ after an optimization.
fn typed_like(field: &FieldRef, array: &ArrayRef) -> FieldRef {
    if field.data_type() == array.data_type() {
        Arc::clone(field)
    } else {
        Arc::new(Field::new(field.name(), array.data_type().clone(), true))
    }
}
