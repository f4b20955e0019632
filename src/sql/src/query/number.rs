//! Exact numbers, and the precision and scale of arithmetic results in Snowflake.

use std::fmt;

use arrow::datatypes::i256;

use crate::error::{SqlError, SqlResult, code};

/// The maximum number of digits of a NUMBER.
pub const MAX_PRECISION: u8 = 38;

/// An exact number: `digits` divided by ten to the power of `scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub digits: i128,
    pub scale: u8,
}

/// The declared precision and scale of a NUMBER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    pub precision: u8,
    pub scale: u8,
}

/// An operation whose result type follows from the types of its operands (documentation,
/// "Arithmetic operators").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Arithmetic {
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }

    /// Returns the precision and scale of the result.
    pub fn result(self, left: Precision, right: Precision) -> Precision {
        let (s1, s2) = (left.scale, right.scale);
        let (l1, l2) = (left.precision - s1, right.precision - s2);
        let (leading, scale) = match self {
            Self::Add | Self::Subtract => (l1.max(l2) + 1, s1.max(s2)),
            Self::Multiply => (l1 + l2, (s1 + s2).min(s1.max(s2).max(12))),
            Self::Divide => (l1 + s2, s1.max((s1 + 6).min(12))),
            Self::Modulo => (l1.max(l2), s1.max(s2)),
        };
        Precision {
            precision: (leading + scale).clamp(1, MAX_PRECISION),
            scale: scale.min(37),
        }
    }

    /// Computes the result with `scale` digits after the point, rounded half away from zero.
    ///
    /// # Errors
    /// Division by zero, or a result of more than 38 digits.
    pub fn apply(self, left: Number, right: Number, scale: u8) -> SqlResult<i128> {
        let narrow = match self {
            Self::Add => rescaled_pair(left, right, scale).and_then(|(a, b)| a.checked_add(b)),
            Self::Subtract => rescaled_pair(left, right, scale).and_then(|(a, b)| a.checked_sub(b)),
            Self::Multiply => {
                let product = left.digits.checked_mul(right.digits);
                product.and_then(|digits| rescale(digits, left.scale + right.scale, scale))
            }
            Self::Divide | Self::Modulo if right.digits == 0 => {
                return Err(division_by_zero());
            }
            Self::Divide => {
                let up = u32::from(scale) + u32::from(right.scale);
                let shift = up as i32 - i32::from(left.scale);
                match u32::try_from(shift) {
                    Ok(shift) => 10_i128
                        .checked_pow(shift)
                        .and_then(|power| left.digits.checked_mul(power))
                        .map(|dividend| rounded_quotient(dividend, right.digits)),
                    Err(_) => 10_i128
                        .checked_pow(shift.unsigned_abs())
                        .and_then(|power| right.digits.checked_mul(power))
                        .map(|divisor| rounded_quotient(left.digits, divisor)),
                }
            }
            Self::Modulo => {
                let common = left.scale.max(right.scale);
                rescaled_pair(left, right, common).and_then(|(a, b)| rescale(a % b, common, scale))
            }
        };
        match narrow {
            Some(digits) if digits.unsigned_abs() < LIMIT => Ok(digits),
            Some(_) => Err(out_of_range(format_args!(
                "{left} {} {right}",
                self.symbol()
            ))),
            None => self.apply_wide(left, right, scale),
        }
    }

    /// Computes the result in 256 bits, for intermediate values that do not fit in 128.
    fn apply_wide(self, left: Number, right: Number, scale: u8) -> SqlResult<i128> {
        let overflow = || out_of_range(format_args!("{left} {} {right}", self.symbol()));
        let ten = |power: u8| i256::from_i128(10).checked_pow(u32::from(power));
        let wide = || {
            let (a, b) = (i256::from_i128(left.digits), i256::from_i128(right.digits));
            let common = left.scale.max(right.scale);
            let pair = || {
                Some((
                    a.checked_mul(ten(common - left.scale)?)?,
                    b.checked_mul(ten(common - right.scale)?)?,
                ))
            };
            match self {
                Self::Add => {
                    let (a, b) = pair()?;
                    wide_rescale(a.checked_add(b)?, common, scale)
                }
                Self::Subtract => {
                    let (a, b) = pair()?;
                    wide_rescale(a.checked_sub(b)?, common, scale)
                }
                Self::Multiply => wide_rescale(a.checked_mul(b)?, left.scale + right.scale, scale),
                Self::Divide => {
                    let up = scale + right.scale;
                    match up.checked_sub(left.scale) {
                        Some(shift) => wide_quotient(a.checked_mul(ten(shift)?)?, b),
                        None => wide_quotient(a, b.checked_mul(ten(left.scale - up)?)?),
                    }
                }
                Self::Modulo => {
                    let (a, b) = pair()?;
                    wide_rescale(a.checked_rem(b)?, common, scale)
                }
            }
        };
        let digits = wide().and_then(i256::to_i128).ok_or_else(overflow)?;
        if digits.unsigned_abs() < LIMIT {
            Ok(digits)
        } else {
            Err(overflow())
        }
    }
}

/// The smallest positive integer of more than 38 digits.
const LIMIT: u128 = 10_u128.pow(38);

fn rescaled_pair(left: Number, right: Number, scale: u8) -> Option<(i128, i128)> {
    Some((
        rescale(left.digits, left.scale, scale)?,
        rescale(right.digits, right.scale, scale)?,
    ))
}

/// Changes the scale of a number, rounded half away from zero. None if the result does not fit in
/// 128 bits.
pub fn rescale(digits: i128, from: u8, to: u8) -> Option<i128> {
    match to.checked_sub(from) {
        Some(0) => Some(digits),
        Some(up) => digits.checked_mul(10_i128.checked_pow(u32::from(up))?),
        None => match 10_i128.checked_pow(u32::from(from - to)) {
            Some(power) => Some(rounded_quotient(digits, power)),
            None => Some(0),
        },
    }
}

fn rounded_quotient(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let away = if (dividend < 0) == (divisor < 0) {
        1
    } else {
        -1
    };
    // Compares without doubling the remainder, which might overflow.
    if rest.unsigned_abs() >= divisor.unsigned_abs() - rest.unsigned_abs() && rest != 0 {
        quotient + away
    } else {
        quotient
    }
}

fn wide_quotient(dividend: i256, divisor: i256) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?;
    let zero = i256::ZERO;
    let double = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    if double < divisor.wrapping_abs() {
        return Some(quotient);
    }
    if (dividend < zero) == (divisor < zero) {
        quotient.checked_add(i256::ONE)
    } else {
        quotient.checked_sub(i256::ONE)
    }
}

fn wide_rescale(digits: i256, from: u8, to: u8) -> Option<i256> {
    let ten = |power: u8| i256::from_i128(10).checked_pow(u32::from(power));
    match to.checked_sub(from) {
        Some(up) => digits.checked_mul(ten(up)?),
        None => wide_quotient(digits, ten(from - to)?),
    }
}

impl Number {
    pub fn integer(digits: i128) -> Self {
        Self { digits, scale: 0 }
    }

    /// Converts to the nearest float.
    pub fn to_f64(self) -> f64 {
        // The text is exact, and parsing it rounds only once.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// Returns the number of digits: at least one, and at least as many as the scale.
    pub fn precision(self) -> u8 {
        let digits = self.digits.unsigned_abs().checked_ilog10().unwrap_or(0) as u8 + 1;
        digits.max(self.scale)
    }

    /// Changes the scale, rounded half away from zero. The new scale may be larger.
    pub fn with_scale(self, scale: u8) -> SqlResult<Self> {
        let digits = rescale(self.digits, self.scale, scale).ok_or_else(|| out_of_range(self))?;
        Ok(Self { digits, scale })
    }

    /// Rounds half away from zero to a whole number.
    pub fn rounded(self) -> i128 {
        rescale(self.digits, self.scale, 0).unwrap_or(0)
    }

    /// Parses a number such as `12`, `-1.50`, `.5` or `1e3`. None if the text is not a number or
    /// has too many digits before the point.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let mut digits = 0_i128;
        let mut scale = -exponent;
        for byte in whole.bytes() {
            digits = digits
                .checked_mul(10)?
                .checked_add(i128::from(byte - b'0'))?;
        }
        for (at, byte) in fraction.bytes().enumerate() {
            // Digits that no NUMBER can hold are rounded.
            let Some(next) = digits
                .checked_mul(10)
                .and_then(|digits| digits.checked_add(i128::from(byte - b'0')))
                .filter(|next| next.unsigned_abs() < LIMIT && at < 37)
            else {
                digits += i128::from(byte >= b'5');
                break;
            };
            digits = next;
            scale += 1;
        }
        if scale < 0 {
            digits = digits.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)?;
            scale = 0;
        }
        if scale > 37 {
            digits = rescale(digits, u8::try_from(scale).ok()?, 37)?;
            scale = 37;
        }
        let digits = if negative { -digits } else { digits };
        let scale = u8::try_from(scale).ok()?;
        (digits.unsigned_abs() < LIMIT).then_some(Self { digits, scale })
    }

    /// Converts a float by its shortest decimal text. None if it is not finite or too large for a
    /// NUMBER.
    pub fn of_float(float: f64) -> Option<Self> {
        if float.is_finite() {
            Self::parse(&format!("{float:e}"))
        } else {
            None
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs();
        if self.scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let power = 10_u128.pow(u32::from(self.scale));
        let width = usize::from(self.scale);
        write!(f, "{sign}{}.{:0width$}", digits / power, digits % power)
    }
}

/// Returns the digits of a number in a column of this precision and scale.
///
/// # Errors
/// If the number has too many digits.
pub fn fit(number: Number, precision: u8, scale: u8) -> SqlResult<i128> {
    let digits = number.with_scale(scale)?.digits;
    if digits.unsigned_abs() < 10_u128.pow(u32::from(precision)) {
        Ok(digits)
    } else {
        Err(out_of_range(number))
    }
}

pub fn out_of_range(number: impl fmt::Display) -> SqlError {
    SqlError::new(
        code::NUMBER_OUT_OF_RANGE,
        format!("Numeric value '{number}' is out of range"),
    )
}

pub fn division_by_zero() -> SqlError {
    SqlError::new(code::DIVISION_BY_ZERO, "Division by zero")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    /// Applies an operation to two literals, and formats the result with its type.
    fn apply(left: &str, op: Arithmetic, right: &str) -> String {
        let of = |number: Number| Precision {
            precision: number.precision(),
            scale: number.scale,
        };
        let (left, right) = (number(left), number(right));
        let ty = op.result(of(left), of(right));
        let digits = op.apply(left, right, ty.scale).unwrap();
        let result = Number {
            digits,
            scale: ty.scale,
        };
        format!("{result} NUMBER({},{})", ty.precision, ty.scale)
    }

    /// The examples of the documentation, "Arithmetic operators".
    #[test]
    fn precision_and_scale_follow_the_documentation() {
        assert_eq!(apply("2", Arithmetic::Divide, "7"), "0.285714 NUMBER(7,6)");
        assert_eq!(
            apply("10.1", Arithmetic::Divide, "2.1"),
            "4.8095238 NUMBER(10,7)"
        );
        assert_eq!(
            apply("10.0001", Arithmetic::Multiply, "5.45"),
            "54.500545 NUMBER(9,6)"
        );
        assert_eq!(
            apply("10.0001", Arithmetic::Add, "5.45"),
            "15.4501 NUMBER(7,4)"
        );
        assert_eq!(apply("-7", Arithmetic::Modulo, "3"), "-1 NUMBER(1,0)");
        assert_eq!(
            apply("-1", Arithmetic::Divide, "6"),
            "-0.166667 NUMBER(7,6)"
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error_or_computed_in_256_bits() {
        let large = Number::integer(10_i128.pow(37) * 9);
        let error = Arithmetic::Add.apply(large, large, 0).unwrap_err();
        assert_eq!(error.code, 100_039);
        let error = Arithmetic::Multiply.apply(large, large, 0).unwrap_err();
        assert_eq!(error.code, 100_039);
        let error = Arithmetic::Divide
            .apply(large, Number::integer(0), 6)
            .unwrap_err();
        assert_eq!(error.to_string(), "100051 (22012): Division by zero");
        // 9e37 / 9e37 has an intermediate value of 9e43.
        assert_eq!(
            Arithmetic::Divide.apply(large, large, 6).unwrap(),
            1_000_000
        );
    }

    #[test]
    fn numbers_are_read_and_shown() {
        for (text, shown) in [
            ("-1.50", "-1.50"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("15e-03", "0.015"),
            ("+7", "7"),
            (
                "99999999999999999999999999999999999999",
                "99999999999999999999999999999999999999",
            ),
        ] {
            assert_eq!(number(text).to_string(), shown);
        }
        for bad in [
            "",
            "-",
            "one",
            "1x",
            "1.2.3",
            "100000000000000000000000000000000000000",
        ] {
            assert_eq!(Number::parse(bad), None, "{bad}");
        }
        assert_eq!(number("2.5").rounded(), 3);
        assert_eq!(number("-2.5").rounded(), -3);
        assert_eq!(Number::of_float(0.1).unwrap().to_string(), "0.1");
    }
}
