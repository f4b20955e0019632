//! The transcripts of the real `pg_lake` (`fixtures/pg_lake/transcripts`), parsed into scenes of
//! statements and answers.

use super::answer::Answer;

/// The entries under a heading (`## …`), in order. The first scene of a file has an empty heading.
#[derive(Debug)]
pub struct Scene {
    pub heading: String,
    pub entries: Vec<Entry>,
}

#[derive(Debug)]
pub enum Entry {
    Exchange(Exchange),
    /// A pair `first || second`: the second statement is sent while the transaction of the first is
    /// open.
    Pair(Exchange),
    /// The end of a fault: every component that was stopped runs again.
    Up,
}

/// A statement and the real extension's answer.
#[derive(Debug)]
pub struct Exchange {
    pub statement: String,
    pub answer: Answer,
}

/// Listings that the capture printed after a statement: the prefix of the line, a query with the
/// same result, and the indexes of the columns to compare.
const LISTINGS: [(&str, &str, &[usize]); 2] = [
    (
        "   files: ",
        "SELECT content, record_count FROM iceberg_tables, lake_iceberg.files(metadata_location) WHERE table_name = 'm'",
        &[0, 2],
    ),
    (
        "   snaps: ",
        "SELECT s->>'sequence-number', s->'summary' FROM iceberg_tables,
         jsonb_array_elements(lake_iceberg.metadata(metadata_location)->'snapshots') s WHERE table_name = 'm'",
        &[0, 1],
    ),
];

pub fn read(name: &str) -> String {
    let path = std::path::Path::new(crate::support::ROOT)
        .join("fixtures/pg_lake/transcripts")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn scenes(text: &str) -> Vec<Scene> {
    let mut scenes = vec![Scene {
        heading: String::new(),
        entries: Vec::new(),
    }];
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        let listing = LISTINGS
            .iter()
            .find(|(heading, ..)| line.starts_with(heading));
        if let Some(heading) = line.strip_prefix("## ") {
            scenes.push(Scene {
                heading: heading.trim().to_owned(),
                entries: Vec::new(),
            });
        } else if line.starts_with("up: ") {
            push(&mut scenes, Entry::Up);
        } else if let Some(answer) = line.strip_prefix("COMMIT -> ") {
            let answer = match answer.rsplit_once(' ') {
                Some((answer, seconds)) if seconds.ends_with('s') && seconds.contains('.') => {
                    answer
                }
                _ => answer,
            };
            push(
                &mut scenes,
                exchange("COMMIT", Answer::parse(&[answer], None)),
            );
        } else if let Some(statement) = line.strip_prefix(">>> ") {
            let block = block_of(&lines, &mut at);
            // psql commands and notes of the capture have no answer of this form.
            let is_answer = |first: &&str| first.starts_with("OK ") || first.starts_with("ERROR: ");
            if block.first().is_some_and(is_answer) {
                push(
                    &mut scenes,
                    exchange(statement.trim(), Answer::parse(&block, None)),
                );
            }
        } else if let Some((heading, query, columns)) = listing {
            // The answer begins on the line of the heading.
            let mut block = vec![&line[heading.len()..]];
            block.extend(block_of(&lines, &mut at));
            push(
                &mut scenes,
                exchange(query, Answer::parse(&block, Some(columns))),
            );
        } else if line.contains(" || ")
            && let Some(next) = lines.get(at).filter(|next| next.starts_with("   first: "))
        {
            at += 1;
            push(
                &mut scenes,
                Entry::Pair(Exchange {
                    statement: line.to_owned(),
                    answer: pair_answer(next),
                }),
            );
        }
    }
    scenes
}

fn exchange(statement: &str, answer: Answer) -> Entry {
    Entry::Exchange(Exchange {
        statement: statement.to_owned(),
        answer,
    })
}

fn push(scenes: &mut [Scene], entry: Entry) {
    let scene = scenes.last_mut().expect("there is always a scene");
    scene.entries.push(entry);
}

/// Returns the lines up to the next statement, heading, listing or mark.
fn block_of<'a>(lines: &[&'a str], at: &mut usize) -> Vec<&'a str> {
    let mut block = Vec::new();
    while let Some(line) = lines.get(*at) {
        let ends = [
            "## ",
            ">>> ",
            "up: ",
            "COMMIT -> ",
            "  in-tx ",
            "real\t",
            "B blocked",
            "waiting for server",
        ]
        .iter()
        .any(|start| line.starts_with(start))
            || LISTINGS
                .iter()
                .any(|(heading, ..)| line.starts_with(heading));
        if ends {
            break;
        }
        block.push(*line);
        *at += 1;
    }
    while block.last().is_some_and(|line| line.trim().is_empty()) {
        block.pop();
    }
    block
}

/// Parses a line such as `first: OK INSERT 0 1 (57 ms); second blocked 3s: True […]; after: {…,
/// '2nd': (True, 'OK DELETE 1 (3280 ms)', …)}`.
fn pair_answer(line: &str) -> Answer {
    let first = line.trim().strip_prefix("first: ").expect("a pair's line");
    let waits = line.contains("second blocked 3s: True");
    let (_, second) = line
        .split_once("'2nd': (True, '")
        .expect("the second answer");
    let count =
        |text: &str| Answer::parse(&[text.split(" (").next().unwrap_or_default()], None).count;
    Answer::of_pair(count(first), waits, count(second))
}
