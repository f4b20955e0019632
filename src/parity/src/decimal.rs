//! Exact decimals of any size, compared by value: `1.50` equals `1.5`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A number as PostgreSQL's `numeric` and Arrow's decimals hold it, without a limit on its digits.
///
/// Equality, hashing and order are those of the value, whatever its scale. As in PostgreSQL, NaN
/// equals itself and is greater than everything else (PostgreSQL documentation, "8.1.2. Arbitrary
/// Precision Numbers").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decimal {
    Finite(Finite),
    Infinity,
    NegativeInfinity,
    NaN,
}

/// A finite number, `±0.d₁d₂d₃… × 10^magnitude`. Its digits have no leading or trailing zero, so
/// each value has one form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finite {
    negative: bool,
    /// The digits 0 to 9, most significant first. Empty for zero, which is never negative and has
    /// magnitude 0.
    digits: Vec<u8>,
    magnitude: i32,
}

/// The error of a text that is not a decimal number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a decimal number")]
pub struct ParseDecimalError(String);

impl Decimal {
    /// Returns the value of `digits` (0 to 9, most significant first) with the decimal point after
    /// the first `integer_digits` of them. The point may be before the first digit or beyond the
    /// last, which means zeros on that side.
    pub(crate) fn from_digits(negative: bool, digits: &[u8], integer_digits: i32) -> Self {
        let leading = digits.iter().take_while(|digit| **digit == 0).count();
        let end = digits.len()
            - digits[leading..]
                .iter()
                .rev()
                .take_while(|digit| **digit == 0)
                .count();
        let digits = digits[leading..end].to_vec();
        Self::Finite(if digits.is_empty() {
            Finite {
                negative: false,
                digits,
                magnitude: 0,
            }
        } else {
            Finite {
                negative,
                digits,
                magnitude: integer_digits - leading as i32,
            }
        })
    }

    /// Returns `unscaled × 10^-scale`, where `unscaled` is the decimal text of an integer. This is
    /// how Arrow stores a decimal.
    pub(crate) fn from_unscaled(unscaled: &str, scale: i32) -> Self {
        let (negative, digits) = match unscaled.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, unscaled),
        };
        let digits: Vec<u8> = digits.bytes().map(|byte| byte - b'0').collect();
        let integer_digits = digits.len() as i32 - scale;
        Self::from_digits(negative, &digits, integer_digits)
    }

    fn rank(&self) -> u8 {
        match self {
            Self::NegativeInfinity => 0,
            Self::Finite(_) => 1,
            Self::Infinity => 2,
            Self::NaN => 3,
        }
    }
}

impl Finite {
    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl From<i128> for Decimal {
    fn from(value: i128) -> Self {
        Self::from_unscaled(&value.to_string(), 0)
    }
}

impl FromStr for Decimal {
    type Err = ParseDecimalError;

    /// Reads PostgreSQL's text form: digits with an optional sign, point and exponent, or `NaN`,
    /// `Infinity`, `-Infinity`.
    fn from_str(text: &str) -> Result<Self, ParseDecimalError> {
        match text {
            "NaN" => return Ok(Self::NaN),
            "Infinity" => return Ok(Self::Infinity),
            "-Infinity" => return Ok(Self::NegativeInfinity),
            _ => {}
        }
        let fail = || ParseDecimalError(text.to_owned());
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| fail())?),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = integer
            .bytes()
            .chain(fraction.bytes())
            .map(|byte| byte.wrapping_sub(b'0'))
            .collect();
        if digits.is_empty() || digits.iter().any(|digit| *digit > 9) {
            return Err(fail());
        }
        let integer_digits = i32::try_from(integer.len())
            .ok()
            .and_then(|length| length.checked_add(exponent));
        Ok(Self::from_digits(
            negative,
            &digits,
            integer_digits.ok_or_else(fail)?,
        ))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let (Self::Finite(left), Self::Finite(right)) = (self, other) else {
            return self.rank().cmp(&other.rank());
        };
        left.sign().cmp(&right.sign()).then_with(|| {
            let size = left
                .magnitude
                .cmp(&right.magnitude)
                .then_with(|| left.digits.cmp(&right.digits));
            if left.negative { size.reverse() } else { size }
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    /// Writes plain notation, without an exponent and without trailing zeros after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match self {
            Self::NaN => return f.write_str("NaN"),
            Self::Infinity => return f.write_str("Infinity"),
            Self::NegativeInfinity => return f.write_str("-Infinity"),
            Self::Finite(value) => value,
        };
        let text: String = value
            .digits
            .iter()
            .map(|digit| char::from(b'0' + digit))
            .collect();
        let sign = if value.negative { "-" } else { "" };
        if text.is_empty() {
            return f.write_str("0");
        }
        match usize::try_from(value.magnitude) {
            Ok(integer) if integer >= text.len() => {
                write!(f, "{sign}{text}{}", "0".repeat(integer - text.len()))
            }
            Ok(integer) if integer > 0 => {
                write!(f, "{sign}{}.{}", &text[..integer], &text[integer..])
            }
            _ => write!(
                f,
                "{sign}0.{}{text}",
                "0".repeat(value.magnitude.unsigned_abs() as usize)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn the_scale_does_not_matter() {
        assert_eq!(decimal("1.50"), decimal("1.5"));
        assert_eq!(decimal("-0.00"), decimal("0"));
        assert_eq!(decimal("100"), Decimal::from_unscaled("10000", 2));
        assert_eq!(decimal("1e3"), Decimal::from_unscaled("1", -3));
        assert_ne!(decimal("1.5"), decimal("-1.5"));
        assert_ne!(decimal("15"), decimal("1.5"));
    }

    #[test]
    fn beyond_38_digits() {
        let long = "123456789012345678901234567890123456789012345.000000000000000000000000000000000000000000001";
        assert_eq!(decimal(long).to_string(), long);
        assert_ne!(decimal(long), decimal(&long.replace("001", "002")));
        assert!(decimal(long) < decimal(&long.replace("001", "002")));
    }

    #[test]
    fn text_form() {
        for text in [
            "0",
            "7",
            "-7",
            "700",
            "0.07",
            "-0.007",
            "12.34",
            "1200.5",
            "NaN",
            "Infinity",
            "-Infinity",
        ] {
            assert_eq!(decimal(text).to_string(), text);
        }
        assert!("".parse::<Decimal>().is_err());
        assert!("1.2.3".parse::<Decimal>().is_err());
        assert!("12a".parse::<Decimal>().is_err());
    }

    #[test]
    fn order_is_that_of_the_values() {
        let ordered = [
            "-Infinity",
            "-12",
            "-1.5",
            "-0.01",
            "0",
            "0.002",
            "0.01",
            "1.5",
            "12",
            "1e9",
            "Infinity",
            "NaN",
        ];
        for pair in ordered.windows(2) {
            assert!(decimal(pair[0]) < decimal(pair[1]), "{pair:?}");
        }
    }
}
