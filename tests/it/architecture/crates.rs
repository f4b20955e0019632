//! The block of ARCHITECTURE.md with the crates' dependencies, compared with what Cargo says.

use std::collections::BTreeSet;
use std::process::Command;

use serde::Deserialize;

use super::{assert_none, read, root};

/// What `cargo metadata` says of the workspace, as far as it is compared.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev` or `build`; None for a normal dependency.
    kind: Option<String>,
    /// The folder of a crate of the workspace; None for a crate of a registry.
    path: Option<String>,
}

impl Package {
    /// Returns the line of the block for this crate: `account → aws, base`.
    fn line(&self) -> String {
        let normal = self.dependencies.iter();
        let normal = normal.filter(|dependency| dependency.kind.is_none());
        let names: BTreeSet<&str> = normal
            .filter(|dependency| dependency.path.is_some())
            .map(|dependency| short(&dependency.name))
            .collect();
        let names: Vec<&str> = names.into_iter().collect();
        match names[..] {
            [] => short(&self.name).to_owned(),
            _ => format!("{} → {}", short(&self.name), names.join(", ")),
        }
    }
}

/// Returns a crate's name as in the block: that of its folder.
fn short(name: &str) -> &str {
    name.strip_prefix("icebox-").unwrap_or(name)
}

/// Returns the dependencies of the crates in `src`. The crate of the tests may use all of them.
fn actual() -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    let crates = metadata.packages.iter();
    crates
        .filter(|package| package.manifest_path.contains("/src/"))
        .map(Package::line)
        .collect()
}

/// Returns the lines of the block of ARCHITECTURE.md that begins with the line `crates`.
fn documented() -> Vec<String> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let block = text
        .split_once("```text\ncrates\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    let (block, _) = block.expect("ARCHITECTURE.md has a block that begins with `crates`");
    block.lines().map(str::to_owned).collect()
}

#[test]
fn crates_depend_on_each_other_as_documented() {
    let (actual, documented) = (actual(), BTreeSet::from_iter(documented()));
    let missing = actual
        .difference(&documented)
        .map(|line| format!("+ {line}"));
    let untrue = documented
        .difference(&actual)
        .map(|line| format!("- {line}"));
    let changes: Vec<String> = untrue.chain(missing).collect();
    assert_none(
        "the block `crates` of ARCHITECTURE.md is not what Cargo says",
        &changes,
    );
}

#[test]
fn a_crate_knows_only_the_crates_above_it() {
    let mut above = BTreeSet::new();
    let mut problems = Vec::new();
    for line in documented() {
        let (name, known) = line.split_once(" → ").unwrap_or((&line, ""));
        let known = known.split(", ").filter(|known| !known.is_empty());
        let below = known.filter(|known| !above.contains(*known));
        problems.extend(below.map(|known| format!("{name} knows {known}")));
        above.insert(name.to_owned());
    }
    assert_none(
        "the block `crates` of ARCHITECTURE.md is not bottom up",
        &problems,
    );
}
