//! The placeholders that a person replaces in the statements of a guide, such as `<YOUR-BUCKET>`.

use std::str::FromStr;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A placeholder: a name in capitals between angle brackets.
static PLACEHOLDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("<([A-Z][A-Z0-9_-]*)>").expect("the pattern is valid"));

/// A variable: `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    name: String,
    value: String,
}

impl FromStr for Variable {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("it is not NAME=VALUE")?;
        let name = name.trim_start_matches('<').trim_end_matches('>');
        if name.is_empty() {
            return Err("the name is empty");
        }
        Ok(Self {
            name: normalized(name),
            value: value.to_owned(),
        })
    }
}

/// Returns a name as it is compared. Case is ignored and `-` equals `_`, because shells cannot
/// write every name.
fn normalized(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// Replaces the placeholders of a text by the variables' values.
pub fn replace(text: &str, variables: &[Variable]) -> String {
    let value = |found: &Captures<'_>| {
        let name = normalized(&found[1]);
        let variable = variables.iter().rev().find(|one| one.name == name);
        variable.map_or_else(|| found[0].to_owned(), |one| one.value.clone())
    };
    PLACEHOLDER.replace_all(text, value).into_owned()
}

/// Returns the name of the first placeholder that is not replaced yet.
pub fn first_placeholder(text: &str) -> Option<&str> {
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
        assert_eq!(first_placeholder(&replaced), Some("METADATA-FILE"));
        assert_eq!(first_placeholder("a<b AND c>d"), None);
        assert!("lake".parse::<Variable>().is_err());
    }
}
