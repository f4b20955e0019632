//! Local evaluation: without the host, of expressions whose result is certain. These are literals,
//! one comparison, sum or difference of whole numbers or texts, and concatenations. They are most
//! of what loops evaluate.

use datafusion::common::ScalarValue;
use sqlparser::tokenizer::Token;

use super::convert::plain_text;
use super::template::{Template, VariableRef};
use super::value::Value;
use icebox_sql::syntax::Cursor;
use icebox_sql::types::DataType;

/// Operands with one operator between them.
#[derive(Clone, Debug)]
pub struct LocalExpression {
    operator: Operator,
    operands: Vec<Operand>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Concat,
    Plus,
    Minus,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug)]
enum Operand {
    Literal(Value),
    /// The index of a variable in the template.
    Variable(usize),
}

impl LocalExpression {
    /// Parses the expression at the cursor, which is a copy at the template's start. The result is
    /// `None` if it is not simple enough.
    pub fn read(mut cursor: Cursor<'_>, template: &Template) -> Option<Self> {
        let start = cursor.offset();
        let end = start + template.text.len();
        let mut operator = None;
        let mut operands = Vec::new();
        loop {
            operands.push(operand(&mut cursor, template, start)?);
            if cursor.last_end() == end {
                break;
            }
            let next = operator_of(&cursor.bump()?)?;
            let is_chain = operator == Some(next) && next == Operator::Concat;
            if operator.is_some() && !is_chain {
                return None;
            }
            operator = Some(next);
        }
        Some(Self {
            operator: operator?,
            operands,
        })
    }

    /// Returns the value; `None` if the types of the operands require the host.
    pub fn value(
        &self,
        template: &Template,
        mut value_at: impl FnMut(&VariableRef) -> Option<Value>,
    ) -> Option<Value> {
        let operands = self.operands.iter().map(|operand| match operand {
            Operand::Literal(value) => Some(value.clone()),
            Operand::Variable(number) => value_at(template.variables.get(*number)?),
        });
        let operands = operands.collect::<Option<Vec<Value>>>()?;
        if self.operator == Operator::Concat {
            return concat(&operands);
        }
        let [left, right] = operands.as_slice() else {
            return None;
        };
        let is_text = |value: &Value| matches!(value.ty, DataType::Text { .. });
        match (whole_digits(left), whole_digits(right)) {
            (Some(one), Some(other)) => self.of_numbers(left, right, one.max(other)),
            (None, None) if is_text(left) && is_text(right) => {
                let ordering = left.as_text().zip(right.as_text());
                self.compared(ordering.map(|(left, right)| left.cmp(right)))
            }
            _ => None,
        }
    }

    fn of_numbers(&self, left: &Value, right: &Value, digits: u8) -> Option<Value> {
        let both = left.as_number().zip(right.as_number());
        let both = both.map(|((left, _), (right, _))| (left, right));
        let precision = (digits + 1).min(38);
        let ty = DataType::Number {
            precision,
            scale: 0,
        };
        let result = match (self.operator, both) {
            (Operator::Plus | Operator::Minus, None) => return Some(Value::null(ty)),
            (Operator::Plus, Some((left, right))) => left.checked_add(right)?,
            (Operator::Minus, Some((left, right))) => left.checked_sub(right)?,
            _ => return self.compared(both.map(|(left, right)| left.cmp(&right))),
        };
        let fits = result.unsigned_abs() < 10_u128.pow(u32::from(precision));
        fits.then(|| Value::new(ty, ScalarValue::Decimal128(Some(result), precision, 0)))
    }

    /// Returns the result of a comparison from the ordering of its operands. The ordering is `None`
    /// if one of them is NULL.
    fn compared(&self, ordering: Option<std::cmp::Ordering>) -> Option<Value> {
        let Some(ordering) = ordering else {
            return Some(Value::null(DataType::Boolean));
        };
        Some(Value::boolean(match self.operator {
            Operator::Equal => ordering.is_eq(),
            Operator::NotEqual => ordering.is_ne(),
            Operator::Less => ordering.is_lt(),
            Operator::LessOrEqual => ordering.is_le(),
            Operator::Greater => ordering.is_gt(),
            Operator::GreaterOrEqual => ordering.is_ge(),
            Operator::Concat | Operator::Plus | Operator::Minus => return None,
        }))
    }
}

/// Parses a literal whose type is known without the host: one without fraction, exponent or prefix.
pub fn literal(cursor: &mut Cursor<'_>) -> Option<Value> {
    let is_negative = cursor.accept_token(&Token::Minus);
    match cursor.bump()? {
        Token::Number(digits, _) => {
            let number: i128 = digits.parse().ok()?;
            let precision = number.to_string().len() as u8;
            let number = if is_negative { -number } else { number };
            (precision <= 38).then(|| {
                let ty = DataType::Number {
                    precision,
                    scale: 0,
                };
                Value::new(ty, ScalarValue::Decimal128(Some(number), precision, 0))
            })
        }
        _ if is_negative => None,
        Token::SingleQuotedString(text) => Some(Value::text(text)),
        Token::DollarQuotedString(quoted) => Some(Value::text(quoted.value)),
        Token::Word(word) if word.quote_style.is_none() => match word.value.to_uppercase().as_str()
        {
            "TRUE" => Some(Value::boolean(true)),
            "FALSE" => Some(Value::boolean(false)),
            _ => None,
        },
        _ => None,
    }
}

fn operand(cursor: &mut Cursor<'_>, template: &Template, start: usize) -> Option<Operand> {
    let mut ahead = cursor.clone();
    if let Some(value) = literal(&mut ahead) {
        *cursor = ahead;
        return Some(Operand::Literal(value));
    }
    let (number, end) = template.variable_from(cursor.offset() - start)?;
    while cursor.last_end() < start + end {
        cursor.bump()?;
    }
    Some(Operand::Variable(number))
}

fn operator_of(token: &Token) -> Option<Operator> {
    Some(match token {
        Token::StringConcat => Operator::Concat,
        Token::Plus => Operator::Plus,
        Token::Minus => Operator::Minus,
        Token::Eq => Operator::Equal,
        Token::Neq => Operator::NotEqual,
        Token::Lt => Operator::Less,
        Token::LtEq => Operator::LessOrEqual,
        Token::Gt => Operator::Greater,
        Token::GtEq => Operator::GreaterOrEqual,
        _ => return None,
    })
}

/// Returns the precision of a value of a whole-number type; `None` for other types.
fn whole_digits(value: &Value) -> Option<u8> {
    match value.ty {
        DataType::Number {
            precision,
            scale: 0,
        } => Some(precision),
        _ => None,
    }
}

/// Concatenates texts and whole numbers. The result is NULL if one of them is NULL.
fn concat(operands: &[Value]) -> Option<Value> {
    let mut text = Some(String::new());
    for operand in operands {
        let is_plain = matches!(operand.ty, DataType::Text { .. });
        if !is_plain && whole_digits(operand).is_none() {
            return None;
        }
        text = text
            .zip(plain_text(operand))
            .map(|(text, next)| text + &next);
    }
    Some(Value::new(DataType::TEXT, ScalarValue::Utf8(text)))
}
