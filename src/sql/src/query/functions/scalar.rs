//! Scalar functions: how icebox computes them, and the form in which DataFusion calls them.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{DataType as ArrowType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::{Function, ScalarCall, check_arity, conversion};
use crate::error::{SqlError, SqlResult};
use crate::query::array::{ValueArray, build};
use crate::query::clock;
use crate::query::value::Value;
use crate::types::DataType;

/// A computation of all rows at once; the last argument is the number of rows. It returns None if
/// the columns do not allow it.
type Batch = fn(&ScalarCall, &[ValueArray], usize) -> SqlResult<Option<ArrayRef>>;

/// How a scalar function is computed.
pub struct Scalar {
    /// Computes the type of the result from the types of the arguments.
    result_type: fn(&ScalarCall) -> SqlResult<DataType>,
    /// Computes the result for one row.
    row: for<'a> fn(&ScalarCall, &[Value<'a>]) -> SqlResult<Value<'a>>,
    /// Computes the results for all rows at once, where that is worthwhile and the columns allow
    /// it.
    batch: Option<Batch>,
    /// Whether a NULL argument makes the result NULL, without a call of `row`.
    is_null_on_null: bool,
    /// Whether equal arguments always give equal results.
    is_pure: bool,
}

impl Scalar {
    /// Creates a function that returns NULL for a NULL argument.
    pub const fn new(
        result_type: fn(&ScalarCall) -> SqlResult<DataType>,
        row: for<'a> fn(&ScalarCall, &[Value<'a>]) -> SqlResult<Value<'a>>,
    ) -> Self {
        Self {
            result_type,
            row,
            batch: None,
            is_null_on_null: true,
            is_pure: true,
        }
    }

    /// Makes `row` compute rows with a NULL argument too.
    pub const fn called_on_null(mut self) -> Self {
        self.is_null_on_null = false;
        self
    }

    /// Adds a computation for whole columns.
    pub const fn batched(mut self, batch: Batch) -> Self {
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
    scalar: &'static Scalar,
    signature: Signature,
}

/// Returns a scalar function in the form that DataFusion calls.
pub fn udf(function: &'static Function, scalar: &'static Scalar) -> Arc<ScalarUDF> {
    let volatility = if scalar.is_pure {
        Volatility::Immutable
    } else {
        Volatility::Volatile
    };
    let signature = match function.arity {
        (0, 0) => Signature::nullary(volatility),
        _ => Signature::user_defined(volatility),
    };
    Arc::new(ScalarUDF::from(Udf {
        function,
        scalar,
        signature,
    }))
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
        let Function { name, arity, .. } = *self.function;
        let call = ScalarCall::new(name, args.arg_fields, literals);
        let ty = check_arity(name, arity, call.arguments.len())
            .and_then(|()| (self.scalar.result_type)(&call));
        let ty = ty.map_err(external)?;
        let mut field = ty.to_field(name, true);
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
            let zone = Some(clock::offset_text(offset).into());
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
        let mut call = ScalarCall::new(self.function.name, &args.arg_fields, literals);
        call.result = DataType::of_field(&args.return_field);
        if let Some(zone) = &args.config_options.execution.time_zone {
            call.time_zone = clock::zone(zone).map_err(external)?;
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
            columns.push(ValueArray::new(&array, &field).map_err(external)?);
            steps.push(step);
        }
        let scalar = self.scalar;
        if scalar.is_null_on_null
            && columns
                .iter()
                .any(|column| matches!(column, ValueArray::Null))
        {
            return Ok(new_null_array(args.return_field.data_type(), rows));
        }
        if let Some(batch) = scalar.batch
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
            results.push(
                if scalar.is_null_on_null && values.iter().any(Value::is_null) {
                    Ok(Value::Null)
                } else {
                    (scalar.row)(&call, &values)
                },
            );
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
