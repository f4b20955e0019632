//! Expectations for the replay of a transcript, read from `transcripts/<name>.toml`.

use std::collections::HashMap;

use serde::Deserialize;

/// All expectations for one transcript.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// Answers that differ from the real extension's, by design or because icebox cannot do the
    /// same.
    #[serde(default, rename = "deviation")]
    pub deviations: Vec<Deviation>,
    /// Answers of which only a part is the same every time.
    #[serde(default, rename = "loose")]
    pub loose: Vec<PartialAnswer>,
    /// Scenes with steps that the capture did not print.
    #[serde(default, rename = "scene")]
    pub scenes: Vec<SceneExpectations>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    pub statement: String,
    /// The occurrence among equal statements, counted from 1; None means all of them.
    pub nth: Option<usize>,
    pub applies_to: Vec<PgLake>,
    /// The deviation applies only to servers older than this major version.
    pub before_postgres: Option<u32>,
    /// The expected answer, in which `*` matches any text.
    pub answer: String,
    pub reason: String,
    /// The first cell of the row in docs/differences.md or `docs/pg_lake.md` that documents the
    /// deviation.
    pub documented_as: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialAnswer {
    pub statement: String,
    pub answer: String,
    pub reason: String,
}

/// The part of a scene that the transcript does not show. Positions count the scene's statements
/// from 1.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SceneExpectations {
    pub heading: String,
    /// The statements that other sessions than the first run, by session name; an empty list means
    /// all.
    #[serde(default)]
    pub sessions: HashMap<String, Vec<usize>>,
    #[serde(default)]
    pub unprinted: Vec<Unprinted>,
    pub fault: Option<FaultAt>,
    #[serde(default)]
    pub writers: Option<Writers>,
    /// The statements that are not run, and the reason.
    pub skip: Option<Skip>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unprinted {
    pub before: usize,
    #[serde(default = "first_session")]
    pub session: String,
    /// A statement, or a pair of statements `first || second`.
    pub run: String,
    pub answer: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultAt {
    pub component: FaultyComponent,
    pub before: usize,
    #[serde(default)]
    pub kind: FaultKind,
}

/// The component that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultyComponent {
    S3,
    QueryEngine,
    Postgres,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The component is killed, and is down until the transcript says `up:`.
    #[default]
    Down,
    /// The component is killed, and restarted by its supervisor.
    Restarts,
    /// The component is suspended for the first two seconds of the next statement.
    Hangs,
}

/// Sessions that write at the same time. All of their statements must succeed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writers {
    pub before: usize,
    pub sessions: usize,
    pub each: usize,
    /// The statement, in which `{}` is replaced by a number that is unique among the writers.
    pub run: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    pub from: usize,
    pub reason: String,
}

pub fn first_session() -> String {
    "A".to_owned()
}

pub fn load(name: &str) -> Expectations {
    read_toml(&format!("transcripts/{name}"))
}

/// Reads a TOML file of this folder.
pub fn read_toml<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = std::path::Path::new(crate::support::ROOT)
        .join("tests/it/conformance")
        .join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Deviation {
    pub fn applies(&self, statement: &str, nth: usize, environment: &Environment) -> bool {
        self.statement == statement
            && self.nth.is_none_or(|wanted| wanted == nth)
            && self.applies_to.contains(&environment.pg_lake)
            && self
                .before_postgres
                .is_none_or(|version| environment.postgres < version)
    }
}

/// The `pg_lake` that is installed. It does not follow from the engine: a native or containers
/// engine may have icebox's stand-in installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PgLake {
    Real,
    StandIn,
}

/// The environment of a replay.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    pub pg_lake: PgLake,
    /// The server's major version.
    pub postgres: u32,
}

/// Returns whether `text` matches `pattern`, in which `*` matches any text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|start| text.strip_prefix(start)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[test]
fn a_star_stands_for_anything() {
    assert!(matches("a*c*", "abcd"));
    assert!(matches("a*", "a"));
    assert!(matches("a", "a"));
    assert!(!matches("a", "ab"));
    assert!(!matches("a*d", "abc"));
}
