//! Timestamps, and conversions between moments and the readings of wall clocks.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike};
use chrono_tz::Tz;

use crate::error::{SqlError, SqlResult, code};

/// The date from which days are counted.
const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day");
/// Nanoseconds in a second.
pub const SECOND: i128 = 1_000_000_000;
/// Nanoseconds in a day.
pub const DAY: i64 = 86_400 * 1_000_000_000;

/// A moment, or a wall clock's reading if there is no zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Nanoseconds since 1970-01-01 00:00, in UTC if there is a zone.
    pub nanos: i128,
    pub zone: Zone,
}

/// The zone of a timestamp's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Zone {
    /// `TIMESTAMP_NTZ`
    None,
    /// `TIMESTAMP_LTZ`: the session's time zone.
    Session,
    /// `TIMESTAMP_TZ`: minutes east of UTC.
    Fixed(i32),
}

/// Finds a time zone by its IANA name.
///
/// # Errors
/// If there is no zone of that name.
pub fn zone(name: &str) -> SqlResult<Tz> {
    name.parse().map_err(|_| {
        SqlError::new(
            code::INVALID_VALUE,
            format!("SQL compilation error:\ninvalid value [{name}] for parameter 'TIMEZONE'"),
        )
    })
}

/// Converts days since 1970-01-01 to a date.
pub fn date_of_days(days: i32) -> SqlResult<NaiveDate> {
    let date = EPOCH.checked_add_signed(chrono::Duration::days(days.into()));
    date.ok_or_else(|| out_of_range(format_args!("{days} days since 1970")))
}

/// Converts a date to days since 1970-01-01.
pub fn days_of_date(date: NaiveDate) -> i32 {
    date.signed_duration_since(EPOCH).num_days() as i32
}

/// Converts nanoseconds since midnight to a time of day.
pub fn time_of_nanos(nanos: i64) -> SqlResult<NaiveTime> {
    let (seconds, rest) = (
        nanos.div_euclid(SECOND as i64),
        nanos.rem_euclid(SECOND as i64),
    );
    let time = u32::try_from(seconds)
        .ok()
        .and_then(|seconds| NaiveTime::from_num_seconds_from_midnight_opt(seconds, rest as u32));
    time.ok_or_else(|| out_of_range(format_args!("{nanos} ns since midnight")))
}

pub fn nanos_of_day(time: NaiveTime) -> i64 {
    i64::from(time.num_seconds_from_midnight()) * SECOND as i64 + i64::from(time.nanosecond())
}

/// Converts a wall clock's reading to nanoseconds since 1970-01-01 00:00.
pub fn nanos_of_datetime(reading: NaiveDateTime) -> i128 {
    i128::from(reading.and_utc().timestamp()) * SECOND + i128::from(reading.nanosecond())
}

/// Converts nanoseconds since 1970-01-01 00:00 to a wall clock's reading.
pub fn datetime_of_nanos(nanos: i128) -> SqlResult<NaiveDateTime> {
    let seconds = i64::try_from(nanos.div_euclid(SECOND)).ok();
    let moment = seconds.and_then(|s| DateTime::from_timestamp(s, nanos.rem_euclid(SECOND) as u32));
    let moment = moment.ok_or_else(|| out_of_range(format_args!("{nanos} ns since 1970")))?;
    Ok(moment.naive_utc())
}

/// Returns the reading of the timestamp's own wall clock.
pub fn wall_clock(timestamp: Timestamp, time_zone: Tz) -> SqlResult<NaiveDateTime> {
    let shift = i128::from(offset(timestamp, time_zone)?) * 60 * SECOND;
    // Historic offsets of a zone may include seconds, which an offset in minutes would lose.
    match timestamp.zone {
        Zone::Session => {
            let utc = datetime_of_nanos(timestamp.nanos)?;
            Ok(time_zone.from_utc_datetime(&utc).naive_local())
        }
        _ => datetime_of_nanos(timestamp.nanos + shift),
    }
}

/// Returns the minutes by which the timestamp's wall clock is ahead of UTC; 0 without a zone.
pub fn offset(timestamp: Timestamp, time_zone: Tz) -> SqlResult<i32> {
    Ok(match timestamp.zone {
        Zone::None => 0,
        Zone::Fixed(minutes) => minutes,
        Zone::Session => {
            let utc = datetime_of_nanos(timestamp.nanos)?;
            time_zone
                .offset_from_utc_datetime(&utc)
                .fix()
                .local_minus_utc()
                / 60
        }
    })
}

/// Returns the moment, in nanoseconds since 1970 UTC, at which the session's wall clock shows
/// `local`. A reading that occurs twice (clocks go back) is the first of the two. A reading that
/// never occurs (clocks go forward) is converted with the offset in force before the change.
pub fn to_utc_nanos(local: NaiveDateTime, time_zone: Tz) -> SqlResult<i128> {
    if let Some(moment) = time_zone.from_local_datetime(&local).earliest() {
        return Ok(nanos_of_datetime(moment.naive_utc()));
    }
    let before = local - chrono::Duration::hours(3);
    let offset = time_zone
        .offset_from_utc_datetime(&before)
        .fix()
        .local_minus_utc();
    Ok(nanos_of_datetime(local) - i128::from(offset) * SECOND)
}

/// Converts a wall clock's reading in this zone to a timestamp.
pub fn timestamp(local: NaiveDateTime, zone: Zone, time_zone: Tz) -> SqlResult<Timestamp> {
    let nanos = match zone {
        Zone::None => nanos_of_datetime(local),
        Zone::Fixed(minutes) => nanos_of_datetime(local) - i128::from(minutes) * 60 * SECOND,
        Zone::Session => to_utc_nanos(local, time_zone)?,
    };
    Ok(Timestamp { nanos, zone })
}

/// Converts a timestamp to another kind. A timestamp without a zone is read in the session's time
/// zone; one that loses its zone keeps the reading of its wall clock.
pub fn convert(timestamp: Timestamp, to: Zone, time_zone: Tz) -> SqlResult<Timestamp> {
    match (timestamp.zone, to) {
        (Zone::None, Zone::None) => Ok(timestamp),
        (_, Zone::None) => {
            self::timestamp(wall_clock(timestamp, time_zone)?, Zone::None, time_zone)
        }
        (Zone::None, _) => {
            let nanos = to_utc_nanos(datetime_of_nanos(timestamp.nanos)?, time_zone)?;
            Ok(Timestamp { nanos, zone: to })
        }
        _ => Ok(Timestamp {
            nanos: timestamp.nanos,
            zone: to,
        }),
    }
}

/// Parses an offset such as `+02:00` into minutes; 0 for UTC by any name.
pub fn offset_minutes(text: &str) -> i32 {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let Some((hours, minutes)) = text.trim_start_matches(['+', '-']).split_once(':') else {
        return 0;
    };
    let number = |text: &str| text.parse::<i32>().unwrap_or(0);
    sign * (number(hours) * 60 + number(minutes))
}

/// Formats an offset in minutes, such as `+02:00`.
pub fn offset_text(minutes: i32) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

pub fn out_of_range(what: impl std::fmt::Display) -> SqlError {
    SqlError::new(
        code::TIMESTAMP_NOT_RECOGNIZED,
        format!("Timestamp '{what}' is out of range"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_and_moments_agree_over_daylight_saving() {
        let zone: Tz = "America/Los_Angeles".parse().unwrap();
        let local = |text: &str| NaiveDateTime::parse_from_str(text, "%F %T").unwrap();
        for (reading, utc) in [
            ("2024-01-15 12:00:00", "2024-01-15 20:00:00"),
            ("2024-07-15 12:00:00", "2024-07-15 19:00:00"),
            // The first reading occurs twice on that day, the second never.
            ("2024-11-03 01:30:00", "2024-11-03 08:30:00"),
            ("2024-03-10 02:30:00", "2024-03-10 10:30:00"),
        ] {
            assert_eq!(
                to_utc_nanos(local(reading), zone).unwrap(),
                nanos_of_datetime(local(utc)),
                "{reading}"
            );
        }
        let summer = Timestamp {
            nanos: nanos_of_datetime(local("2024-07-15 19:00:00")),
            zone: Zone::Session,
        };
        assert_eq!(
            wall_clock(summer, zone).unwrap(),
            local("2024-07-15 12:00:00")
        );
        assert_eq!(offset(summer, zone).unwrap(), -420);
        assert_eq!(days_of_date(date_of_days(-1).unwrap()), -1);
    }
}
