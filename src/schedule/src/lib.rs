//! The schedules of tasks, and the clock that they go by.

mod clock;
mod cron;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

pub use self::clock::{Clock, ClockState, Hold, ScaleError, TimeScale};
use self::cron::CronSchedule;
use icebox_sql::error::{SqlError, SqlResult, code};

/// The shortest interval of a schedule, in milliseconds.
const SHORTEST: i64 = 10 * 1000;
/// The longest interval of a schedule, in milliseconds: 11,520 minutes.
const LONGEST: i64 = 11_520 * 60 * 1000;

const INVALID: &str = "Invalid schedule was specified. Please refer to the docs on what constitutes a valid schedule.";

/// The value of SCHEDULE: `2 MINUTES`, or `USING CRON 0 9-17 * * SUN America/Los_Angeles`
/// (Snowflake documentation, CREATE TASK).
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    text: String,
    times: Times,
}

#[derive(Clone, Debug, PartialEq)]
enum Times {
    Every(Duration),
    Cron(Box<CronSchedule>),
}

impl Schedule {
    /// Parses a schedule.
    ///
    /// # Errors
    /// Snowflake's texts; for a cron expression they also say what is wrong with it.
    pub fn parse(text: &str) -> SqlResult<Self> {
        let mut words = text.split_whitespace();
        let mut is_next = |word| {
            words
                .next()
                .is_some_and(|it: &str| it.eq_ignore_ascii_case(word))
        };
        let times = if is_next("USING") && is_next("CRON") {
            let fields: Vec<&str> = words.collect();
            let cron = CronSchedule::parse(&fields);
            let cron = cron.map_err(|why| invalid(format_args!("{INVALID} {why}")))?;
            Times::Cron(Box::new(cron))
        } else {
            Times::Every(interval(text)?)
        };
        Ok(Self {
            text: text.to_owned(),
            times,
        })
    }

    /// Returns the first run after an instant. Intervals count from when the task was resumed, so
    /// the first run comes one interval later. The result is `None` for a cron expression that
    /// matches no day, such as the 30th of February.
    pub fn next_after(
        &self,
        resumed: DateTime<Utc>,
        after: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        match &self.times {
            Times::Cron(cron) => cron.next_after(after),
            Times::Every(interval) => {
                let interval = i64::try_from(interval.as_millis()).ok()?;
                let passed = after.signed_duration_since(resumed).num_milliseconds();
                let number = passed.div_euclid(interval).max(0).checked_add(1)?;
                let since = TimeDelta::try_milliseconds(interval.checked_mul(number)?)?;
                resumed.checked_add_signed(since)
            }
        }
    }

    /// Returns the interval; `None` for a cron expression.
    pub fn interval(&self) -> Option<Duration> {
        match self.times {
            Times::Every(interval) => Some(interval),
            Times::Cron(_) => None,
        }
    }
}

impl fmt::Display for Schedule {
    /// Writes the schedule as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn invalid(text: impl fmt::Display) -> SqlError {
    SqlError::compilation(code::INVALID_VALUE, text)
}

/// Parses `<n> <unit>`, with one white space between them, any number after them and none before.
fn interval(text: &str) -> SqlResult<Duration> {
    let is_space = |c: char| c.is_ascii_whitespace() || c == '\u{b}';
    let mut words = text.trim_end_matches(is_space).split(is_space);
    let parts = (words.next(), words.next(), words.next());
    let milliseconds = match parts {
        (Some(count), Some(unit), None) => count.parse().ok().zip(milliseconds_of(unit)),
        _ => None,
    };
    let milliseconds = milliseconds.map(|(count, unit): (i64, i64)| count.saturating_mul(unit));
    match milliseconds {
        None | Some(..=0) => Err(invalid(INVALID)),
        Some(1..SHORTEST) => Err(invalid("Cannot set schedule less than 10 seconds.")),
        Some(length @ SHORTEST..=LONGEST) => Ok(Duration::from_millis(length.unsigned_abs())),
        Some(_) => Err(invalid("Cannot set schedule greater than 11,520 minutes.")),
    }
}

fn milliseconds_of(unit: &str) -> Option<i64> {
    let seconds = match unit.to_ascii_uppercase().as_str() {
        "S" | "SECOND" | "SECONDS" => 1,
        "M" | "MINUTE" | "MINUTES" => 60,
        "H" | "HOUR" | "HOURS" => 3600,
        _ => return None,
    };
    Some(seconds * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn seconds(text: &str) -> String {
        match Schedule::parse(text) {
            Ok(schedule) => schedule.interval().unwrap().as_secs().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn intervals_have_a_count_and_a_unit() {
        for (text, expected) in [
            ("2 MINUTES", "120"),
            ("10 SECOND", "10"),
            ("90 s", "90"),
            ("11 minutes", "660"),
            ("+5 M", "300"),
            ("1 HOUR", "3600"),
            ("2 h", "7200"),
            ("10 SECONDS  ", "10"),
            ("10\tMINUTE\t", "600"),
            ("192 HOURS", "691200"),
            ("691200 SECONDS", "691200"),
        ] {
            assert_eq!(seconds(text), expected, "{text:?}");
            assert_eq!(Schedule::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_intervals_are_refused_with_snowflakes_texts() {
        let refused = |text: &str| format!("001008 (22023): SQL compilation error:\n{text}");
        for text in ["9 SECONDS", "1 s"] {
            assert_eq!(
                seconds(text),
                refused("Cannot set schedule less than 10 seconds.")
            );
        }
        for text in [
            "11521 MINUTES",
            "193 H",
            "691201 SECONDS",
            "9223372036854775807 HOURS",
        ] {
            assert_eq!(
                seconds(text),
                refused("Cannot set schedule greater than 11,520 minutes.")
            );
        }
        for text in [
            "",
            "0 SECONDS",
            "-5 MINUTES",
            "1 DAY",
            " 10 SECONDS",
            "10  SECONDS",
            "10 \tMINUTE",
            "5M",
            "1 MINS",
            "1 SEC",
            "10",
            "MINUTES",
            "1.5 HOURS",
            "10 MINUTES x",
            "99999999999999999999 MINUTES",
            "USING 5 MINUTES",
        ] {
            assert_eq!(seconds(text), refused(INVALID), "{text:?}");
        }
    }

    #[test]
    fn intervals_count_from_when_the_task_was_resumed() {
        let schedule = Schedule::parse("10 MINUTES").unwrap();
        let resumed = instant("2026-03-01T09:03:00Z");
        for (after, expected) in [
            ("2026-03-01T08:00:00Z", "2026-03-01T09:13:00Z"),
            ("2026-03-01T09:03:00Z", "2026-03-01T09:13:00Z"),
            ("2026-03-01T09:12:59.999Z", "2026-03-01T09:13:00Z"),
            ("2026-03-01T09:13:00Z", "2026-03-01T09:23:00Z"),
            ("2027-03-01T00:00:00Z", "2027-03-01T00:03:00Z"),
        ] {
            let next = schedule.next_after(resumed, instant(after));
            assert_eq!(next, Some(instant(expected)), "{after}");
        }
    }

    /// Returns the first runs after an instant, in local time of the schedule's time zone.
    fn runs(cron: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(&format!("USING CRON {cron}")).unwrap();
        let zone: chrono_tz::Tz = cron.rsplit(' ').next().unwrap().parse().unwrap();
        let mut after = instant(after);
        let runs = (0..count).map(|_| {
            after = schedule.next_after(after, after).unwrap();
            after
                .with_timezone(&zone)
                .format("%a %Y-%m-%d %H:%M %Z")
                .to_string()
        });
        runs.collect()
    }

    #[test]
    fn cron_fields() {
        let start = "2026-01-01T00:00:30Z";
        assert_eq!(
            runs("*/20 * * * * UTC", start, 3),
            [
                "Thu 2026-01-01 00:20 UTC",
                "Thu 2026-01-01 00:40 UTC",
                "Thu 2026-01-01 01:00 UTC"
            ]
        );
        assert_eq!(
            runs("0 9-17/8 * * SUN America/Los_Angeles", start, 3),
            [
                "Sun 2026-01-04 09:00 PST",
                "Sun 2026-01-04 17:00 PST",
                "Sun 2026-01-11 09:00 PST"
            ]
        );
        assert_eq!(
            runs("30 6 L * * UTC", start, 3),
            [
                "Sat 2026-01-31 06:30 UTC",
                "Sat 2026-02-28 06:30 UTC",
                "Tue 2026-03-31 06:30 UTC"
            ]
        );
        assert_eq!(
            runs("0 7 * * 5L UTC", start, 2),
            ["Fri 2026-01-30 07:00 UTC", "Fri 2026-02-27 07:00 UTC"]
        );
        assert_eq!(
            runs("0 0 1 4/3 * UTC", start, 4),
            [
                "Wed 2026-04-01 00:00 UTC",
                "Wed 2026-07-01 00:00 UTC",
                "Thu 2026-10-01 00:00 UTC",
                "Thu 2027-04-01 00:00 UTC"
            ]
        );
        assert_eq!(
            runs("0 0 1 JAN,mar-APR * UTC", start, 3),
            [
                "Sun 2026-03-01 00:00 UTC",
                "Wed 2026-04-01 00:00 UTC",
                "Fri 2027-01-01 00:00 UTC"
            ]
        );
        // If day of month and day of week are both given, one of them must match.
        assert_eq!(
            runs("0 0 10-11 * TUE,THU UTC", "2026-01-08T12:00:00Z", 4),
            [
                "Sat 2026-01-10 00:00 UTC",
                "Sun 2026-01-11 00:00 UTC",
                "Tue 2026-01-13 00:00 UTC",
                "Thu 2026-01-15 00:00 UTC"
            ]
        );
        assert_eq!(
            runs("0 0 29 2 * UTC", "2097-01-01T00:00:00Z", 1),
            ["Fri 2104-02-29 00:00 UTC"]
        );
    }

    #[test]
    fn a_day_that_never_comes_has_no_run() {
        let schedule = Schedule::parse("USING CRON 0 0 30 2 * UTC").unwrap();
        let now = instant("2026-01-01T00:00:00Z");
        assert_eq!(schedule.next_after(now, now), None);
    }

    #[test]
    fn changes_of_the_clock() {
        // In autumn 1 o'clock occurs twice, and in spring 2 o'clock does not occur, as in the
        // documentation.
        assert_eq!(
            runs("0 1 * * * America/Los_Angeles", "2026-10-31T20:00:00Z", 3),
            [
                "Sun 2026-11-01 01:00 PDT",
                "Sun 2026-11-01 01:00 PST",
                "Mon 2026-11-02 01:00 PST"
            ]
        );
        assert_eq!(
            runs("0 2 * * * America/Los_Angeles", "2026-03-07T20:00:00Z", 2),
            ["Mon 2026-03-09 02:00 PDT", "Tue 2026-03-10 02:00 PDT"]
        );
        assert_eq!(
            runs("30 * * * * America/Los_Angeles", "2026-11-01T07:45:00Z", 4),
            [
                "Sun 2026-11-01 01:30 PDT",
                "Sun 2026-11-01 01:30 PST",
                "Sun 2026-11-01 02:30 PST",
                "Sun 2026-11-01 03:30 PST"
            ]
        );
        // Changes at midnight: in Havana the first hour of a day occurs twice, in Beirut the last.
        assert_eq!(
            runs("30 0 * * * America/Havana", "2026-10-31T20:00:00Z", 3),
            [
                "Sun 2026-11-01 00:30 CDT",
                "Sun 2026-11-01 00:30 CST",
                "Mon 2026-11-02 00:30 CST"
            ]
        );
        assert_eq!(
            runs("30 0,23 * * * Asia/Beirut", "2026-10-24T12:00:00Z", 4),
            [
                "Sat 2026-10-24 23:30 EEST",
                "Sat 2026-10-24 23:30 EET",
                "Sun 2026-10-25 00:30 EET",
                "Sun 2026-10-25 23:30 EET"
            ]
        );
        assert_eq!(
            runs("15 5 * * * Asia/Kathmandu", "2026-01-01T00:00:00Z", 1),
            ["Fri 2026-01-02 05:15 +0545"]
        );
    }

    #[test]
    fn a_wrong_cron_expression_is_refused_with_the_reason() {
        for (cron, why) in [
            ("* * * * UTC", "takes five fields and a time zone"),
            ("* * * * * * UTC", "takes five fields and a time zone"),
            ("60 * * * * UTC", "The minute '60' is not from 0 to 59"),
            ("* 24 * * * UTC", "The hour '24'"),
            ("* * 0 * * UTC", "The day of month '0'"),
            ("* * * 13 * UTC", "The month '13'"),
            ("* * * FEBR * UTC", "The month 'FEBR'"),
            ("* * * * 7 UTC", "The day of week '7' is not from 0 to 6"),
            ("* * * * FRI-MON UTC", "The day of week 'FRI-MON'"),
            ("L * * * * UTC", "The minute 'L'"),
            ("* * 3L * * UTC", "The day of month '3L'"),
            ("* * 15W * * UTC", "The day of month '15W'"),
            ("* * * * MON#2 UTC", "The day of week 'MON#2'"),
            ("1,,2 * * * * UTC", "The minute ''"),
            ("*/0 * * * * UTC", "The minute '*/0'"),
            (
                "* * * * * Mars/Olympus",
                "The time zone 'Mars/Olympus' is not known",
            ),
        ] {
            let error = Schedule::parse(&format!("USING CRON {cron}")).unwrap_err();
            assert!(
                error.message.contains(INVALID) && error.message.contains(why),
                "{cron}: {error}"
            );
        }
        assert!(Schedule::parse("using cron 0 6 * * sat utc").is_ok());
    }
}
