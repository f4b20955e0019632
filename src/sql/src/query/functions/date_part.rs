//! Date parts with all their names (documentation, "Supported date and time parts").

use std::fmt;

use crate::error::{SqlError, SqlResult, code};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatePart {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    DayOfWeek,
    DayOfWeekIso,
    DayOfYear,
    WeekIso,
    YearOfWeek,
    YearOfWeekIso,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    EpochSecond,
    EpochMillisecond,
    EpochMicrosecond,
    EpochNanosecond,
    TimezoneHour,
    TimezoneMinute,
}

/// The names of each date part, the first of which is shown.
const NAMES: &[(DatePart, &[&str])] = &[
    (
        DatePart::Year,
        &["year", "y", "yy", "yyy", "yyyy", "yr", "years", "yrs"],
    ),
    (
        DatePart::Quarter,
        &["quarter", "q", "qtr", "qtrs", "quarters"],
    ),
    (DatePart::Month, &["month", "mm", "mon", "mons", "months"]),
    (
        DatePart::Week,
        &["week", "w", "wk", "weekofyear", "woy", "wy", "weeks"],
    ),
    (DatePart::Day, &["day", "d", "dd", "days", "dayofmonth"]),
    (DatePart::DayOfWeek, &["dayofweek", "weekday", "dow", "dw"]),
    (
        DatePart::DayOfWeekIso,
        &[
            "dayofweekiso",
            "dayofweek_iso",
            "weekday_iso",
            "dow_iso",
            "dw_iso",
        ],
    ),
    (DatePart::DayOfYear, &["dayofyear", "yearday", "doy", "dy"]),
    (
        DatePart::WeekIso,
        &["weekiso", "week_iso", "weekofyeariso", "weekofyear_iso"],
    ),
    (DatePart::YearOfWeek, &["yearofweek"]),
    (DatePart::YearOfWeekIso, &["yearofweekiso"]),
    (DatePart::Hour, &["hour", "h", "hh", "hr", "hours", "hrs"]),
    (
        DatePart::Minute,
        &["minute", "m", "mi", "min", "minutes", "mins"],
    ),
    (DatePart::Second, &["second", "s", "sec", "seconds", "secs"]),
    (
        DatePart::Millisecond,
        &["millisecond", "ms", "msec", "milliseconds"],
    ),
    (
        DatePart::Microsecond,
        &["microsecond", "us", "usec", "microseconds"],
    ),
    (
        DatePart::Nanosecond,
        &[
            "nanosecond",
            "ns",
            "nsec",
            "nanosec",
            "nsecond",
            "nanoseconds",
            "nanosecs",
            "nseconds",
        ],
    ),
    (
        DatePart::EpochSecond,
        &["epoch_second", "epoch", "epoch_seconds"],
    ),
    (
        DatePart::EpochMillisecond,
        &["epoch_millisecond", "epoch_milliseconds"],
    ),
    (
        DatePart::EpochMicrosecond,
        &["epoch_microsecond", "epoch_microseconds"],
    ),
    (
        DatePart::EpochNanosecond,
        &["epoch_nanosecond", "epoch_nanoseconds"],
    ),
    (DatePart::TimezoneHour, &["timezone_hour", "tzh"]),
    (DatePart::TimezoneMinute, &["timezone_minute", "tzm"]),
];

impl fmt::Display for DatePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().find(|(part, _)| part == self);
        f.write_str(names.map_or("", |(_, names)| names[0]))
    }
}

impl DatePart {
    /// Finds a date part by one of its names, in upper or lower case.
    ///
    /// # Errors
    /// If there is no date part of that name.
    pub fn named(name: &str) -> SqlResult<Self> {
        let lower = name.to_lowercase();
        let found = NAMES
            .iter()
            .find(|(_, names)| names.contains(&lower.as_str()));
        found.map(|(part, _)| *part).ok_or_else(|| {
            let text = format!("'{name}' is not a valid date/time component");
            SqlError::compilation(code::INVALID_DATE_PART, text)
        })
    }

    /// Returns the nanoseconds of a date part of fixed length; None for the others.
    pub fn nanos(self) -> Option<i128> {
        Some(match self {
            Self::Hour => 3_600_000_000_000,
            Self::Minute => 60_000_000_000,
            Self::Second => 1_000_000_000,
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1_000,
            Self::Nanosecond => 1,
            _ => return None,
        })
    }

    /// Returns the months of a date part that consists of whole months; None for the others.
    pub fn months(self) -> Option<i64> {
        match self {
            Self::Year => Some(12),
            Self::Quarter => Some(3),
            Self::Month => Some(1),
            _ => None,
        }
    }
}
