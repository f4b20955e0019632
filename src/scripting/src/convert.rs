//! The conversion of values to the types of the variables that they are assigned to.

use datafusion::common::ScalarValue;

use super::value::Value;
use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::types::DataType;

/// Converts a value to a type. The result is `None` if the conversion depends on the session, such
/// as on its formats and time zone, or is not among numbers, texts and booleans. Then the host must
/// evaluate a CAST.
///
/// `shown` is the value as errors show it: the text of its expression.
///
/// # Errors
/// If the value has no counterpart in the type, with the error texts of casts.
pub fn convert(value: &Value, ty: DataType, shown: &str) -> SqlResult<Option<Value>> {
    use DataType as T;
    if value.is_null() {
        return Ok(Some(Value::null(ty)));
    }
    if is_refused(value.ty, ty) {
        return Err(refused(ty, shown));
    }
    let converted = match (value.ty, ty) {
        (_, T::Number { precision, scale }) => match number(value)? {
            Some((digits, from)) => number_of(digits, from, precision, scale)?,
            None => return Ok(None),
        },
        (T::Number { .. } | T::Text { .. }, T::Float) => ScalarValue::Float64(Some(float(value)?)),
        (T::Number { .. } | T::Text { .. } | T::Boolean, T::Text { length }) => {
            let Some(text) = plain_text(value) else {
                return Ok(None);
            };
            fits(&text, length)?;
            ScalarValue::Utf8(Some(text))
        }
        (T::Number { .. }, T::Boolean) => {
            let is_true = value.as_number().is_some_and(|(digits, _)| digits != 0);
            ScalarValue::Boolean(Some(is_true))
        }
        (T::Float, T::Boolean) => ScalarValue::Boolean(value.as_float().map(|it| it != 0.0)),
        (T::Text { .. }, T::Boolean) => ScalarValue::Boolean(Some(boolean(value)?)),
        (from, to) if from == to => value.value.clone(),
        _ => return Ok(None),
    };
    Ok(Some(Value::new(ty, converted)))
}

/// Checks that a text is not longer than its type allows, in characters.
pub fn fits(text: &str, length: u32) -> SqlResult<()> {
    if text.len() <= length as usize || text.chars().count() <= length as usize {
        Ok(())
    } else {
        let message = format!("String '{text}' is too long and would be truncated");
        Err(SqlError::new(code::STRING_TOO_LONG, message))
    }
}

/// Returns a number, text or boolean as text; `None` for other types and for NULL.
pub fn plain_text(value: &Value) -> Option<String> {
    if let Some(text) = value.as_text() {
        return Some(text.to_owned());
    }
    match value.ty {
        DataType::Boolean => value.as_boolean().map(|it| it.to_string()),
        DataType::Number { .. } => value.as_number().map(|(digits, scale)| {
            let sign = if digits < 0 { "-" } else { "" };
            let text = format!("{:0>1$}", digits.unsigned_abs(), usize::from(scale) + 1);
            match text.split_at(text.len() - usize::from(scale)) {
                (whole, "") => format!("{sign}{whole}"),
                (whole, fraction) => format!("{sign}{whole}.{fraction}"),
            }
        }),
        _ => None,
    }
}

/// Returns whether IF, WHILE, UNTIL and a CASE without a subject take a value as true: TRUE itself,
/// or a value whose text is `1` or `true` (seen on a live account).
pub fn is_true(value: &Value) -> bool {
    match value.ty {
        DataType::Boolean => value.as_boolean() == Some(true),
        DataType::Float => value.as_float() == Some(1.0),
        _ => plain_text(value)
            .or_else(|| value.value.try_as_str().flatten().map(str::to_owned))
            .is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true")),
    }
}

/// Returns whether no cast converts one type to the other (seen on a live account).
fn is_refused(from: DataType, to: DataType) -> bool {
    use DataType as T;
    let is_time = |ty| {
        matches!(
            ty,
            T::Date
                | T::Time { .. }
                | T::TimestampNtz { .. }
                | T::TimestampLtz { .. }
                | T::TimestampTz { .. }
        )
    };
    match (from, to) {
        (T::Boolean, T::Float | T::Binary { .. }) => true,
        (T::Boolean | T::Float, to) => is_time(to),
        (T::Number { .. }, T::Date | T::Time { .. } | T::Binary { .. }) => true,
        (from, T::Boolean | T::Float | T::Number { .. } | T::Binary { .. }) => is_time(from),
        _ => false,
    }
}

fn refused(ty: DataType, shown: &str) -> SqlError {
    let function = match ty {
        DataType::Number { .. } => "TO_NUMBER",
        DataType::Float => "TO_DOUBLE",
        DataType::Boolean => "TO_BOOLEAN",
        DataType::Date => "TO_DATE",
        DataType::Time { .. } => "TO_TIME",
        DataType::TimestampNtz { .. } => "TO_TIMESTAMP_NTZ",
        DataType::TimestampLtz { .. } => "TO_TIMESTAMP_LTZ",
        DataType::TimestampTz { .. } => "TO_TIMESTAMP_TZ",
        _ => "TO_BINARY",
    };
    let text = format!("invalid type [CAST({shown} AS {ty})] for parameter '{function}'");
    SqlError::compilation(code::INVALID_TYPE, text)
}

fn not_a_number(text: &str) -> SqlError {
    let message = format!("Numeric value '{text}' is not recognized");
    SqlError::new(code::NUMBER_NOT_RECOGNIZED, message)
}

/// Returns the digits and the scale of a value as a number; `None` for other types and for NULL.
fn number(value: &Value) -> SqlResult<Option<(i128, u8)>> {
    if let Some(text) = value.as_text() {
        return parse(text).map(Some).ok_or_else(|| not_a_number(text));
    }
    Ok(match value.ty {
        DataType::Number { .. } => value.as_number(),
        DataType::Boolean => value.as_boolean().map(|it| (i128::from(it), 0)),
        DataType::Float => match value.as_float() {
            // The shortest text that gives the same number has the digits that were meant.
            Some(number) => {
                let text = format!("{number:?}");
                Some(parse(&text).ok_or_else(|| out_of_range(&text))?)
            }
            None => None,
        },
        _ => None,
    })
}

/// Parses the digits and the scale of a text such as ` -12.50` or `1e3`.
fn parse(text: &str) -> Option<(i128, u8)> {
    let text = text.trim().to_ascii_lowercase();
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text.as_str(), 0),
    };
    let (sign, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = !(whole.is_empty() && fraction.is_empty())
        && (whole.bytes().chain(fraction.bytes())).all(|byte| byte.is_ascii_digit());
    if !is_number || exponent.abs() > 400 {
        return None;
    }
    let mut digits = format!("{whole}{fraction}");
    let mut scale = fraction.len() as i32 - exponent;
    while scale < 0 {
        digits.push('0');
        scale += 1;
    }
    // Digits beyond any type's scale are cut off, except for one that is needed for rounding.
    while scale > 38 {
        digits.pop();
        scale -= 1;
    }
    let digits = match digits.trim_start_matches('0') {
        "" => 0,
        digits => digits.parse::<i128>().ok()?,
    };
    Some((sign * digits, scale as u8))
}

fn number_of(digits: i128, from: u8, precision: u8, scale: u8) -> SqlResult<ScalarValue> {
    let fail = || {
        let shown = Value::new(
            DataType::Number {
                precision: 38,
                scale: from,
            },
            ScalarValue::Decimal128(Some(digits), 38, from as i8),
        );
        out_of_range(&plain_text(&shown).unwrap_or_default())
    };
    let scaled = if let Some(up) = scale.checked_sub(from) {
        digits
            .checked_mul(10_i128.pow(u32::from(up)))
            .ok_or_else(fail)?
    } else {
        // Rounds half away from zero.
        let unit = 10_i128.pow(u32::from(from - scale));
        let (quotient, remainder) = (digits / unit, digits % unit);
        let rounds = remainder.unsigned_abs() * 2 >= unit.unsigned_abs();
        quotient + if rounds { digits.signum() } else { 0 }
    };
    if scaled.unsigned_abs() < 10_u128.pow(u32::from(precision)) {
        Ok(ScalarValue::Decimal128(
            Some(scaled),
            precision,
            scale as i8,
        ))
    } else {
        Err(fail())
    }
}

fn out_of_range(shown: &str) -> SqlError {
    let message = format!("Numeric value '{shown}' is out of range");
    SqlError::new(code::NUMBER_OUT_OF_RANGE, message)
}

fn float(value: &Value) -> SqlResult<f64> {
    let text = plain_text(value).unwrap_or_default();
    let number = match text.trim().to_ascii_lowercase().as_str() {
        "nan" => Ok(f64::NAN),
        "inf" | "+inf" => Ok(f64::INFINITY),
        "-inf" => Ok(f64::NEG_INFINITY),
        trimmed => {
            if parse(trimmed).is_some() || trimmed.contains('e') {
                trimmed.parse()
            } else {
                "".parse()
            }
        }
    };
    number.map_err(|_| not_a_number(&text))
}

fn boolean(value: &Value) -> SqlResult<bool> {
    let text = value.as_text().unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => {
            let message = format!("Boolean value '{text}' is not recognized");
            Err(SqlError::new(code::BOOLEAN_NOT_RECOGNIZED, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(value: Value, ty: &str) -> String {
        let ty = DataType::parse(ty).unwrap();
        match convert(&value, ty, "x") {
            Ok(Some(value)) => plain_text(&value).unwrap_or_else(|| value.value.to_string()),
            Ok(None) => "host".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn numbers_round_half_away_from_zero_and_keep_their_range() {
        let text = |text: &str| Value::text(text);
        assert_eq!(converted(text(" 12.345 "), "NUMBER(5,2)"), "12.35");
        assert_eq!(converted(text("-12.345"), "NUMBER(5,2)"), "-12.35");
        assert_eq!(converted(text("-0.5"), "NUMBER(3,0)"), "-1");
        assert_eq!(converted(text("1.5e2"), "NUMBER(5,0)"), "150");
        assert_eq!(converted(text("0.001"), "NUMBER(5,3)"), "0.001");
        assert_eq!(
            converted(text("999.5"), "NUMBER(3,0)"),
            "100039 (22003): Numeric value '999.5' is out of range"
        );
        assert_eq!(
            converted(text("one"), "NUMBER(3,0)"),
            "100038 (22018): Numeric value 'one' is not recognized"
        );
        let float = Value::from_scalar(ScalarValue::Float64(Some(2.675)));
        assert_eq!(converted(float.clone(), "NUMBER(5,2)"), "2.68");
        assert_eq!(converted(float, "VARCHAR"), "host");
        let large = Value::from_scalar(ScalarValue::Int64(Some(i64::MIN)));
        assert_eq!(converted(large, "NUMBER"), "-9223372036854775808");
        assert_eq!(converted(Value::boolean(true), "NUMBER(1,0)"), "1");
    }

    #[test]
    fn texts_are_held_to_their_length_in_characters() {
        assert_eq!(converted(Value::text("äöü"), "VARCHAR(3)"), "äöü");
        assert_eq!(
            converted(Value::text("abcdef"), "VARCHAR(2)"),
            "100078 (22000): String 'abcdef' is too long and would be truncated"
        );
        assert_eq!(converted(Value::integer(-5), "VARCHAR"), "-5");
        assert_eq!(converted(Value::boolean(false), "VARCHAR"), "false");
    }

    #[test]
    fn what_no_cast_converts_is_refused() {
        assert_eq!(
            converted(Value::boolean(true), "DATE"),
            "001007 (22023): SQL compilation error:\ninvalid type [CAST(x AS DATE)] for parameter 'TO_DATE'"
        );
        assert_eq!(converted(Value::text("2024-01-01"), "DATE"), "host");
        assert_eq!(converted(Value::text("Yes"), "BOOLEAN"), "true");
        assert_eq!(
            converted(Value::text("x"), "BOOLEAN"),
            "100037 (22018): Boolean value 'x' is not recognized"
        );
        assert_eq!(converted(Value::text("1e3"), "FLOAT"), "1000");
        assert!(converted(Value::text("infinity?"), "FLOAT").starts_with("100038"));
    }

    #[test]
    fn conditions_are_true_by_their_text() {
        let number = |digits, scale| {
            let ty = DataType::Number {
                precision: 3,
                scale,
            };
            Value::new(ty, ScalarValue::Decimal128(Some(digits), 3, scale as i8))
        };
        assert!(is_true(&Value::text("True")) && is_true(&Value::text("1")));
        assert!(!is_true(&Value::text("yes")) && !is_true(&Value::text(" true")));
        assert!(is_true(&number(1, 0)) && !is_true(&number(10, 1)) && !is_true(&number(2, 0)));
        assert!(is_true(&Value::from_scalar(ScalarValue::Float64(Some(
            1.0
        )))));
        assert!(!is_true(&Value::null(DataType::Boolean)));
    }
}
