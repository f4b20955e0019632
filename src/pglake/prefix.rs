//! PLACEHOLDER for the private prefix: the installation as it is. Replaced at merge.

use std::path::{Path, PathBuf};

use crate::postgres::Installation;

pub fn prepare(
    installation: &Installation,
    _prefix_dir: &Path,
    _engine_socket_dir: &Path,
) -> std::io::Result<PathBuf> {
    Ok(installation.bin_dir.clone())
}
