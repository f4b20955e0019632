//! Cron expressions with a time zone.

use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// The number of days that are searched for a match: two 29ths of February can be eight years
/// apart.
const HORIZON: u64 = 9 * 366;

/// One of the five fields: its name in errors, its least and greatest value, and the names of its
/// values.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
    last: Last,
}

/// The meaning of L in a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// L is not allowed.
    No,
    /// The last value: the last day of the month.
    Alone,
    /// After a value: that weekday's last one in the month. Alone: the last day of the week.
    Weekday,
}

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        least: 0,
        most: 59,
        names: &[],
        last: Last::No,
    },
    Field {
        name: "hour",
        least: 0,
        most: 23,
        names: &[],
        last: Last::No,
    },
    Field {
        name: "day of month",
        least: 1,
        most: 31,
        names: &[],
        last: Last::Alone,
    },
    Field {
        name: "month",
        least: 1,
        most: 12,
        names: &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
        last: Last::No,
    },
    Field {
        name: "day of week",
        least: 0,
        most: 6,
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        last: Last::Weekday,
    },
];

#[derive(Clone, Debug)]
pub struct CronSchedule {
    cron: Cron,
    zone: Tz,
}

impl PartialEq for CronSchedule {
    fn eq(&self, other: &Self) -> bool {
        self.cron.as_str() == other.cron.as_str() && self.zone == other.zone
    }
}

impl CronSchedule {
    /// Parses five fields and a time zone. The error says what is wrong with them.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let [fields @ .., zone] = words else {
            return Err(wrong_count());
        };
        if fields.len() != FIELDS.len() {
            return Err(wrong_count());
        }
        let plain = FIELDS.iter().zip(fields);
        let plain = plain.map(|(field, text)| field.plain(text));
        let plain = plain.collect::<Result<Vec<String>, String>>()?.join(" ");
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(&plain).map_err(|error| format!("{error}."))?;
        let mut zones = TZ_VARIANTS.iter();
        let zone = zones
            .find(|known| known.name().eq_ignore_ascii_case(zone))
            .ok_or_else(|| {
                format!("The time zone '{zone}' is not known; it is a name such as UTC or America/Los_Angeles.")
            })?;
        Ok(Self { cron, zone: *zone })
    }

    /// Returns the first match after an instant. A local time that occurs twice matches twice, and
    /// one that is skipped does not match (Snowflake documentation, CREATE TASK, on daylight saving
    /// time).
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let today = after.with_timezone(&self.zone).date_naive();
        // A day whose last hour occurs twice may still have a match after the next day has begun.
        let first = today.checked_sub_days(Days::new(1))?;
        let mut found: Option<DateTime<Utc>> = None;
        for ahead in 0..HORIZON {
            let day = first.checked_add_days(Days::new(ahead))?;
            let match_ = self.matches_on(day).filter(|it| *it > after).min();
            match (found, match_) {
                (Some(found), other) => return Some(other.map_or(found, |other| found.min(other))),
                (None, other) => found = other,
            }
        }
        found
    }

    /// Returns the matches on a day, in no order.
    fn matches_on(&self, day: NaiveDate) -> impl Iterator<Item = DateTime<Utc>> {
        let pattern = &self.cron.pattern;
        let is_day = pattern.month_match(day.month()).unwrap_or(false)
            && pattern
                .day_match(day.year(), day.month(), day.day())
                .unwrap_or(false);
        let hours =
            (0..24).filter(move |hour| is_day && pattern.hour_match(*hour).unwrap_or(false));
        let times = hours.flat_map(move |hour| {
            let minutes = (0..60).filter(|minute| pattern.minute_match(*minute).unwrap_or(false));
            minutes.filter_map(move |minute| day.and_hms_opt(hour, minute, 0))
        });
        times.flat_map(|time| {
            let instants = match self.zone.from_local_datetime(&time) {
                LocalResult::None => [None, None],
                LocalResult::Single(one) => [Some(one), None],
                LocalResult::Ambiguous(one, other) => [Some(one), Some(other)],
            };
            instants.into_iter().flatten().map(|it| it.to_utc())
        })
    }
}

fn wrong_count() -> String {
    "USING CRON takes five fields and a time zone: minute, hour, day of month, month, day of week."
        .to_owned()
}

impl Field {
    /// Returns the field with numbers in place of names.
    fn plain(&self, text: &str) -> Result<String, String> {
        let items = text.split(',').map(|item| {
            self.item(item).ok_or_else(|| {
                let Self {
                    name, least, most, ..
                } = self;
                let names = match self.names {
                    [first, .., last] => format!(" or {first} to {last}"),
                    _ => String::new(),
                };
                format!("The {name} '{item}' is not from {least} to {most}{names}.")
            })
        });
        Ok(items.collect::<Result<Vec<_>, _>>()?.join(","))
    }

    /// Parses one item: `*`, a value or a range, each possibly with a step, or L.
    fn item(&self, item: &str) -> Option<String> {
        if let Some(value) = item.strip_suffix(['L', 'l']) {
            return match (self.last, value) {
                (Last::No, _) => self.value(item).map(|it| it.to_string()),
                (Last::Alone, "") => Some("L".to_owned()),
                (Last::Alone, _) => None,
                // Saturday, as in other implementations of L. Snowflake's documentation does not
                // say.
                (Last::Weekday, "") => Some(self.most.to_string()),
                (Last::Weekday, value) => Some(format!("{}L", self.value(value)?)),
            };
        }
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u8>().ok().filter(|it| *it > 0)?)),
            None => (item, None),
        };
        let range = match range.split_once('-') {
            _ if range == "*" => "*".to_owned(),
            Some((from, to)) => {
                let (from, to) = (self.value(from)?, self.value(to)?);
                (from <= to).then(|| format!("{from}-{to}"))?
            }
            None => {
                let value = self.value(range)?;
                match step {
                    // The matcher's days of the week go to 7, so an open range needs an upper
                    // bound.
                    Some(_) => format!("{value}-{}", self.most),
                    None => value.to_string(),
                }
            }
        };
        Some(match step {
            Some(step) => format!("{range}/{step}"),
            None => range,
        })
    }

    fn value(&self, text: &str) -> Option<u8> {
        let mut names = self.names.iter();
        if let Some(index) = names.position(|name| name.eq_ignore_ascii_case(text)) {
            return Some(index as u8 + self.least);
        }
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = is_digits.then(|| text.parse().ok())??;
        (self.least..=self.most).contains(&value).then_some(value)
    }
}
