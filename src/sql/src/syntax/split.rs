//! Splitting of a worksheet into statements.

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::error::{Position, SqlResult};

/// One statement of a worksheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The text, without its semicolon and the comments around it.
    pub sql: &'a str,
    /// The place in the worksheet where the statement starts.
    pub position: Position,
}

/// Splits a text at semicolons that are not inside quotes, `$$`, comments, brackets, or a block of
/// Snowflake Scripting (`BEGIN … END`, `DECLARE … BEGIN … END`, in which IF, CASE, FOR, WHILE, LOOP
/// and REPEAT have their own END).
///
/// # Errors
/// If a quote or a comment is not closed.
pub fn split(text: &str) -> SqlResult<Vec<Statement<'_>>> {
    let mut cursor = Cursor::new(text)?;
    let mut statements = Vec::new();
    while !cursor.is_at_end() {
        if cursor.accept_token(&Token::SemiColon) {
            continue;
        }
        let (start, position) = (cursor.offset(), cursor.position());
        pass_statement(&mut cursor);
        let sql = &text[start..cursor.last_end()];
        statements.push(Statement { sql, position });
    }
    Ok(statements)
}

/// Returns whether a prompt can run a text: it has no statement, or its last statement ends with a
/// semicolon.
pub fn is_complete(text: &str) -> bool {
    // An open quote or comment may be closed on a later line.
    let Ok(mut cursor) = Cursor::new(text) else {
        return false;
    };
    let mut is_open = false;
    while !cursor.is_at_end() {
        is_open = !cursor.accept_token(&Token::SemiColon);
        if is_open {
            pass_statement(&mut cursor);
        }
    }
    !is_open
}

/// Consumes one statement, without its semicolon.
pub fn pass_statement(cursor: &mut Cursor<'_>) {
    let (mut brackets, mut blocks) = (0_usize, 0_usize);
    // In `DECLARE a INT; b INT; BEGIN` the semicolons are part of the statement.
    let mut is_declaring = cursor.is_next("DECLARE");
    let mut previous = String::new();
    // BEGIN opens a block only where a statement or a body starts; `BEGIN TRANSACTION` and BEGIN
    // alone do not.
    let mut may_begin = true;
    while let Some(token) = cursor.peek() {
        match token {
            Token::LParen => brackets += 1,
            Token::RParen => brackets = brackets.saturating_sub(1),
            Token::SemiColon if brackets == 0 && blocks == 0 && !is_declaring => return,
            _ => {}
        }
        let word = match token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
            Token::SemiColon => ";".to_owned(),
            _ => String::new(),
        };
        match word.as_str() {
            "BEGIN" if may_begin || blocks > 0 || is_declaring => {
                let is_transaction = matches!(cursor.peek_at(1), None | Some(Token::SemiColon))
                    || ["TRANSACTION", "WORK", "NAME"].iter().any(|word| {
                        let mut ahead = cursor.clone();
                        ahead.bump();
                        ahead.is_next(word)
                    });
                if !is_transaction {
                    blocks += 1;
                    is_declaring = false;
                }
            }
            "CASE" if blocks > 0 && previous != "END" => blocks += 1,
            "IF" | "FOR" | "WHILE" | "LOOP" | "REPEAT"
                if blocks > 0 && opens(&word, &previous, cursor) =>
            {
                blocks += 1;
            }
            "END" if blocks > 0 => blocks -= 1,
            _ => {}
        }
        may_begin = matches!(word.as_str(), "AS" | "IMMEDIATE" | ";");
        previous = word;
        cursor.bump();
    }
}

/// Returns whether a keyword starts a construct that has an END of its own.
fn opens(word: &str, previous: &str, cursor: &Cursor<'_>) -> bool {
    let starts_statement = matches!(
        previous,
        ";" | "BEGIN" | "THEN" | "ELSE" | "DO" | "LOOP" | "REPEAT"
    );
    match word {
        // `REPEAT('x', 2)` is a function call.
        "REPEAT" => starts_statement && cursor.peek_at(1) != Some(&Token::LParen),
        // `FOR … DO` and `WHILE … DO` end in END FOR and END WHILE. The LOOP in `FOR … LOOP`
        // belongs to the FOR.
        _ => starts_statement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<&str> {
        let statements = split(text).unwrap();
        statements.into_iter().map(|one| one.sql).collect()
    }

    #[test]
    fn quotes_dollars_comments_and_brackets_hide_semicolons() {
        let text = "SELECT ';' /* ; */; -- ; nothing\nCREATE PROCEDURE p() AS $$ BEGIN a; END; $$;;\n SELECT \"a;b\" ";
        assert_eq!(
            parts(text),
            [
                "SELECT ';'",
                "CREATE PROCEDURE p() AS $$ BEGIN a; END; $$",
                "SELECT \"a;b\""
            ]
        );
    }

    #[test]
    fn a_block_is_one_statement() {
        let block = "DECLARE a INT; b INT DEFAULT 1; BEGIN IF (a > 1) THEN RETURN CASE WHEN b = 1 THEN 2 END; END IF; \
                     FOR i IN 1 TO 3 DO a := i; END FOR; RETURN b; END";
        assert_eq!(parts(&format!("{block}; SELECT 1")), [block, "SELECT 1"]);
        assert_eq!(
            parts("BEGIN; SELECT 1; COMMIT"),
            ["BEGIN", "SELECT 1", "COMMIT"]
        );
        assert_eq!(
            parts("BEGIN TRANSACTION; SELECT 1"),
            ["BEGIN TRANSACTION", "SELECT 1"]
        );
        let task = "CREATE TASK t AS BEGIN SELECT 1; SELECT 2; END";
        assert_eq!(parts(&format!("{task}; SELECT 3")), [task, "SELECT 3"]);
    }

    #[test]
    fn places_count_lines() {
        let text = "SELECT 1;\n\n  SELECT 2";
        let statements = split(text).unwrap();
        assert_eq!(statements[1].position, Position { line: 3, column: 2 });
    }
}
