//! Number formats (documentation, "SQL format models").

use crate::error::{SqlError, SqlResult};
use crate::query::number::Number;

/// A compiled format such as `$99,990.00` or `FM0000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberFormat {
    items: Vec<FormatItem>,
    /// Number of digits before the point; `fraction` is the number after it.
    whole: usize,
    fraction: usize,
    fill: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FormatItem {
    /// `0` shows leading zeros, `9` does not.
    Digit {
        zero: bool,
    },
    Group,
    Point,
    Dollar,
    /// `S` always shows a sign. `MI` shows a minus or a blank.
    Sign {
        always: bool,
    },
}

impl NumberFormat {
    /// Compiles a format.
    ///
    /// # Errors
    /// If the format has an element that icebox does not support.
    pub fn new(text: &str) -> SqlResult<Self> {
        let upper = text.to_uppercase();
        let mut rest = upper.as_str();
        let mut format = Self {
            items: Vec::new(),
            whole: 0,
            fraction: 0,
            fill: true,
        };
        let mut after_point = false;
        while let Some(next) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("FM") {
                format.fill = false;
                rest = after;
                continue;
            }
            let (item, length) = match next {
                '0' | '9' => {
                    if after_point {
                        format.fraction += 1;
                    } else {
                        format.whole += 1;
                    }
                    (FormatItem::Digit { zero: next == '0' }, 1)
                }
                ',' | 'G' if !after_point => (FormatItem::Group, 1),
                '.' | 'D' if !after_point => {
                    after_point = true;
                    (FormatItem::Point, 1)
                }
                '$' => (FormatItem::Dollar, 1),
                'S' => (FormatItem::Sign { always: true }, 1),
                'M' if rest.starts_with("MI") => (FormatItem::Sign { always: false }, 2),
                _ => {
                    return Err(SqlError::unsupported(format_args!(
                        "number format '{text}'"
                    )));
                }
            };
            format.items.push(item);
            rest = &rest[length..];
        }
        match format.whole + format.fraction {
            0 => Err(SqlError::unsupported(format_args!(
                "number format '{text}'"
            ))),
            _ => Ok(format),
        }
    }

    /// Formats a number. The result is a `#` for each place if the number has too many digits.
    pub fn format(&self, number: Number) -> SqlResult<String> {
        let rounded = number.with_scale(self.fraction as u8)?;
        let text = Number {
            digits: rounded.digits.abs(),
            ..rounded
        }
        .to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let whole = if whole == "0" { "" } else { whole };
        let negative = rounded.digits < 0;
        let has_sign = self
            .items
            .iter()
            .any(|item| matches!(item, FormatItem::Sign { .. }));
        if whole.len() > self.whole {
            let places = self.items.len() + usize::from(!has_sign);
            return Ok("#".repeat(places));
        }
        // Digits are shown from the number's first digit or from the first `0` of the format on.
        let missing = self.whole - whole.len();
        let first_zero = self
            .items
            .iter()
            .position(|item| *item == FormatItem::Digit { zero: true });
        let (mut out, mut place, mut started, mut after_point) = (String::new(), 0, false, false);
        let mut fractions = fraction.chars();
        let mut wholes = whole.chars();
        for (at, item) in self.items.iter().enumerate() {
            match item {
                FormatItem::Digit { .. } if after_point => out.extend(fractions.next()),
                FormatItem::Digit { .. } => {
                    let digit = if place >= missing {
                        wholes.next()
                    } else {
                        None
                    };
                    place += 1;
                    let zero = first_zero.is_some_and(|zero| zero <= at);
                    match digit.or((zero || started).then_some('0')) {
                        Some(digit) => {
                            started = true;
                            out.push(digit);
                        }
                        None => out.push(' '),
                    }
                }
                FormatItem::Group => out.push(if started { ',' } else { ' ' }),
                FormatItem::Point => {
                    after_point = true;
                    out.push('.');
                }
                FormatItem::Dollar => out.push('$'),
                FormatItem::Sign { always } => out.push(match (negative, always) {
                    (true, _) => '-',
                    (false, true) => '+',
                    (false, false) => ' ',
                }),
            }
        }
        // Zero is shown as `0` in a format that has neither a `0` nor a fraction.
        if !started
            && self.fraction == 0
            && let Some(last) = out.rfind(' ')
        {
            out.replace_range(last..=last, "0");
        }
        // All blanks go to the front, before the sign and the dollar.
        let blanks = out.chars().filter(|c| *c == ' ').count();
        let shown: String = out.chars().filter(|c| *c != ' ').collect();
        let sign = match (has_sign, negative) {
            (true, _) => "",
            (false, true) => "-",
            (false, false) if self.fill => " ",
            (false, false) => "",
        };
        let text = match sign {
            "-" => format!("{}-{shown}", " ".repeat(blanks)),
            sign => format!("{}{sign}{shown}", " ".repeat(blanks)),
        };
        Ok(if self.fill {
            text
        } else {
            text.trim_start().to_owned()
        })
    }

    /// Parses a text of this format; None if it has another form.
    pub fn parse(&self, text: &str) -> Option<Number> {
        let mut plain = String::new();
        let mut negative = false;
        for c in text.trim().chars() {
            match c {
                '0'..='9' | '.' => plain.push(c),
                ',' if self.items.contains(&FormatItem::Group) => {}
                '$' if self.items.contains(&FormatItem::Dollar) => {}
                '-' => negative = true,
                '+' | ' ' => {}
                _ => return None,
            }
        }
        let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
        if whole.trim_start_matches('0').len() > self.whole || fraction.len() > self.fraction {
            return None;
        }
        let number = Number::parse(&plain)?;
        Some(Number {
            digits: if negative {
                -number.digits
            } else {
                number.digits
            },
            ..number
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_and_read() {
        for (number, format, text) in [
            ("12.3", "999.00", "  12.30"),
            ("-12.391", "99.9", "-12.4"),
            ("1234567.891", "$9,999,999.99", " $1,234,567.89"),
            ("7", "FM0000", "0007"),
            ("7", "0000", " 0007"),
            ("1000", "99", "###"),
            ("5", "S99", " +5"),
            ("1234", "FM999,999", "1,234"),
            ("0", "FM99", "0"),
        ] {
            let compiled = NumberFormat::new(format).unwrap();
            let number = Number::parse(number).unwrap();
            assert_eq!(compiled.format(number).unwrap(), text, "{format}");
        }
        let format = NumberFormat::new("$99,999.99").unwrap();
        assert_eq!(format.parse("$1,234.50").unwrap().to_string(), "1234.50");
        assert_eq!(format.parse("1234567"), None);
        assert_eq!(format.parse("abc"), None);
        assert!(NumberFormat::new("9V9").is_err());
    }
}
