//! What a person replaces in the statements of a guide: `<YOUR-BUCKET>`.

use std::str::FromStr;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A name between angle brackets, in capitals.
static PLACEHOLDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("<([A-Z][A-Z0-9_-]*)>").expect("the pattern is valid"));

/// `NAME=VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    name: String,
    value: String,
}

impl FromStr for Variable {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Variable, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("it is not NAME=VALUE")?;
        let name = name.trim_start_matches('<').trim_end_matches('>');
        if name.is_empty() {
            return Err("the name is empty");
        }
        Ok(Variable {
            name: plain(name),
            value: value.to_owned(),
        })
    }
}

/// Shells cannot write every name, so that its case and its dashes do not matter.
fn plain(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// The text with the variables' values in place of their names.
pub fn replace(text: &str, variables: &[Variable]) -> String {
    let value = |found: &Captures<'_>| {
        let name = plain(&found[1]);
        let variable = variables.iter().rev().find(|one| one.name == name);
        variable.map_or_else(|| found[0].to_owned(), |one| one.value.clone())
    };
    PLACEHOLDER.replace_all(text, value).into_owned()
}

/// The first name that is not replaced yet.
pub fn left(text: &str) -> Option<&str> {
    let found = PLACEHOLDER.captures(text)?;
    Some(found.get(1)?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_others_stay() {
        let variables = ["your_bucket=lake", "<OID>=16401", "OID=16402"];
        let variables = variables.map(|text| text.parse().unwrap());
        let text = "'s3://<YOUR-BUCKET>/<OID>/<METADATA-FILE>' WHERE a<b AND c>d";
        let replaced = replace(text, &variables);
        assert_eq!(
            replaced,
            "'s3://lake/16402/<METADATA-FILE>' WHERE a<b AND c>d"
        );
        assert_eq!(left(&replaced), Some("METADATA-FILE"));
        assert_eq!(left("a<b AND c>d"), None);
        assert!("lake".parse::<Variable>().is_err());
    }
}
