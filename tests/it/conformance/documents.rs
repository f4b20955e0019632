//! Checks that docs/differences.md or `docs/pg_lake.md` documents every deviation, and that a
//! replayed statement or the captured lake shows every row of docs/differences.md.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::expectations::{self, PgLake, read_toml};
use super::lake;

/// The contents of `documents.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Documents {
    #[serde(rename = "unreplayed")]
    unreplayed: Vec<Unreplayed>,
}

/// A row of docs/differences.md that no replayed statement shows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unreplayed {
    row: String,
    reason: String,
}

fn document(name: &str) -> String {
    let path = std::path::Path::new(crate::support::ROOT).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the first cell of each table row, without the backquotes of code.
fn first_cells(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let rows = lines.iter().enumerate().filter(|(place, line)| {
        let is_header = lines
            .get(place + 1)
            .is_some_and(|next| next.starts_with("| ---"));
        line.starts_with("| ") && !line.starts_with("| ---") && !is_header
    });
    rows.filter_map(|(_, line)| line.split('|').nth(1))
        .map(|cell| cell.replace('`', "").trim().to_owned())
        .collect()
}

#[test]
fn every_deviation_is_documented_and_every_documented_difference_occurs() {
    let mut wrong = Vec::new();
    let mut documented = BTreeSet::new();
    for name in ["ddl", "dml", "types", "transactions", "outages"] {
        for deviation in expectations::load(name).deviations {
            let where_ = format!("{name}.toml, {}", deviation.statement);
            match deviation.documented_as {
                Some(row) => {
                    documented.insert((row, where_));
                }
                None if deviation.applies_to == [PgLake::StandIn] => {
                    wrong.push(format!("{where_}: names no document (`documented_as`)"));
                }
                None => {}
            }
        }
    }
    let lake = lake::expectations();
    documented.extend(lake.refused.into_iter().map(|entry| {
        (
            entry.documented_as,
            format!("lake.toml, {}", entry.statement),
        )
    }));
    documented.extend(
        lake.deviations
            .into_iter()
            .map(|entry| (entry.documented_as, format!("lake.toml, {}", entry.what))),
    );

    let differences = first_cells(&document("docs/differences.md"));
    let readme = first_cells(&document("docs/pg_lake.md"));
    assert!(
        differences.len() > 10 && readme.len() > 10,
        "the tables are not found"
    );
    for (row, place) in &documented {
        if !differences
            .iter()
            .chain(&readme)
            .any(|cell| cell.contains(row))
        {
            wrong.push(format!(
                "{place}: neither docs/differences.md nor docs/pg_lake.md has a row for {row:?}"
            ));
        }
    }
    let unreplayed = read_toml::<Documents>("documents").unreplayed;
    for cell in &differences {
        let is_documented = documented.iter().any(|(row, _)| cell.contains(row));
        let exception = unreplayed.iter().find(|entry| cell.contains(&entry.row));
        match (is_documented, exception) {
            (true, Some(exception)) => wrong.push(format!(
                "documents.toml: a replayed statement shows {:?}; remove the entry",
                exception.row
            )),
            (false, None) => wrong.push(format!(
                "docs/differences.md: no deviation is recorded for the row {cell:?}"
            )),
            _ => {}
        }
    }
    for entry in unreplayed
        .iter()
        .filter(|entry| !differences.iter().any(|cell| cell.contains(&entry.row)))
    {
        wrong.push(format!(
            "documents.toml: docs/differences.md has no row {:?} ({})",
            entry.row, entry.reason
        ));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
