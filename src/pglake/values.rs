//! Values in PostgreSQL's text format, as Arrow arrays and back.
//!
//! The text comes from PostgreSQL's own output functions with the settings that postgres_fdw makes (ISO dates,
//! `postgres` intervals), so a text that does not parse is a bug and says so; what Iceberg cannot hold is the user's
//! error, with the code and words of pg_lake.

use std::fmt::Write as _;

use iceberg::spec::Literal;
use uuid::Uuid;

use super::columns::Kind;

/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000;
/// 0001-01-01 and the day after 9999-12-31, in days from 1970-01-01: the range of Iceberg timestamps in pg_lake.
const FIRST_TIMESTAMP_DAY: i64 = -719_162;
const END_DAY: i64 = 2_932_897;

/// Why a value cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    #[error("{0} out of range")]
    OutOfRange(&'static str),
    #[error("NaN is not supported for Iceberg decimal")]
    DecimalNaN,
    #[error("multidimensional arrays are not supported in Iceberg tables")]
    Multidimensional,
    #[error("value {text:?} does not fit the Iceberg type decimal({precision},{scale})")]
    DecimalOverflow { text: String, precision: u32, scale: u32 },
    #[error("unexpected text for a value of kind {kind}: {text:?}")]
    Malformed { kind: &'static str, text: String },
}

impl ValueError {
    /// The SQLSTATE that pg_lake answers with.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            ValueError::OutOfRange(_) => "22008",
            ValueError::Multidimensional => "0A000",
            ValueError::DecimalOverflow { .. } => "22003",
            ValueError::DecimalNaN | ValueError::Malformed { .. } => "XX000",
        }
    }
}

fn malformed(kind: &'static str, text: &[u8]) -> ValueError {
    ValueError::Malformed { kind, text: String::from_utf8_lossy(text).into_owned() }
}

/// The text as a number.
pub(super) fn number<T: std::str::FromStr>(kind: &'static str, text: &[u8]) -> Result<T, ValueError> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| malformed(kind, text))
}

pub(super) fn integer(text: &[u8]) -> Result<i64, ValueError> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 19 {
        return Err(malformed("integer", text));
    }
    // Negative throughout, so that the smallest value fits.
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
    if negative { Ok(value) } else { value.checked_neg().ok_or_else(|| malformed("integer", text)) }
}

pub(super) fn float(text: &[u8]) -> Result<f64, ValueError> {
    match text {
        b"Infinity" => Ok(f64::INFINITY),
        b"-Infinity" => Ok(f64::NEG_INFINITY),
        text => number("double", text),
    }
}

/// Parsed apart from [`float`], as rounding to double first could round twice.
pub(super) fn float4(text: &[u8]) -> Result<f32, ValueError> {
    match text {
        b"Infinity" => Ok(f32::INFINITY),
        b"-Infinity" => Ok(f32::NEG_INFINITY),
        text => number("float", text),
    }
}

/// The unscaled value of a decimal.
pub(super) fn decimal(text: &[u8], precision: u32, scale: u32) -> Result<i128, ValueError> {
    let (negative, digits) = match text {
        b"NaN" => return Err(ValueError::DecimalNaN),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let overflow =
        || ValueError::DecimalOverflow { text: String::from_utf8_lossy(text).into_owned(), precision, scale };
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
    let digits = text.strip_prefix(b"\\x").ok_or_else(|| malformed("bytea", text))?;
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

pub(super) fn uuid(text: &[u8]) -> Result<Uuid, ValueError> {
    Uuid::try_parse_ascii(text).map_err(|_| malformed("uuid", text))
}

/// Days from 1970-01-01 of a date of the proleptic Gregorian calendar; the year is astronomical (0 is 1 BC).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year (astronomical), month and day of a number of days from 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let month = (month_index + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * month_index + 2) / 5 + 1)
}

/// Reads from the front of a text.
struct Cursor<'a> {
    rest: &'a [u8],
    whole: &'a [u8],
    kind: &'static str,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a [u8], kind: &'static str) -> Self {
        Self { rest: text, whole: text, kind }
    }

    fn error(&self) -> ValueError {
        malformed(self.kind, self.whole)
    }

    fn digits(&mut self) -> Result<i64, ValueError> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        integer(digits).map_err(|_| self.error())
    }

    fn take(&mut self, prefix: &[u8]) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, prefix: &[u8]) -> Result<(), ValueError> {
        if self.take(prefix) { Ok(()) } else { Err(self.error()) }
    }

    fn end(&self) -> Result<(), ValueError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error()) }
    }

    /// `YYYY-MM-DD`; the era is at the end of the whole text.
    fn date(&mut self) -> Result<i64, ValueError> {
        let mut year = self.digits()?;
        if let Some(text) = self.rest.strip_suffix(b" BC") {
            self.rest = text;
            year = 1 - year;
        }
        self.expect(b"-")?;
        let month = self.digits()?;
        self.expect(b"-")?;
        let day = self.digits()?;
        Ok(days_from_civil(year, month, day))
    }

    /// `HH:MM:SS[.ffffff]` in microseconds.
    fn time(&mut self) -> Result<i64, ValueError> {
        let hours = self.digits()?;
        self.expect(b":")?;
        let minutes = self.digits()?;
        self.expect(b":")?;
        let seconds = self.digits()?;
        let mut micros = 0;
        if self.take(b".") {
            let before = self.rest.len();
            micros = self.digits()?;
            for _ in before - self.rest.len()..6 {
                micros *= 10;
            }
        }
        Ok(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
    }

    /// `±HH[:MM[:SS]]` in microseconds.
    fn offset(&mut self) -> Result<i64, ValueError> {
        let sign = if self.take(b"-") {
            -1
        } else {
            self.expect(b"+")?;
            1
        };
        let mut seconds = self.digits()? * 3600;
        if self.take(b":") {
            seconds += self.digits()? * 60;
            if self.take(b":") {
                seconds += self.digits()?;
            }
        }
        Ok(sign * seconds * 1_000_000)
    }
}

pub(super) fn date(text: &[u8]) -> Result<i32, ValueError> {
    if text.ends_with(b"infinity") {
        return Err(ValueError::OutOfRange("date"));
    }
    let mut cursor = Cursor::new(text, "date");
    let days = cursor.date()?;
    cursor.end()?;
    if days >= END_DAY {
        return Err(ValueError::OutOfRange("date"));
    }
    i32::try_from(days).map_err(|_| ValueError::OutOfRange("date"))
}

pub(super) fn time(text: &[u8]) -> Result<i64, ValueError> {
    let mut cursor = Cursor::new(text, "time");
    let time = cursor.time()?;
    cursor.end()?;
    Ok(time)
}

pub(super) fn time_tz(text: &[u8]) -> Result<i64, ValueError> {
    let mut cursor = Cursor::new(text, "timetz");
    let time = cursor.time()? - cursor.offset()?;
    cursor.end()?;
    Ok(time.rem_euclid(DAY))
}

pub(super) fn timestamp(text: &[u8], zoned: bool) -> Result<i64, ValueError> {
    let kind = if zoned { "timestamptz" } else { "timestamp" };
    if text.ends_with(b"infinity") {
        return Err(ValueError::OutOfRange(kind));
    }
    let mut cursor = Cursor::new(text, kind);
    let days = cursor.date()?;
    cursor.expect(b" ")?;
    let mut time = cursor.time()?;
    if zoned {
        time -= cursor.offset()?;
    }
    cursor.end()?;
    let micros = days * DAY + time;
    if !(FIRST_TIMESTAMP_DAY * DAY..END_DAY * DAY).contains(&micros) {
        return Err(ValueError::OutOfRange(kind));
    }
    Ok(micros)
}

/// Months, days and microseconds of an interval in the `postgres` style: `1 year -2 mons +3 days -04:05:06.7`.
pub(super) fn interval(text: &[u8]) -> Result<[i64; 3], ValueError> {
    let error = || malformed("interval", text);
    let mut parts = [0; 3];
    let mut words = std::str::from_utf8(text).map_err(|_| error())?.split(' ');
    while let Some(word) = words.next() {
        let (sign, digits) = match word.as_bytes() {
            [b'-', ..] => (-1, &word[1..]),
            [b'+', ..] => (1, &word[1..]),
            _ => (1, word),
        };
        if digits.contains(':') {
            parts[2] += sign * time(digits.as_bytes())?;
            continue;
        }
        let value = sign * digits.parse::<i64>().map_err(|_| error())?;
        match words.next().ok_or_else(error)? {
            "year" | "years" => parts[0] += 12 * value,
            "mon" | "mons" => parts[0] += value,
            "day" | "days" => parts[1] += value,
            _ => return Err(error()),
        }
    }
    Ok(parts)
}

/// The elements of a one-dimensional array literal, unescaped; `None` is NULL.
pub(super) fn array(text: &[u8]) -> Result<Vec<Option<Vec<u8>>>, ValueError> {
    let error = || malformed("array", text);
    // An array whose first subscript is not 1 shows its bounds: [0:2]={…}.
    let start = text.iter().position(|byte| *byte == b'{').ok_or_else(error)?;
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

/// A value as an Iceberg literal, for a column's default.
pub fn literal(kind: &Kind, text: &str) -> Result<Literal, ValueError> {
    let bytes_of = text.as_bytes();
    Ok(match kind {
        Kind::Boolean => Literal::bool(matches!(text, "t" | "true")),
        Kind::Int => Literal::int(integer(bytes_of)? as i32),
        Kind::Long => Literal::long(integer(bytes_of)?),
        Kind::Float => Literal::float(float4(bytes_of)?),
        Kind::Double => Literal::double(float(bytes_of)?),
        Kind::Decimal(precision, scale) => Literal::decimal(decimal(bytes_of, *precision, *scale)?),
        Kind::Text | Kind::Opaque => Literal::string(text),
        Kind::Binary => Literal::binary(bytes(bytes_of)?),
        Kind::Date => Literal::date(date(bytes_of)?),
        Kind::Time => Literal::time(time(bytes_of)?),
        Kind::TimeTz => Literal::time(time_tz(bytes_of)?),
        Kind::Timestamp => Literal::timestamp(timestamp(bytes_of, false)?),
        Kind::TimestampTz => Literal::timestamptz(timestamp(bytes_of, true)?),
        Kind::Uuid => Literal::uuid(uuid(bytes_of)?),
        Kind::Interval => Literal::Struct(iceberg::spec::Struct::from_iter(
            interval(bytes_of)?.map(|part| Some(Literal::long(part))),
        )),
        Kind::List(element) => Literal::List(
            array(bytes_of)?
                .into_iter()
                .map(|value| {
                    value
                        .map(|value| {
                            let value = String::from_utf8(value).map_err(|_| malformed("array", bytes_of))?;
                            literal(element, &value)
                        })
                        .transpose()
                })
                .collect::<Result<_, _>>()?,
        ),
    })
}

/// Appends a date; the year is astronomical, and BC is written after everything else by the caller.
fn write_date(out: &mut String, days: i64) -> bool {
    let (year, month, day) = civil_from_days(days);
    let (shown, is_bc) = if year <= 0 { (1 - year, true) } else { (year, false) };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    is_bc
}

pub(super) fn write_time(out: &mut String, micros: i64) {
    let seconds = micros / 1_000_000;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if micros % 1_000_000 != 0 {
        let _ = write!(out, ".{:06}", micros % 1_000_000);
    }
}

pub(super) fn write_day(out: &mut String, days: i64) {
    if write_date(out, days) {
        out.push_str(" BC");
    }
}

pub(super) fn write_timestamp(out: &mut String, micros: i64, zoned: bool) {
    let is_bc = write_date(out, micros.div_euclid(DAY));
    out.push(' ');
    write_time(out, micros.rem_euclid(DAY));
    if zoned {
        out.push_str("+00");
    }
    if is_bc {
        out.push_str(" BC");
    }
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
    fn dates_round_trip_over_the_whole_range() {
        for days in (-2_440_000..END_DAY).step_by(97).chain([-719_163, -719_162, -1, 0, END_DAY - 1]) {
            let mut text = String::new();
            write_day(&mut text, days);
            assert_eq!(i64::from(date(text.as_bytes()).unwrap()), days, "{text}");
        }
        assert_eq!(date(b"1970-01-01").unwrap(), 0);
        assert_eq!(date(b"2024-02-29").unwrap(), 19_782);
        assert_eq!(date(b"4713-01-01 BC").unwrap(), -2_440_550);
        assert!(matches!(date(b"10000-01-01"), Err(ValueError::OutOfRange("date"))));
        assert!(matches!(date(b"infinity"), Err(ValueError::OutOfRange("date"))));
    }

    #[test]
    fn timestamps_are_microseconds_in_utc() {
        assert_eq!(timestamp(b"1969-12-31 23:59:59.999999", false).unwrap(), -1);
        assert_eq!(timestamp(b"1970-01-01 02:00:00+02", true).unwrap(), 0);
        assert_eq!(timestamp(b"1970-01-01 00:00:00.5-03:30", true).unwrap(), 12_600_500_000);
        assert!(matches!(timestamp(b"0001-01-01 00:00:00 BC", false), Err(ValueError::OutOfRange("timestamp"))));
        assert!(matches!(timestamp(b"-infinity", true), Err(ValueError::OutOfRange("timestamptz"))));
        let mut text = String::new();
        write_timestamp(&mut text, -1, true);
        assert_eq!(text, "1969-12-31 23:59:59.999999+00");
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(b"-12345678.90", 10, 2).unwrap(), -1_234_567_890);
        assert_eq!(decimal(b"12300", 12, 0).unwrap(), 12_300);
        assert_eq!(decimal(b"0.00012", 5, 5).unwrap(), 12);
        assert_eq!(decimal(b"5", 4, 3).unwrap(), 5_000);
        assert!(matches!(decimal(b"NaN", 4, 2), Err(ValueError::DecimalNaN)));
        assert!(matches!(decimal(b"1000", 3, 0), Err(ValueError::DecimalOverflow { .. })));
        let mut text = String::new();
        write_decimal(&mut text, -5, 2);
        assert_eq!(text, "-0.05");
    }

    #[test]
    fn intervals_add_up_their_parts() {
        assert_eq!(interval(b"1 mon 2 days 03:04:05.6").unwrap(), [1, 2, 11_045_600_000]);
        assert_eq!(interval(b"-1 years +2 mons -00:00:01").unwrap(), [-10, 0, -1_000_000]);
        assert_eq!(interval(b"00:00:00").unwrap(), [0, 0, 0]);
    }

    #[test]
    fn array_literals_are_unescaped() {
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(array(b"{}").unwrap(), vec![]);
        assert_eq!(array(b"{1,2,NULL}").unwrap(), vec![some("1"), some("2"), None]);
        assert_eq!(
            array(br#"{a,"b,c","NULL","q\"\\",""}"#).unwrap(),
            vec![some("a"), some("b,c"), some("NULL"), some("q\"\\"), some("")]
        );
        assert_eq!(array(b"[0:1]={7,8}").unwrap(), vec![some("7"), some("8")]);
        assert!(matches!(array(b"{{1,2},{3,4}}"), Err(ValueError::Multidimensional)));
    }
}
