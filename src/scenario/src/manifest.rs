//! Reads a scenario: its manifest and every file that it names. All of it is checked before
//! anything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::expect::Expectation;
use super::{ScenarioError, Statement};
use icebox_parity::Query;
use icebox_postgres::statements::{line_of, split};
use icebox_retail::Simulator;
use icebox_sandbox::{SandboxInfo, Side};
use icebox_sql::syntax;

/// The name of the manifest in a scenario's folder.
const MANIFEST: &str = "scenario.toml";

/// The values that replace `${name}`, by name.
pub type Variables = BTreeMap<String, String>;

/// Returns the variables of a sandbox: `bucket`, `region`, `role_arn`, `s3_endpoint`, `database`,
/// `user`, `state_dir`.
pub fn variables(info: &SandboxInfo) -> Variables {
    [
        ("role_arn", info.role_arn.clone().unwrap_or_default()),
        ("bucket", info.bucket.clone()),
        ("region", info.s3.region.clone()),
        ("s3_endpoint", info.s3.endpoint.clone()),
        ("database", info.postgres.dbname.clone()),
        ("user", info.postgres.user.clone()),
        ("state_dir", info.state_dir.display().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A scenario that is ready to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub title: String,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub title: String,
    pub skip_if: Vec<SkipIf>,
    pub action: Action,
    /// The time for which the step is retried until it succeeds.
    pub within: Duration,
}

/// A reason to skip a step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipIf {
    /// A query on PostgreSQL that returns one row with one boolean.
    pub sql: String,
    /// The reason that is shown when it returns true.
    pub because: String,
}

#[derive(Clone, Debug)]
pub enum Action {
    Sql(SqlFile),
    Simulate(Simulator),
    Verify {
        queries: Vec<Query>,
        /// The prefix of a logical table name in the name of its Iceberg table.
        iceberg_prefix: String,
        tables: SnowflakeTables,
    },
    Connect(Server),
}

/// The tables of the Snowflake side that a comparison reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnowflakeTables {
    /// The tables of PostgreSQL's catalog, at their newest metadata, in PostgreSQL's dialect.
    #[default]
    #[serde(rename = "reader")]
    NewestMetadata,
    /// The tables of the scenario's own session on the Snowflake side, in Snowflake's dialect.
    Session,
}

/// A PostgreSQL server that a scenario has created.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub host: String,
    #[serde(default = "default_port")]
    pub port: u16,
    #[serde(default = "default_database")]
    pub database: String,
    pub user: String,
    pub password: String,
    /// The only certificate that is trusted, in PEM. Without it, the connection is not encrypted.
    pub certificate: Option<String>,
}

fn default_port() -> u16 {
    5432
}

fn default_database() -> String {
    "postgres".into()
}

/// Values of an answer's only row that are saved for later steps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Save {
    /// The number of the statement in the file, from 1; `None` is the last one.
    pub statement: Option<usize>,
    /// The source of each variable: a column, or `column.key` for a key of the JSON object in it.
    pub columns: BTreeMap<String, String>,
}

/// An SQL file. Its variables are replaced, except those that an earlier step saves.
#[derive(Clone, Debug)]
pub struct SqlFile {
    pub side: Side,
    /// The path: the scenario's folder and the name in the manifest.
    pub path: PathBuf,
    pub statements: Vec<Statement>,
    /// Whether all statements run in one transaction.
    pub atomic: bool,
    /// The expectations, each with the index of its statement in `statements`.
    pub expect: Vec<(usize, Expectation)>,
    /// The values to save, each with the index of its statement in `statements`.
    pub save: Vec<(usize, Save)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    title: String,
    step: Vec<RawStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    title: String,
    #[serde(default)]
    skip_if: Vec<SkipIf>,
    #[serde(default)]
    atomic: bool,
    #[serde(default)]
    expect: Vec<Expectation>,
    #[serde(default)]
    save: Vec<Save>,
    #[serde(default)]
    within_seconds: u64,
    postgres: Option<PathBuf>,
    snowflake: Option<PathBuf>,
    simulate: Option<Simulator>,
    verify: Option<RawVerify>,
    connect: Option<Server>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVerify {
    queries: PathBuf,
    #[serde(default = "default_iceberg_prefix")]
    iceberg_prefix: String,
    #[serde(default)]
    snowflake: SnowflakeTables,
}

fn default_iceberg_prefix() -> String {
    "iceberg_".into()
}

impl Scenario {
    /// Reads the scenario in `folder`, which may also be the path of the manifest itself.
    pub fn load(folder: &Path, variables: &Variables) -> Result<Self, ScenarioError> {
        let path = if folder.is_file() {
            folder.to_owned()
        } else {
            folder.join(MANIFEST)
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let raw: RawScenario =
            toml::from_str(&read(&path)?).map_err(|error| ScenarioError::Manifest {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        let mut names = Names {
            known: variables,
            saved: BTreeSet::new(),
        };
        let mut steps = Vec::with_capacity(raw.step.len());
        for step in raw.step {
            let title = step.title.clone();
            let invalid = |reason: String| ScenarioError::Manifest {
                path: path.clone(),
                reason: format!("step \"{title}\": {reason}"),
            };
            let saved = step.save.iter().flat_map(|save| save.columns.keys());
            let saved: Vec<String> = saved.cloned().collect();
            steps.push(step.load(folder, &names, &invalid)?);
            names.saved.extend(saved);
        }
        Ok(Self {
            title: raw.title,
            steps,
        })
    }
}

/// The variables that a step may use.
struct Names<'a> {
    known: &'a Variables,
    /// The names of variables that earlier steps save. Their values are known when the step runs.
    saved: BTreeSet<String>,
}

impl Names<'_> {
    /// Replaces the known variables. The error is a name that is not a variable, and its byte
    /// offset.
    fn substitute(&self, text: &str) -> Result<String, (String, usize)> {
        substitute(text, |name| match self.known.get(name) {
            Some(value) => Some(value.clone()),
            None => self.saved.contains(name).then(|| format!("${{{name}}}")),
        })
    }

    fn unknown(&self, name: &str) -> String {
        let all: Vec<&str> = self
            .known
            .keys()
            .chain(&self.saved)
            .map(String::as_str)
            .collect();
        format!(
            "there is no variable ${{{name}}}; there are: {}",
            all.join(", ")
        )
    }
}

impl RawStep {
    fn load(
        self,
        folder: &Path,
        names: &Names<'_>,
        invalid: &dyn Fn(String) -> ScenarioError,
    ) -> Result<Step, ScenarioError> {
        let Self {
            title,
            mut skip_if,
            atomic,
            mut expect,
            save,
            within_seconds,
            postgres,
            snowflake,
            simulate,
            verify,
            connect,
        } = self;
        let replace = |text: &str| {
            let replaced = names.substitute(text);
            replaced.map_err(|(name, _)| invalid(names.unknown(&name)))
        };
        for condition in &mut skip_if {
            condition.sql = replace(&condition.sql)?;
        }
        for text in expect.iter_mut().flat_map(Expectation::texts) {
            *text = replace(text)?;
        }
        let is_sql = postgres.is_some() || snowflake.is_some();
        if (atomic || !expect.is_empty() || !save.is_empty()) && !is_sql {
            return Err(invalid(
                "`atomic`, `expect` and `save` are for SQL files".into(),
            ));
        }
        if within_seconds > 0 && simulate.is_some() {
            return Err(invalid(
                "`within_seconds` is not for `simulate`, which would add rows each time".into(),
            ));
        }
        if atomic && postgres.is_none() {
            return Err(invalid("`atomic` is for PostgreSQL".into()));
        }
        let file = |side, file: PathBuf| {
            let path = folder.join(file);
            SqlFile::load(side, &path, names, invalid)
        };
        let mut actions = Vec::new();
        if let Some(path) = postgres {
            actions.push(Action::Sql(file(Side::Postgres, path)?));
        }
        if let Some(path) = snowflake {
            actions.push(Action::Sql(file(Side::Snowflake, path)?));
        }
        actions.extend(simulate.map(Action::Simulate));
        if let Some(verify) = verify {
            actions.push(Action::Verify {
                queries: Query::load_dir(&folder.join(verify.queries))?,
                iceberg_prefix: verify.iceberg_prefix,
                tables: verify.snowflake,
            });
        }
        if let Some(mut server) = connect {
            for text in server.texts() {
                *text = replace(text)?;
            }
            actions.push(Action::Connect(server));
        }
        let Ok([mut action]) = <[Action; 1]>::try_from(actions) else {
            return Err(invalid(
                "it needs one of postgres, snowflake, simulate, verify and connect".into(),
            ));
        };
        if let Action::Sql(file) = &mut action {
            file.atomic = atomic;
            file.expect = file.about("expect", expect, |one| one.statement, invalid)?;
            file.save = file.about("save", save, |one| one.statement, invalid)?;
        }
        Ok(Step {
            title,
            skip_if,
            action,
            within: Duration::from_secs(within_seconds),
        })
    }
}

impl Server {
    /// Returns the texts that may contain variables.
    pub(super) fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let always = [
            &mut self.host,
            &mut self.database,
            &mut self.user,
            &mut self.password,
        ];
        always.into_iter().chain(&mut self.certificate)
    }
}

impl SqlFile {
    fn load(
        side: Side,
        path: &Path,
        names: &Names<'_>,
        invalid: &dyn Fn(String) -> ScenarioError,
    ) -> Result<Self, ScenarioError> {
        let wrong = |line, reason| ScenarioError::Text {
            path: path.to_owned(),
            line,
            reason,
        };
        let text = read(path)?;
        // Split first, because a variable's value must not change where a statement ends.
        let statements =
            split_statements(side, &text).map_err(|(line, reason)| wrong(line, reason))?;
        if statements.is_empty() {
            return Err(invalid(format!("{} has no statement", path.display())));
        }
        let replace = |Statement { sql, line }: Statement| match names.substitute(&sql) {
            Ok(sql) => Ok(Statement { sql, line }),
            Err((name, offset)) => {
                let line = line + line_of(&sql, offset) - 1;
                Err(wrong(line, names.unknown(&name)))
            }
        };
        Ok(Self {
            side,
            path: path.to_owned(),
            statements: statements
                .into_iter()
                .map(replace)
                .collect::<Result<_, _>>()?,
            atomic: false,
            expect: Vec::new(),
            save: Vec::new(),
        })
    }

    /// Pairs entries of the manifest with the index of the statement that each is about.
    fn about<T>(
        &self,
        key: &str,
        all: Vec<T>,
        statement: impl Fn(&T) -> Option<usize>,
        invalid: &dyn Fn(String) -> ScenarioError,
    ) -> Result<Vec<(usize, T)>, ScenarioError> {
        let count = self.statements.len();
        let find = |one: T| {
            let number = statement(&one).unwrap_or(count);
            match number.checked_sub(1).filter(|index| *index < count) {
                Some(index) => Ok((index, one)),
                None => Err(invalid(format!(
                    "`{key}` is about statement {number}, but {} has {count}",
                    self.path.display()
                ))),
            }
        };
        all.into_iter().map(find).collect()
    }
}

/// Splits a file into statements. The error is a line and what is wrong there.
fn split_statements(side: Side, text: &str) -> Result<Vec<Statement>, (usize, String)> {
    match side {
        Side::Postgres => split(text).map_err(|unclosed| (unclosed.line, unclosed.to_string())),
        Side::Snowflake => {
            let statements = syntax::split(text).map_err(|error| {
                let line = error.position.map_or(1, |position| position.line);
                (line as usize, error.message)
            })?;
            let owned = |one: syntax::Statement<'_>| Statement {
                sql: one.sql.to_owned(),
                line: one.position.line as usize,
            };
            Ok(statements.into_iter().map(owned).collect())
        }
    }
}

fn read(path: &Path) -> Result<String, ScenarioError> {
    std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Replaces each `${name}`. The error is a name without a value, and its byte offset.
pub(super) fn substitute(
    text: &str,
    value: impl Fn(&str) -> Option<String>,
) -> Result<String, (String, usize)> {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let after = &rest[start + 2..];
        let Some(end) = after.find('}') else { break };
        let value = value(&after[..end])
            .ok_or_else(|| (after[..end].to_owned(), text.len() - rest.len() + start))?;
        replaced.push_str(&rest[..start]);
        replaced.push_str(&value);
        rest = &after[end + 1..];
    }
    replaced.push_str(rest);
    Ok(replaced)
}
