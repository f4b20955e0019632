//! Dates, times and intervals in PostgreSQL's text format.

use std::fmt::Write as _;

use super::values::{ValueError, integer, malformed};

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;
/// The range of Iceberg timestamps in `pg_lake`, in days from 1970-01-01: from 0001-01-01 up to,
/// but without, 10000-01-01 (`END_DAY`).
const FIRST_TIMESTAMP_DAY: i64 = -719_162;
const END_DAY: i64 = 2_932_897;

/// Returns the days from 1970-01-01 to a date of the proleptic Gregorian calendar. The year is
/// astronomical: 0 is 1 BC.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Returns the year, month and day that lie `days` days after 1970-01-01. The year is astronomical:
/// 0 is 1 BC.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let month = (month_index + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * month_index + 2) / 5 + 1)
}

/// A reader that consumes a text from the front.
struct Cursor<'a> {
    rest: &'a [u8],
    whole: &'a [u8],
    kind: &'static str,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a [u8], kind: &'static str) -> Self {
        Self {
            rest: text,
            whole: text,
            kind,
        }
    }

    fn error(&self) -> ValueError {
        malformed(self.kind, self.whole)
    }

    fn digits(&mut self) -> Result<i64, ValueError> {
        let length = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
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
        if self.take(prefix) {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    fn end(&self) -> Result<(), ValueError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// Reads `YYYY-MM-DD` in days from 1970-01-01. A ` BC` at the end of the whole text belongs to
    /// the date.
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

    /// Reads `HH:MM:SS[.ffffff]` in microseconds.
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

    /// Reads `±HH[:MM[:SS]]` in microseconds.
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

pub(crate) fn date(text: &[u8]) -> Result<i32, ValueError> {
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

pub(crate) fn time(text: &[u8]) -> Result<i64, ValueError> {
    let mut cursor = Cursor::new(text, "time");
    let time = cursor.time()?;
    cursor.end()?;
    Ok(time)
}

pub(crate) fn time_tz(text: &[u8]) -> Result<i64, ValueError> {
    let mut cursor = Cursor::new(text, "timetz");
    let time = cursor.time()? - cursor.offset()?;
    cursor.end()?;
    Ok(time.rem_euclid(DAY))
}

pub(crate) fn timestamp(text: &[u8], zoned: bool) -> Result<i64, ValueError> {
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

/// Parses an interval in the `postgres` style, such as `1 year -2 mons +3 days -04:05:06.7`, and
/// returns its months, days and microseconds.
pub(crate) fn interval(text: &[u8]) -> Result<[i64; 3], ValueError> {
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

/// Appends a date and returns whether it is BC. The caller appends ` BC` itself, because it follows
/// the time of day.
fn write_date(out: &mut String, days: i64) -> bool {
    let (year, month, day) = civil_from_days(days);
    let (shown, is_bc) = if year <= 0 {
        (1 - year, true)
    } else {
        (year, false)
    };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    is_bc
}

pub(super) fn write_time(out: &mut String, micros: i64) {
    let seconds = micros / 1_000_000;
    let _ = write!(
        out,
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip_over_the_whole_range() {
        for days in
            (-2_440_000..END_DAY)
                .step_by(97)
                .chain([-719_163, -719_162, -1, 0, END_DAY - 1])
        {
            let mut text = String::new();
            write_day(&mut text, days);
            assert_eq!(i64::from(date(text.as_bytes()).unwrap()), days, "{text}");
        }
        assert_eq!(date(b"1970-01-01").unwrap(), 0);
        assert_eq!(date(b"2024-02-29").unwrap(), 19_782);
        assert_eq!(date(b"4713-01-01 BC").unwrap(), -2_440_550);
        assert!(matches!(
            date(b"10000-01-01"),
            Err(ValueError::OutOfRange("date"))
        ));
        assert!(matches!(
            date(b"infinity"),
            Err(ValueError::OutOfRange("date"))
        ));
    }

    #[test]
    fn timestamps_are_microseconds_in_utc() {
        assert_eq!(timestamp(b"1969-12-31 23:59:59.999999", false).unwrap(), -1);
        assert_eq!(timestamp(b"1970-01-01 02:00:00+02", true).unwrap(), 0);
        assert_eq!(
            timestamp(b"1970-01-01 00:00:00.5-03:30", true).unwrap(),
            12_600_500_000
        );
        assert!(matches!(
            timestamp(b"0001-01-01 00:00:00 BC", false),
            Err(ValueError::OutOfRange("timestamp"))
        ));
        assert!(matches!(
            timestamp(b"-infinity", true),
            Err(ValueError::OutOfRange("timestamptz"))
        ));
        let mut text = String::new();
        write_timestamp(&mut text, -1, true);
        assert_eq!(text, "1969-12-31 23:59:59.999999+00");
    }

    #[test]
    fn intervals_add_up_their_parts() {
        assert_eq!(
            interval(b"1 mon 2 days 03:04:05.6").unwrap(),
            [1, 2, 11_045_600_000]
        );
        assert_eq!(
            interval(b"-1 years +2 mons -00:00:01").unwrap(),
            [-10, 0, -1_000_000]
        );
        assert_eq!(interval(b"00:00:00").unwrap(), [0, 0, 0]);
    }
}
