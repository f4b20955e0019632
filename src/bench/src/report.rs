//! The report of a bench, for people and for scripts.

use serde::Serialize;

use super::{Measurement, Yardstick};
use icebox_parity::table;
use icebox_sandbox::{EngineKind, SandboxInfo};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// icebox's version.
    pub version: &'static str,
    /// Whether icebox itself was built with optimizations. As `just` builds it, only its
    /// dependencies are.
    pub is_release: bool,
    pub cores: usize,
    pub engine: Option<EngineKind>,
    pub postgres_version: Option<String>,
    /// The number of rows of the large tables.
    pub rows: u64,
    pub measurements: Vec<Measurement>,
    pub skipped: Vec<Skipped>,
}

/// A peer that could not be measured.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    pub what: String,
    pub reason: String,
}

impl Report {
    pub(super) fn new(rows: u64) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            is_release: !cfg!(debug_assertions),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            engine: None,
            postgres_version: None,
            rows,
            measurements: Vec::new(),
            skipped: Vec::new(),
        }
    }

    pub(super) fn sandbox(&mut self, info: &SandboxInfo) {
        self.engine = Some(info.engine);
        self.postgres_version = Some(info.postgres_version.clone());
    }

    pub(super) fn add(&mut self, measurement: Measurement) {
        self.measurements.push(measurement);
    }

    pub(super) fn skip(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.skipped.push(Skipped {
            what: what.into(),
            reason: reason.into(),
        });
    }

    /// Returns the median of a measurement, if it was made.
    pub fn median(&self, name: &str) -> Option<f64> {
        let found = self.measurements.iter().find(|one| one.name == name);
        found.map(|one| one.median)
    }

    /// Formats one line per measurement under a header, then what was skipped.
    pub fn table(&self) -> String {
        let header = [
            "measurement",
            "what",
            "median",
            "from - to",
            "runs",
            "goal",
            "times as good as a peer in this run",
            "real pg_lake, other machine",
        ];
        let lines = std::iter::once(header.map(str::to_owned).to_vec())
            .chain(self.measurements.iter().map(line));
        let mut text = format!(
            "icebox {}{}, {} cores{}{}; large tables have {} rows\n\n{}",
            self.version,
            if self.is_release {
                ""
            } else {
                " (development build)"
            },
            self.cores,
            self.engine
                .map_or(String::new(), |engine| format!(", engine {engine}")),
            self.postgres_version
                .as_ref()
                .map_or(String::new(), |version| format!(", PostgreSQL {version}")),
            self.rows,
            table::aligned(lines)
        );
        for Skipped { what, reason } in &self.skipped {
            text.push_str(&format!("\nskipped {what}: {reason}\n"));
        }
        text
    }
}

fn line(one: &Measurement) -> Vec<String> {
    let show = |value| one.unit.show(value);
    let goal = one.goal.map_or(String::new(), |goal| {
        let verdict = if goal.is_met { "met" } else { "MISSED" };
        format!("{} {verdict}", show(goal.value))
    });
    let peers: Vec<String> = one
        .peers
        .iter()
        .map(|peer| match peer.ratio {
            ratio if ratio < 0.095 => format!("{ratio:.3} x {}", peer.name),
            ratio => format!("{ratio:.2} x {}", peer.name),
        })
        .collect();
    let yardstick = one
        .yardstick
        .map_or(String::new(), |Yardstick { from, to }| {
            if from == to {
                show(from)
            } else {
                format!("{} - {}", show(from), show(to))
            }
        });
    vec![
        one.name.clone(),
        one.description.clone(),
        show(one.median),
        format!("{} - {}", show(one.min), show(one.max)),
        one.runs.to_string(),
        goal,
        peers.join(", "),
        yardstick,
    ]
}
