//! The options of statements, `NAME = value`, which are described as data and read by one parser.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sqlparser::tokenizer::Token;

use icebox_sql::error::{SqlError, SqlResult, code};
use icebox_sql::names::ObjectName;
use icebox_sql::syntax::{self, Cursor};

/// An option of a kind of object.
#[derive(Debug)]
pub struct Property {
    /// The name, in upper case.
    pub name: &'static str,
    pub ty: PropertyType,
    /// The default value, as written in a statement; `None` leaves the option unset.
    pub default: Option<&'static str>,
    pub is_required: bool,
}

/// The type of an option's value.
#[derive(Debug)]
pub enum PropertyType {
    Text,
    /// TRUE or FALSE.
    Boolean,
    /// A whole number in a range, with its least and greatest value.
    Integer(u64, u64),
    /// One of these words, quoted or not.
    OneOf(&'static [&'static str]),
    /// The name of an object, quoted or not.
    Name,
    /// Texts in parentheses.
    Texts,
    /// Options in parentheses.
    Options(&'static [Property]),
    /// A list of options, `((NAME = value …), …)`.
    OptionsList(&'static [Property]),
}

impl Property {
    pub const fn new(name: &'static str, ty: PropertyType) -> Self {
        Self {
            name,
            ty,
            default: None,
            is_required: false,
        }
    }

    pub const fn with_default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    pub const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// Returns the default value.
    pub fn default_value(&self) -> Option<Value> {
        let mut cursor = Cursor::new(self.default?).ok()?;
        self.parse_value(&mut cursor).ok()
    }
}

/// The option COMMENT, which nearly every object has.
pub const COMMENT: Property = Property::new("COMMENT", PropertyType::Text);

/// An option's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Text(String),
    Boolean(bool),
    Integer(u64),
    Name(ObjectName),
    Texts(Vec<String>),
    Options(Properties),
    OptionsList(Vec<Properties>),
}

impl fmt::Display for Value {
    /// Writes the value as DESCRIBE shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Name(name) => write!(f, "{name}"),
            Self::Texts(texts) => f.write_str(&texts.join(",")),
            Self::Options(options) => write!(f, "{options}"),
            Self::OptionsList(list) => {
                for (index, options) in list.iter().enumerate() {
                    write!(f, "{}{options}", if index > 0 { "," } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// The values of the options that are set, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, Value>);

impl Properties {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Returns a value as text; `None` where it is unset.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(Value::to_string)
    }

    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Boolean(true))
    }

    pub fn integer(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Value::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    pub fn name(&self, name: &str) -> Option<&ObjectName> {
        match self.get(name) {
            Some(Value::Name(name)) => Some(name),
            _ => None,
        }
    }

    pub fn texts(&self, name: &str) -> &[String] {
        match self.get(name) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }

    pub fn options(&self, name: &str) -> Option<&Self> {
        match self.get(name) {
            Some(Value::Options(options)) => Some(options),
            _ => None,
        }
    }

    pub fn options_list(&self, name: &str) -> &[Self] {
        match self.get(name) {
            Some(Value::OptionsList(list)) => list,
            _ => &[],
        }
    }

    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub fn unset(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Sets all values of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Parses `NAME = value …` as long as names of `known` follow, with or without commas between
    /// them. Each may appear once.
    pub fn parse(cursor: &mut Cursor<'_>, known: &[Property]) -> SqlResult<Self> {
        let mut properties = Self::default();
        loop {
            let separated = !properties.0.is_empty() && cursor.accept_token(&Token::Comma);
            let Some(property) = known.iter().find(|property| cursor.is_next(property.name)) else {
                return if separated {
                    Err(cursor.unexpected())
                } else {
                    Ok(properties)
                };
            };
            if properties.get(property.name).is_some() {
                let text = format!("duplicate property '{}'", property.name);
                return Err(SqlError::compilation(code::SYNTAX, text).at(cursor.position()));
            }
            cursor.expect(property.name)?;
            cursor.expect_token(&Token::Eq)?;
            let value = property.parse_value(cursor)?;
            properties.set(property.name, value);
        }
    }

    /// Parses the options of a new object: required ones must be given, and missing ones get their
    /// defaults.
    pub fn parse_new(cursor: &mut Cursor<'_>, known: &[Property]) -> SqlResult<Self> {
        let mut properties = Self::parse(cursor, known)?;
        properties.complete(known)?;
        Ok(properties)
    }

    /// Checks the required options, and sets missing ones to their defaults.
    pub fn complete(&mut self, known: &[Property]) -> SqlResult<()> {
        let missing: Vec<_> = known
            .iter()
            .filter(|property| property.is_required && self.get(property.name).is_none())
            .map(|property| property.name)
            .collect();
        if !missing.is_empty() {
            let text = format!("Missing option(s): {}", missing.join(", "));
            return Err(SqlError::compilation(code::MISSING_OPTION, text));
        }
        for property in known {
            if let (None, Some(default)) = (self.get(property.name), property.default) {
                let value = property.parse_value(&mut Cursor::new(default)?)?;
                self.set(property.name, value);
            }
        }
        Ok(())
    }
}

impl fmt::Display for Properties {
    /// Writes `{NAME=value, …}`, as DESCRIBE shows options within options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={value}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str("}")
    }
}

impl Property {
    fn parse_value(&self, cursor: &mut Cursor<'_>) -> SqlResult<Value> {
        let bad = |value: &str| SqlError::bad_value(value, self.name);
        match &self.ty {
            PropertyType::Text => cursor.string().map(Value::Text),
            PropertyType::Boolean => {
                let word = word_or_string(cursor)?;
                match word.to_ascii_uppercase().as_str() {
                    "TRUE" => Ok(Value::Boolean(true)),
                    "FALSE" => Ok(Value::Boolean(false)),
                    _ => Err(bad(&word)),
                }
            }
            PropertyType::Integer(least, most) => {
                let number = match cursor.integer() {
                    Ok(number) => number,
                    Err(unexpected) => match cursor.string().map(|text| text.parse::<u64>()) {
                        Ok(Ok(number)) => number,
                        _ => return Err(unexpected),
                    },
                };
                if (least..=most).contains(&&number) {
                    Ok(Value::Integer(number))
                } else {
                    Err(bad(&number.to_string()))
                }
            }
            PropertyType::OneOf(words) => {
                let word = word_or_string(cursor)?;
                let known = words.iter().find(|known| known.eq_ignore_ascii_case(&word));
                let known = known.ok_or_else(|| bad(&word))?;
                Ok(Value::Text((*known).to_owned()))
            }
            PropertyType::Name => match cursor.string() {
                Ok(text) => syntax::name(&text).map(Value::Name).map_err(|_| bad(&text)),
                Err(_) => cursor.name(3).map(Value::Name),
            },
            PropertyType::Texts => cursor.list(Cursor::string).map(Value::Texts),
            PropertyType::Options(known) => {
                cursor.expect_token(&Token::LParen)?;
                let options = Properties::parse_new(cursor, known)?;
                cursor.expect_token(&Token::RParen)?;
                Ok(Value::Options(options))
            }
            PropertyType::OptionsList(known) => cursor
                .list(|cursor| {
                    cursor.expect_token(&Token::LParen)?;
                    let options = Properties::parse_new(cursor, known)?;
                    cursor.expect_token(&Token::RParen)?;
                    Ok(options)
                })
                .map(Value::OptionsList),
        }
    }
}

/// Parses a word such as TRUE or STANDARD, quoted or not.
fn word_or_string(cursor: &mut Cursor<'_>) -> SqlResult<String> {
    match cursor.string() {
        Ok(text) => Ok(text),
        Err(_) => cursor.ident().map(|ident| ident.as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: &[Property] = &[
        Property::new("NAME", PropertyType::Text).required(),
        Property::new("ENABLE", PropertyType::Boolean).with_default("FALSE"),
    ];
    const KNOWN: &[Property] = &[
        Property::new("TYPE", PropertyType::OneOf(&["IPV4", "HOST_PORT"])).required(),
        Property::new("SIZE", PropertyType::Integer(10, 99)).with_default("20"),
        Property::new("POLICY", PropertyType::Name),
        Property::new("LIST", PropertyType::Texts),
        Property::new("DIRECTORY", PropertyType::Options(INNER)),
        Property::new("LOCATIONS", PropertyType::OptionsList(INNER)),
        COMMENT,
    ];

    fn parse(text: &str) -> SqlResult<Properties> {
        let mut cursor = Cursor::new(text)?;
        let properties = Properties::parse_new(&mut cursor, KNOWN)?;
        cursor.expect_end()?;
        Ok(properties)
    }

    #[test]
    fn values_of_every_type() {
        let properties = parse(
            "type = ipv4, POLICY = 'a.\"b\"' LIST = ('x', 'y') DIRECTORY = (NAME = 'n') \
             LOCATIONS = ((NAME = 'a' ENABLE = TRUE), (NAME = 'b')) COMMENT = 'it''s'",
        )
        .unwrap();
        assert_eq!(properties.text("TYPE").as_deref(), Some("IPV4"));
        assert_eq!(properties.integer("SIZE"), Some(20));
        assert_eq!(properties.name("POLICY").unwrap().to_string(), "A.\"b\"");
        assert_eq!(properties.texts("LIST"), ["x", "y"]);
        assert!(!properties.options("DIRECTORY").unwrap().is_true("ENABLE"));
        let locations = properties.options_list("LOCATIONS");
        assert!(locations[0].is_true("ENABLE") && !locations[1].is_true("ENABLE"));
        assert_eq!(properties.text("COMMENT").as_deref(), Some("it's"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, code, part) in [
            ("SIZE = 20", 2029, "Missing option(s): TYPE"),
            (
                "TYPE = IPV6",
                1008,
                "invalid value [IPV6] for parameter 'TYPE'",
            ),
            (
                "TYPE = IPV4 SIZE = 9",
                1008,
                "invalid value [9] for parameter 'SIZE'",
            ),
            ("TYPE = IPV4 TYPE = IPV4", 1003, "duplicate property 'TYPE'"),
            ("TYPE = IPV4 COLOUR = 'red'", 1003, "unexpected 'COLOUR'"),
            ("TYPE = IPV4 COMMENT = red", 1003, "unexpected 'red'"),
            (
                "TYPE = IPV4 DIRECTORY = (ENABLE = TRUE)",
                2029,
                "Missing option(s): NAME",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code, code, "{text}: {error}");
            assert!(error.message.contains(part), "{text}: {error}");
        }
    }
}
