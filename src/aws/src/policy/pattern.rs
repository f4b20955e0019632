//! Patterns with wildcards and policy variables.

use std::collections::HashMap;

use super::glob;

/// The request context: condition keys in lower case, with their values.
pub type Context = HashMap<String, Vec<String>>;

/// A pattern such as `arn:aws:s3:::lake/home/${aws:username}/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `*`
    Many,
    /// `?`
    One,
    /// `${key}` and `${key, 'default'}`
    Variable {
        key: String,
        default: Option<String>,
    },
}

/// A token of a pattern whose variables are replaced by their values. Wildcards in those values are
/// literal characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    Many,
    One,
}

/// The special characters that a pattern can have.
#[derive(Clone, Copy)]
pub struct Syntax {
    pub wildcards: bool,
    /// Policy variables, which exist since version 2012-10-17.
    pub variables: bool,
}

impl Pattern {
    /// Parses a pattern. A `${` without its closing brace is plain text.
    pub fn parse(text: &str, syntax: Syntax) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let mut taken = c.len_utf8();
            let special = match c {
                '*' if syntax.wildcards => Some(Piece::Many),
                '?' if syntax.wildcards => Some(Piece::One),
                '$' if syntax.variables => variable(rest).map(|(piece, length)| {
                    taken = length;
                    piece
                }),
                _ => None,
            };
            match special {
                Some(Piece::Literal(text)) => literal.push_str(&text),
                Some(piece) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(piece);
                }
                None => literal.push(c),
            }
            rest = &rest[taken..];
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Self(pieces)
    }

    /// Returns whether the pattern matches the whole text. A pattern with a variable that has no
    /// value matches nothing.
    pub fn matches(&self, text: &str, context: &Context, ignore_case: bool) -> bool {
        let Some(tokens) = self.tokens(context) else {
            return false;
        };
        glob(&tokens, text, ignore_case)
    }

    /// Returns the pattern's text with its variables replaced by their values; `None` if one has no
    /// value.
    pub fn resolve(&self, context: &Context) -> Option<String> {
        let tokens = self.tokens(context)?;
        Some(tokens.into_iter().map(Token::as_char).collect())
    }

    /// Returns whether the text from [`Self::resolve`] contains a `*` or `?` that is not a
    /// wildcard.
    pub fn has_literal_wildcards(&self, context: &Context) -> bool {
        let tokens = self.tokens(context).unwrap_or_default();
        let is_literal = |token: &Token| matches!(token, Token::Char('*' | '?'));
        tokens.iter().any(is_literal)
    }

    /// Returns whether the pattern matches an ARN. As in `ArnLike`, the parts between the first
    /// five colons are compared one by one.
    pub fn matches_arn(&self, arn: &str, context: &Context) -> bool {
        let Some(tokens) = self.tokens(context) else {
            return false;
        };
        let parts: Vec<&[Token]> = tokens.splitn(6, |t| *t == Token::Char(':')).collect();
        let arn_parts: Vec<&str> = arn.splitn(6, ':').collect();
        parts.len() == arn_parts.len()
            && parts.iter().zip(arn_parts).all(|(p, a)| glob(p, a, false))
    }

    fn tokens(&self, context: &Context) -> Option<Vec<Token>> {
        let mut tokens = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => tokens.extend(text.chars().map(Token::Char)),
                Piece::Many => tokens.push(Token::Many),
                Piece::One => tokens.push(Token::One),
                Piece::Variable { key, default } => {
                    let value = match context.get(key).map(Vec::as_slice) {
                        Some([only]) => only,
                        _ => default.as_ref()?,
                    };
                    tokens.extend(value.chars().map(Token::Char));
                }
            }
        }
        Some(tokens)
    }
}

impl Token {
    fn as_char(self) -> char {
        match self {
            Self::Char(c) => c,
            Self::Many => '*',
            Self::One => '?',
        }
    }

    fn accepts(self, c: char, ignore_case: bool) -> bool {
        match self {
            Self::Char(own) => own == c || (ignore_case && own.to_lowercase().eq(c.to_lowercase())),
            Self::One => true,
            Self::Many => false,
        }
    }
}

/// Parses the variable at the start of `text`. Returns it with its length in bytes.
fn variable(text: &str) -> Option<(Piece, usize)> {
    let inner = text.strip_prefix("${")?;
    let end = inner.find('}')?;
    let (name, default) = match inner[..end].split_once(',') {
        None => (&inner[..end], None),
        Some((name, default)) => {
            let quoted = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (name, Some(quoted.to_owned()))
        }
    };
    let piece = match name.trim() {
        // The escape for a literal `*`, `?` or `$`.
        escaped @ ("*" | "?" | "$") => Piece::Literal(escaped.to_owned()),
        key => Piece::Variable {
            key: key.to_ascii_lowercase(),
            default,
        },
    };
    Some((piece, end + 3))
}

fn glob(pattern: &[Token], text: &str, ignore_case: bool) -> bool {
    let text: Vec<char> = text.chars().collect();
    let accepts = |token: &Token, c: &char| token.accepts(*c, ignore_case);
    glob::matches(pattern, &text, |token| *token == Token::Many, accepts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Syntax = Syntax {
        wildcards: true,
        variables: true,
    };

    fn context() -> Context {
        HashMap::from([
            ("aws:username".to_owned(), vec!["jo*e".to_owned()]),
            ("aws:two".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
        ])
    }

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        let found = Pattern::parse(pattern, FULL).matches(text, &context(), false);
        assert_eq!(found, expected, "{pattern:?} on {text:?}");
    }

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("", "a", false),
            ("**é*", "xéy", true),
            ("a*ab", "aaab", true),
            ("A", "a", false),
        ] {
            check(pattern, text, expected);
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(200) + "b";
        check(&pattern, &"a".repeat(5000), false);
    }

    #[test]
    fn variables_have_literal_values_defaults_and_escapes() {
        for (pattern, text, expected) in [
            ("h/${aws:username}/*", "h/jo*e/x", true),
            ("h/${aws:username}/*", "h/jooe/x", false),
            ("h/${AWS:UserName}", "h/jo*e", true),
            ("${aws:none}", "", false),
            ("${aws:none, 'd'}", "d", true),
            ("${aws:two}", "a", false),
            ("${*}${?}${$}", "*?$", true),
            ("${*}", "a", false),
            ("${open", "${open", true),
        ] {
            check(pattern, text, expected);
        }
        let old = Syntax {
            variables: false,
            ..FULL
        };
        assert!(Pattern::parse("${aws:username}", old).matches(
            "${aws:username}",
            &context(),
            false
        ));
    }

    #[test]
    fn arns_are_compared_part_by_part() {
        let pattern = Pattern::parse("arn:aws:iam::*:role/*", FULL);
        assert!(pattern.matches_arn("arn:aws:iam::123456789012:role/a:b", &context()));
        assert!(!pattern.matches_arn("arn:aws:iam::1:user/role/x", &context()));
        assert!(!Pattern::parse("arn:*", FULL).matches_arn("arn:aws:s3:::b", &context()));
    }
}
