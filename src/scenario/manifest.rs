//! Reading a scenario: its manifest and every file that it names, checked before anything runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::expect::{Expectation, Expected};
use super::{ScenarioError, Side, Statement};
use crate::parity::Query;
use crate::postgres::statements::{line_of, split};
use crate::retail::Simulator;
use crate::sandbox::SandboxInfo;

/// The name of the manifest in a scenario's folder.
const MANIFEST: &str = "scenario.toml";

/// What `${name}` stands for.
pub type Variables = BTreeMap<String, String>;

/// The variables of a sandbox: `bucket`, `region`, `s3_endpoint`, `database`, `user`, `state_dir`.
pub fn variables(info: &SandboxInfo) -> Variables {
    [
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

/// A story that is ready to run.
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
}

/// A reason not to run a step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipIf {
    /// A query on PostgreSQL that gives one row with one boolean.
    pub sql: String,
    /// What to say when it is true.
    pub because: String,
}

#[derive(Clone, Debug)]
pub enum Action {
    Sql(SqlFile),
    Simulate(Simulator),
    Verify {
        queries: Vec<Query>,
        /// What precedes a logical table name in the name of its Iceberg table.
        iceberg_prefix: String,
    },
}

/// An SQL file, its variables replaced.
#[derive(Clone, Debug)]
pub struct SqlFile {
    pub side: Side,
    /// As it was found: the scenario's folder and the name in the manifest.
    pub path: PathBuf,
    pub statements: Vec<Statement>,
    /// Whether all statements are one transaction.
    pub atomic: bool,
    /// Each with the index in `statements` that it is about.
    pub expect: Vec<(usize, Expectation)>,
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
    postgres: Option<PathBuf>,
    snowflake: Option<PathBuf>,
    simulate: Option<Simulator>,
    verify: Option<RawVerify>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVerify {
    queries: PathBuf,
    #[serde(default = "default_iceberg_prefix")]
    iceberg_prefix: String,
}

fn default_iceberg_prefix() -> String {
    "iceberg_".into()
}

impl Scenario {
    /// Reads the scenario in `folder`, or whose manifest it is.
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
        let steps = raw
            .step
            .into_iter()
            .map(|step| {
                let title = step.title.clone();
                let invalid = |reason: String| ScenarioError::Manifest {
                    path: path.clone(),
                    reason: format!("step \"{title}\": {reason}"),
                };
                step.load(folder, variables, &invalid)
            })
            .collect::<Result<_, _>>()?;
        Ok(Scenario {
            title: raw.title,
            steps,
        })
    }
}

impl RawStep {
    fn load(
        self,
        folder: &Path,
        variables: &Variables,
        invalid: &dyn Fn(String) -> ScenarioError,
    ) -> Result<Step, ScenarioError> {
        let RawStep {
            title,
            mut skip_if,
            atomic,
            mut expect,
            postgres,
            snowflake,
            simulate,
            verify,
        } = self;
        let replace = |text: &str| {
            substitute(text, variables)
                .map_err(|(name, _)| invalid(unknown_variable(&name, variables)))
        };
        for condition in &mut skip_if {
            condition.sql = replace(&condition.sql)?;
        }
        for expected in expect
            .iter_mut()
            .flat_map(|expect| &mut expect.rows)
            .flatten()
            .flatten()
        {
            if let Expected::Text(text) = expected {
                *text = replace(text)?;
            }
        }
        if (atomic || !expect.is_empty()) && postgres.is_none() && snowflake.is_none() {
            return Err(invalid("`atomic` and `expect` are for SQL files".into()));
        }
        if atomic && postgres.is_none() {
            return Err(invalid("`atomic` is for PostgreSQL".into()));
        }
        let action = match (postgres, snowflake, simulate, verify) {
            (Some(file), None, None, None) => Action::Sql(SqlFile::load(
                Side::Postgres,
                &folder.join(file),
                atomic,
                expect,
                variables,
                invalid,
            )?),
            (None, Some(file), None, None) => Action::Sql(SqlFile::load(
                Side::Snowflake,
                &folder.join(file),
                atomic,
                expect,
                variables,
                invalid,
            )?),
            (None, None, Some(simulator), None) => Action::Simulate(simulator),
            (
                None,
                None,
                None,
                Some(RawVerify {
                    queries,
                    iceberg_prefix,
                }),
            ) => Action::Verify {
                queries: Query::load_dir(&folder.join(queries))?,
                iceberg_prefix,
            },
            _ => {
                return Err(invalid(
                    "it needs one of postgres, snowflake, simulate and verify".into(),
                ));
            }
        };
        Ok(Step {
            title,
            skip_if,
            action,
        })
    }
}

impl SqlFile {
    fn load(
        side: Side,
        path: &Path,
        atomic: bool,
        expect: Vec<Expectation>,
        variables: &Variables,
        invalid: &dyn Fn(String) -> ScenarioError,
    ) -> Result<Self, ScenarioError> {
        let wrong = |line, reason| ScenarioError::Text {
            path: path.to_owned(),
            line,
            reason,
        };
        let text = read(path)?;
        // Split first: a value must not change where a statement ends.
        let statements =
            split(&text).map_err(|unclosed| wrong(unclosed.line, unclosed.to_string()))?;
        let statements: Vec<Statement> = statements
            .into_iter()
            .map(
                |Statement { sql, line }| match substitute(&sql, variables) {
                    Ok(sql) => Ok(Statement { sql, line }),
                    Err((name, offset)) => Err(wrong(
                        line + line_of(&sql, offset) - 1,
                        unknown_variable(&name, variables),
                    )),
                },
            )
            .collect::<Result<_, _>>()?;
        let expect = expect
            .into_iter()
            .map(|expectation| {
                let number = expectation.statement.unwrap_or(statements.len());
                match number
                    .checked_sub(1)
                    .filter(|index| *index < statements.len())
                {
                    Some(index) => Ok((index, expectation)),
                    None => Err(invalid(format!(
                        "`expect` is about statement {number}, but {} has {}",
                        path.display(),
                        statements.len()
                    ))),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(SqlFile {
            side,
            path: path.to_owned(),
            statements,
            atomic,
            expect,
        })
    }
}

fn read(path: &Path) -> Result<String, ScenarioError> {
    std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    })
}

fn unknown_variable(name: &str, variables: &Variables) -> String {
    let known: Vec<&str> = variables.keys().map(String::as_str).collect();
    format!(
        "there is no variable ${{{name}}}; there are: {}",
        known.join(", ")
    )
}

/// Replaces each `${name}`; the error is an unknown name and its byte offset.
fn substitute(text: &str, variables: &Variables) -> Result<String, (String, usize)> {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let after = &rest[start + 2..];
        let Some(end) = after.find('}') else { break };
        let value = variables
            .get(&after[..end])
            .ok_or_else(|| (after[..end].to_owned(), text.len() - rest.len() + start))?;
        replaced.push_str(&rest[..start]);
        replaced.push_str(value);
        rest = &after[end + 1..];
    }
    replaced.push_str(rest);
    Ok(replaced)
}
