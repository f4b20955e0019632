//! The addition of an INTERVAL.

use super::date_part::DatePart;
use super::datetime::{add_part, moment_type};
use super::{Function, ScalarCall, argument};
use crate::error::{SqlError, SqlResult};
use crate::query::convert::convert;
use crate::query::value::Value;
use crate::types::DataType;

pub const FUNCTIONS: &[Function] = &[
    // Arguments: the date or timestamp, the interval, and 1 or -1.
    Function::scalar("$interval", (3, 3), interval_type, interval),
];

/// Parses the steps of an interval such as `1 year, 3 quarters, 6 days`.
fn steps(text: &str) -> SqlResult<Vec<(i64, DatePart)>> {
    let bad = || SqlError::unsupported(format_args!("interval '{text}'"));
    let step = |one: &str| {
        let one = one.trim();
        let end = one.find(|c: char| !c.is_ascii_digit() && !matches!(c, '+' | '-'));
        let (count, name) = one.split_at(end.unwrap_or(one.len()));
        let part = match name.trim() {
            "" => DatePart::Second,
            name => DatePart::named(name)?,
        };
        Ok((count.parse().map_err(|_| bad())?, part))
    };
    text.split(',').map(step).collect()
}

fn interval_type(call: &ScalarCall) -> SqlResult<DataType> {
    let steps = steps(call.text(1).ok_or_else(|| call.wrong_types())?)?;
    let in_day = steps.iter().any(|(_, part)| part.nanos().is_some());
    match call.ty(0) {
        DataType::Date if in_day => Ok(DataType::TimestampNtz { scale: 9 }),
        time @ DataType::Time { .. } => Ok(time),
        _ => moment_type(call, 0),
    }
}

fn interval<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let text = argument::text(call, values, 1)?;
    let steps = call.compiled(&text, steps)?;
    let sign = argument::integer(call, values, 2)?;
    let mut moved = values[0].clone();
    for (count, part) in steps.iter() {
        moved = add_part(call, *part, count * sign, &moved)?;
    }
    convert(moved, call.result, call.time_zone)
}
