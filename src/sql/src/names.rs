//! Names by Snowflake's rules: unquoted names are in upper case, quoted names stay as written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An identifier as it is stored and compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ident(String);

impl Ident {
    /// Creates an identifier that was written without quotes.
    pub fn unquoted(text: &str) -> Self {
        Self(text.to_uppercase())
    }

    /// Creates an identifier that was written in double quotes; `text` is without them.
    pub fn quoted(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the identifier needs no quotes in a statement.
    pub fn is_plain(&self) -> bool {
        let mut chars = self.0.chars();
        chars
            .next()
            .is_some_and(|first| first.is_ascii_uppercase() || first == '_')
            && chars.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '$')
    }
}

impl fmt::Display for Ident {
    /// Writes the identifier as in a statement, in quotes where it needs them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() {
            f.write_str(&self.0)
        } else {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        }
    }
}

/// A name of one to three parts as written in a statement: `database.schema.name`, `schema.name` or
/// `name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectName(pub Vec<Ident>);

impl ObjectName {
    /// Returns the last part.
    pub fn last(&self) -> &Ident {
        self.0.last().expect("a name has a part")
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            write!(f, "{part}")?;
        }
        Ok(())
    }
}

/// The full name of an object in a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FullName {
    pub database: Ident,
    pub schema: Ident,
    pub name: Ident,
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.database, self.schema, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_shown_only_where_they_are_needed() {
        assert_eq!(Ident::unquoted("Retail_1").to_string(), "RETAIL_1");
        assert_eq!(Ident::quoted("Retail").to_string(), "\"Retail\"");
        assert_eq!(Ident::quoted("A\"B").to_string(), "\"A\"\"B\"");
        assert_eq!(Ident::quoted("1A").to_string(), "\"1A\"");
        assert_eq!(Ident::quoted("A1$").to_string(), "A1$");
    }
}
