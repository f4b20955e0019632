//! Aggregates that DataFusion lacks: the check that a scalar subquery has at most one row
//! (DataFusion would give one row for each), and a SUM that reports an overflow of 38 digits.

use std::any::Any;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, Decimal128Array};
use arrow::datatypes::{DataType as ArrowType, Field, FieldRef};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, Signature, Subquery,
    Volatility,
};

use super::functions::external;
use super::number::MAX_PRECISION;
use super::translate_error;
use crate::error::{SqlError, code};

static SINGLE_VALUE: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(AggregateUDF::from(SingleValue { signature }))
});

/// Returns the subquery with a check that fails with error 090150 if it has more than one row.
pub fn with_single_row_check(subquery: Subquery) -> Result<Subquery> {
    if has_one_row(&subquery.subquery) {
        return Ok(subquery);
    }
    let Some((qualifier, field)) = subquery.subquery.schema().iter().next() else {
        return Ok(subquery);
    };
    let column = Expr::Column(Column::from((qualifier, field)));
    let call = AggregateFunction::new_udf(
        Arc::clone(&SINGLE_VALUE),
        vec![column],
        false,
        None,
        Vec::new(),
        None,
    );
    // The alias differs from the column's name, by which a correlated subquery may be grouped.
    let single = Expr::AggregateFunction(call).alias("#single");
    let input = Arc::clone(&subquery.subquery);
    let aggregate = Aggregate::try_new(input, Vec::new(), vec![single])?;
    Ok(subquery.with_plan(Arc::new(LogicalPlan::Aggregate(aggregate))))
}

/// Returns whether a plan can only have one row or none.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}

/// The aggregate function that returns the only value of a group.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleValue {
    signature: Signature,
}

impl AggregateUDFImpl for SingleValue {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        "$single"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[ArrowType]) -> Result<ArrowType> {
        Ok(types.first().cloned().unwrap_or(ArrowType::Null))
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let metadata = fields.first().map(|field| field.metadata().clone());
        let types: Vec<ArrowType> = fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let field = Field::new(self.name(), self.return_type(&types)?, true);
        Ok(Arc::new(field.with_metadata(metadata.unwrap_or_default())))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = Field::new(
            format!("{}[value]", args.name),
            args.return_type().clone(),
            true,
        );
        let count = Field::new(format!("{}[count]", args.name), ArrowType::UInt64, false);
        Ok(vec![Arc::new(value), Arc::new(count)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let value = ScalarValue::try_from(args.return_type())?;
        Ok(Box::new(SingleValueAccumulator { value, count: 0 }))
    }
}

/// The value so far, and the number of rows seen.
#[derive(Debug)]
struct SingleValueAccumulator {
    value: ScalarValue,
    count: u64,
}

impl SingleValueAccumulator {
    fn add(&mut self, value: ScalarValue, count: u64) -> Result<()> {
        self.count += count;
        if self.count > 1 {
            return Err(external(translate_error::single_row_subquery()));
        }
        if count > 0 {
            self.value = value;
        }
        Ok(())
    }
}

impl Accumulator for SingleValueAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else {
            return Ok(());
        };
        match values.len() {
            0 => Ok(()),
            count => self.add(ScalarValue::try_from_array(values, 0)?, count as u64),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, counts] = states else {
            return Ok(());
        };
        for row in 0..values.len() {
            let ScalarValue::UInt64(Some(count)) = ScalarValue::try_from_array(counts, row)? else {
                continue;
            };
            self.add(ScalarValue::try_from_array(values, row)?, count)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::from(self.count)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size()
    }
}

static WIDE_SUM: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(AggregateUDF::from(WideSum { signature }))
});

/// Returns the SUM for numbers of so many digits that a total may need more than 128 bits.
pub fn wide_sum() -> Arc<AggregateUDF> {
    Arc::clone(&WIDE_SUM)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WideSum {
    signature: Signature,
}

impl AggregateUDFImpl for WideSum {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        "$wide_sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[ArrowType]) -> Result<ArrowType> {
        match types.first() {
            Some(ArrowType::Decimal128(_, scale)) => {
                Ok(ArrowType::Decimal128(MAX_PRECISION, *scale))
            }
            other => datafusion::common::internal_err!("a wide sum of {other:?}"),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let scale = match args.return_type() {
            ArrowType::Decimal128(_, scale) => *scale,
            _ => 0,
        };
        let sum = None;
        Ok(Box::new(Sum {
            sum,
            count: 0,
            scale,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let sum = Field::new(
            format!("{}[sum]", args.name),
            args.return_type().clone(),
            true,
        );
        let count = Field::new(format!("{}[count]", args.name), ArrowType::Int64, false);
        Ok(vec![Arc::new(sum), Arc::new(count)])
    }
}

#[derive(Debug)]
struct Sum {
    sum: Option<i128>,
    /// Number of values that are not NULL.
    count: i64,
    scale: i8,
}

impl Sum {
    fn add(&mut self, digits: i128, count: i64) -> Result<()> {
        let sum = self.sum.unwrap_or(0).checked_add(digits);
        let sum = sum.filter(|sum| sum.unsigned_abs() < 10_u128.pow(MAX_PRECISION.into()));
        let Some(sum) = sum else {
            let text = "Numeric value of SUM is out of range";
            return Err(external(SqlError::new(code::NUMBER_OUT_OF_RANGE, text)));
        };
        self.count += count;
        self.sum = (self.count > 0).then_some(sum);
        Ok(())
    }

    fn add_all(&mut self, values: &[ArrayRef], sign: i128) -> Result<()> {
        let values = values
            .first()
            .and_then(|values| values.as_any().downcast_ref());
        let Some(values): Option<&Decimal128Array> = values else {
            return datafusion::common::internal_err!("a wide sum of other values");
        };
        for digits in values.iter().flatten() {
            self.add(digits * sign, sign as i64)?;
        }
        Ok(())
    }
}

impl Accumulator for Sum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add_all(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add_all(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [sums, counts] = states else {
            return Ok(());
        };
        for row in 0..sums.len() {
            let sum = ScalarValue::try_from_array(sums, row)?;
            let count = ScalarValue::try_from_array(counts, row)?;
            if let (ScalarValue::Decimal128(Some(sum), ..), ScalarValue::Int64(Some(count))) =
                (sum, count)
            {
                self.add(sum, count)?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?, ScalarValue::Int64(Some(self.count))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Decimal128(self.sum, MAX_PRECISION, self.scale))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
