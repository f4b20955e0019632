//! The private prefix: a PostgreSQL installation that icebox may add an extension to.
//!
//! PostgreSQL finds its share and library directories relative to the path of the running
//! `postgres` binary. So the prefix repeats the installation's layout below the state directory:
//!
//! ```text
//! <prefix>/<bin dir>/postgres       a copy: PostgreSQL would resolve a link to the original
//! <prefix>/<bin dir>/…              links to the installation's other programs
//! <prefix>/<share dir>/…            links, except for:
//! <prefix>/<share dir>/extension/   links to the installation's extensions without a real pg_lake,
//!                                   and the files of the stand-in
//! <prefix>/<library dir>            a link
//! <prefix>/<bin dir>/../lib/*.so*   links: some builds have the libraries of `postgres` there
//! ```

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{EngineSocket, extension};
use icebox_postgres::Installation;

#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the private PostgreSQL prefix: {doing} {path}")]
pub struct PrefixError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Creates or refreshes the prefix, and returns the directory to start `postgres` from.
///
/// `engine_socket` is the default address of the lake engine for the extension.
///
/// # Errors
/// [`PrefixError`] names the path that cannot be created, read or linked.
pub fn prepare(
    installation: &Installation,
    prefix: &Path,
    engine_socket: &EngineSocket,
) -> Result<PathBuf, PrefixError> {
    let bin = below(prefix, &installation.bin_dir);
    let share = below(prefix, &installation.share_dir);
    let extension = share.join("extension");
    for directory in [&bin, &extension] {
        fs::create_dir_all(directory).map_err(failed("creating", directory))?;
    }
    link_entries(&installation.bin_dir, &bin, |name| name == "postgres")?;
    copy_if_changed(
        &installation.bin_dir.join("postgres"),
        &bin.join("postgres"),
    )?;
    link_entries(&installation.share_dir, &share, |name| name == "extension")?;
    // The files of a real pg_lake, if one is installed: pg_lake.control, pg_lake--3.4.sql,
    // pg_lake_iceberg.control and so on.
    link_entries(
        &installation.share_dir.join("extension"),
        &extension,
        |name| name.to_string_lossy().starts_with("pg_lake"),
    )?;
    let library = below(prefix, &installation.pkglib_dir);
    if let Some(parent) = library.parent() {
        fs::create_dir_all(parent).map_err(failed("creating", parent))?;
    }
    link(&installation.pkglib_dir, &library)?;
    link_shared_libraries(&installation.bin_dir.with_file_name("lib"), prefix)?;

    extension::install(&extension, engine_socket).map_err(|source| PrefixError {
        doing: "adding pg_lake to",
        path: extension.clone(),
        source,
    })?;
    Ok(bin)
}

/// Returns the path inside the prefix that corresponds to an absolute path.
fn below(prefix: &Path, path: &Path) -> PathBuf {
    prefix.join(path.strip_prefix("/").unwrap_or(path))
}

fn failed<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> PrefixError + use<'a> {
    move |source| PrefixError {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Links every entry of a directory for which `except` is false.
fn link_entries(
    from: &Path,
    to: &Path,
    except: impl Fn(&OsStr) -> bool,
) -> Result<(), PrefixError> {
    for entry in fs::read_dir(from).map_err(failed("listing", from))? {
        let entry = entry.map_err(failed("listing", from))?;
        if !except(&entry.file_name()) {
            link(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Links the shared libraries of a directory, unless its counterpart in the prefix is a link
/// already.
fn link_shared_libraries(from: &Path, prefix: &Path) -> Result<(), PrefixError> {
    let to = below(prefix, from);
    if !from.is_dir() || to.is_symlink() {
        return Ok(());
    }
    fs::create_dir_all(&to).map_err(failed("creating", &to))?;
    for entry in fs::read_dir(from).map_err(failed("listing", from))? {
        let name = entry.map_err(failed("listing", from))?.file_name();
        if name.to_string_lossy().contains(".so") {
            link(&from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}

fn link(target: &Path, path: &Path) -> Result<(), PrefixError> {
    match fs::read_link(path) {
        Ok(current) if current == target => return Ok(()),
        Ok(_) => fs::remove_file(path).map_err(failed("replacing", path))?,
        Err(_) => {}
    }
    symlink(target, path).map_err(failed("linking", path))
}

/// Copies a file unless the copy is current: as large as the original and not older. An upgrade of
/// the package changes one of the two.
fn copy_if_changed(from: &Path, to: &Path) -> Result<(), PrefixError> {
    let source = fs::metadata(from).map_err(failed("reading", from))?;
    let is_current = fs::metadata(to).is_ok_and(|copy| {
        copy.len() == source.len() && copy.mtime() >= source.mtime().max(source.ctime())
    });
    if is_current {
        return Ok(());
    }
    let partial = to.with_extension("partial");
    fs::copy(from, &partial).map_err(failed("copying", from))?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))
        .map_err(failed("copying", from))?;
    fs::rename(&partial, to).map_err(failed("copying", from))
}
