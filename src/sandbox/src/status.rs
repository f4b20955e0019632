//! The status of a sandbox, as seen from another process.

use serde::Serialize;

use crate::supervisor::RunFile;
use crate::{EngineKind, Error, SandboxInfo, StateDir};

/// The state of a sandbox as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No process runs it.
    Down,
    /// It is starting or stopping.
    Starting,
    /// Every component has answered once. See each component for its present state.
    Up,
}

/// The content of `icebox status`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub state: State,
    pub state_dir: std::path::PathBuf,
    pub engine: Option<EngineKind>,
    pub engine_reason: Option<String>,
    /// The process that runs the sandbox.
    pub supervisor_pid: Option<i32>,
    pub components: Vec<ComponentStatus>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ComponentStatus {
    pub name: String,
    pub is_up: bool,
    /// The process id; `None` while the component is down.
    pub pid: Option<i32>,
    pub endpoint: Option<String>,
    /// The number of times that the component ended unexpectedly and was started again.
    pub restarts: u32,
    /// The memory of the process and its descendants. Memory that they share counts once.
    pub memory_bytes: Option<u64>,
}

impl Status {
    pub fn of(state: &StateDir) -> Result<Self, Error> {
        let holder = state.holder();
        let info: Option<SandboxInfo> = match holder {
            Some(_) => state.read_json(&SandboxInfo::path(state.root()))?,
            None => None,
        };
        let mut components = components(state, "")?;
        for (prefix, instance) in state.instances() {
            components.extend(self::components(&instance, &prefix)?);
        }
        let state_of = match (&holder, &info) {
            (None, _) => State::Down,
            (Some(_), None) => State::Starting,
            (Some(_), Some(_)) => State::Up,
        };
        Ok(Self {
            state: state_of,
            state_dir: state.root().to_path_buf(),
            engine: info.as_ref().map(|info| info.engine),
            engine_reason: info.map(|info| info.engine_reason),
            supervisor_pid: holder.map(|holder| holder.process.pid),
            components,
        })
    }
}

/// Returns the components of a state directory, sorted by name.
fn components(state: &StateDir, prefix: &str) -> Result<Vec<ComponentStatus>, Error> {
    let mut components = Vec::new();
    for entry in std::fs::read_dir(state.run_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".json"))
        else {
            continue;
        };
        let Some(run) = state.read_json::<RunFile>(&path)? else {
            continue;
        };
        let is_up = run.process.is_alive();
        let has_own_memory = is_up && run.is_separate;
        components.push(ComponentStatus {
            name: format!("{prefix}{name}"),
            is_up,
            pid: is_up.then_some(run.process.pid),
            endpoint: Some(run.endpoint),
            restarts: run.restarts,
            memory_bytes: has_own_memory.then(|| run.process.memory_bytes()).flatten(),
        });
    }
    components.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(components)
}
