//! The resources of a sandbox in the container engine: containers, a network, volumes. All carry
//! labels that name their sandbox, so that a later process can find and remove them.
//!
//! The file `containers.json` in the state directory says that there may be resources to remove,
//! and behind which socket.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use testcontainers::bollard::models::{NetworkCreateRequest, VolumeCreateRequest};
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
};

use super::Error;
use super::daemon::{Daemon, is_not_found};
use crate::StateDir;
use crate::process::ProcessId;

/// The label with the name of a sandbox's resources: `icebox-` and the state directory's short
/// name.
const SANDBOX: &str = "dev.icebox.sandbox";
const STATE_DIR: &str = "dev.icebox.state-dir";
/// The label with the process whose end leaves the containers and the network without an owner, see
/// [`Owner`].
const OWNER: &str = "dev.icebox.owner";

/// The resources of one sandbox in the container engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// The container engine's socket.
    pub socket: PathBuf,
    /// The prefix of every resource's name, which is also the network's name.
    pub name: String,
    pub state_dir: PathBuf,
}

/// A process, distinguished from those of other boots of the machine and of other containers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    process: ProcessId,
    boot: String,
    namespace: String,
}

impl Owner {
    fn current() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            process: ProcessId::current(),
            boot: boot.trim().to_owned(),
            namespace: namespace.display().to_string(),
        }
    }

    /// Returns whether the process has certainly ended.
    fn is_gone(&self) -> bool {
        let current = Self::current();
        self.boot != current.boot
            || (self.namespace == current.namespace && !self.process.is_alive())
    }
}

impl Resources {
    pub fn of(state: &StateDir, socket: &Path) -> Self {
        Self {
            socket: socket.to_path_buf(),
            name: format!("icebox-{}", state.short_name()),
            state_dir: state.root().to_path_buf(),
        }
    }

    /// Returns what `containers.json` records, if a sandbox of this directory ever ran in
    /// containers.
    pub fn recorded(state: &StateDir) -> Result<Option<Self>, crate::Error> {
        state.read_json(&state.containers())
    }

    /// Returns the name of a container or a volume.
    pub fn resource_name(&self, resource: &str) -> String {
        format!("{}-{resource}", self.name)
    }

    pub fn labels(&self) -> HashMap<String, String> {
        let owner = serde_json::to_string(&Owner::current()).expect("an owner is plain data");
        HashMap::from([
            (SANDBOX.to_owned(), self.name.clone()),
            (STATE_DIR.to_owned(), self.state_dir.display().to_string()),
            (OWNER.to_owned(), owner),
        ])
    }

    fn filter(&self) -> HashMap<String, Vec<String>> {
        filter(&format!("{SANDBOX}={}", self.name))
    }

    /// Removes what is left of earlier runs, then creates the network and these volumes. If the
    /// state directory no longer records any resources, data is removed too, because its passwords
    /// are lost. The caller holds the state directory's lock.
    pub async fn prepare(
        &self,
        daemon: &Daemon,
        state: &StateDir,
        volumes: &[String],
    ) -> Result<(), Error> {
        remove_abandoned(daemon).await;
        remove(daemon, &self.filter(), !state.containers().exists()).await?;
        state
            .write_json(&state.containers(), self)
            .map_err(|error| Error::Record(error.into()))?;
        let network = NetworkCreateRequest {
            name: self.name.clone(),
            labels: Some(self.labels()),
            ..NetworkCreateRequest::default()
        };
        daemon
            .client
            .create_network(network)
            .await
            .map_err(|error| Error::request("make a network", error))?;
        for volume in volumes {
            let volume = VolumeCreateRequest {
                name: Some(volume.clone()),
                labels: Some(self.labels()),
                ..VolumeCreateRequest::default()
            };
            daemon
                .client
                .create_volume(volume)
                .await
                .map_err(|error| Error::request("make a volume", error))?;
        }
        Ok(())
    }

    /// Removes the containers and the network, and with `data` also the volumes.
    pub async fn remove(&self, data: bool) -> Result<(), Error> {
        let daemon = Daemon::connect(&self.socket).await?;
        remove(&daemon, &self.filter(), data).await
    }
}

fn filter(label: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![label.to_owned()])])
}

/// Removes the resources of killed sandboxes. Volumes are removed only where the data is lost, as
/// with tests in temporary directories. A failure is only logged.
async fn remove_abandoned(daemon: &Daemon) {
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter(SANDBOX))
        .build();
    let networks = ListNetworksOptionsBuilder::new()
        .filters(&filter(SANDBOX))
        .build();
    let volumes = ListVolumesOptionsBuilder::new()
        .filters(&filter(SANDBOX))
        .build();
    let mut all: Vec<HashMap<String, String>> = Vec::new();
    if let Ok(found) = daemon.client.list_containers(Some(options)).await {
        all.extend(found.into_iter().filter_map(|container| container.labels));
    }
    if let Ok(found) = daemon.client.list_networks(Some(networks)).await {
        all.extend(found.into_iter().filter_map(|network| network.labels));
    }
    if let Ok(found) = daemon.client.list_volumes(Some(volumes)).await {
        all.extend(
            found
                .volumes
                .unwrap_or_default()
                .into_iter()
                .map(|volume| volume.labels),
        );
    }
    for (name, data) in abandoned(&all) {
        tracing::info!(
            name,
            "removing what a killed sandbox left in the container engine"
        );
        let label = filter(&format!("{SANDBOX}={name}"));
        if let Err(error) = remove(daemon, &label, data).await {
            tracing::warn!(name, %error, "what a killed sandbox left cannot be removed");
        }
    }
}

/// Returns the sandboxes none of whose resources has a living owner, and whether their data is lost
/// too. Volumes outlive the process that created them, so a volume whose owner has ended does not
/// make its sandbox abandoned.
fn abandoned(things: &[HashMap<String, String>]) -> BTreeMap<String, bool> {
    let mut gone: BTreeMap<String, bool> = BTreeMap::new();
    let mut alive: BTreeSet<String> = BTreeSet::new();
    for labels in things {
        let (Some(name), Some(owner), Some(state_dir)) = (
            labels.get(SANDBOX),
            labels.get(OWNER),
            labels.get(STATE_DIR),
        ) else {
            continue;
        };
        let Ok(owner) = serde_json::from_str::<Owner>(owner) else {
            continue;
        };
        if !owner.is_gone() {
            alive.insert(name.clone());
            continue;
        }
        let state_dir = Path::new(state_dir);
        // Data elsewhere is kept: a directory that cannot be found may be on a disk that is not
        // mounted.
        let is_lost = state_dir.starts_with(std::env::temp_dir())
            && matches!(state_dir.join("containers.json").try_exists(), Ok(false));
        gone.insert(name.clone(), is_lost);
    }
    gone.retain(|name, _| !alive.contains(name));
    gone
}

/// Removes the containers and networks that match the filters, and with `data` also the volumes.
async fn remove(
    daemon: &Daemon,
    filters: &HashMap<String, Vec<String>>,
    data: bool,
) -> Result<(), Error> {
    let client = &daemon.client;
    let failed = |doing| move |error| Error::request(doing, error);
    // A resource that another process removes meanwhile counts as removed.
    let or_gone = |result| match result {
        Err(error) if is_not_found(&error) => Ok(()),
        result => result,
    };
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(filters)
        .build();
    let containers = client.list_containers(Some(options)).await;
    for container in containers.map_err(failed("list containers"))? {
        let id = container.id.unwrap_or_default();
        remove_container(daemon, &id).await?;
    }
    let options = ListNetworksOptionsBuilder::new().filters(filters).build();
    let networks = client.list_networks(Some(options)).await;
    for network in networks.map_err(failed("list networks"))? {
        let id = network.id.unwrap_or_default();
        or_gone(client.remove_network(&id).await).map_err(failed("remove a network"))?;
    }
    if data {
        let options = ListVolumesOptionsBuilder::new().filters(filters).build();
        let volumes = client.list_volumes(Some(options)).await;
        for volume in volumes
            .map_err(failed("list volumes"))?
            .volumes
            .unwrap_or_default()
        {
            let options = RemoveVolumeOptionsBuilder::new().force(true).build();
            or_gone(client.remove_volume(&volume.name, Some(options)).await)
                .map_err(failed("remove a volume"))?;
        }
    }
    Ok(())
}

/// Removes a container, running or not, by name or id, together with its anonymous volumes. Waits
/// until it is gone.
pub async fn remove_container(daemon: &Daemon, container: &str) -> Result<(), Error> {
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    loop {
        let removed = daemon
            .client
            .remove_container(container, Some(options.clone()))
            .await;
        match removed {
            Ok(()) => return Ok(()),
            Err(error) if is_not_found(&error) => return Ok(()),
            // Another process is removing it.
            Err(testcontainers::bollard::errors::Error::DockerResponseServerError {
                status_code: 409,
                ..
            }) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(Error::request("remove a container", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second start creates its own containers and network, and reuses the volumes of the first.
    #[test]
    fn a_sandbox_that_was_started_again_is_not_abandoned() {
        let of = |name: &str, owner: &Owner| {
            HashMap::from([
                (SANDBOX.to_owned(), name.to_owned()),
                (STATE_DIR.to_owned(), "/home/anna/.icebox".to_owned()),
                (OWNER.to_owned(), serde_json::to_string(owner).unwrap()),
            ])
        };
        let first = Owner {
            boot: "before".to_owned(),
            ..Owner::current()
        };
        let things = [
            of("again", &Owner::current()),
            of("again", &first),
            of("killed", &first),
        ];
        let expected = BTreeMap::from([("killed".to_owned(), false)]);
        assert_eq!(abandoned(&things), expected);
    }
}
