//! Builders for pieces of the syntax tree.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, ObjectNamePart, Value,
};

pub fn string(text: impl Into<String>) -> Expr {
    Expr::value(Value::SingleQuotedString(text.into()))
}

pub fn integer(number: i64) -> Expr {
    Expr::value(Value::Number(number.to_string(), false))
}

pub fn null() -> Expr {
    Expr::value(Value::Null)
}

/// Builds an identifier that is looked up exactly as it is written.
pub fn quoted(name: impl Into<String>) -> Ident {
    Ident::with_quote('"', name)
}

pub fn object_name(name: impl Into<String>) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(quoted(name))])
}

pub fn argument(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

pub fn function(name: &str, arguments: Vec<FunctionArg>) -> Function {
    Function {
        name: object_name(name),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

pub fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let arguments = arguments.into_iter().map(argument).collect();
    Expr::Function(function(name, arguments))
}

pub fn cast(expr: Expr, ty: impl ToString) -> Expr {
    call("$cast", vec![expr, string(ty.to_string())])
}

pub fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(left))),
        op,
        right: Box::new(Expr::Nested(Box::new(right))),
    }
}

/// Builds `CASE WHEN … THEN … ELSE … END`.
pub fn case(branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let when = |(condition, result)| CaseWhen { condition, result };
    Expr::Case {
        case_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        end_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: branches.into_iter().map(when).collect(),
        else_result: Some(Box::new(otherwise)),
    }
}

/// Joins conditions with AND; TRUE if there are none.
pub fn all(conditions: Vec<Expr>) -> Expr {
    let joined = conditions
        .into_iter()
        .reduce(|left, right| binary(left, BinaryOperator::And, right));
    joined.unwrap_or_else(|| Expr::value(Value::Boolean(true)))
}

/// Joins conditions with OR; FALSE if there are none.
pub fn any(conditions: Vec<Expr>) -> Expr {
    let joined = conditions
        .into_iter()
        .reduce(|left, right| binary(left, BinaryOperator::Or, right));
    joined.unwrap_or_else(|| Expr::value(Value::Boolean(false)))
}

/// Puts NOT before an expression if `negated` is true.
pub fn negated(expr: Expr, negated: bool) -> Expr {
    if negated {
        Expr::UnaryOp {
            op: sqlparser::ast::UnaryOperator::Not,
            expr: Box::new(Expr::Nested(Box::new(expr))),
        }
    } else {
        expr
    }
}
