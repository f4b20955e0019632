//! Finds a PostgreSQL installation.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;

/// The oldest major version that the sandbox supports.
pub const OLDEST: u32 = 15;

/// The commands that install everything that the sandbox uses of PostgreSQL, for error messages.
pub const INSTALL: &str = "./x install, or: sudo apt-get install postgresql postgresql-contrib postgresql-15-cron \
                           (the number is the server's version)";

/// The programs and files of an installed PostgreSQL server.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The directory with `postgres` and `initdb` themselves, not links or wrappers.
    pub bin_dir: PathBuf,
    /// The version as `postgres --version` prints it after `postgres (PostgreSQL) `, for example
    /// `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// The major version, for example 15.
    pub major: u32,
    /// The share directory, which contains the folder `extension`.
    pub share_dir: PathBuf,
    /// The directory of loadable libraries, `$libdir`.
    pub pkglib_dir: PathBuf,
    pub has_pg_cron: bool,
    /// Whether `postgres_fdw` and `dblink` are installed, from contrib.
    pub has_contrib: bool,
}

impl Installation {
    /// Finds a server of version 15 or newer.
    ///
    /// If `pg_bin` is given, it looks only there. Otherwise it looks on PATH, then for the newest
    /// version under `/usr/lib/postgresql` (Debian) or `/usr/pgsql-*` (PGDG on EL), then in the
    /// directory that `pg_config` reports.
    ///
    /// # Errors
    /// [`Error::NotFound`] with the reason for each candidate.
    pub fn find(pg_bin: Option<&Path>) -> Result<Self, Error> {
        let mut refused = Vec::new();
        for found in Self::all(pg_bin) {
            match found {
                Ok(found) => return Ok(found),
                Err(reason) => refused.push(reason),
            }
        }
        let reason = if refused.is_empty() {
            "`postgres` is not on PATH, under /usr/lib/postgresql or /usr/pgsql-*, or where pg_config says".to_owned()
        } else {
            refused.join("; ")
        };
        Err(Error::NotFound {
            reason,
            fix: INSTALL,
        })
    }

    /// Opens every server in the places where [`find`](Self::find) looks, in the same order. An
    /// item is an error if that server cannot be used.
    pub fn all(pg_bin: Option<&Path>) -> impl Iterator<Item = Result<Self, String>> {
        let candidates = match pg_bin {
            Some(dir) => vec![dir.to_path_buf()],
            None => candidates(),
        };
        candidates
            .into_iter()
            .map(|dir| Self::open(&dir).map_err(|reason| format!("{}: {reason}", dir.display())))
    }

    /// Reads the installation whose programs are in `bin_dir`.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    fn open(bin_dir: &Path) -> Result<Self, String> {
        for program in ["postgres", "initdb"] {
            if !is_program(&bin_dir.join(program)) {
                return Err(format!("`{program}` is missing"));
            }
        }
        let version = output(Command::new(bin_dir.join("postgres")).arg("--version"))?;
        let version = version
            .split_once(") ")
            .map_or(version.as_str(), |(_, version)| version)
            .to_owned();
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        let major = digits
            .parse()
            .map_err(|_| format!("cannot read the version {version:?}"))?;
        if major < OLDEST {
            return Err(format!("version {version} is older than {OLDEST}"));
        }
        let (share_dir, pkglib_dir) = directories(bin_dir)?;
        let has = |library: &str, control: &str| {
            pkglib_dir.join(library).exists() && share_dir.join("extension").join(control).exists()
        };
        Ok(Self {
            bin_dir: bin_dir.to_path_buf(),
            version,
            major,
            has_pg_cron: has("pg_cron.so", "pg_cron.control"),
            has_contrib: has("postgres_fdw.so", "postgres_fdw.control")
                && has("dblink.so", "dblink.control"),
            share_dir,
            pkglib_dir,
        })
    }

    /// The version number only, for example `15.18`.
    pub fn short_version(&self) -> &str {
        self.version
            .split_whitespace()
            .next()
            .unwrap_or(&self.version)
    }

    /// Returns those of the `wanted` libraries that are installed.
    pub fn libraries<'a>(&self, wanted: &[&'a str]) -> Vec<&'a str> {
        let is_there = |name: &&str| self.pkglib_dir.join(format!("{name}.so")).exists();
        wanted.iter().copied().filter(is_there).collect()
    }

    /// The path of a program of this installation.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

/// Returns the directories that may hold a server, best first.
fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut add = |dir: PathBuf| {
        if !found.contains(&dir) {
            found.push(dir);
        }
    };
    let on_path = |name: &str| {
        path()
            .map(|dir| dir.join(name))
            .find(|program| program.is_file())
    };
    // Debian has only client programs on PATH. A `postgres` on PATH is often a link into the real
    // directory.
    if let Some(program) = on_path("postgres").and_then(|program| program.canonicalize().ok())
        && let Some(dir) = program.parent()
        && is_program(&program)
    {
        add(dir.to_path_buf());
    }
    packaged()
        .into_iter()
        .filter(|dir| dir.join("postgres").exists())
        .for_each(&mut add);
    if let Some(pg_config) = on_path("pg_config")
        && let Ok(dir) = output(Command::new(pg_config).arg("--bindir"))
        && Path::new(&dir).join("postgres").exists()
    {
        add(PathBuf::from(dir));
    }
    found
}

/// The directories of PATH.
pub fn path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

/// Returns the program directories of the versions that Debian's and PGDG's packages have
/// installed, newest first.
pub fn packaged() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for (root, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name
                .to_str()
                .and_then(|name| name.strip_prefix(prefix)?.parse().ok());
            versions.extend(version.map(|version| (version, entry.path().join("bin"))));
        }
    }
    versions.sort();
    versions.into_iter().rev().map(|(_, dir)| dir).collect()
}

/// Finds the share and library directories of the server in `bin_dir`.
fn directories(bin_dir: &Path) -> Result<(PathBuf, PathBuf), String> {
    let pg_config = bin_dir.join("pg_config");
    if pg_config.exists() {
        let answer = output(Command::new(&pg_config).args(["--sharedir", "--pkglibdir"]))?;
        if let Some((share, pkglib)) = answer.split_once('\n') {
            return Ok((PathBuf::from(share), PathBuf::from(pkglib.trim())));
        }
    }
    // Some distributions ship pg_config with the development files only. Then this tries Debian's
    // layout, and the two layouts of PostgreSQL's own build.
    let prefix = bin_dir.parent().unwrap_or(bin_dir);
    let version = prefix.file_name().unwrap_or_default();
    let layouts = [
        (Path::new("/usr/share/postgresql").join(version), "lib"),
        (prefix.join("share"), "lib"),
        (prefix.join("share/postgresql"), "lib/postgresql"),
    ];
    let found = layouts
        .into_iter()
        .find(|(share, _)| share.join("extension").is_dir());
    match found {
        Some((share, library)) => Ok((share, prefix.join(library))),
        None => Err("its share directory cannot be found (pg_config is missing)".to_owned()),
    }
}

/// Whether `path` is an ELF binary. A script is refused, because it may be a wrapper that does not
/// behave like the program.
fn is_program(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("cannot run {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_server_is_refused_with_the_command_that_installs_one() {
        let empty = tempfile::tempdir().unwrap();
        let error = Installation::find(Some(empty.path()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("`postgres` is missing"), "{error}");
        assert!(error.contains("apt-get install postgresql"), "{error}");
    }

    #[test]
    fn a_script_named_postgres_is_not_taken_for_the_server() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("postgres"),
            "#!/bin/sh\nexec /elsewhere/postgres \"$@\"\n",
        )
        .unwrap();
        assert!(!is_program(&dir.path().join("postgres")));
    }
}
