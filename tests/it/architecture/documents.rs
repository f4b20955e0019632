//! The documents: links that lead somewhere, a changelog that can be added to, and a short README.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use regex::Regex;

use super::{assert_none, documents, has_extension, name, read, root};

/// An introduction is read in one go.
const README_BYTES: usize = 9_000;

/// Returns a document without its blocks of code.
fn without_blocks(text: &str) -> String {
    static BLOCK: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?ms)^[ >]*```.*?^[ >]*```[ ]*$").unwrap());
    BLOCK.replace_all(text, "").into_owned()
}

/// Returns the targets of a document's links.
fn links(text: &str) -> Vec<String> {
    static CODE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"`[^`\n]*`").unwrap());
    static LINK: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\]\(([^)\s]+)\)|(?m)^\[[^\]]+\]:\s*(\S+)").unwrap());
    let text = without_blocks(text);
    let text = CODE.replace_all(&text, "");
    LINK.captures_iter(&text)
        .filter_map(|link| link.get(1).or(link.get(2)))
        .map(|target| target.as_str().to_owned())
        .collect()
}

/// Returns the anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let text = without_blocks(text);
    let headings = text.lines().filter_map(|line| {
        let heading = line.trim_start_matches('#');
        heading.strip_prefix(' ').filter(|_| line.starts_with('#'))
    });
    headings
        .map(|heading| {
            let letters = heading.trim().to_lowercase();
            let anchor: String = letters
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
                .map(|letter| if letter == ' ' { '-' } else { letter })
                .collect();
            let count = seen.entry(anchor.clone()).or_default();
            *count += 1;
            match *count {
                1 => anchor,
                n => format!("{anchor}-{}", n - 1),
            }
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let documents: BTreeMap<_, _> = documents()
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect();
    let mut broken = Vec::new();
    for (path, text) in &documents {
        for link in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => Ok(path.clone()),
                _ => path.parent().unwrap().join(file).canonicalize(),
            };
            let leads = target.is_ok_and(|target| {
                anchor.is_empty()
                    || !has_extension(&target, "md")
                    || anchors(&documents[&target])
                        .iter()
                        .any(|found| found == anchor)
            });
            if !leads {
                broken.push(format!("{}: {link}", name(path)));
            }
        }
    }
    assert_none("links that lead nowhere", &broken);
}

#[test]
fn anchors_are_those_of_github() {
    let text = "# A `pg_lake` & more\n```sh\n# no heading\n```\n## Twice\n## Twice\n";
    assert_eq!(anchors(text), ["a-pg_lake--more", "twice", "twice-1"]);
    let text = "[a](b.md#c) and `[no](code)`\n\n[d]: e.md\n";
    assert_eq!(links(text), ["b.md#c", "e.md"]);
}

#[test]
fn the_changelog_has_a_section_for_what_is_unreleased() {
    let text = read(&root().join("CHANGELOG.md"));
    assert!(text.lines().any(|line| line == "## [Unreleased]"));
}

#[test]
fn the_readme_is_short() {
    let length = read(&root().join("README.md")).len();
    assert!(length <= README_BYTES, "README.md has {length} bytes");
}
