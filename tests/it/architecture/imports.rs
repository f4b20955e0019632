//! The modules of a crate, and which of them import from which, read from the source text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::{files_under, has_extension, read, root};

/// The path of a module in its crate; that of the crate itself is empty.
pub type Module = Vec<String>;

/// Returns the modules from which each module of a crate imports. Tests are left out, and so are
/// re-exports, which pass on what they do not use.
pub fn imports(krate: &str) -> BTreeMap<Module, BTreeSet<Module>> {
    let folder = format!("src/{krate}/src");
    let root = root().join(&folder);
    let files = files_under(&folder);
    let sources: BTreeMap<Module, String> = files
        .iter()
        .filter(|path| has_extension(path, "rs"))
        .map(|path| (module(path.strip_prefix(&root).unwrap()), read(path)))
        .collect();
    let modules: BTreeSet<&Module> = sources.keys().collect();
    let mut imports = BTreeMap::new();
    for (from, source) in &sources {
        let mut found = BTreeSet::new();
        if !is_test(from) {
            let paths = paths(&without_tests(source));
            found.extend(
                paths
                    .iter()
                    .filter_map(|path| resolve(from, path, &modules)),
            );
        }
        imports.insert(from.clone(), found);
    }
    imports
}

/// Returns the module of a file, given by its path below the crate's `src`.
fn module(file: &Path) -> Module {
    let path = file.with_extension("");
    let mut module: Module = path
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if matches!(module.last().unwrap().as_str(), "mod" | "lib" | "main") {
        module.pop();
    }
    module
}

fn is_test(module: &Module) -> bool {
    module.iter().any(|part| part == "tests")
}

/// Returns the source without comments, modules of tests and re-exports.
fn without_tests(source: &str) -> String {
    static LEFT_OUT: LazyLock<[Regex; 3]> = LazyLock::new(|| {
        [
            r"//[^\n]*",
            r"(?ms)^#\[cfg\(test\)\]\n(?:pub )?mod \w+ \{.*?^\}$",
            r"(?m)^\s*pub(?:\([^)]*\))? use [^;]*;",
        ]
        .map(|pattern| Regex::new(pattern).unwrap())
    });
    let empty = |text: String, pattern: &Regex| pattern.replace_all(&text, "").into_owned();
    LEFT_OUT.iter().fold(source.to_owned(), empty)
}

/// Returns the paths that the source names, in `use` declarations and elsewhere.
fn paths(source: &str) -> BTreeSet<Module> {
    static USE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\buse\s+([^;]*);").unwrap());
    static PATH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?:^|[^\w:])([a-z_]\w*(?:::\w+)+)").unwrap());
    let mut paths = BTreeSet::new();
    for declaration in USE.captures_iter(source) {
        expand(&declaration[1], &[], &mut paths);
    }
    let named = PATH.captures_iter(source);
    paths.extend(named.map(|path| segments(path.get(1).unwrap().as_str()).collect()));
    paths
}

/// Adds the paths of a tree such as `a::{b, c::{d, e as f}}`.
fn expand(tree: &str, prefix: &[String], paths: &mut BTreeSet<Module>) {
    let Some((start, branches)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap();
        paths.insert(prefix.iter().cloned().chain(segments(path)).collect());
        return;
    };
    let prefix: Module = prefix.iter().cloned().chain(segments(start)).collect();
    let branches = branches.trim_end().strip_suffix('}').unwrap_or(branches);
    let mut depth = 0;
    let at_commas = |letter: char| {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    };
    for branch in branches.split(at_commas) {
        expand(branch, &prefix, paths);
    }
}

fn segments(path: &str) -> impl Iterator<Item = String> {
    let parts = path.split("::").map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned)
}

/// Returns the module of the same crate that a path in the module `from` leads to.
fn resolve(from: &Module, path: &[String], modules: &BTreeSet<&Module>) -> Option<Module> {
    let mut target = from.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            target.clear();
            rest = &path[1..];
        }
        "super" | "self" => {
            while let Some((first, next)) = rest.split_first()
                && matches!(first.as_str(), "super" | "self")
            {
                if first == "super" {
                    target.pop();
                }
                rest = next;
            }
        }
        child => {
            target.push(child.to_owned());
            if !modules.contains(&target) {
                return None;
            }
            rest = &path[1..];
        }
    }
    target.extend_from_slice(rest);
    // The last parts are items, not modules.
    while !modules.contains(&target) && !target.is_empty() {
        target.pop();
    }
    (target != *from && !is_test(&target)).then_some(target)
}
