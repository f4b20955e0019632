//! Splitting SQL text into statements, as `psql` does before it sends them.

/// The statements of `sql`, in order, without the semicolons that end them and without surrounding white space.
/// Semicolons in strings, quoted identifiers, dollar quotes, comments, parentheses and `BEGIN ATOMIC` bodies do not
/// end a statement. Pieces that hold nothing but comments are left out.
pub fn split(sql: &str) -> Vec<&str> {
    let mut scanner = Scanner::default();
    let mut found = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < sql.len() {
        match scanner.step(sql, at) {
            Step::Skip(length) => at += length,
            Step::End => {
                scanner.finish(&sql[start..at], &mut found);
                at += 1;
                start = at;
            }
        }
    }
    scanner.finish(&sql[start..], &mut found);
    found
}

/// Whether `sql` ends outside of any string, comment or parenthesis and after a semicolon: a prompt can run it.
pub fn is_complete(sql: &str) -> bool {
    let mut scanner = Scanner::default();
    let mut at = 0;
    let mut complete = true;
    while at < sql.len() {
        match scanner.step(sql, at) {
            Step::Skip(length) => {
                if scanner.has_words {
                    complete = false;
                }
                at += length;
            }
            Step::End => {
                scanner = Scanner::default();
                complete = true;
                at += 1;
            }
        }
    }
    complete
}

/// What is known about the statement being read.
#[derive(Default)]
struct Scanner {
    parentheses: u32,
    /// Open `BEGIN ATOMIC` and `CASE` blocks of a function body written in SQL.
    blocks: u32,
    /// Set once anything but white space and comments was seen.
    has_words: bool,
    previous_word: String,
}

enum Step {
    /// The bytes belong to the statement.
    Skip(usize),
    /// A semicolon that ends it.
    End,
}

impl Scanner {
    fn step(&mut self, sql: &str, at: usize) -> Step {
        let rest = &sql[at..];
        let first = rest.chars().next().unwrap_or(' ');
        if first.is_whitespace() {
            return Step::Skip(first.len_utf8());
        }
        if rest.starts_with("--") {
            return Step::Skip(rest.find('\n').unwrap_or(rest.len()));
        }
        if rest.starts_with("/*") {
            return Step::Skip(block_comment(rest));
        }
        if first == ';' && self.parentheses == 0 && self.blocks == 0 {
            return Step::End;
        }
        self.has_words = true;
        if first == '_' || first.is_alphabetic() {
            return Step::Skip(self.word(rest));
        }
        Step::Skip(match first {
            '\'' => quoted(rest, '\'', false),
            '"' => quoted(rest, '"', false),
            '$' => dollar_quoted(rest),
            '(' => {
                self.parentheses += 1;
                1
            }
            ')' => {
                self.parentheses = self.parentheses.saturating_sub(1);
                1
            }
            // A number takes a following letter along, so that `1e5` and `$1` are not words.
            '0'..='9' => rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
                .unwrap_or(rest.len()),
            other => other.len_utf8(),
        })
    }

    fn word(&mut self, rest: &str) -> usize {
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        if word.eq_ignore_ascii_case("e") && rest[end..].starts_with('\'') {
            return end + quoted(&rest[end..], '\'', true);
        }
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "atomic" if self.previous_word == "begin" => self.blocks += 1,
            "case" if self.blocks > 0 => self.blocks += 1,
            "end" => self.blocks = self.blocks.saturating_sub(1),
            _ => {}
        }
        self.previous_word = word;
        end
    }

    /// Takes over a statement, and starts the next one.
    fn finish<'sql>(&mut self, piece: &'sql str, found: &mut Vec<&'sql str>) {
        if self.has_words {
            found.push(piece.trim());
        }
        *self = Scanner::default();
    }
}

/// The length of a quoted piece; a doubled quote stands for itself, and so does one after a backslash in an E string.
fn quoted(text: &str, quote: char, backslashes: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if backslashes && character == '\\' {
            characters.next();
        } else if character == quote {
            if characters.peek().is_some_and(|&(_, next)| next == quote) {
                characters.next();
            } else {
                return at + quote.len_utf8();
            }
        }
    }
    text.len()
}

/// The length of `$tag$…$tag$`, or of the dollar sign alone.
fn dollar_quoted(text: &str) -> usize {
    let Some(end) = text[1..].find('$') else {
        return 1;
    };
    let tag = &text[..end + 2];
    let name = &tag[1..tag.len() - 1];
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_numeric());
    if !is_tag {
        return 1;
    }
    text[tag.len()..]
        .find(tag)
        .map_or(text.len(), |body| tag.len() + body + tag.len())
}

/// The length of a comment; PostgreSQL's nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{is_complete, split};

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
        assert_eq!(split("SELECT 1; SELECT 2"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(
            split("SELECT ';', \";\" -- ;\n; x"),
            ["SELECT ';', \";\" -- ;", "x"]
        );
        assert_eq!(
            split("SELECT 'it''s;' /* ; /* ; */ ; */;"),
            ["SELECT 'it''s;' /* ; /* ; */ ; */"]
        );
        assert_eq!(
            split(r"SELECT E'\';', 'a\';SELECT 2"),
            [r"SELECT E'\';', 'a\'", "SELECT 2"]
        );
        assert_eq!(split("-- only a comment;\n;;  ; "), Vec::<&str>::new());
    }

    #[test]
    fn bodies_stay_whole() {
        let dollar = "DO $x$ BEGIN; $$ ; $x$";
        assert_eq!(split(&format!("{dollar};SELECT $1")), [dollar, "SELECT $1"]);
        let rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)";
        assert_eq!(split(&format!("{rule};")), [rule]);
        let atomic = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
        assert_eq!(split(&format!("{atomic}; SELECT 3")), [atomic, "SELECT 3"]);
        assert_eq!(
            split("BEGIN; SELECT 1; END; SELECT 2"),
            ["BEGIN", "SELECT 1", "END", "SELECT 2"]
        );
    }

    #[test]
    fn a_prompt_waits_for_the_semicolon() {
        assert!(!is_complete("SELECT 1"));
        assert!(is_complete("SELECT 1; -- done"));
        assert!(!is_complete("SELECT ';"));
        assert!(!is_complete("SELECT 1; SELECT"));
        assert!(is_complete("  \n"));
    }
}
