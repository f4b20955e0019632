//! The parameters of a request and their constraints.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::Fault;

/// The fields of a form.
pub struct Params(BTreeMap<String, String>);

/// The constraints on a text parameter
/// (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html>, each action's
/// parameters).
pub(super) struct Constraint {
    pub name: &'static str,
    length: RangeInclusive<usize>,
    characters: Characters,
}

enum Characters {
    /// Letters, digits and `+=,.@_-`.
    Name,
    /// Letters, digits and `_`.
    Plain,
    /// Letters, digits and `+=,.@_:/-`.
    Id,
    /// `/`, or printable ASCII characters between two slashes.
    Path,
    /// Any text without control characters, except tabs and line breaks.
    Text,
}

const fn constraint(
    name: &'static str,
    length: RangeInclusive<usize>,
    characters: Characters,
) -> Constraint {
    Constraint {
        name,
        length,
        characters,
    }
}

pub(super) const USER_NAME: Constraint = constraint("UserName", 1..=64, Characters::Name);
pub(super) const ROLE_NAME: Constraint = constraint("RoleName", 1..=64, Characters::Name);
pub(super) const POLICY_NAME: Constraint = constraint("PolicyName", 1..=128, Characters::Name);
pub(super) const PATH: Constraint = constraint("Path", 1..=512, Characters::Path);
pub(super) const PATH_PREFIX: Constraint = constraint("PathPrefix", 1..=512, Characters::Text);
pub(super) const DESCRIPTION: Constraint = constraint("Description", 0..=1000, Characters::Text);
pub(super) const POLICY_DOCUMENT: Constraint =
    constraint("PolicyDocument", 1..=131_072, Characters::Text);
pub(super) const TRUST_DOCUMENT: Constraint =
    constraint("AssumeRolePolicyDocument", 1..=131_072, Characters::Text);
pub(super) const POLICY_ARN: Constraint = constraint("PolicyArn", 20..=2048, Characters::Text);
pub(super) const ACCESS_KEY_ID: Constraint = constraint("AccessKeyId", 16..=128, Characters::Plain);
pub(super) const VERSION_ID: Constraint = constraint("VersionId", 1..=32, Characters::Text);
pub(super) const STATUS: Constraint = constraint("Status", 1..=16, Characters::Text);
pub(super) const ROLE_ARN: Constraint = constraint("RoleArn", 20..=2048, Characters::Text);
pub(super) const SESSION_NAME: Constraint = constraint("RoleSessionName", 2..=64, Characters::Name);
pub(super) const EXTERNAL_ID: Constraint = constraint("ExternalId", 2..=1224, Characters::Id);
pub(super) const SOURCE_IDENTITY: Constraint =
    constraint("SourceIdentity", 2..=64, Characters::Name);
pub(super) const SESSION_POLICY: Constraint = constraint("Policy", 1..=2048, Characters::Text);

impl Params {
    /// Parses a form. If a field occurs twice, the first one counts.
    ///
    /// # Errors
    /// `MalformedQueryString` if a field is not UTF-8, or if there are too many fields.
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
                return Err(Fault::malformed_query(
                    "The form contains text that is not UTF-8.",
                ));
            }
            fields
                .entry(name.into_owned())
                .or_insert_with(|| value.into_owned());
            if fields.len() > 1000 {
                return Err(Fault::malformed_query(
                    "The form has more than 1000 fields.",
                ));
            }
        }
        Ok(Self(fields))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns a required parameter.
    ///
    /// # Errors
    /// `ValidationError` if it is missing or violates its constraint.
    pub(super) fn required(&self, constraint: &Constraint) -> Result<&str, Fault> {
        self.optional(constraint)?.ok_or_else(|| {
            Fault::constraint(None, &member(constraint.name), "Member must not be null")
        })
    }

    /// Returns an optional parameter.
    ///
    /// # Errors
    /// `ValidationError` if it violates its constraint.
    pub(super) fn optional(&self, constraint: &Constraint) -> Result<Option<&str>, Fault> {
        let Some(value) = self.get(constraint.name) else {
            return Ok(None);
        };
        let violation =
            |text: String| Fault::constraint(Some(value), &member(constraint.name), &text);
        let length = value.chars().count();
        if length < *constraint.length.start() {
            return Err(violation(format!(
                "Member must have length greater than or equal to {}",
                constraint.length.start()
            )));
        }
        if length > *constraint.length.end() {
            return Err(violation(format!(
                "Member must have length less than or equal to {}",
                constraint.length.end()
            )));
        }
        if let Some(pattern) = constraint.characters.violated(value) {
            return Err(violation(format!(
                "Member must satisfy regular expression pattern: {pattern}"
            )));
        }
        Ok(Some(value))
    }

    /// Returns an optional parameter that is a whole number in a range.
    ///
    /// # Errors
    /// `ValidationError`.
    pub(super) fn integer(
        &self,
        name: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, Fault> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let constraint = |what: String| Fault::constraint(Some(text), &member(name), &what);
        let number: i64 = text
            .parse()
            .map_err(|_| constraint("Member must be an integer".to_owned()))?;
        if number < i64::from(*range.start()) {
            return Err(constraint(format!(
                "Member must have value greater than or equal to {}",
                range.start()
            )));
        }
        match u32::try_from(number).ok().filter(|n| range.contains(n)) {
            Some(number) => Ok(Some(number)),
            None => Err(constraint(format!(
                "Member must have value less than or equal to {}",
                range.end()
            ))),
        }
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|v| v.eq_ignore_ascii_case("true"))
    }

    /// Returns the path of a new entity, which is `/` by default.
    ///
    /// # Errors
    /// `ValidationError`.
    pub(super) fn path(&self) -> Result<String, Fault> {
        Ok(self.optional(&PATH)?.unwrap_or("/").to_owned())
    }

    /// Returns the key that a page starts after, and the maximum number of its items.
    ///
    /// # Errors
    /// `ValidationError`.
    pub(super) fn paging(&self) -> Result<(Option<String>, usize), Fault> {
        let max = self.integer("MaxItems", 1..=1000)?.unwrap_or(100);
        let after = match self.get("Marker") {
            None => None,
            Some(text) => {
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
                let name = bytes.and_then(|b| String::from_utf8(b).ok());
                Some(name.ok_or_else(|| Fault::validation("Invalid Marker."))?)
            }
        };
        Ok((after, max as usize))
    }
}

/// Returns the marker of a page whose last item has the key `last`.
pub(super) fn marker(last: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(last)
}

impl Characters {
    /// Returns the pattern that the text violates, if it violates one.
    fn violated(&self, text: &str) -> Option<&'static str> {
        let all = |allowed: &str| {
            text.chars()
                .all(|c| c.is_ascii_alphanumeric() || allowed.contains(c))
        };
        let (good, pattern) = match self {
            Self::Name => (all("+=,.@_-"), "[\\w+=,.@-]+"),
            Self::Plain => (all("_"), "[\\w]+"),
            Self::Id => (all("+=,.@_:/-"), "[\\w+=,.@:\\/-]*"),
            Self::Path => (
                text.starts_with('/')
                    && text.ends_with('/')
                    && text.chars().all(|c| c.is_ascii_graphic()),
                "(\\u002F)|(\\u002F[\\u0021-\\u007E]+\\u002F)",
            ),
            Self::Text => {
                let control = |c: char| c.is_control() && !"\t\n\r".contains(c);
                (
                    !text.contains(control),
                    "[\\u0009\\u000A\\u000D\\u0020-\\u007E\\u00A1-\\u00FF]*",
                )
            }
        };
        (!good).then_some(pattern)
    }
}

/// Returns a parameter's name as it appears in messages: `RoleName` becomes `roleName`.
fn member(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}
