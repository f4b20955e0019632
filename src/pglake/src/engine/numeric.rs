//! PostgreSQL's division of numerics, for averages. It returns the same digits as PostgreSQL's
//! `numeric.c`.

use super::error::{Error, Result};

/// The least number of significant digits of a quotient (`NUMERIC_MIN_SIG_DIGITS`).
const MIN_SIGNIFICANT_DIGITS: i32 = 16;
/// The decimal digits per group: PostgreSQL stores numerics in base 10,000.
const DIGITS_PER_GROUP: i32 = 4;

/// Returns `total / count` as text, rounded half away from zero at the scale of PostgreSQL's
/// `select_div_scale`.
pub(super) fn divide(total: &str, count: i64) -> Result<String> {
    let wrong = || Error::internal(format!("cannot divide {total} by {count}"));
    let digits = total.trim_start_matches('-');
    let scale = digits
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len()) as i32;
    let unscaled: Vec<u8> = digits
        .bytes()
        .filter(|byte| *byte != b'.')
        .map(|byte| byte - b'0')
        .collect();
    let divisor = u128::try_from(count).map_err(|_| wrong())?;

    let (weight1, first1) = leading_group(digits);
    let (weight2, first2) = leading_group(&count.to_string());
    let mut weight = weight1 - weight2;
    if first1 <= first2 {
        weight -= 1;
    }
    let result_scale = (MIN_SIGNIFICANT_DIGITS - weight * DIGITS_PER_GROUP)
        .max(scale)
        .clamp(0, 1000);

    // Long division, with one digit more than the result has, for rounding.
    let mut quotient = Vec::with_capacity(unscaled.len() + result_scale as usize + 1);
    let mut remainder = 0u128;
    let places = (result_scale - scale) as usize + 1;
    for digit in unscaled.into_iter().chain(std::iter::repeat_n(0, places)) {
        remainder = remainder * 10 + u128::from(digit);
        quotient.push((remainder / divisor) as u8);
        remainder %= divisor;
    }
    let round_up = quotient.pop().is_some_and(|digit| digit >= 5);
    if round_up {
        let mut index = quotient.len();
        loop {
            if index == 0 {
                quotient.insert(0, 1);
                break;
            }
            index -= 1;
            if quotient[index] < 9 {
                quotient[index] += 1;
                break;
            }
            quotient[index] = 0;
        }
    }
    let mut text: String = quotient
        .into_iter()
        .map(|digit| char::from(b'0' + digit))
        .collect();
    while text.len() <= result_scale as usize {
        text.insert(0, '0');
    }
    let whole = text.len() - result_scale as usize;
    let (whole, fraction) = text.split_at(whole);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let is_zero = whole == "0" && fraction.bytes().all(|digit| digit == b'0');
    let sign = if total.starts_with('-') && !is_zero {
        "-"
    } else {
        ""
    };
    Ok(match fraction {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    })
}

/// Returns the weight and the value of the first group of four digits that is not zero.
fn leading_group(digits: &str) -> (i32, i32) {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let group = |text: &str| text.parse::<i32>().unwrap_or(0);
    if !whole.is_empty() {
        let groups = whole.len().div_ceil(DIGITS_PER_GROUP as usize);
        let first = whole.len() - (groups - 1) * DIGITS_PER_GROUP as usize;
        return (groups as i32 - 1, group(&whole[..first]));
    }
    let mut weight = -1;
    let mut rest = fraction.to_owned();
    while !rest.is_empty() {
        while rest.len() < DIGITS_PER_GROUP as usize {
            rest.push('0');
        }
        let (first, others) = rest.split_at(DIGITS_PER_GROUP as usize);
        if group(first) != 0 {
            return (weight, group(first));
        }
        weight -= 1;
        rest = others.trim_end_matches('0').to_owned();
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_have_the_scale_of_postgresql() {
        // Each quotient as PostgreSQL 15 prints it.
        for (total, count, quotient) in [
            ("4.44", 4, "1.11000000000000000000"),
            ("10", 4, "2.5000000000000000"),
            ("1", 3, "0.33333333333333333333"),
            ("2", 3, "0.66666666666666666667"),
            ("-1", 3, "-0.33333333333333333333"),
            ("0", 5, "0.00000000000000000000"),
            ("12345678.90", 7, "1763668.414285714286"),
            ("100000", 10, "10000.0000000000000000"),
            ("0.00005", 2, "0.000025000000000000000000"),
        ] {
            assert_eq!(divide(total, count).unwrap(), quotient, "{total} / {count}");
        }
    }
}
