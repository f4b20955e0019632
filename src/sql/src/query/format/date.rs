//! Date and time formats (documentation, "Date and time input and output formats").

use chrono::{Datelike, NaiveDate, NaiveTime, Timelike};

use crate::error::{SqlError, SqlResult, code};

/// A compiled format such as `YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat(Vec<FormatItem>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum FormatItem {
    Literal(String),
    Element(Element),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Year4,
    Year2,
    Month,
    MonthName,
    MonthFull,
    Day,
    DayName,
    Hour24,
    Hour12,
    Minute,
    Second,
    /// Number of digits of the fraction; None for all digits of the value.
    Fraction(Option<u8>),
    Meridian,
    ZoneHour,
    ZoneMinute,
}

/// The elements by name. Where one name is the start of another, the longer comes first.
const ELEMENTS: &[(&str, Element)] = &[
    ("YYYY", Element::Year4),
    ("YY", Element::Year2),
    ("MMMM", Element::MonthFull),
    ("MON", Element::MonthName),
    ("MM", Element::Month),
    ("MI", Element::Minute),
    ("DD", Element::Day),
    ("DY", Element::DayName),
    ("HH24", Element::Hour24),
    ("HH12", Element::Hour12),
    ("HH", Element::Hour24),
    ("SS", Element::Second),
    ("AM", Element::Meridian),
    ("PM", Element::Meridian),
    ("TZH", Element::ZoneHour),
    ("TZM", Element::ZoneMinute),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Returns the short name of a month, which counts from 1.
pub fn month_name(month: u32) -> &'static str {
    let name = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    name.get(..3).unwrap_or_default()
}

/// Returns the short name of a date's weekday.
pub fn day_name(date: NaiveDate) -> &'static str {
    let day = date.weekday().num_days_from_monday() as usize;
    DAYS.get(day).copied().unwrap_or_default()
}

/// The value to format: a date, a time, or both, with the offset of a timestamp that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTimeParts {
    pub date: NaiveDate,
    pub time: NaiveTime,
    /// Minutes east of UTC.
    pub offset: Option<i32>,
}

impl DateFormat {
    /// Compiles a format.
    ///
    /// # Errors
    /// If a letter outside double quotes belongs to no element.
    pub fn new(text: &str) -> SqlResult<Self> {
        let mut items = Vec::new();
        let mut rest = text;
        let mut literal = String::new();
        while let Some(next) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix('"') {
                let (quoted, after) = after.split_once('"').ok_or_else(|| bad_format(text))?;
                literal.push_str(quoted);
                rest = after;
                continue;
            }
            let Some((element, length)) = element_at(rest) else {
                // The `T` between date and time needs no quotes.
                if next.is_alphabetic() && !next.eq_ignore_ascii_case(&'T') {
                    return Err(bad_format(text));
                }
                literal.push(next);
                rest = &rest[next.len_utf8()..];
                continue;
            };
            if !literal.is_empty() {
                items.push(FormatItem::Literal(std::mem::take(&mut literal)));
            }
            items.push(FormatItem::Element(element));
            rest = &rest[length..];
        }
        if !literal.is_empty() {
            items.push(FormatItem::Literal(literal));
        }
        Ok(Self(items))
    }

    /// Formats a value.
    pub fn format(&self, parts: DateTimeParts) -> String {
        let mut out = String::new();
        for item in &self.0 {
            match item {
                FormatItem::Literal(text) => out.push_str(text),
                FormatItem::Element(element) => format_element(*element, parts, &mut out),
            }
        }
        out
    }

    /// Parses a text; None if it does not match the format. Components that the format does not
    /// have are those of 1970-01-01, midnight.
    pub fn parse(&self, text: &str) -> Option<DateTimeParts> {
        let mut found = Found::default();
        let mut rest = text.trim();
        for item in &self.0 {
            rest = match item {
                FormatItem::Literal(literal) => rest.strip_prefix(literal.as_str())?,
                FormatItem::Element(element) => found.read(*element, rest)?,
            };
        }
        if rest.is_empty() { found.parts() } else { None }
    }
}

fn element_at(text: &str) -> Option<(Element, usize)> {
    let starts = |name: &str| {
        text.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    if starts("FF") {
        return Some(match text.as_bytes().get(2) {
            Some(digit @ b'0'..=b'9') => (Element::Fraction(Some(digit - b'0')), 3),
            _ => (Element::Fraction(None), 2),
        });
    }
    let found = ELEMENTS.iter().find(|(name, _)| starts(name));
    found.map(|(name, element)| (*element, name.len()))
}

fn format_element(element: Element, parts: DateTimeParts, out: &mut String) {
    use std::fmt::Write;
    let (date, time) = (parts.date, parts.time);
    let offset = parts.offset.unwrap_or(0);
    // Writing to a String never fails.
    let _ = match element {
        Element::Year4 => write!(out, "{:04}", date.year()),
        Element::Year2 => write!(out, "{:02}", date.year().rem_euclid(100)),
        Element::Month => write!(out, "{:02}", date.month()),
        Element::MonthName => write!(out, "{}", month_name(date.month())),
        Element::MonthFull => write!(out, "{}", MONTHS[date.month0() as usize]),
        Element::Day => write!(out, "{:02}", date.day()),
        Element::DayName => write!(out, "{}", day_name(date)),
        Element::Hour24 => write!(out, "{:02}", time.hour()),
        Element::Hour12 => write!(out, "{:02}", time.hour12().1),
        Element::Minute => write!(out, "{:02}", time.minute()),
        Element::Second => write!(out, "{:02}", time.second()),
        Element::Fraction(Some(0)) => Ok(()),
        Element::Fraction(digits) => {
            let text = format!("{:09}", time.nanosecond());
            write!(out, "{}", &text[..usize::from(digits.unwrap_or(9))])
        }
        Element::Meridian => write!(out, "{}", if time.hour() < 12 { "AM" } else { "PM" }),
        Element::ZoneHour => {
            let sign = if offset < 0 { '-' } else { '+' };
            write!(out, "{sign}{:02}", offset.abs() / 60)
        }
        Element::ZoneMinute => write!(out, "{:02}", offset.abs() % 60),
    };
}

/// The components read so far.
#[derive(Default)]
struct Found {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    afternoon: Option<bool>,
    offset: Option<i32>,
}

impl Found {
    /// Reads an element from the start of a text, and returns the rest of the text.
    fn read<'a>(&mut self, element: Element, text: &'a str) -> Option<&'a str> {
        let number = |most: usize| {
            let length = text
                .bytes()
                .take(most)
                .take_while(u8::is_ascii_digit)
                .count();
            let value: u32 = text.get(..length)?.parse().ok()?;
            Some((value, &text[length..]))
        };
        let name = |names: &[&str], length: Option<usize>| {
            let place = names.iter().position(|name| {
                let name = length.map_or(*name, |length| &name[..length]);
                text.get(..name.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(name))
            })?;
            let used = length.unwrap_or(names[place].len());
            Some((place, &text[used..]))
        };
        let rest = match element {
            Element::Year4 => {
                let (year, rest) = number(4)?;
                self.year = Some(year as i32);
                rest
            }
            Element::Year2 => {
                let (year, rest) = number(2)?;
                // The default of TWO_DIGIT_CENTURY_START is 1970.
                self.year = Some(if year < 70 { 2000 } else { 1900 } + year as i32);
                rest
            }
            Element::Month => {
                let (month, rest) = number(2)?;
                self.month = Some(month);
                rest
            }
            Element::MonthName | Element::MonthFull => {
                let full = name(&MONTHS, None).filter(|_| element == Element::MonthFull);
                let (month, rest) = full.or_else(|| name(&MONTHS, Some(3)))?;
                self.month = Some(month as u32 + 1);
                rest
            }
            Element::Day => {
                let (day, rest) = number(2)?;
                self.day = Some(day);
                rest
            }
            Element::DayName => name(&DAYS, None)?.1,
            Element::Hour24 | Element::Hour12 => {
                let (hour, rest) = number(2)?;
                self.hour = hour;
                rest
            }
            Element::Minute => {
                let (minute, rest) = number(2)?;
                self.minute = minute;
                rest
            }
            Element::Second => {
                let (second, rest) = number(2)?;
                self.second = second;
                rest
            }
            Element::Fraction(digits) => {
                let most = usize::from(digits.unwrap_or(9));
                let length = text
                    .bytes()
                    .take(most)
                    .take_while(u8::is_ascii_digit)
                    .count();
                let digits = text.get(..length)?;
                self.nanos = format!("{digits:0<9}").parse().ok()?;
                &text[length..]
            }
            Element::Meridian => {
                let (place, rest) = name(&["AM", "PM"], None)?;
                self.afternoon = Some(place == 1);
                rest
            }
            Element::ZoneHour => {
                if let Some(rest) = text.strip_prefix('Z') {
                    self.offset = Some(0);
                    return Some(rest);
                }
                let negative = text.starts_with('-');
                let text = text.strip_prefix(['+', '-'])?;
                let length = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
                let hours: i32 = text.get(..length)?.parse().ok()?;
                self.offset = Some(if negative { -hours * 60 } else { hours * 60 });
                // The minutes take their sign from the hours, so a negative offset of zero hours
                // cannot be represented and is not accepted.
                if negative && hours == 0 {
                    return None;
                }
                &text[length..]
            }
            Element::ZoneMinute => {
                if text.is_empty() {
                    return Some(text);
                }
                let (minutes, rest) = number(2)?;
                let hours = self.offset.unwrap_or(0);
                let minutes = minutes as i32;
                self.offset = Some(if hours < 0 {
                    hours - minutes
                } else {
                    hours + minutes
                });
                rest
            }
        };
        Some(rest)
    }

    fn parts(self) -> Option<DateTimeParts> {
        let hour = match self.afternoon {
            None => self.hour,
            Some(_) if !(1..=12).contains(&self.hour) => return None,
            Some(true) => self.hour % 12 + 12,
            Some(false) => self.hour % 12,
        };
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        Some(DateTimeParts {
            date: NaiveDate::from_ymd_opt(self.year.unwrap_or(1970), month, day)?,
            time: NaiveTime::from_hms_nano_opt(hour, self.minute, self.second, self.nanos)?,
            offset: self.offset.filter(|minutes| minutes.abs() <= 14 * 60),
        })
    }
}

fn bad_format(text: &str) -> SqlError {
    SqlError::new(
        code::DATE_FORMAT,
        format!("Bad date/timestamp format '{text}'"),
    )
}

/// Parses a text as Snowflake's AUTO detection does: the variants of ISO 8601, and the date forms
/// `DD-MON-YYYY`, `MM/DD/YYYY` and that of e-mail headers. None if it has no known form.
pub fn detect(text: &str) -> Option<DateTimeParts> {
    const DATES: [&str; 4] = ["YYYY-MM-DD", "DD-MON-YYYY", "MM/DD/YYYY", "DY, DD MON YYYY"];
    const TIMES: [&str; 5] = ["", "HH24:MI:SS.FF", "HH24:MI:SS", "HH24:MI", "HH24"];
    const ZONES: [&str; 3] = ["", "TZH:TZM", "TZHTZM"];
    thread_local! {
        static FORMATS: Vec<DateFormat> = {
            let mut texts = Vec::new();
            for date in DATES {
                texts.push(date.to_owned());
                for time in TIMES.iter().skip(1) {
                    for zone in ZONES {
                        for gap in ["", " "] {
                            if gap.is_empty() || !zone.is_empty() {
                                texts.push(format!("{date} {time}{gap}{zone}"));
                                texts.push(format!("{date}\"T\"{time}{gap}{zone}"));
                            }
                        }
                    }
                }
            }
            // No format fails to compile: all consist of known elements.
            texts.iter().filter_map(|text| DateFormat::new(text).ok()).collect()
        };
    }
    FORMATS.with(|formats| formats.iter().find_map(|format| format.parse(text)))
}

/// Parses a time of day; None if it has no known form.
pub fn detect_time(text: &str) -> Option<NaiveTime> {
    [
        "HH24:MI:SS.FF",
        "HH24:MI:SS",
        "HH24:MI",
        "HH12:MI:SS AM",
        "HH12:MI AM",
    ]
    .iter()
    .find_map(|format| DateFormat::new(format).ok()?.parse(text))
    .map(|parts| parts.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> DateTimeParts {
        detect(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn elements_are_written() {
        let value = parts("2024-03-05 14:07:09.123456789 -0730");
        for (format, text) in [
            ("YYYY-MM-DD", "2024-03-05"),
            ("yyyy-mm-dd hh24:mi:ss.ff3", "2024-03-05 14:07:09.123"),
            ("DD MON YYYY, DY", "05 Mar 2024, Tue"),
            ("MMMM YY", "March 24"),
            ("HH12:MI AM", "02:07 PM"),
            ("FF9 FF0|FF", "123456789 |123456789"),
            ("TZHTZM TZH:TZM", "-0730 -07:30"),
            ("YYYY\"year\"MM", "2024year03"),
            ("YYYYMMDD\"T\"HH24MISS", "20240305T140709"),
        ] {
            assert_eq!(
                DateFormat::new(format).unwrap().format(value),
                text,
                "{format}"
            );
        }
        assert!(DateFormat::new("YYYY-QQ").is_err());
        assert!(DateFormat::new("%Y-%m-%d").is_err());
    }

    #[test]
    fn texts_are_read() {
        let read = |format: &str, text: &str| DateFormat::new(format).unwrap().parse(text);
        assert_eq!(
            read("DD/MM/YYYY", "05/03/2024").unwrap().date,
            parts("2024-03-05").date
        );
        assert_eq!(
            read("YYYYMMDD", "20240305").unwrap().date,
            parts("2024-03-05").date
        );
        assert_eq!(
            read("DD-MON-YY", "5-mar-24").unwrap().date,
            parts("2024-03-05").date
        );
        assert_eq!(
            read("HH12:MI PM", "12:30 AM").unwrap().time,
            parts("1970-01-01 00:30").time
        );
        for (format, text) in [
            ("YYYY-MM-DD", "2024-02-30"),
            ("YYYY-MM-DD", "2024-03-05 10:00"),
            ("HH12:MI PM", "13:30 AM"),
            ("YYYY-MM-DD", "yesterday"),
        ] {
            assert_eq!(read(format, text), None, "{text}");
        }
    }

    #[test]
    fn forms_are_detected() {
        for (text, offset) in [
            ("2024-03-05T14:07:09Z", Some(0)),
            ("2024-03-05 14:07:09 +0100", Some(60)),
            ("2024-03-05 14:07:09.000 -08:00", Some(-480)),
            ("2024-03-05 14:07:09", None),
            ("05-Mar-2024 14:07:09", None),
            ("03/05/2024 14:07:09", None),
            ("Tue, 05 Mar 2024 14:07:09 +0000", Some(0)),
        ] {
            let found = parts(text);
            assert_eq!(found.date, parts("2024-03-05").date, "{text}");
            assert_eq!(found.time, parts("2024-03-05 14:07:09").time, "{text}");
            assert_eq!(found.offset, offset, "{text}");
        }
        assert_eq!(detect("2024-13-05"), None);
        assert_eq!(detect(""), None);
    }
}
