//! Functions of dates and times.

use chrono::{Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Weekday};

use super::date_part::DatePart;
use super::{Function, ScalarCall, argument, result_type};
use crate::error::{SqlError, SqlResult};
use crate::query::clock;
use crate::query::clock::{Timestamp, Zone};
use crate::query::convert::{self, convert};
use crate::query::format::date;
use crate::query::value::Value;
use crate::types::DataType;

pub const FUNCTIONS: &[Function] = &[
    Function::scalar("DATEADD", (3, 3), added_type, |call, values| {
        add_part(
            call,
            part(call, values)?,
            argument::integer(call, values, 1)?,
            &values[2],
        )
    })
    .with_synonyms(&["TIMEADD", "TIMESTAMPADD"])
    .with_date_part(0),
    Function::scalar(
        "DATEDIFF",
        (3, 3),
        |_| {
            Ok(DataType::Number {
                precision: 9,
                scale: 0,
            })
        },
        difference,
    )
    .with_synonyms(&["TIMEDIFF", "TIMESTAMPDIFF"])
    .with_date_part(0),
    Function::scalar("DATE_TRUNC", (2, 2), truncated_type, truncate).with_date_part(0),
    Function::scalar("DATE_PART", (2, 2), part_type, |call, values| {
        extract(call, part(call, values)?, &values[1])
    })
    .with_date_part(0),
    extracted("YEAR"),
    extracted("QUARTER"),
    extracted("MONTH"),
    extracted("DAY"),
    extracted("DAYOFMONTH"),
    extracted("WEEK"),
    extracted("WEEKOFYEAR"),
    extracted("WEEKISO"),
    extracted("DAYOFWEEK"),
    extracted("DAYOFWEEKISO"),
    extracted("DAYOFYEAR"),
    extracted("YEAROFWEEK"),
    extracted("YEAROFWEEKISO"),
    extracted("HOUR"),
    extracted("MINUTE"),
    extracted("SECOND"),
    Function::scalar("LAST_DAY", (1, 2), result_type::date, last_day).with_date_part(1),
    Function::scalar("NEXT_DAY", (2, 2), result_type::date, |call, values| {
        near_day(call, values, 1)
    }),
    Function::scalar("PREVIOUS_DAY", (2, 2), result_type::date, |call, values| {
        near_day(call, values, -1)
    }),
    Function::scalar(
        "ADD_MONTHS",
        (2, 2),
        |call| moment_type(call, 0),
        add_months,
    ),
    Function::scalar("MONTHS_BETWEEN", (2, 2), result_type::float, months_between),
    Function::scalar("DAYNAME", (1, 1), result_type::text, |call, values| {
        Ok(Value::text(date::day_name(
            wall_clock(call, &values[0])?.date(),
        )))
    }),
    Function::scalar("MONTHNAME", (1, 1), result_type::text, |call, values| {
        Ok(Value::text(date::month_name(
            wall_clock(call, &values[0])?.month(),
        )))
    }),
    Function::scalar(
        "DATE_FROM_PARTS",
        (3, 3),
        result_type::date,
        |call, values| {
            Ok(Value::Date(clock::days_of_date(date_from_parts(
                call, values,
            )?)))
        },
    )
    .with_synonyms(&["DATEFROMPARTS"]),
    Function::scalar(
        "TIMESTAMP_NTZ_FROM_PARTS",
        (6, 7),
        |_| Ok(DataType::TimestampNtz { scale: 9 }),
        timestamp_from_parts,
    )
    .with_synonyms(&["TIMESTAMPNTZFROMPARTS", "TIMESTAMP_FROM_PARTS"]),
    Function::scalar(
        "CONVERT_TIMEZONE",
        (3, 3),
        |_| Ok(DataType::TimestampNtz { scale: 9 }),
        convert_timezone,
    ),
];

const fn extracted(name: &'static str) -> Function {
    Function::scalar(name, (1, 1), result_type::small, |call, values| {
        extract(call, DatePart::named(call.name)?, &values[0])
    })
}

fn part(call: &ScalarCall, values: &[Value<'_>]) -> SqlResult<DatePart> {
    let name = argument::text(call, values, 0)?;
    Ok(*call.compiled(&name, DatePart::named)?)
}

/// Returns the date part that a literal first argument names.
fn literal_part(call: &ScalarCall) -> SqlResult<DatePart> {
    DatePart::named(call.text(0).ok_or_else(|| call.wrong_types())?)
}

/// Returns the type of an argument that is a date or a timestamp. A text is read as a timestamp.
pub fn moment_type(call: &ScalarCall, index: usize) -> SqlResult<DataType> {
    match call.ty(index) {
        DataType::Text { .. } | DataType::Variant => Ok(DataType::TimestampNtz { scale: 9 }),
        ty @ (DataType::Date
        | DataType::TimestampNtz { .. }
        | DataType::TimestampLtz { .. }
        | DataType::TimestampTz { .. }) => Ok(ty),
        _ => Err(call.wrong_types()),
    }
}

/// Converts the argument to a date, a time or a timestamp.
fn moment<'a>(call: &ScalarCall, value: &Value<'a>) -> SqlResult<Value<'a>> {
    match value {
        Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => Ok(value.clone()),
        other => convert(
            other.clone(),
            DataType::TimestampNtz { scale: 9 },
            call.time_zone,
        ),
    }
}

fn wall_clock(call: &ScalarCall, value: &Value<'_>) -> SqlResult<NaiveDateTime> {
    let parts = convert::parts(&moment(call, value)?, call.time_zone)?;
    Ok(parts.date.and_time(parts.time))
}

fn added_type(call: &ScalarCall) -> SqlResult<DataType> {
    let part = literal_part(call)?;
    match call.ty(2) {
        DataType::Date if part.nanos().is_some() => Ok(DataType::TimestampNtz { scale: 9 }),
        time @ DataType::Time { .. } => Ok(time),
        _ => moment_type(call, 2),
    }
}

/// Adds `count` date parts to a date, a time or a timestamp.
pub fn add_part<'a>(
    call: &ScalarCall,
    part: DatePart,
    count: i64,
    value: &Value<'_>,
) -> SqlResult<Value<'a>> {
    let overflow = || clock::out_of_range(format_args!("{count} {part} later"));
    let value = moment(call, value)?;
    if let Some(unit) = part.nanos() {
        let by = unit.checked_mul(i128::from(count)).ok_or_else(overflow)?;
        return Ok(match value {
            Value::Time(nanos) => {
                let day = i128::from(clock::DAY);
                Value::Time((i128::from(nanos) + by).rem_euclid(day) as i64)
            }
            Value::Timestamp(timestamp) => Value::Timestamp(Timestamp {
                nanos: timestamp.nanos + by,
                zone: timestamp.zone,
            }),
            other => {
                let nanos = clock::nanos_of_datetime(wall_clock(call, &other)?) + by;
                let zone = Zone::None;
                Value::Timestamp(Timestamp { nanos, zone })
            }
        });
    }
    if matches!(value, Value::Time(_)) {
        return Err(call.wrong_types());
    }
    let reading = wall_clock(call, &value)?;
    let moved = match (part.months(), part) {
        (Some(months), _) => {
            add_calendar_months(reading, months.checked_mul(count).ok_or_else(overflow)?)
        }
        (_, DatePart::Week) => add_days(reading, count.checked_mul(7).ok_or_else(overflow)?),
        (_, DatePart::Day | DatePart::DayOfWeek | DatePart::DayOfYear) => add_days(reading, count),
        _ => {
            return Err(SqlError::unsupported(format_args!(
                "date part {part} in DATEADD"
            )));
        }
    };
    same_kind(call, moved.ok_or_else(overflow)?, &value)
}

fn add_calendar_months(reading: NaiveDateTime, months: i64) -> Option<NaiveDateTime> {
    let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    if months < 0 {
        reading.checked_sub_months(count)
    } else {
        reading.checked_add_months(count)
    }
}

fn add_days(reading: NaiveDateTime, days: i64) -> Option<NaiveDateTime> {
    let count = Days::new(days.unsigned_abs());
    if days < 0 {
        reading.checked_sub_days(count)
    } else {
        reading.checked_add_days(count)
    }
}

/// Converts a wall clock's reading to a value of the same kind as `value`.
fn same_kind<'a>(
    call: &ScalarCall,
    reading: NaiveDateTime,
    value: &Value<'_>,
) -> SqlResult<Value<'a>> {
    Ok(match value {
        Value::Date(_) => Value::Date(clock::days_of_date(reading.date())),
        Value::Time(_) => Value::Time(clock::nanos_of_day(reading.time())),
        Value::Timestamp(timestamp) => {
            Value::Timestamp(clock::timestamp(reading, timestamp.zone, call.time_zone)?)
        }
        _ => Value::Timestamp(clock::timestamp(reading, Zone::None, call.time_zone)?),
    })
}

/// Returns the number of boundaries of a date part between a fixed origin and a reading. DATEDIFF
/// is the difference of two such numbers.
fn ordinal(part: DatePart, reading: NaiveDateTime) -> SqlResult<i128> {
    let days = i128::from(clock::days_of_date(reading.date()));
    let year = i128::from(reading.year());
    Ok(match part {
        DatePart::Year => year,
        DatePart::Quarter => year * 4 + i128::from(reading.month0() / 3),
        DatePart::Month => year * 12 + i128::from(reading.month0()),
        // Weeks begin on Monday; 1970-01-01 was a Thursday.
        DatePart::Week => (days + 3).div_euclid(7),
        DatePart::Day => days,
        _ => match part.nanos() {
            Some(unit) => clock::nanos_of_datetime(reading).div_euclid(unit),
            None => {
                return Err(SqlError::unsupported(format_args!(
                    "date part {part} in DATEDIFF"
                )));
            }
        },
    })
}

fn difference<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let part = part(call, values)?;
    let reading = |value: &Value<'_>| {
        let value = match moment(call, value)? {
            // Timestamps with an offset are compared on the session's wall clock.
            Value::Timestamp(Timestamp {
                nanos,
                zone: Zone::Fixed(_),
            }) => {
                let zone = Zone::Session;
                Value::Timestamp(Timestamp { nanos, zone })
            }
            other => other,
        };
        wall_clock(call, &value)
    };
    let (from, to) = (reading(&values[1])?, reading(&values[2])?);
    Ok(Value::integer(ordinal(part, to)? - ordinal(part, from)?))
}

fn truncated_type(call: &ScalarCall) -> SqlResult<DataType> {
    literal_part(call)?;
    match call.ty(1) {
        time @ DataType::Time { .. } => Ok(time),
        _ => moment_type(call, 1),
    }
}

fn truncate<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let part = part(call, values)?;
    let value = moment(call, &values[1])?;
    let reading = wall_clock(call, &value)?;
    let date = reading.date();
    let first = |year, month| NaiveDate::from_ymd_opt(year, month, 1).unwrap_or(date);
    let start = match part {
        DatePart::Year => Some(first(date.year(), 1)),
        DatePart::Quarter => Some(first(date.year(), date.month0() / 3 * 3 + 1)),
        DatePart::Month => Some(first(date.year(), date.month())),
        DatePart::Week | DatePart::WeekIso => Some(date.week(Weekday::Mon).first_day()),
        DatePart::Day => Some(date),
        _ => None,
    };
    match (start, part.nanos()) {
        (Some(start), _) => same_kind(call, start.and_time(NaiveTime::MIN), &value),
        (None, Some(unit)) => {
            let nanos = clock::nanos_of_datetime(reading);
            same_kind(
                call,
                clock::datetime_of_nanos(nanos - nanos.rem_euclid(unit))?,
                &value,
            )
        }
        (None, None) => Err(SqlError::unsupported(format_args!(
            "date part {part} in DATE_TRUNC"
        ))),
    }
}

fn part_type(call: &ScalarCall) -> SqlResult<DataType> {
    literal_part(call)?;
    Ok(DataType::Number {
        precision: 19,
        scale: 0,
    })
}

fn extract<'a>(call: &ScalarCall, part: DatePart, value: &Value<'_>) -> SqlResult<Value<'a>> {
    let value = moment(call, value)?;
    let reading = wall_clock(call, &value)?;
    let (date, time) = (reading.date(), reading.time());
    let utc = match &value {
        Value::Timestamp(timestamp) => timestamp.nanos,
        _ => clock::nanos_of_datetime(reading),
    };
    let offset = || match &value {
        Value::Timestamp(timestamp) => clock::offset(*timestamp, call.time_zone),
        _ => Ok(0),
    };
    let number: i128 = match part {
        DatePart::Year => date.year().into(),
        DatePart::Quarter => (date.month0() / 3 + 1).into(),
        DatePart::Month => date.month().into(),
        DatePart::Day => date.day().into(),
        // The parameters WEEK_START and WEEK_OF_YEAR_POLICY have their default values.
        DatePart::Week | DatePart::WeekIso => date.iso_week().week().into(),
        DatePart::YearOfWeek | DatePart::YearOfWeekIso => date.iso_week().year().into(),
        DatePart::DayOfWeek => date.weekday().num_days_from_sunday().into(),
        DatePart::DayOfWeekIso => date.weekday().number_from_monday().into(),
        DatePart::DayOfYear => date.ordinal().into(),
        DatePart::Hour => time.hour().into(),
        DatePart::Minute => time.minute().into(),
        DatePart::Second => time.second().into(),
        DatePart::Millisecond => (time.nanosecond() / 1_000_000).into(),
        DatePart::Microsecond => (time.nanosecond() / 1_000).into(),
        DatePart::Nanosecond => time.nanosecond().into(),
        DatePart::EpochSecond => utc.div_euclid(1_000_000_000),
        DatePart::EpochMillisecond => utc.div_euclid(1_000_000),
        DatePart::EpochMicrosecond => utc.div_euclid(1_000),
        DatePart::EpochNanosecond => utc,
        DatePart::TimezoneHour => (offset()? / 60).into(),
        DatePart::TimezoneMinute => (offset()? % 60).into(),
    };
    Ok(Value::integer(number))
}

fn last_day<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let date = wall_clock(call, &values[0])?.date();
    let part = match values.get(1) {
        Some(_) => DatePart::named(&argument::text(call, values, 1)?)?,
        None => DatePart::Month,
    };
    let (year, month) = (date.year(), date.month());
    let last = match part {
        DatePart::Year => NaiveDate::from_ymd_opt(year, 12, 31),
        DatePart::Quarter => end_of_month(year, month.div_ceil(3) * 3),
        DatePart::Month => end_of_month(year, month),
        DatePart::Week => Some(date.week(Weekday::Mon).last_day()),
        _ => {
            return Err(SqlError::unsupported(format_args!(
                "date part {part} in LAST_DAY"
            )));
        }
    };
    let last = last.ok_or_else(|| clock::out_of_range(date))?;
    Ok(Value::Date(clock::days_of_date(last)))
}

fn end_of_month(year: i32, month: u32) -> Option<NaiveDate> {
    let first = NaiveDate::from_ymd_opt(year, month, 1)?;
    first.checked_add_months(Months::new(1))?.pred_opt()
}

/// Returns the next or the previous weekday of a name such as `fr` or `Friday`.
fn near_day<'a>(call: &ScalarCall, values: &[Value<'a>], step: i64) -> SqlResult<Value<'a>> {
    const NAMES: [&str; 7] = ["mo", "tu", "we", "th", "fr", "sa", "su"];
    let date = wall_clock(call, &values[0])?.date();
    let name = argument::text(call, values, 1)?.to_lowercase();
    let wanted = NAMES.iter().position(|start| name.starts_with(start));
    let wanted = wanted.ok_or_else(|| call.wrong_types())? as i64;
    let today = i64::from(date.weekday().num_days_from_monday());
    // The date itself counts neither as the next nor as the previous day of its name.
    let days = match ((wanted - today) * step).rem_euclid(7) {
        0 => 7 * step,
        days => days * step,
    };
    Ok(Value::Date(clock::days_of_date(date) + days as i32))
}

fn add_months<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let value = moment(call, &values[0])?;
    let reading = wall_clock(call, &value)?;
    let count = argument::integer(call, values, 1)?;
    let mut moved =
        add_calendar_months(reading, count).ok_or_else(|| clock::out_of_range(reading))?;
    // ADD_MONTHS maps the last day of a month to the last day of the other month.
    let date = reading.date();
    if end_of_month(date.year(), date.month()) == Some(date)
        && let Some(last) = end_of_month(moved.year(), moved.month())
    {
        moved = last.and_time(moved.time());
    }
    same_kind(call, moved, &value)
}

fn months_between<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let (a, b) = (wall_clock(call, &values[0])?, wall_clock(call, &values[1])?);
    let months = |reading: NaiveDateTime| f64::from(reading.year() * 12 + reading.month0() as i32);
    let is_last = |d: NaiveDate| end_of_month(d.year(), d.month()) == Some(d);
    let whole = months(a) - months(b);
    let same = a.day() == b.day() || (is_last(a.date()) && is_last(b.date()));
    Ok(Value::Float(if same {
        whole
    } else {
        whole + (f64::from(a.day()) - f64::from(b.day())) / 31.0
    }))
}

/// Builds a date from year, month and day. Month and day may be outside their ranges.
fn date_from_parts(call: &ScalarCall, values: &[Value<'_>]) -> SqlResult<NaiveDate> {
    let year = argument::integer(call, values, 0)?;
    let month = argument::integer(call, values, 1)?;
    let day = argument::integer(call, values, 2)?;
    let overflow = || clock::out_of_range(format_args!("{year}-{month}-{day}"));
    let january = i32::try_from(year)
        .ok()
        .and_then(|year| NaiveDate::from_ymd_opt(year, 1, 1))
        .ok_or_else(overflow)?
        .and_time(NaiveTime::MIN);
    let first = add_calendar_months(january, month - 1).ok_or_else(overflow)?;
    Ok(add_days(first, day - 1).ok_or_else(overflow)?.date())
}

fn timestamp_from_parts<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let midnight =
        clock::nanos_of_datetime(date_from_parts(call, values)?.and_time(NaiveTime::MIN));
    let part = |index| argument::integer(call, values, index).map(i128::from);
    let seconds = part(3)? * 3600 + part(4)? * 60 + part(5)?;
    let rest = if values.len() > 6 { part(6)? } else { 0 };
    Ok(Value::Timestamp(Timestamp {
        nanos: midnight + seconds * 1_000_000_000 + rest,
        zone: Zone::None,
    }))
}

/// Computes `CONVERT_TIMEZONE(from, to, timestamp without a zone)`.
fn convert_timezone<'a>(call: &ScalarCall, values: &[Value<'a>]) -> SqlResult<Value<'a>> {
    let from = clock::zone(&argument::text(call, values, 0)?)?;
    let to = clock::zone(&argument::text(call, values, 1)?)?;
    let nanos = clock::to_utc_nanos(wall_clock(call, &values[2])?, from)?;
    let zone = Zone::Session;
    let reading = clock::wall_clock(Timestamp { nanos, zone }, to)?;
    Ok(Value::Timestamp(Timestamp {
        nanos: clock::nanos_of_datetime(reading),
        zone: Zone::None,
    }))
}
