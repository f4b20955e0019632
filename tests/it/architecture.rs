//! What must stay true of the whole workspace: who depends on whom, how large files are, and that
//! documents lead somewhere.

mod circles;
mod crates;
mod documents;
mod imports;
mod sizes;

use std::path::{Path, PathBuf};

use crate::support::ROOT;

/// Returns the checkout.
fn root() -> PathBuf {
    Path::new(ROOT).canonicalize().unwrap()
}

/// Returns the files of a folder of the checkout and of its subfolders, sorted.
fn files_under(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Returns what a folder contains, with full paths.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Returns the Markdown files of the project.
fn documents() -> Vec<PathBuf> {
    let folders = ["docs", "src", "tests", "scenarios", "fixtures", "compose"];
    let files = folders.into_iter().flat_map(files_under);
    files
        .chain(entries(&root()))
        .filter(|path| has_extension(path, "md"))
        .collect()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns a path as it is written in the project.
fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Fails with all problems, a line for each.
#[track_caller]
fn assert_none(what: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{what}:\n{}", problems.join("\n"));
}
