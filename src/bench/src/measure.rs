//! Measurements, and what they are compared with.

use serde::Serialize;

/// The unit of a number. Times and sizes are better when small, rates when large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "rows/s")]
    RowsPerSecond,
    #[serde(rename = "B")]
    Bytes,
}

impl Unit {
    /// Formats a value for people.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value >= 1.0 => format!("{value:.2} s"),
            Self::Seconds if value >= 0.1 => format!("{:.0} ms", value * 1e3),
            Self::Seconds => format!("{:.1} ms", value * 1e3),
            Self::RowsPerSecond if value >= 1e4 => format!("{:.0},000 rows/s", value / 1e3),
            Self::RowsPerSecond => format!("{value:.0} rows/s"),
            Self::Bytes => format!("{:.0} MB", value / 1e6),
        }
    }

    /// Returns how many times as good `value` is as `other`; above 1 is better.
    fn times_as_good(self, value: f64, other: f64) -> f64 {
        match self {
            Self::RowsPerSecond => value / other,
            Self::Seconds | Self::Bytes => other / value,
        }
    }
}

/// The values of something that was measured several times; never empty.
#[derive(Clone, Debug)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Returns samples of these values.
    ///
    /// # Panics
    /// If there is no value.
    pub fn new(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// Returns the middle value; of an even number of values, the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match self.0.len() % 2 {
            0 => f64::midpoint(self.0[middle - 1], self.0[middle]),
            _ => self.0[middle],
        }
    }

    /// Converts each value from the seconds of `rows` rows to a rate.
    pub fn rate(&self, rows: u64) -> Self {
        Self::new(self.0.iter().map(|seconds| rows as f64 / seconds).collect())
    }

    fn range(&self) -> (f64, f64) {
        (self.0[0], self.0[self.0.len() - 1])
    }
}

/// Something else that did the same work in the same run.
#[derive(Clone, Debug, Serialize)]
pub struct Peer {
    pub name: String,
    pub median: f64,
    /// How many times as good icebox's value is; above 1 is better than the peer.
    pub ratio: f64,
}

/// The time or rate of the real `pg_lake` on another machine, as a range.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Yardstick {
    pub from: f64,
    pub to: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Goal {
    pub value: f64,
    pub is_met: bool,
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// The name: `<experiment>.<what>`
    pub name: String,
    pub description: String,
    pub unit: Unit,
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub runs: usize,
    /// The peers that did the same work in this run, on this machine.
    pub peers: Vec<Peer>,
    /// The values of the real `pg_lake`, on another machine.
    pub yardstick: Option<Yardstick>,
    pub goal: Option<Goal>,
}

impl Measurement {
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        unit: Unit,
        samples: &Samples,
    ) -> Self {
        let (min, max) = samples.range();
        Self {
            name: name.into(),
            description: description.into(),
            unit,
            median: samples.median(),
            min,
            max,
            runs: samples.0.len(),
            peers: Vec::new(),
            yardstick: None,
            goal: None,
        }
    }

    /// Returns a measurement of runs that took so many seconds each.
    pub fn seconds(
        name: impl Into<String>,
        description: impl Into<String>,
        times: Vec<f64>,
    ) -> Self {
        Self::new(name, description, Unit::Seconds, &Samples::new(times))
    }

    /// Adds a peer's value in the same unit.
    pub fn against(mut self, name: impl Into<String>, median: f64) -> Self {
        self.peers.push(Peer {
            name: name.into(),
            median,
            ratio: self.unit.times_as_good(self.median, median),
        });
        self
    }

    /// Adds the range of the real `pg_lake`, from `from` to `to` in the same unit.
    pub fn yardstick(mut self, from: f64, to: f64) -> Self {
        self.yardstick = Some(Yardstick { from, to });
        self
    }

    pub fn goal(mut self, value: f64) -> Self {
        self.goal = Some(Goal {
            value,
            is_met: self.unit.times_as_good(self.median, value) >= 1.0,
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(Samples::new(vec![3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Samples::new(vec![4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(Samples::new(vec![0.5, 0.25]).rate(10).range(), (20.0, 40.0));
    }

    #[test]
    fn better_is_smaller_for_times_and_larger_for_rates() {
        let of = |unit, value| Measurement::new("a.b", "", unit, &Samples::new(vec![value]));
        let time = of(Unit::Seconds, 2.0).against("peer", 1.0).goal(3.0);
        assert_eq!(time.peers[0].ratio, 0.5);
        assert!(time.goal.unwrap().is_met);
        let rate = of(Unit::RowsPerSecond, 2.0).against("peer", 1.0).goal(3.0);
        assert_eq!(rate.peers[0].ratio, 2.0);
        assert!(!rate.goal.unwrap().is_met);
    }
}
