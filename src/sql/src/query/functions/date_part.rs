//! Date parts with all their names (documentation, "Supported date and time parts").

use crate::error::{SqlError, SqlResult, code};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
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

const NAMES: &[(Part, &[&str])] = &[
    (
        Part::Year,
        &["year", "y", "yy", "yyy", "yyyy", "yr", "years", "yrs"],
    ),
    (Part::Quarter, &["quarter", "q", "qtr", "qtrs", "quarters"]),
    (Part::Month, &["month", "mm", "mon", "mons", "months"]),
    (
        Part::Week,
        &["week", "w", "wk", "weekofyear", "woy", "wy", "weeks"],
    ),
    (Part::Day, &["day", "d", "dd", "days", "dayofmonth"]),
    (Part::DayOfWeek, &["dayofweek", "weekday", "dow", "dw"]),
    (
        Part::DayOfWeekIso,
        &[
            "dayofweekiso",
            "dayofweek_iso",
            "weekday_iso",
            "dow_iso",
            "dw_iso",
        ],
    ),
    (Part::DayOfYear, &["dayofyear", "yearday", "doy", "dy"]),
    (
        Part::WeekIso,
        &["weekiso", "week_iso", "weekofyeariso", "weekofyear_iso"],
    ),
    (Part::YearOfWeek, &["yearofweek"]),
    (Part::YearOfWeekIso, &["yearofweekiso"]),
    (Part::Hour, &["hour", "h", "hh", "hr", "hours", "hrs"]),
    (
        Part::Minute,
        &["minute", "m", "mi", "min", "minutes", "mins"],
    ),
    (Part::Second, &["second", "s", "sec", "seconds", "secs"]),
    (
        Part::Millisecond,
        &["millisecond", "ms", "msec", "milliseconds"],
    ),
    (
        Part::Microsecond,
        &["microsecond", "us", "usec", "microseconds"],
    ),
    (
        Part::Nanosecond,
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
        Part::EpochSecond,
        &["epoch_second", "epoch", "epoch_seconds"],
    ),
    (
        Part::EpochMillisecond,
        &["epoch_millisecond", "epoch_milliseconds"],
    ),
    (
        Part::EpochMicrosecond,
        &["epoch_microsecond", "epoch_microseconds"],
    ),
    (
        Part::EpochNanosecond,
        &["epoch_nanosecond", "epoch_nanoseconds"],
    ),
    (Part::TimezoneHour, &["timezone_hour", "tzh"]),
    (Part::TimezoneMinute, &["timezone_minute", "tzm"]),
];

impl Part {
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
