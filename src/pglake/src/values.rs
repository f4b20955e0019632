//! Conversion of values from and to PostgreSQL's text format.
//!
//! The text comes from PostgreSQL's own output functions with the settings of `postgres_fdw` (ISO
//! dates, `postgres` intervals). So a text that cannot be parsed is a bug and reported as such. A
//! value that Iceberg cannot hold is the user's error, with `pg_lake`'s SQLSTATE and message.

use std::fmt::Write as _;

use uuid::Uuid;

/// The reason why a value cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    #[error("{0} out of range")]
    OutOfRange(&'static str),
    #[error("NaN is not supported for Iceberg decimal")]
    DecimalNaN,
    #[error("multidimensional arrays are not supported in Iceberg tables")]
    Multidimensional,
    #[error("value {text:?} does not fit the Iceberg type decimal({precision},{scale})")]
    DecimalOverflow {
        text: String,
        precision: u32,
        scale: u32,
    },
    #[error("unexpected text for a value of kind {kind}: {text:?}")]
    Malformed { kind: &'static str, text: String },
}

impl ValueError {
    /// The SQLSTATE that `pg_lake` uses for this error.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::OutOfRange(_) => "22008",
            Self::Multidimensional => "0A000",
            Self::DecimalOverflow { .. } => "22003",
            Self::DecimalNaN | Self::Malformed { .. } => "XX000",
        }
    }
}

pub(super) fn malformed(kind: &'static str, text: &[u8]) -> ValueError {
    ValueError::Malformed {
        kind,
        text: String::from_utf8_lossy(text).into_owned(),
    }
}

/// Parses the text as a number.
pub(super) fn number<T: std::str::FromStr>(
    kind: &'static str,
    text: &[u8],
) -> Result<T, ValueError> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed(kind, text))
}

pub(crate) fn integer(text: &[u8]) -> Result<i64, ValueError> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 19 {
        return Err(malformed("integer", text));
    }
    // The sum is kept negative, so that the smallest `i64` fits.
    let mut value = 0i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return Err(malformed("integer", text));
        }
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_sub(i64::from(digit)))
            .ok_or_else(|| malformed("integer", text))?;
    }
    if negative {
        Ok(value)
    } else {
        value
            .checked_neg()
            .ok_or_else(|| malformed("integer", text))
    }
}

pub(super) fn float(text: &[u8]) -> Result<f64, ValueError> {
    match text {
        b"Infinity" => Ok(f64::INFINITY),
        b"-Infinity" => Ok(f64::NEG_INFINITY),
        text => number("double", text),
    }
}

/// Parses a `real`. It does not use [`float`], because rounding to double first could round twice.
pub(super) fn float4(text: &[u8]) -> Result<f32, ValueError> {
    match text {
        b"Infinity" => Ok(f32::INFINITY),
        b"-Infinity" => Ok(f32::NEG_INFINITY),
        text => number("float", text),
    }
}

/// Parses a numeric and returns its unscaled value. Zeros beyond the scale are accepted.
pub(crate) fn decimal(text: &[u8], precision: u32, scale: u32) -> Result<i128, ValueError> {
    let (negative, digits) = match text {
        b"NaN" => return Err(ValueError::DecimalNaN),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let overflow = || ValueError::DecimalOverflow {
        text: String::from_utf8_lossy(text).into_owned(),
        precision,
        scale,
    };
    let mut value = 0i128;
    let mut fraction = None::<u32>;
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                if fraction == Some(scale) {
                    if byte != b'0' {
                        return Err(overflow());
                    }
                    continue;
                }
                value = value
                    .checked_mul(10)
                    .and_then(|value| value.checked_add(i128::from(byte - b'0')))
                    .ok_or_else(overflow)?;
                fraction = fraction.map(|digits| digits + 1);
            }
            b'.' if fraction.is_none() => fraction = Some(0),
            _ => return Err(malformed("numeric", text)),
        }
    }
    for _ in fraction.unwrap_or(0)..scale {
        value = value.checked_mul(10).ok_or_else(overflow)?;
    }
    if value >= 10i128.pow(precision) {
        return Err(overflow());
    }
    Ok(if negative { -value } else { value })
}

pub(super) fn bytes(text: &[u8]) -> Result<Vec<u8>, ValueError> {
    let digits = text
        .strip_prefix(b"\\x")
        .ok_or_else(|| malformed("bytea", text))?;
    let nibble = |digit: u8| (digit as char).to_digit(16).map(|digit| digit as u8);
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| malformed("bytea", text))
}

pub(crate) fn uuid(text: &[u8]) -> Result<Uuid, ValueError> {
    Uuid::try_parse_ascii(text).map_err(|_| malformed("uuid", text))
}

/// Parses a one-dimensional array literal into its unescaped elements; `None` is NULL.
pub(crate) fn array(text: &[u8]) -> Result<Vec<Option<Vec<u8>>>, ValueError> {
    let error = || malformed("array", text);
    // An array whose first subscript is not 1 starts with its bounds: [0:2]={…}.
    let start = text
        .iter()
        .position(|byte| *byte == b'{')
        .ok_or_else(error)?;
    if text[..start].windows(2).any(|pair| pair == b"][") {
        return Err(ValueError::Multidimensional);
    }
    let body = text[start + 1..].strip_suffix(b"}").ok_or_else(error)?;
    let mut elements = Vec::new();
    let mut bytes = body.iter().copied().peekable();
    while let Some(&first) = bytes.peek() {
        let mut element = Vec::new();
        if first == b'{' {
            return Err(ValueError::Multidimensional);
        }
        let quoted = first == b'"';
        if quoted {
            bytes.next();
        }
        loop {
            match bytes.next() {
                Some(b'\\') => element.push(bytes.next().ok_or_else(error)?),
                Some(b'"') if quoted => break,
                Some(b',') if !quoted => break,
                Some(byte) => element.push(byte),
                None if quoted => return Err(error()),
                None => break,
            }
        }
        if quoted && !matches!(bytes.next(), None | Some(b',')) {
            return Err(error());
        }
        elements.push((quoted || !element.eq_ignore_ascii_case(b"NULL")).then_some(element));
    }
    Ok(elements)
}

pub(super) fn write_decimal(out: &mut String, value: i128, scale: u32) {
    if value < 0 {
        out.push('-');
    }
    let digits = value.unsigned_abs();
    let unit = 10u128.pow(scale);
    let _ = write!(out, "{}", digits / unit);
    if scale > 0 {
        let _ = write!(out, ".{:0width$}", digits % unit, width = scale as usize);
    }
}

pub(super) fn write_float(out: &mut String, value: f64, shortest: impl std::fmt::Display) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        let _ = write!(out, "{shortest}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(b"-12345678.90", 10, 2).unwrap(), -1_234_567_890);
        assert_eq!(decimal(b"12300", 12, 0).unwrap(), 12_300);
        assert_eq!(decimal(b"0.00012", 5, 5).unwrap(), 12);
        assert_eq!(decimal(b"5", 4, 3).unwrap(), 5_000);
        assert!(matches!(decimal(b"NaN", 4, 2), Err(ValueError::DecimalNaN)));
        assert!(matches!(
            decimal(b"1000", 3, 0),
            Err(ValueError::DecimalOverflow { .. })
        ));
        let mut text = String::new();
        write_decimal(&mut text, -5, 2);
        assert_eq!(text, "-0.05");
    }

    #[test]
    fn array_literals_are_unescaped() {
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(array(b"{}").unwrap(), vec![]);
        assert_eq!(
            array(b"{1,2,NULL}").unwrap(),
            vec![some("1"), some("2"), None]
        );
        assert_eq!(
            array(br#"{a,"b,c","NULL","q\"\\",""}"#).unwrap(),
            vec![
                some("a"),
                some("b,c"),
                some("NULL"),
                some("q\"\\"),
                some("")
            ]
        );
        assert_eq!(array(b"[0:1]={7,8}").unwrap(), vec![some("7"), some("8")]);
        assert!(matches!(
            array(b"{{1,2},{3,4}}"),
            Err(ValueError::Multidimensional)
        ));
    }
}
