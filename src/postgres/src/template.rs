//! Creates database clusters: `initdb` runs once per version, and later clusters are copies of its
//! result.
//!
//! The cache (`$XDG_CACHE_HOME/icebox/initdb/<key>/`) holds clusters as `initdb` leaves them:
//! without passwords, without roles other than the superuser, without settings of a sandbox. The
//! key covers everything that shapes such a cluster.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::{Account, Error, Installation};

/// The locale: text sorts by bytes, as it does on Snowflake's side by default, but `upper` and
/// `lower` handle all of Unicode.
const LOCALE: [&str; 2] = ["--locale=C", "--lc-ctype=C.UTF-8"];

/// Creates a new cluster in `data_dir`, which must not exist. Its only role is `superuser`, without
/// a password: the caller's access rules must limit the connections.
pub fn create(
    installation: &Installation,
    account: Option<&Account>,
    superuser: &str,
    data_dir: &Path,
    cache_dir: Option<&Path>,
) -> Result<(), Error> {
    let template = cache_dir.map(|dir| dir.join("initdb").join(key(installation, superuser)));
    let result = match &template {
        Some(template) if template.join("PG_VERSION").exists() => {
            copy_tree(template, data_dir, account)
        }
        _ => initdb(installation, account, superuser, data_dir).map(|()| {
            // Without the cache the next start is slower, but still correct.
            if let Some(template) = &template
                && let Err(error) = store(data_dir, template)
            {
                tracing::warn!(%error, "cannot cache the new cluster for later sandboxes");
            }
        }),
    };
    if result.is_err() {
        let _ = std::fs::remove_dir_all(data_dir);
    }
    result
}

fn key(installation: &Installation, superuser: &str) -> String {
    let mut hash = Sha256::new();
    for part in [
        &installation.version,
        superuser,
        LOCALE[0],
        LOCALE[1],
        &installation.bin_dir.to_string_lossy(),
    ] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest: String = hash
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-{digest}", installation.major)
}

fn initdb(
    installation: &Installation,
    account: Option<&Account>,
    superuser: &str,
    data_dir: &Path,
) -> Result<(), Error> {
    make_data_dir(data_dir)?;
    let program = installation.program("initdb");
    let mut command = Command::new(&program);
    command
        .arg("--pgdata")
        .arg(data_dir)
        .args([
            "--username",
            superuser,
            "--encoding=UTF8",
            "--auth=trust",
            "--no-sync",
            "--no-instructions",
        ])
        .args(LOCALE)
        .current_dir("/")
        .stdin(Stdio::null());
    if let Some(account) = account {
        account.chown(data_dir)?;
        command.uid(account.uid).gid(account.gid);
    }
    let output = command.output().map_err(|source| Error::Run {
        program: program.clone(),
        source,
    })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Failed {
            program,
            output: text,
        });
    }
    Ok(())
}

/// Copies the fresh cluster into the cache, atomically.
fn store(data_dir: &Path, template: &Path) -> Result<(), Error> {
    let parent = template.parent().unwrap_or(template);
    std::fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    let unfinished = tempfile::Builder::new()
        .prefix(".unfinished-")
        .tempdir_in(parent)
        .map_err(Error::file("create a directory in", parent))?;
    let copy = unfinished.path().join("data");
    copy_tree(data_dir, &copy, None)?;
    match std::fs::rename(&copy, template) {
        // Another sandbox has stored the same cluster meanwhile.
        Err(_) if template.join("PG_VERSION").exists() => Ok(()),
        result => result.map_err(Error::file("move the new cluster to", template)),
    }
}

fn make_data_dir(data_dir: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(data_dir)
        .map_err(Error::file("create", data_dir))
}

/// Copies files and folders with their modes. `std::fs::copy` shares the blocks where the file
/// system supports it.
fn copy_tree(from: &Path, to: &Path, owner: Option<&Account>) -> Result<(), Error> {
    make_data_dir(to)?;
    let mut folders: Vec<(PathBuf, PathBuf)> = vec![(from.to_path_buf(), to.to_path_buf())];
    while let Some((from, to)) = folders.pop() {
        if let Some(owner) = owner {
            owner.chown(&to)?;
        }
        for entry in std::fs::read_dir(&from).map_err(Error::file("read", &from))? {
            let entry = entry.map_err(Error::file("read", &from))?;
            let target = to.join(entry.file_name());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                make_data_dir(&target)?;
                folders.push((entry.path(), target));
                continue;
            }
            std::fs::copy(entry.path(), &target).map_err(Error::file("write", &target))?;
            if let Some(owner) = owner {
                owner.chown(&target)?;
            }
        }
    }
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700))
        .map_err(Error::file("set the mode of", to))
}
