//! The modules of a crate import from each other in one direction: the children of a module, each
//! with all that it contains, have no circle.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Module, imports};
use super::{assert_none, entries, root};

/// The imports between the children of one module.
#[derive(Default)]
struct Siblings {
    /// For each child and each sibling from which it imports, the imports themselves.
    edges: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Siblings {
    fn new(parent: &Module, imports: &BTreeMap<Module, BTreeSet<Module>>) -> Self {
        let mut siblings = Self::default();
        let child = |module: &Module| module.strip_prefix(&parent[..])?.first().cloned();
        for (from, targets) in imports {
            for to in targets {
                if let (Some(one), Some(other)) = (child(from), child(to))
                    && one != other
                {
                    let edges = siblings.edges.entry(one).or_default();
                    let reasons = edges.entry(other).or_default();
                    reasons.push(format!("{} → {}", from.join("::"), to.join("::")));
                }
            }
        }
        siblings
    }

    /// Returns all children from which this one imports, directly or through others.
    fn reachable(&self, child: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut next = vec![child];
        while let Some(child) = next.pop() {
            for target in self.edges.get(child).into_iter().flat_map(BTreeMap::keys) {
                if found.insert(target.as_str()) {
                    next.push(target);
                }
            }
        }
        found
    }

    /// Returns the circles, each as the children that reach each other.
    fn circles(&self) -> BTreeSet<Vec<&str>> {
        let mut circles = BTreeSet::new();
        for child in self.edges.keys() {
            let reachable = self.reachable(child);
            if reachable.contains(child.as_str()) {
                let members = reachable.into_iter();
                let members =
                    members.filter(|other| self.reachable(other).contains(child.as_str()));
                circles.insert(members.collect());
            }
        }
        circles
    }

    /// Returns the imports that make up a circle, a line for each pair of children.
    fn explain(&self, circle: &[&str]) -> String {
        let mut lines = Vec::new();
        for one in circle {
            for (other, reasons) in &self.edges[*one] {
                if circle.contains(&other.as_str()) {
                    lines.push(format!("    {one} → {other} by {}", reasons.join(", ")));
                }
            }
        }
        lines.join("\n")
    }
}

/// Returns the circles of a crate, by name, with their imports.
fn circles(krate: &str) -> BTreeMap<String, String> {
    let imports = imports(krate);
    let parents: BTreeSet<Module> = imports
        .keys()
        .flat_map(|module| (0..module.len()).map(|length| module[..length].to_vec()))
        .collect();
    let mut found = BTreeMap::new();
    for parent in &parents {
        let siblings = Siblings::new(parent, &imports);
        for circle in siblings.circles() {
            let path: Vec<&str> = std::iter::once(krate)
                .chain(parent.iter().map(String::as_str))
                .collect();
            let name = format!("{}: {}", path.join("::"), circle.join(" "));
            found.insert(name, siblings.explain(&circle));
        }
    }
    found
}

#[test]
fn modules_import_in_one_direction() {
    let mut found = BTreeMap::new();
    for folder in entries(&root().join("src")) {
        found.extend(circles(folder.file_name().unwrap().to_str().unwrap()));
    }
    let problems: Vec<String> = found
        .iter()
        .map(|(name, edges)| format!("{name}\n{edges}"))
        .collect();
    assert_none("circles of imports", &problems);
}
