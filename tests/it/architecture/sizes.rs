//! How long files and lines of prose are.

use std::path::Path;

use super::{assert_none, documents, files_under, has_extension, name, read};

/// A longer file is two things.
const MOST_LINES: usize = 500;

/// The columns of a line of prose.
const MOST_COLUMNS: usize = 100;

/// Returns whether a person wrote the file: it is no lock file, snapshot or capture.
fn is_written(path: &Path) -> bool {
    let is_lock = path
        .file_name()
        .is_some_and(|name| name == "package-lock.json");
    !is_lock && !has_extension(path, "snap")
}

#[test]
fn files_have_at_most_500_lines() {
    let files = ["src", "tests"].into_iter().flat_map(files_under);
    let lines = files.filter(|path| is_written(path)).map(|path| {
        let text = std::fs::read(&path).unwrap();
        let lines = String::from_utf8_lossy(&text).lines().count();
        (path, lines)
    });
    let long: Vec<String> = lines
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(path, lines)| format!("{}: {lines} lines", name(&path)))
        .collect();
    assert_none("files that are two things", &long);
}

#[test]
fn prose_has_at_most_100_columns() {
    let mut long = Vec::new();
    let sources = ["src", "tests"].into_iter().flat_map(files_under);
    for path in sources.filter(|path| has_extension(path, "rs")) {
        let text = read(&path);
        let comments = text.lines().enumerate();
        let comments = comments.filter(|(_, line)| line.trim_start().starts_with("//"));
        long.extend(too_long(&path, comments));
    }
    for path in documents() {
        let text = read(&path);
        let mut is_code = false;
        let prose = text.lines().enumerate().filter(|(_, line)| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence && !line.trim_start().starts_with('|')
        });
        long.extend(too_long(&path, prose));
    }
    assert_none("lines of prose over 100 columns", &long);
}

/// Returns the places of the lines that are too long. A URL cannot be broken.
fn too_long<'a>(path: &Path, lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<String> {
    lines
        .filter(|(_, line)| line.chars().count() > MOST_COLUMNS && !line.contains("://"))
        .map(|(index, _)| format!("{}:{}", name(path), index + 1))
        .collect()
}
