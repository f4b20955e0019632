//! Splits the text of an SQL file into statements, as psql does, with their line numbers.

/// One statement of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The text of the statement, without leading comments and without its semicolon.
    pub sql: String,
    /// The line on which it starts, counted from 1.
    pub line: usize,
}

/// An error: the text ends inside a string, quoted name or comment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not closed")]
pub struct Unclosed {
    pub what: &'static str,
    /// The line on which it was opened, counted from 1.
    pub line: usize,
}

/// Splits a text at semicolons that are not inside quotes, dollar quotes, comments, parentheses, or
/// the `BEGIN ATOMIC … END` body of an SQL function (PostgreSQL documentation, "4.1. Lexical
/// Structure" and CREATE FUNCTION).
///
/// # Errors
/// [`Unclosed`] if the text ends inside a quote, a dollar quote or a comment.
pub fn split(text: &str) -> Result<Vec<Statement>, Unclosed> {
    scan(text).map(|(statements, _)| statements)
}

/// Whether `text` ends outside of any string, comment or parenthesis and after a semicolon. Then a
/// prompt can run it.
pub fn is_complete(text: &str) -> bool {
    matches!(scan(text), Ok((_, true)))
}

/// Returns the statements, and whether a semicolon ends the last one.
fn scan(text: &str) -> Result<(Vec<Statement>, bool), Unclosed> {
    let mut statements = Vec::new();
    let mut scanner = Scanner { text, at: 0 };
    let mut current = Current::default();
    while let Some(c) = scanner.peek() {
        let start = scanner.at;
        if c.is_whitespace() {
            scanner.bump();
            continue;
        }
        if scanner.skip_comment()? {
            continue;
        }
        if c == ';' && current.depth == 0 && current.blocks == 0 {
            scanner.bump();
            current.finish(text, start, &mut statements);
            continue;
        }
        current.start.get_or_insert(start);
        match c {
            '(' => current.depth += 1,
            ')' => current.depth = current.depth.saturating_sub(1),
            _ => {}
        }
        match scanner.token()? {
            Some(word) => current.word(word),
            None => current.previous.clear(),
        }
    }
    let is_complete = current.start.is_none();
    current.finish(text, text.len(), &mut statements);
    Ok((statements, is_complete))
}

/// The state of the statement that is being read.
#[derive(Default)]
struct Current {
    /// The byte offset of its first token.
    start: Option<usize>,
    /// The number of open parentheses.
    depth: usize,
    /// Whether it creates a function or procedure. Only there does `BEGIN ATOMIC` open a block.
    routine: bool,
    /// The number of open `BEGIN ATOMIC` blocks, and of open `CASE` expressions inside them.
    blocks: usize,
    /// The preceding word, in lower case; empty after any other token.
    previous: String,
    words: usize,
}

impl Current {
    fn word(&mut self, word: &str) {
        let word = word.to_ascii_lowercase();
        self.words += 1;
        // CREATE [OR REPLACE] FUNCTION
        self.routine |= self.words <= 4
            && (word == "function" || word == "procedure")
            && matches!(self.previous.as_str(), "create" | "replace");
        if self.routine {
            match word.as_str() {
                "atomic" if self.previous == "begin" => self.blocks += 1,
                "case" if self.blocks > 0 => self.blocks += 1,
                "end" => self.blocks = self.blocks.saturating_sub(1),
                _ => {}
            }
        }
        self.previous = word;
    }

    fn finish(&mut self, text: &str, end: usize, statements: &mut Vec<Statement>) {
        if let Some(start) = std::mem::take(self).start {
            statements.push(Statement {
                sql: text[start..end].trim_end().to_owned(),
                line: line_of(text, start),
            });
        }
    }
}

/// Returns the line of a byte offset, counted from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

struct Scanner<'a> {
    text: &'a str,
    /// The byte offset of the next character.
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    /// Moves behind the next `end`, which closes `what`. `opened` is the byte offset where `what`
    /// begins.
    fn skip_past(&mut self, end: &str, what: &'static str, opened: usize) -> Result<(), Unclosed> {
        match self.rest().find(end) {
            Some(offset) => {
                self.at += offset + end.len();
                Ok(())
            }
            None => Err(Unclosed {
                what,
                line: line_of(self.text, opened),
            }),
        }
    }

    /// Skips a comment that starts here, and returns whether there was one. Block comments nest.
    fn skip_comment(&mut self) -> Result<bool, Unclosed> {
        if self.rest().starts_with("--") {
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            return Ok(true);
        }
        if !self.rest().starts_with("/*") {
            return Ok(false);
        }
        let opened = self.at;
        self.at += 2;
        let mut depth = 1;
        while depth > 0 {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.at += 2;
            } else if self.peek().is_some() {
                self.bump();
            } else {
                return Err(Unclosed {
                    what: "a comment",
                    line: line_of(self.text, opened),
                });
            }
        }
        Ok(true)
    }

    /// Moves behind one token, and returns it if it is a word.
    fn token(&mut self) -> Result<Option<&'a str>, Unclosed> {
        let opened = self.at;
        let Some(c) = self.peek() else {
            return Ok(None);
        };
        match c {
            '\'' => self.quoted(false).map(|()| None),
            '"' => {
                self.bump();
                // A doubled quote is read as the end of one name and the start of another, with the
                // same result.
                self.skip_past("\"", "a quoted name", opened).map(|()| None)
            }
            '$' => {
                if let Some(tag) = self.dollar_tag() {
                    self.at += tag.len();
                    self.skip_past(tag, "a dollar quote", opened).map(|()| None)
                } else {
                    self.bump();
                    Ok(None)
                }
            }
            c if c.is_alphabetic() || c == '_' => {
                let word = self.word();
                let escapes = word.eq_ignore_ascii_case("e") && self.peek() == Some('\'');
                if escapes {
                    self.quoted(true).map(|()| None)
                } else {
                    Ok(Some(word))
                }
            }
            c if c.is_ascii_digit() => {
                self.word();
                Ok(None)
            }
            _ => {
                self.bump();
                Ok(None)
            }
        }
    }

    /// Reads a word or number. It may contain dollar signs, which then open no quote.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
            .unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Skips a string. A backslash escapes the next character if `escapes` is true.
    fn quoted(&mut self, escapes: bool) -> Result<(), Unclosed> {
        let opened = self.at;
        self.bump();
        loop {
            match self.peek() {
                None => {
                    return Err(Unclosed {
                        what: "a string",
                        line: line_of(self.text, opened),
                    });
                }
                Some('\\') if escapes => {
                    self.bump();
                    self.bump();
                }
                Some('\'') if self.rest().starts_with("''") => self.at += 2,
                Some('\'') => {
                    self.bump();
                    return Ok(());
                }
                Some(_) => self.bump(),
            }
        }
    }

    /// Returns `$$` or `$name$` if a dollar quote starts here.
    fn dollar_tag(&self) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest[1..].find('$')? + 1;
        let name = &rest[1..end];
        let valid = name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        valid.then(|| &rest[..=end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<String> {
        split(sql)
            .unwrap()
            .into_iter()
            .map(|statement| statement.sql)
            .collect()
    }

    #[test]
    fn lines_and_comments() {
        let statements =
            split("-- one; two\n\n/* a /* nested; */ ; */ SELECT 1;\n;;\nSELECT\n  2 -- end;\n")
                .unwrap();
        assert_eq!(
            statements,
            [
                Statement {
                    sql: "SELECT 1".into(),
                    line: 3
                },
                Statement {
                    sql: "SELECT\n  2 -- end;".into(),
                    line: 5
                }
            ]
        );
        assert_eq!(split("-- nothing\n").unwrap(), []);
    }

    #[test]
    fn quotes() {
        assert_eq!(
            texts("SELECT ';'; SELECT 'it''s;' ; SELECT \"a;\"\"b;\""),
            ["SELECT ';'", "SELECT 'it''s;'", "SELECT \"a;\"\"b;\""]
        );
        assert_eq!(
            texts(r"SELECT E'\';'; SELECT '\'; SELECT 1"),
            [r"SELECT E'\';'", r"SELECT '\'", "SELECT 1"]
        );
        assert_eq!(
            texts("DO $$ BEGIN; END $$; DO $a_1$ $$;$b$; $a_1$; SELECT $1; SELECT a$b$c; SELECT 2"),
            [
                "DO $$ BEGIN; END $$",
                "DO $a_1$ $$;$b$; $a_1$",
                "SELECT $1",
                "SELECT a$b$c",
                "SELECT 2"
            ]
        );
    }

    #[test]
    fn blocks_and_parentheses() {
        let function = "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
        assert_eq!(
            texts(&format!("{function}; SELECT 1")),
            [function, "SELECT 1"]
        );
        assert_eq!(
            texts("BEGIN; SELECT CASE WHEN true THEN 1 END; END"),
            ["BEGIN", "SELECT CASE WHEN true THEN 1 END", "END"]
        );
        let rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b)";
        assert_eq!(texts(&format!("{rule};SELECT 1")), [rule, "SELECT 1"]);
    }

    #[test]
    fn unclosed() {
        for (sql, what, line) in [
            ("SELECT 1;\nSELECT 'a", "a string", 2),
            ("\n\nDO $x$ $$ ", "a dollar quote", 3),
            ("/* a /* b */", "a comment", 1),
            ("SELECT \"a", "a quoted name", 1),
        ] {
            assert_eq!(split(sql), Err(Unclosed { what, line }));
        }
    }

    #[test]
    fn a_prompt_waits_for_the_semicolon() {
        assert!(!is_complete("SELECT 1"));
        assert!(is_complete("SELECT 1; -- done"));
        assert!(!is_complete("SELECT ';"));
        assert!(!is_complete("SELECT (1; "));
        assert!(!is_complete("SELECT 1; SELECT"));
        assert!(is_complete("\n"));
    }
}
