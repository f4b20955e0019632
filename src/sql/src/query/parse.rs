//! Parsing of a query's text into sqlparser's syntax tree, with names as Snowflake stores them.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::dialect::SnowflakeDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{
    Location, Span, Token, TokenWithSpan, Whitespace, Word,
};

use crate::error::{Position, SqlError, SqlResult};
use crate::syntax::Cursor;

/// A parsed query, with the names of columns that have no alias.
pub struct Parsed {
    pub query: Box<Query>,
    /// The texts of the items of each SELECT list, in upper case, by the place of the SELECT
    /// keyword.
    pub item_names: HashMap<Location, Vec<String>>,
    /// The place where each identifier first occurs.
    pub places: HashMap<String, Position>,
}

struct SpannedToken {
    token: Token,
    position: Position,
    start: usize,
    end: usize,
}

/// Parses one query.
///
/// # Errors
/// If the text is not a query, with the place of the syntax error.
pub fn parse(sql: &str) -> SqlResult<Parsed> {
    let items = tokens(sql)?;
    let item_names = item_names(sql, &items);
    let mut places = HashMap::new();
    for item in &items {
        if let Token::Word(word) = &item.token {
            places.entry(word.value.clone()).or_insert(item.position);
        }
    }
    let query = query(with_operators(with_blanks(items))).map_err(|error| syntax(&error, sql))?;
    Ok(Parsed {
        query,
        item_names,
        places,
    })
}

/// Returns the tokens, with unquoted names in upper case. A name after a colon is the key of an
/// object and keeps its case.
fn tokens(sql: &str) -> SqlResult<Vec<SpannedToken>> {
    let mut cursor = Cursor::new(sql)?;
    let mut items: Vec<SpannedToken> = Vec::new();
    let mut in_path = false;
    while !cursor.is_at_end() {
        let (start, position) = (cursor.offset(), cursor.position());
        // `<=>` and `~~` are not operators of Snowflake. `with_operators` uses these tokens for IS
        // [NOT] DISTINCT FROM.
        if matches!(cursor.peek(), Some(Token::Spaceship | Token::DoubleTilde)) {
            return Err(cursor.unexpected());
        }
        let Some(mut token) = cursor.bump() else {
            break;
        };
        if token == Token::AtSign {
            token = Token::Placeholder(format!("@{}", cursor.name(3)?));
        }
        let end = cursor.last_end();
        let previous = items.last().map(|item| &item.token);
        in_path = match (&token, previous) {
            (Token::Colon, _) => true,
            (Token::Word(_), Some(Token::Colon)) => true,
            (Token::Word(_), Some(Token::Period)) => in_path,
            (Token::Period | Token::LBracket | Token::RBracket, _) => in_path,
            (Token::Number(..) | Token::SingleQuotedString(_), Some(Token::LBracket)) => in_path,
            _ => false,
        };
        match &mut token {
            Token::Word(word) if word.quote_style.is_none() && !in_path => {
                word.value = word.value.to_uppercase();
            }
            // A placeholder after FROM or JOIN, such as an earlier result of a pipe, is the name of
            // a relation.
            Token::Placeholder(name) if follows_from(previous) => {
                token = Token::Word(Word {
                    value: name.clone(),
                    quote_style: Some('"'),
                    keyword: Keyword::NoKeyword,
                });
            }
            Token::DollarQuotedString(text) => {
                token = Token::SingleQuotedString(text.value.clone());
            }
            _ => {}
        }
        items.push(SpannedToken {
            token,
            position,
            start,
            end,
        });
    }
    Ok(items)
}

fn follows_from(previous: Option<&Token>) -> bool {
    matches!(previous, Some(Token::Word(word)) if matches!(word.keyword, Keyword::FROM | Keyword::JOIN))
}

fn location(position: Position) -> Location {
    Location::new(position.line.into(), u64::from(position.column) + 1)
}

/// Returns the tokens as sqlparser expects them, with a blank wherever the text has white space or
/// a comment.
fn with_blanks(items: Vec<SpannedToken>) -> Vec<TokenWithSpan> {
    let mut tokens = Vec::with_capacity(items.len() * 2);
    let mut last = 0;
    for item in items {
        let start = location(item.position);
        if item.start > last {
            let blank = Token::Whitespace(Whitespace::Space);
            tokens.push(TokenWithSpan::new(blank, Span::new(start, start)));
        }
        let length = (item.end - item.start) as u64;
        let end = Location::new(start.line, start.column + length);
        last = item.end;
        tokens.push(TokenWithSpan::new(item.token, Span::new(start, end)));
    }
    tokens
}

/// Turns `IS [NOT] DISTINCT FROM` into operators of one token. sqlparser reads
/// `a IS DISTINCT FROM b OR c` as `a IS DISTINCT FROM (b OR c)`, while such an operator binds as
/// tightly as `=`.
fn with_operators(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let is_from = matches!(&token.token, Token::Word(word) if word.keyword == Keyword::FROM);
        if is_from && let Some((length, operator)) = distinct_from(&out) {
            out.truncate(out.len() - length);
            out.push(TokenWithSpan::new(operator, token.span));
        } else {
            out.push(token);
        }
    }
    out
}

/// Returns how many tokens a trailing `IS [NOT] DISTINCT` has, and the operator that replaces it;
/// None if the tokens do not end with it.
fn distinct_from(tokens: &[TokenWithSpan]) -> Option<(usize, Token)> {
    let mut words = tokens
        .iter()
        .rev()
        .enumerate()
        .filter_map(|(at, token)| match &token.token {
            Token::Whitespace(_) => None,
            Token::Word(word) => Some((at, word.keyword)),
            _ => Some((at, Keyword::NoKeyword)),
        });
    if words.next()?.1 != Keyword::DISTINCT {
        return None;
    }
    match (words.next()?, words.next()) {
        ((at, Keyword::IS), _) => Some((at + 1, Token::DoubleTilde)),
        ((_, Keyword::NOT), Some((at, Keyword::IS))) => Some((at + 1, Token::Spaceship)),
        _ => None,
    }
}

fn query(tokens: Vec<TokenWithSpan>) -> Result<Box<Query>, ParserError> {
    let dialect = SnowflakeDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let query = parser.parse_query()?;
    while parser.consume_token(&Token::SemiColon) {}
    match parser.peek_token().token {
        Token::EOF => Ok(query),
        _ => parser.expected("end of statement", parser.peek_token()),
    }
}

/// Converts sqlparser's error to Snowflake's syntax error, with the place and the unexpected token.
fn syntax(error: &ParserError, sql: &str) -> SqlError {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return SqlError::unsupported("expressions nested more than 50 deep");
        }
    };
    let place = |text: &str| {
        let (_, place) = text.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        Some(Position {
            line: line.trim().parse().ok()?,
            column: column.trim().parse::<u32>().ok()?.saturating_sub(1),
        })
    };
    let found = text.rsplit_once("found: ").map_or(text, |(_, found)| found);
    let (found, _) = found.split_once(" at Line: ").unwrap_or((found, ""));
    if let Some(position) = place(text) {
        SqlError::syntax(position, found)
    } else {
        let lines = sql.lines().count().max(1) as u32;
        let column = sql.lines().last().map_or(0, |line| line.chars().count()) as u32;
        let end = Position {
            line: lines,
            column,
        };
        SqlError::syntax(end, "<EOF>")
    }
}

/// Returns the texts of the items of every SELECT list.
fn item_names(sql: &str, items: &[SpannedToken]) -> HashMap<Location, Vec<String>> {
    let keyword = |at: usize| match items.get(at).map(|item| &item.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let mut names = HashMap::new();
    for (select, item) in items.iter().enumerate() {
        if keyword(select) != Keyword::SELECT {
            continue;
        }
        let mut at = select + 1;
        while matches!(keyword(at), Keyword::DISTINCT | Keyword::ALL) {
            at += 1;
        }
        if keyword(at) == Keyword::TOP {
            at += 2;
        }
        let mut list = Vec::new();
        let (mut start, mut depth) = (at, 0);
        loop {
            let ends = match items.get(at).map(|item| &item.token) {
                None | Some(Token::SemiColon) => true,
                Some(Token::RParen) if depth == 0 => true,
                Some(Token::Comma) if depth == 0 => {
                    list.push(text_of(sql, &items[start..at]));
                    start = at + 1;
                    false
                }
                Some(Token::LParen | Token::LBracket | Token::LBrace) => {
                    depth += 1;
                    false
                }
                Some(Token::RParen | Token::RBracket | Token::RBrace) => {
                    depth -= 1;
                    false
                }
                _ if depth > 0 => false,
                _ => match keyword(at) {
                    Keyword::FROM => keyword(at - 1) != Keyword::DISTINCT,
                    word => matches!(
                        word,
                        Keyword::WHERE
                            | Keyword::INTO
                            | Keyword::GROUP
                            | Keyword::HAVING
                            | Keyword::QUALIFY
                            | Keyword::ORDER
                            | Keyword::LIMIT
                            | Keyword::FETCH
                            | Keyword::UNION
                            | Keyword::EXCEPT
                            | Keyword::MINUS
                            | Keyword::INTERSECT
                    ),
                },
            };
            if ends {
                list.push(text_of(sql, &items[start.min(at)..at]));
                break;
            }
            at += 1;
        }
        names.insert(location(item.position), list);
    }
    names
}

/// Returns the text of an expression as the name of its column: in upper case except for quoted
/// names, with white space reduced to one blank.
fn text_of(sql: &str, items: &[SpannedToken]) -> String {
    let mut out = String::new();
    let mut last = None;
    for item in items {
        if last.is_some_and(|last| item.start > last) {
            out.push(' ');
        }
        let text = &sql[item.start..item.end];
        match &item.token {
            Token::Word(word) if word.quote_style.is_some() => out.push_str(text),
            _ => out.push_str(&text.to_uppercase()),
        }
        last = Some(item.end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_but_not_keys_and_quoted_names() {
        let parsed = parse("select a.b, \"c\", src:Key.sub[0].Last, :v from Tab t -- x").unwrap();
        assert_eq!(
            parsed.query.to_string(),
            "SELECT A.B, \"c\", SRC:Key.sub[0].Last, :v FROM TAB T"
        );
    }

    #[test]
    fn items_are_named_by_their_text() {
        let parsed = parse("select count( * ) ,  sum(a)  +\n 1, 'x' from t").unwrap();
        let names: Vec<_> = parsed.item_names.values().next().unwrap().clone();
        assert_eq!(names, ["COUNT( * )", "SUM(A) + 1", "'X'"]);
    }

    #[test]
    fn distinct_from_ends_before_and() {
        let parsed =
            parse("select a is not distinct from b or c is distinct from d, x from t").unwrap();
        assert_eq!(
            parsed.query.to_string(),
            "SELECT A <=> B OR C ~~ D, X FROM T"
        );
        assert!(parse("select a <=> b").is_err());
    }

    #[test]
    fn errors_have_a_place() {
        let error = |sql: &str| parse(sql).err().unwrap().message;
        assert_eq!(
            error("SELECT 1\n FROM )"),
            "SQL compilation error:\nsyntax error line 2 at position 6 unexpected ')'."
        );
        assert!(
            error("SELECT (1").contains("unexpected '<EOF>'"),
            "{}",
            error("SELECT (1")
        );
        assert!(error("SELECT 1; SELECT 2").contains("line 1 at position 10 unexpected 'SELECT'"));
    }
}
