//! Values as text: in Snowflake's default output formats, and in a form that can be read back
//! exactly.

use std::sync::Arc;

use arrow::array::ArrayRef;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use super::array::ValueArray;
use super::clock::Zone;
use super::convert;
use super::format::date::DateFormat;
use super::json;
use super::value::Value;
use crate::error::{SqlError, SqlResult};
use crate::types::DataType;

/// Formats a value of a type as Snowflake's clients show it by default; None for NULL.
///
/// The formats are the defaults of the parameters `TIMESTAMP_NTZ_OUTPUT_FORMAT` and so on:
/// `YYYY-MM-DD HH24:MI:SS.FF3`, followed by ` TZHTZM` if there is a zone, `YYYY-MM-DD`, and
/// `HH24:MI:SS`.
///
/// # Errors
/// If the value is not of the type.
pub fn render(value: &ScalarValue, ty: DataType, time_zone: Tz) -> SqlResult<Option<String>> {
    Ok(match of_scalar(value, ty)? {
        Value::Null => None,
        Value::Json(text) => {
            let parsed = json::parse(&text)?;
            let pretty = serde_json::to_string_pretty(&parsed);
            Some(pretty.map_err(|error| SqlError::internal(&error))?)
        }
        value => Some(convert::text(value, time_zone)?.into_owned()),
    })
}

/// Returns a text that a cast to the type converts back to the same value.
pub fn exact(value: &ScalarValue, ty: DataType) -> SqlResult<String> {
    let time_zone = chrono_tz::UTC;
    let value = of_scalar(value, ty)?;
    let format = match &value {
        Value::Timestamp(timestamp) => match timestamp.zone {
            Zone::None => "YYYY-MM-DD HH24:MI:SS.FF9",
            _ => "YYYY-MM-DD HH24:MI:SS.FF9 TZHTZM",
        },
        Value::Time(_) => "HH24:MI:SS.FF9",
        // Rust's shortest text is read back as the same float.
        Value::Float(float) => return Ok(float.to_string()),
        _ => return Ok(convert::text(value, time_zone)?.into_owned()),
    };
    Ok(DateFormat::new(format)?.format(convert::parts(&value, time_zone)?))
}

/// Converts a value of DataFusion to one of icebox.
fn of_scalar(value: &ScalarValue, ty: DataType) -> SqlResult<Value<'static>> {
    let failed = |error| {
        super::translate_error::from_datafusion(&error, &std::collections::HashMap::default())
    };
    let array: ArrayRef = value.to_array().map_err(failed)?;
    let field = ty
        .to_field("", true)
        .with_data_type(array.data_type().clone());
    let column = ValueArray::new(&Arc::clone(&array), &field)?;
    Ok(column.get(0).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_numbers_and_json_have_their_formats() {
        let zone = chrono_tz::America::Los_Angeles;
        let show = |value: ScalarValue, ty: &str| {
            let ty = DataType::parse(ty).unwrap();
            render(&value, ty, zone)
                .unwrap()
                .unwrap_or("NULL".to_owned())
        };
        let micros = Some(1_704_067_200_123_456);
        let utc: Option<Arc<str>> = Some("UTC".into());
        let east: Option<Arc<str>> = Some("+02:00".into());
        assert_eq!(
            show(
                ScalarValue::TimestampMicrosecond(micros, None),
                "TIMESTAMP_NTZ(6)"
            ),
            "2024-01-01 00:00:00.123"
        );
        assert_eq!(
            show(
                ScalarValue::TimestampMicrosecond(micros, utc),
                "TIMESTAMP_LTZ(6)"
            ),
            "2023-12-31 16:00:00.123 -0800"
        );
        assert_eq!(
            show(
                ScalarValue::TimestampMicrosecond(micros, east),
                "TIMESTAMP_TZ(6)"
            ),
            "2024-01-01 02:00:00.123 +0200"
        );
        assert_eq!(show(ScalarValue::Date32(Some(-1)), "DATE"), "1969-12-31");
        assert_eq!(
            show(ScalarValue::Decimal128(Some(-50), 12, 2), "NUMBER(12,2)"),
            "-0.50"
        );
        assert_eq!(show(ScalarValue::Int64(Some(7)), "NUMBER(19,0)"), "7");
        assert_eq!(show(ScalarValue::Float64(Some(1.0)), "FLOAT"), "1");
        assert_eq!(show(ScalarValue::Boolean(Some(true)), "BOOLEAN"), "true");
        assert_eq!(show(ScalarValue::Utf8(None), "VARCHAR"), "NULL");
        assert_eq!(
            show(ScalarValue::Binary(Some(vec![1, 255])), "BINARY"),
            "01FF"
        );
        assert_eq!(
            show(ScalarValue::from(r#"{"a":[1]}"#), "VARIANT"),
            "{\n  \"a\": [\n    1\n  ]\n}"
        );
    }
}
