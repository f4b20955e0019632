//! The operating-system account that runs PostgreSQL, which refuses to run as root.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::Error;

/// An unprivileged account that icebox, running as root, uses for PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// Returns the account to switch to: `None` if icebox itself is not root, otherwise `postgres`,
    /// or else `nobody`.
    ///
    /// # Errors
    /// [`Error::NoAccount`] if neither of the two exists.
    pub fn unprivileged() -> Result<Option<Self>, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let Ok(Some(user)) = nix::unistd::User::from_name(name) {
                return Ok(Some(Self {
                    name: user.name,
                    uid: user.uid.as_raw(),
                    gid: user.gid.as_raw(),
                }));
            }
        }
        Err(Error::NoAccount)
    }

    /// Whether this account can reach `dir`, which must exist: it needs execute permission on it
    /// and on every ancestor.
    pub fn can_traverse(&self, dir: &Path) -> bool {
        let Ok(dir) = dir.canonicalize() else {
            return false;
        };
        dir.ancestors().all(|ancestor| {
            let Ok(metadata) = ancestor.metadata() else {
                return false;
            };
            let mode = metadata.permissions().mode();
            let bit = match metadata {
                ref m if m.uid() == self.uid => 0o100,
                ref m if m.gid() == self.gid => 0o010,
                _ => 0o001,
            };
            mode & bit != 0
        })
    }

    /// Makes this account the owner of `path`.
    pub fn chown(&self, path: &Path) -> Result<(), Error> {
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
            .map_err(Error::file("change the owner of", path))
    }
}
