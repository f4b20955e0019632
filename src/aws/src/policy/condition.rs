//! Condition operators
//! ([reference](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html)).

use std::cmp::Ordering;
use std::net::IpAddr;

use chrono::{DateTime, NaiveDate, Utc};
use ipnet::IpNet;

use super::pattern::{Context, Pattern, Syntax};

/// A condition: one operator on one key, like `"StringEquals": {"sts:ExternalId": ["a", "b"]}`.
pub struct Condition {
    /// The operator as written in the document.
    name: String,
    operator: Operator,
    quantifier: Option<Quantifier>,
    if_exists: bool,
    /// The condition key in lower case.
    key: String,
    values: Vec<Pattern>,
}

#[derive(Clone, Copy)]
enum Quantifier {
    All,
    Any,
}

#[derive(Clone, Copy)]
struct Operator {
    comparison: Comparison,
    negated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equals,
    EqualsIgnoreCase,
    Like,
    Number(Relation),
    Date(Relation),
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

/// How the request's value must compare to the document's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// The reason why a condition cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCondition {
    #[error("Invalid Condition type : {0}.")]
    Operator(String),
    #[error("Invalid value {value} of condition {operator}: it takes {takes}.")]
    Value {
        operator: String,
        value: String,
        takes: &'static str,
    },
}

/// Finds an operator by name. Case is ignored, as in AWS.
fn operator(name: &str) -> Option<Operator> {
    use Relation::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    let (comparison, negated) = match name.to_ascii_lowercase().as_str() {
        "stringequals" => (Comparison::Equals, false),
        "stringnotequals" => (Comparison::Equals, true),
        "stringequalsignorecase" => (Comparison::EqualsIgnoreCase, false),
        "stringnotequalsignorecase" => (Comparison::EqualsIgnoreCase, true),
        "stringlike" => (Comparison::Like, false),
        "stringnotlike" => (Comparison::Like, true),
        "numericequals" => (Comparison::Number(Equal), false),
        "numericnotequals" => (Comparison::Number(Equal), true),
        "numericlessthan" => (Comparison::Number(Less), false),
        "numericlessthanequals" => (Comparison::Number(LessOrEqual), false),
        "numericgreaterthan" => (Comparison::Number(Greater), false),
        "numericgreaterthanequals" => (Comparison::Number(GreaterOrEqual), false),
        "dateequals" => (Comparison::Date(Equal), false),
        "datenotequals" => (Comparison::Date(Equal), true),
        "datelessthan" => (Comparison::Date(Less), false),
        "datelessthanequals" => (Comparison::Date(LessOrEqual), false),
        "dategreaterthan" => (Comparison::Date(Greater), false),
        "dategreaterthanequals" => (Comparison::Date(GreaterOrEqual), false),
        "bool" => (Comparison::Bool, false),
        "binaryequals" => (Comparison::Binary, false),
        "ipaddress" => (Comparison::Ip, false),
        "notipaddress" => (Comparison::Ip, true),
        "arnequals" | "arnlike" => (Comparison::Arn, false),
        "arnnotequals" | "arnnotlike" => (Comparison::Arn, true),
        "null" => (Comparison::Null, false),
        _ => return None,
    };
    Some(Operator {
        comparison,
        negated,
    })
}

impl Condition {
    /// Parses one condition.
    ///
    /// # Errors
    /// [`BadCondition`]: no such operator, or a value that it does not take.
    pub fn parse(
        name: &str,
        key: &str,
        values: &[String],
        variables: bool,
    ) -> Result<Self, BadCondition> {
        let (quantifier, plain) = match name.split_once(':') {
            Some((q, rest)) if q.eq_ignore_ascii_case("ForAllValues") => {
                (Some(Quantifier::All), rest)
            }
            Some((q, rest)) if q.eq_ignore_ascii_case("ForAnyValue") => {
                (Some(Quantifier::Any), rest)
            }
            Some(_) => return Err(BadCondition::Operator(name.to_owned())),
            None => (None, name),
        };
        let (plain, if_exists) = match plain.len().checked_sub("IfExists".len()) {
            Some(at)
                if plain.is_char_boundary(at) && plain[at..].eq_ignore_ascii_case("IfExists") =>
            {
                (&plain[..at], true)
            }
            _ => (plain, false),
        };
        let operator = operator(plain)
            .filter(|o| o.comparison != Comparison::Null || !if_exists)
            .ok_or_else(|| BadCondition::Operator(name.to_owned()))?;
        let syntax = Syntax {
            wildcards: matches!(operator.comparison, Comparison::Like | Comparison::Arn),
            variables,
        };
        for value in values {
            if let Some(takes) = invalid_value(operator.comparison, value) {
                return Err(BadCondition::Value {
                    operator: name.to_owned(),
                    value: value.clone(),
                    takes,
                });
            }
        }
        Ok(Self {
            name: name.to_owned(),
            operator,
            quantifier,
            if_exists,
            key: key.to_ascii_lowercase(),
            values: values.iter().map(|v| Pattern::parse(v, syntax)).collect(),
        })
    }

    /// Returns the operator as written in the document, with its quantifier and its `IfExists`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the condition key in lower case.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the values whose variables can be resolved. Dates are in the format of RFC 3339.
    pub fn values(&self, context: &Context) -> Vec<String> {
        let resolved = self.values.iter().filter_map(|v| v.resolve(context));
        let written = |text: String| match self.operator.comparison {
            Comparison::Date(_) => date(&text).map_or(text, |date| date.to_rfc3339()),
            _ => text,
        };
        resolved.map(written).collect()
    }

    /// Returns whether the request fulfils the condition. A key that the request does not have
    /// fulfils the negated operators, `…IfExists` and `ForAllValues`.
    pub fn holds(&self, context: &Context) -> bool {
        let found: &[String] = context.get(&self.key).map_or(&[], Vec::as_slice);
        if self.operator.comparison == Comparison::Null {
            let wanted = self.values.iter().filter_map(|v| v.resolve(context));
            return wanted
                .map(|v| v.eq_ignore_ascii_case("true"))
                .any(|absent| absent == found.is_empty());
        }
        match self.quantifier {
            Some(Quantifier::All) => found.iter().all(|v| self.accepts(v, context)),
            Some(Quantifier::Any) if found.is_empty() => self.if_exists,
            Some(Quantifier::Any) => found.iter().any(|v| self.accepts(v, context)),
            None if found.is_empty() => self.if_exists || self.operator.negated,
            None if self.operator.negated => found.iter().all(|v| self.accepts(v, context)),
            None => found.iter().any(|v| self.accepts(v, context)),
        }
    }

    fn accepts(&self, found: &str, context: &Context) -> bool {
        let comparison = self.operator.comparison;
        let matched = self
            .values
            .iter()
            .any(|v| compare(comparison, v, found, context));
        matched != self.operator.negated
    }
}

fn compare(comparison: Comparison, wanted: &Pattern, found: &str, context: &Context) -> bool {
    match comparison {
        Comparison::Equals | Comparison::Binary => wanted.matches(found, context, false),
        Comparison::EqualsIgnoreCase | Comparison::Bool => wanted.matches(found, context, true),
        Comparison::Like => wanted.matches(found, context, false),
        Comparison::Arn => wanted.matches_arn(found, context),
        Comparison::Number(how) => read_both(wanted, found, context, number)
            .and_then(|(w, f)| f.partial_cmp(&w))
            .is_some_and(|o| how.holds(o)),
        Comparison::Date(how) => {
            read_both(wanted, found, context, date).is_some_and(|(w, f)| how.holds(f.cmp(&w)))
        }
        Comparison::Ip => wanted
            .resolve(context)
            .and_then(|w| network(&w))
            .zip(found.parse::<IpAddr>().ok())
            .is_some_and(|(net, ip)| net.contains(&ip)),
        Comparison::Null => false,
    }
}

fn read_both<T>(
    wanted: &Pattern,
    found: &str,
    context: &Context,
    read: impl Fn(&str) -> Option<T>,
) -> Option<(T, T)> {
    Some((read(&wanted.resolve(context)?)?, read(found)?))
}

/// Returns what the operator takes, if `value` is not of that kind. A value with a variable is not
/// checked, because its text is known only at evaluation.
fn invalid_value(comparison: Comparison, value: &str) -> Option<&'static str> {
    if value.contains("${") {
        return None;
    }
    let (good, takes) = match comparison {
        Comparison::Number(_) => (number(value).is_some(), "a number"),
        Comparison::Date(_) => (
            date(value).is_some(),
            "a date like 2026-01-31T00:00:00Z, or seconds since 1970",
        ),
        Comparison::Bool | Comparison::Null => (
            value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            "true or false",
        ),
        Comparison::Ip => (
            network(value).is_some(),
            "an address or a network like 203.0.113.0/24",
        ),
        _ => return None,
    };
    (!good).then_some(takes)
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|n: &f64| n.is_finite())
}

fn date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return DateTime::from_timestamp(seconds, 0);
    }
    if let Ok(full) = DateTime::parse_from_rfc3339(text) {
        return Some(full.to_utc());
    }
    let day: NaiveDate = text.parse().ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc())
}

fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn context() -> Context {
        let entry = |key: &str, values: &[&str]| {
            let values = values.iter().map(|v| (*v).to_owned()).collect();
            (key.to_owned(), values)
        };
        HashMap::from([
            entry("k", &["Value"]),
            entry("n", &["5"]),
            entry("d", &["2026-05-01T00:00:00Z"]),
            entry("ip", &["127.0.0.1"]),
            entry("tls", &["false"]),
            entry("arn", &["arn:aws:iam::1:user/jo"]),
            entry("many", &["a", "b"]),
        ])
    }

    /// Operator, key, values, and whether the condition holds.
    const CASES: &[(&str, &str, &[&str], bool)] = &[
        ("StringEquals", "k", &["x", "Value"], true),
        ("StringEquals", "K", &["value"], false),
        ("StringEquals", "k", &["Val*"], false),
        ("StringNotEquals", "k", &["x", "Value"], false),
        ("StringNotEquals", "k", &["x", "y"], true),
        ("StringNotEquals", "absent", &["x"], true),
        ("StringEqualsIgnoreCase", "k", &["vALUE"], true),
        ("StringNotEqualsIgnoreCase", "k", &["vALUE"], false),
        ("StringLike", "k", &["V*e"], true),
        ("StringNotLike", "k", &["V*e"], false),
        ("StringEquals", "absent", &["x"], false),
        ("StringEqualsIfExists", "absent", &["x"], true),
        ("StringEqualsIfExists", "k", &["x"], false),
        ("NumericLessThan", "n", &["6"], true),
        ("NumericLessThan", "n", &["5"], false),
        ("NumericLessThanEquals", "n", &["5.0"], true),
        ("NumericGreaterThan", "n", &["4"], true),
        ("NumericGreaterThanEquals", "n", &["6"], false),
        ("NumericNotEquals", "n", &["5"], false),
        ("NumericEquals", "k", &["5"], false),
        ("DateGreaterThan", "d", &["2026-04-30"], true),
        ("DateLessThan", "d", &["2026-04-30T23:59:59Z"], false),
        ("DateEquals", "d", &["1777593600"], true),
        ("Bool", "tls", &["False"], true),
        ("Bool", "tls", &["true"], false),
        ("BoolIfExists", "mfa", &["true"], true),
        ("IpAddress", "ip", &["127.0.0.0/8"], true),
        ("NotIpAddress", "ip", &["127.0.0.1"], false),
        ("IpAddress", "ip", &["::1"], false),
        ("ArnLike", "arn", &["arn:aws:iam::*:user/*"], true),
        ("ArnEquals", "arn", &["arn:aws:iam::1:role/jo"], false),
        ("ArnNotLike", "arn", &["arn:aws:iam::*:user/*"], false),
        ("Null", "absent", &["true"], true),
        ("Null", "k", &["true"], false),
        ("Null", "k", &["false"], true),
        ("ForAllValues:StringEquals", "many", &["a", "b", "c"], true),
        ("ForAllValues:StringEquals", "many", &["a"], false),
        ("ForAllValues:StringEquals", "absent", &["a"], true),
        ("ForAnyValue:StringEquals", "many", &["b"], true),
        ("ForAnyValue:StringEquals", "absent", &["b"], false),
        ("ForAnyValue:StringNotEquals", "many", &["a"], true),
        ("stringequals", "k", &["Value"], true),
    ];

    #[test]
    fn operators() {
        for (name, key, values, expected) in CASES {
            let values: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
            let condition = Condition::parse(name, key, &values, true).expect(name);
            assert_eq!(
                condition.holds(&context()),
                *expected,
                "{name} {key} {values:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read() {
        for (name, value) in [
            ("StringSame", "x"),
            ("ForSome:StringEquals", "x"),
            ("NullIfExists", "true"),
            ("NumericEquals", "five"),
            ("DateEquals", "yesterday"),
            ("Bool", "yes"),
            ("IpAddress", "1.2.3"),
            ("éIfExists", "x"),
        ] {
            assert!(
                Condition::parse(name, "k", &[value.to_owned()], true).is_err(),
                "{name}"
            );
        }
    }
}
