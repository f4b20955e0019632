//! A cursor over the tokens of a statement.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::dialect::SnowflakeDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer, TokenizerError, Word};

use crate::error::{Position, SqlError, SqlResult, code};
use crate::names::{Ident, ObjectName};

/// A token that is neither white space nor a comment.
#[derive(Clone, Debug)]
struct SpannedToken {
    token: Token,
    position: Position,
    /// The bytes of the text that the token covers.
    range: Range<usize>,
}

/// A reader that goes through a text token by token. It is cheap to clone, so that a parser may
/// look ahead on a copy.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    items: Arc<[SpannedToken]>,
    index: usize,
}

impl<'a> Cursor<'a> {
    /// Tokenizes a text.
    ///
    /// # Errors
    /// If a quote or a comment is not closed.
    pub fn new(text: &'a str) -> SqlResult<Self> {
        let tokens = Tokenizer::new(&SnowflakeDialect {}, text)
            .with_unescape(true)
            .tokenize_with_location()
            .map_err(|error| not_closed(&error))?;
        let offsets = Offsets::new(text);
        let items = tokens
            .into_iter()
            .filter(|one| !matches!(one.token, Token::Whitespace(_) | Token::EOF))
            .map(|one| SpannedToken {
                position: position(one.span.start),
                range: offsets.offset_of(one.span.start)..offsets.offset_of(one.span.end),
                token: one.token,
            });
        Ok(Cursor {
            text,
            items: items.collect(),
            index: 0,
        })
    }

    /// Returns the whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    pub fn peek(&self) -> Option<&Token> {
        self.peek_at(0)
    }

    /// Returns the token after the next `ahead` tokens.
    pub fn peek_at(&self, ahead: usize) -> Option<&Token> {
        self.items.get(self.index + ahead).map(|item| &item.token)
    }

    pub fn is_at_end(&self) -> bool {
        self.index >= self.items.len()
    }

    /// Consumes the next token and returns it.
    pub fn bump(&mut self) -> Option<Token> {
        let item = self.items.get(self.index)?;
        self.index += 1;
        Some(item.token.clone())
    }

    /// Returns the place of the next token, or of the end of the text.
    pub fn position(&self) -> Position {
        match self.items.get(self.index) {
            Some(item) => item.position,
            None => end_of(self.text),
        }
    }

    /// Returns the byte offset at which the next token starts; the text's length at the end.
    pub fn offset(&self) -> usize {
        let item = self.items.get(self.index);
        item.map_or(self.text.len(), |item| item.range.start)
    }

    /// Returns the byte offset at which the last consumed token ends; 0 at the start.
    pub fn last_end(&self) -> usize {
        let item = self.index.checked_sub(1).and_then(|at| self.items.get(at));
        item.map_or(0, |item| item.range.end)
    }

    /// Consumes all remaining tokens and returns their text as written.
    pub fn take_rest(&mut self) -> &'a str {
        let rest = &self.text[self.offset()..];
        self.index = self.items.len();
        rest.trim_end()
    }

    /// Creates the syntax error for the next token.
    pub fn unexpected(&self) -> SqlError {
        let found = match self.items.get(self.index) {
            Some(item) => &self.text[item.range.clone()],
            None => "<EOF>",
        };
        SqlError::syntax(self.position(), found)
    }

    /// Returns whether these keywords come next. They are given in upper case, with one blank
    /// between them.
    pub fn is_next(&self, keywords: &str) -> bool {
        let mut words = keywords.split(' ').enumerate();
        words.all(|(ahead, keyword)| is_keyword(self.peek_at(ahead), keyword))
    }

    /// Consumes these keywords if they come next, and returns whether they did.
    pub fn accept(&mut self, keywords: &str) -> bool {
        let is_next = self.is_next(keywords);
        if is_next {
            self.index += keywords.split(' ').count();
        }
        is_next
    }

    /// Consumes these keywords; any other token is a syntax error.
    pub fn expect(&mut self, keywords: &str) -> SqlResult<()> {
        for keyword in keywords.split(' ') {
            if !self.accept(keyword) {
                return Err(self.unexpected());
            }
        }
        Ok(())
    }

    /// Consumes this token if it comes next, and returns whether it did.
    pub fn accept_token(&mut self, token: &Token) -> bool {
        let is_next = self.peek() == Some(token);
        self.index += usize::from(is_next);
        is_next
    }

    pub fn expect_token(&mut self, token: &Token) -> SqlResult<()> {
        if self.accept_token(token) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// Checks that no token is left.
    pub fn expect_end(&self) -> SqlResult<()> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// Reads an identifier, quoted or not.
    pub fn ident(&mut self) -> SqlResult<Ident> {
        let Some(Token::Word(word)) = self.peek() else {
            return Err(self.unexpected());
        };
        let ident = ident_of(word);
        self.index += 1;
        Ok(ident)
    }

    /// Reads a name of up to `parts` parts.
    pub fn name(&mut self, parts: usize) -> SqlResult<ObjectName> {
        let mut idents = vec![self.ident()?];
        while self.peek() == Some(&Token::Period) {
            if idents.len() == parts {
                return Err(self.unexpected());
            }
            self.index += 1;
            idents.push(self.ident()?);
        }
        Ok(ObjectName(idents))
    }

    /// Reads a string in single quotes or in `$$`, and returns its value.
    pub fn string(&mut self) -> SqlResult<String> {
        let value = match self.peek() {
            Some(Token::SingleQuotedString(value)) => value.clone(),
            Some(Token::DollarQuotedString(quoted)) => quoted.value.clone(),
            _ => return Err(self.unexpected()),
        };
        self.index += 1;
        Ok(value)
    }

    /// Reads a whole number without a sign.
    pub fn integer(&mut self) -> SqlResult<u64> {
        let number = match self.peek() {
            Some(Token::Number(number, _)) => number.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.unexpected())?;
        self.index += 1;
        Ok(number)
    }

    /// Reads `( item, … )`, possibly without items.
    pub fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> SqlResult<T>,
    ) -> SqlResult<Vec<T>> {
        self.expect_token(&Token::LParen)?;
        let mut items = Vec::new();
        if self.accept_token(&Token::RParen) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.accept_token(&Token::RParen) {
                return Ok(items);
            }
            self.expect_token(&Token::Comma)?;
        }
    }

    /// Consumes tokens up to and including the bracket that closes one already consumed, and
    /// returns the text before that bracket.
    pub fn take_to_closing(&mut self) -> SqlResult<&'a str> {
        let start = self.offset();
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) if depth == 0 => {
                    let text = &self.text[start..self.offset()];
                    self.index += 1;
                    return Ok(text.trim_end());
                }
                Some(Token::RParen) => depth -= 1,
                Some(_) => {}
                None => return Err(self.unexpected()),
            }
            self.index += 1;
        }
    }
}

/// Parses a text that consists of one name, such as the argument of `SYSTEM$STREAM_HAS_DATA('s')`.
///
/// # Errors
/// If the text is anything else.
pub fn name(text: &str) -> SqlResult<ObjectName> {
    let mut cursor = Cursor::new(text)?;
    let name = cursor.name(3)?;
    cursor.expect_end()?;
    Ok(name)
}

/// Converts a word to an identifier as Snowflake stores it.
pub fn ident_of(word: &Word) -> Ident {
    match word.quote_style {
        Some(_) => Ident::quoted(word.value.clone()),
        None => Ident::unquoted(&word.value),
    }
}

fn is_keyword(token: Option<&Token>, keyword: &str) -> bool {
    matches!(token, Some(Token::Word(word))
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword))
}

fn position(location: Location) -> Position {
    Position {
        line: location.line as u32,
        column: (location.column as u32).saturating_sub(1),
    }
}

fn end_of(text: &str) -> Position {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Position {
        line: text.matches('\n').count() as u32 + 1,
        column: last.chars().count() as u32,
    }
}

fn not_closed(error: &TokenizerError) -> SqlError {
    let position = position(error.location);
    let text = format!("parse error {position} near '<EOF>'. {}.", error.message);
    SqlError::compilation(code::SYNTAX, text).at(position)
}

/// The conversion from lines and columns to byte offsets.
struct Offsets<'a> {
    lines: Vec<(usize, &'a str)>,
    length: usize,
}

impl<'a> Offsets<'a> {
    fn new(text: &'a str) -> Self {
        let mut start = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            let at = start;
            start += line.len();
            (at, line)
        });
        Offsets {
            lines: lines.collect(),
            length: text.len(),
        }
    }

    fn offset_of(&self, location: Location) -> usize {
        let line = (location.line as usize).checked_sub(1);
        let Some((start, line)) = line.and_then(|line| self.lines.get(line)) else {
            return self.length;
        };
        let column = (location.column as usize).saturating_sub(1);
        if line.is_ascii() {
            start + column.min(line.len())
        } else {
            let mut chars = line.char_indices();
            chars
                .nth(column)
                .map_or(start + line.len(), |(at, _)| start + at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keywords_and_strings() {
        let text = "create Stage a.\"b C\".d url = 'it''s' -- end\n x$y $$ raw 'text' $$";
        let mut cursor = Cursor::new(text).unwrap();
        assert!(cursor.accept("CREATE STAGE"));
        assert_eq!(cursor.name(3).unwrap().to_string(), "A.\"b C\".D");
        cursor.expect("URL").unwrap();
        cursor.expect_token(&Token::Eq).unwrap();
        assert_eq!(cursor.string().unwrap(), "it's");
        assert_eq!(cursor.position(), Position { line: 2, column: 1 });
        assert_eq!(cursor.ident().unwrap().as_str(), "X$Y");
        assert_eq!(cursor.string().unwrap(), " raw 'text' ");
        cursor.expect_end().unwrap();
    }

    #[test]
    fn an_unexpected_token_is_named_with_its_place() {
        let mut cursor = Cursor::new("DROP\n  é TABLE").unwrap();
        cursor.expect("DROP").unwrap();
        let error = cursor.expect("TABLE").unwrap_err();
        assert_eq!(
            error.to_string(),
            "001003 (42000): SQL compilation error:\nsyntax error line 2 at position 2 unexpected 'é'."
        );
        cursor.bump().unwrap();
        cursor.expect("TABLE").unwrap();
        assert!(cursor.unexpected().message.contains("unexpected '<EOF>'"));
    }

    #[test]
    fn the_text_between_brackets_is_verbatim() {
        let mut cursor = Cursor::new("f(a, (b  + ')'), c) d").unwrap();
        cursor.bump();
        cursor.bump();
        assert_eq!(cursor.take_to_closing().unwrap(), "a, (b  + ')'), c");
        assert_eq!(cursor.take_rest(), "d");
    }
}
