//! Templates: expressions and statements of a body, with the references to variables in them.

use std::ops::Range;

use sqlparser::tokenizer::Token;

use icebox_sql::error::{Position, SqlResult};
use icebox_sql::names::Ident;
use icebox_sql::query::date_part_argument;
use icebox_sql::syntax::{Cursor, ident_of};

/// The ways in which a text may refer to variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As `:name`, and without a colon outside subqueries: in expressions of scripting.
    Expression,
    /// As `:name`: in SQL statements.
    Statement,
    /// As `:name`, `:1` and `?`: in statements that the host receives.
    Bound,
}

/// A part of a text that is, or may be, a reference to a variable.
#[derive(Clone, Debug)]
pub struct VariableRef {
    /// The range in the text, in bytes.
    range: Range<usize>,
    pub name: Ident,
    /// The column in `row.column`.
    pub column: Option<Ident>,
    /// The name as written, without the colon.
    pub written: String,
    /// Whether there is a colon. Then the name can only be a variable.
    pub is_bind: bool,
    /// Whether the variable is cast, so that its type is known.
    pub is_cast: bool,
    pub position: Position,
}

/// A text with the references to variables in it.
#[derive(Clone, Debug)]
pub struct Template {
    pub text: String,
    pub position: Position,
    pub variables: Vec<VariableRef>,
}

impl Template {
    /// Parses a whole text.
    ///
    /// # Errors
    /// If a quote is not closed, or the text is empty.
    pub fn parse(text: &str, mode: Mode) -> SqlResult<Self> {
        Self::read(&mut Cursor::new(text)?, mode, |_| false)
    }

    /// Reads a text up to an unmatched closing bracket, the semicolon after an expression, or a
    /// token outside of brackets (and, in an expression, outside of CASE) for which `is_end` is
    /// true. The cursor is then after the text.
    pub fn read(
        cursor: &mut Cursor<'_>,
        mode: Mode,
        is_end: impl Fn(&Cursor<'_>) -> bool,
    ) -> SqlResult<Self> {
        let (start, position) = (cursor.offset(), cursor.position());
        let mut scanner = Scanner {
            mode,
            start,
            brackets: Vec::new(),
            cases: 0,
            previous: None,
            before: None,
            variables: Vec::new(),
        };
        while !cursor.is_at_end() {
            let is_outside = scanner.brackets.is_empty();
            let closes = matches!(
                cursor.peek(),
                Some(Token::RParen | Token::RBracket | Token::RBrace)
            );
            let is_expression = mode == Mode::Expression;
            let is_semicolon = is_expression && cursor.peek() == Some(&Token::SemiColon);
            let may_end = scanner.cases == 0 || !is_expression;
            if is_outside && (closes || is_semicolon || may_end && is_end(cursor)) {
                break;
            }
            scanner.pass(cursor);
        }
        if cursor.offset() == start {
            return Err(cursor.unexpected());
        }
        let text = cursor.text()[start..cursor.last_end()].to_owned();
        Ok(Self {
            text,
            position,
            variables: scanner.variables,
        })
    }

    /// Replaces a part, given in bytes of the whole source, by blanks, so that the positions after
    /// it stay the same.
    pub fn blank(&mut self, source_start: usize, part: Range<usize>) {
        let part = part.start - source_start..part.end - source_start;
        let blanks: String = self.text[part.clone()]
            .bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
            .collect();
        self.text.replace_range(part.clone(), &blanks);
        self.variables
            .retain(|variable| !part.contains(&variable.range.start));
    }

    /// Returns the text with each variable replaced for which `resolve` returns a text.
    pub fn render(
        &self,
        mut resolve: impl FnMut(&VariableRef) -> SqlResult<Option<String>>,
    ) -> SqlResult<String> {
        let mut text = String::with_capacity(self.text.len());
        let mut at = 0;
        for variable in &self.variables {
            if let Some(with) = resolve(variable)? {
                text.push_str(&self.text[at..variable.range.start]);
                text.push_str(&with);
                at = variable.range.end;
            }
        }
        text.push_str(&self.text[at..]);
        Ok(text)
    }

    /// Returns the index of the variable that starts at a byte of the text, and the byte at which
    /// it ends.
    pub fn variable_from(&self, start: usize) -> Option<(usize, usize)> {
        let mut variables = self.variables.iter().enumerate();
        let found = variables.find(|(_, variable)| variable.range.start == start);
        found.map(|(number, variable)| (number, variable.range.end))
    }

    /// Returns the variable that is the whole text, if there is one.
    pub fn sole_variable(&self) -> Option<&VariableRef> {
        match self.variables.as_slice() {
            [variable] if variable.range == (0..self.text.len()) => Some(variable),
            _ => None,
        }
    }
}

/// A consumed token.
struct Passed {
    token: Token,
    end: usize,
}

impl Passed {
    fn is_word(&self, word: &str) -> bool {
        matches!(&self.token, Token::Word(found) if found.value.eq_ignore_ascii_case(word))
    }

    /// Returns whether this is a function whose first argument is a date part.
    fn has_date_part_first(&self) -> bool {
        match &self.token {
            Token::Word(word) => date_part_argument(&word.value.to_uppercase()) == Some(0),
            _ => false,
        }
    }
}

struct Scanner {
    mode: Mode,
    start: usize,
    /// For each open bracket, whether words without a colon in it are columns.
    brackets: Vec<bool>,
    cases: usize,
    previous: Option<Passed>,
    /// The token before `previous`.
    before: Option<Passed>,
    variables: Vec<VariableRef>,
}

impl Scanner {
    /// Consumes one token, or all tokens of one variable.
    fn pass(&mut self, cursor: &mut Cursor<'_>) {
        let (offset, position) = (cursor.offset(), cursor.position());
        match cursor.peek() {
            Some(Token::LParen) => {
                let is_query = ["SELECT", "WITH"].iter().any(|word| {
                    let mut ahead = cursor.clone();
                    ahead.bump();
                    ahead.is_next(word)
                });
                let is_inside = self.brackets.last().copied().unwrap_or(false);
                self.brackets.push(is_query || is_inside);
            }
            Some(Token::LBracket | Token::LBrace) => {
                let is_inside = self.brackets.last().copied().unwrap_or(false);
                self.brackets.push(is_inside);
            }
            Some(Token::RParen | Token::RBracket | Token::RBrace) => {
                self.brackets.pop();
            }
            Some(Token::Colon) if self.is_bind(cursor, offset) => {
                self.step(cursor);
                self.record_variable(cursor, offset, position, true);
                return;
            }
            Some(Token::Placeholder(mark)) if mark == "?" && self.mode == Mode::Bound => {
                self.variables.push(VariableRef {
                    range: offset - self.start..offset - self.start + 1,
                    name: Ident::unquoted(mark),
                    column: None,
                    written: mark.clone(),
                    is_bind: true,
                    is_cast: false,
                    position,
                });
            }
            Some(Token::Word(word)) => {
                let is_plain = word.quote_style.is_none();
                if is_plain && self.brackets.is_empty() && word.value.eq_ignore_ascii_case("CASE") {
                    self.cases += 1;
                } else if is_plain && word.value.eq_ignore_ascii_case("END") {
                    self.cases = self
                        .cases
                        .saturating_sub(usize::from(self.brackets.is_empty()));
                }
                if self.mode == Mode::Expression && self.is_bare(cursor) {
                    self.record_variable(cursor, offset, position, false);
                    return;
                }
            }
            _ => {}
        }
        self.step(cursor);
    }

    fn step(&mut self, cursor: &mut Cursor<'_>) {
        if let Some(token) = cursor.bump() {
            let end = cursor.last_end();
            self.before = self.previous.replace(Passed { token, end });
        }
    }

    /// Consumes `name` or `row.column`, and records the variable.
    fn record_variable(
        &mut self,
        cursor: &mut Cursor<'_>,
        offset: usize,
        position: Position,
        is_bind: bool,
    ) {
        let in_cast = matches!(&self.previous, Some(passed) if passed.token == Token::LParen)
            && self
                .before
                .as_ref()
                .is_some_and(|word| word.is_word("CAST"));
        let written_from = cursor.offset();
        let name = match cursor.peek() {
            Some(Token::Word(word)) => ident_of(word),
            Some(Token::Number(number, _)) => Ident::quoted(number.clone()),
            _ => return,
        };
        self.step(cursor);
        let mut column = None;
        if cursor.peek() == Some(&Token::Period)
            && let Some(Token::Word(word)) = cursor.peek_at(1)
        {
            column = Some(ident_of(word));
            self.step(cursor);
            self.step(cursor);
        }
        // A function in a schema, `schema.function(…)`.
        if column.is_some() && cursor.peek() == Some(&Token::LParen) {
            return;
        }
        self.variables.push(VariableRef {
            range: offset - self.start..cursor.last_end() - self.start,
            name,
            column,
            written: cursor.text()[written_from..cursor.last_end()].to_owned(),
            is_bind,
            is_cast: in_cast || cursor.peek() == Some(&Token::DoubleColon),
            position,
        });
    }

    /// Returns whether a colon starts a reference to a variable, and not a path into a value such
    /// as `v:a` or `f(x):a`.
    fn is_bind(&self, cursor: &Cursor<'_>, offset: usize) -> bool {
        let is_name = match cursor.peek_at(1) {
            Some(Token::Word(_)) => true,
            Some(Token::Number(..)) => self.mode == Mode::Bound,
            _ => false,
        };
        let is_path = self.previous.as_ref().is_some_and(|previous| {
            previous.end == offset
                && matches!(
                    previous.token,
                    Token::Word(_)
                        | Token::Placeholder(_)
                        | Token::RParen
                        | Token::RBracket
                        | Token::SingleQuotedString(_)
                )
        });
        is_name && !is_path
    }

    /// Returns whether a word may be a variable without a colon.
    fn is_bare(&self, cursor: &Cursor<'_>) -> bool {
        if self.brackets.last().copied().unwrap_or(false) {
            return false;
        }
        let follows = match &self.previous {
            None => true,
            Some(previous) => match &previous.token {
                Token::Period | Token::DoubleColon => false,
                Token::Colon => self
                    .before
                    .as_ref()
                    .is_some_and(|key| matches!(key.token, Token::SingleQuotedString(_))),
                // A date part is not a variable.
                Token::LParen => !self.before.as_ref().is_some_and(|function| {
                    function.is_word("EXTRACT")
                        || function.has_date_part_first()
                            && cursor.peek_at(1) == Some(&Token::Comma)
                }),
                _ => !previous.is_word("AS"),
            },
        };
        follows
            && !matches!(
                cursor.peek_at(1),
                Some(Token::LParen | Token::RArrow | Token::SingleQuotedString(_))
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_part_is_not_a_variable() {
        let variables = |text: &str| {
            let template = Template::parse(text, Mode::Expression).unwrap();
            let names = template.variables.iter();
            names
                .map(|variable| variable.written.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(variables("DATEADD(month, n, d)"), ["n", "d"]);
        assert_eq!(variables("TIMEDIFF(hour, a, b)"), ["a", "b"]);
        assert_eq!(variables("LAST_DAY(d, 'year')"), ["d"]);
        assert_eq!(variables("TRUNC(n, 2)"), ["n"]);
    }
}
