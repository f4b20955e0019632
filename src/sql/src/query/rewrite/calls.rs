//! Function calls: aggregates and window functions of DataFusion with Snowflake's types, functions
//! that become a CASE, and synonyms.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Ident, NullTreatment, OrderByExpr, Value,
    WindowFrame, WindowFrameBound, WindowFrameUnits, WindowType,
};

use super::build::{all, argument, binary, call, case, cast, function, integer, null, string};
use crate::error::{SqlError, SqlResult, code};
use crate::query::functions::FUNCTIONS;

/// The type of counts and ranks.
const COUNT_TYPE: &str = "NUMBER(18,0)";

/// A function call, taken apart.
pub struct Call {
    pub name: String,
    pub arguments: Vec<Expr>,
    is_star: bool,
    distinct: bool,
    over: Option<WindowType>,
    within_group: Vec<OrderByExpr>,
    nulls: Option<NullTreatment>,
}

/// The result of rewriting a call.
pub enum Rewritten {
    Expr(Expr),
    /// Not a function of queries; the session may know it.
    Unknown(Call),
}

/// Functions with a date part as an argument, and the index of that argument. A bare word there is
/// the name of a date part and not a column.
const PART_ARGUMENTS: &[(&str, usize)] = &[
    ("DATEADD", 0),
    ("DATEDIFF", 0),
    ("DATE_TRUNC", 0),
    ("DATE_PART", 0),
    ("LAST_DAY", 1),
];

/// Synonyms of functions, each with the function's main name.
const SYNONYMS: &[(&str, &str)] = &[
    ("TIMESTAMPADD", "DATEADD"),
    ("TIMEADD", "DATEADD"),
    ("TIMESTAMPDIFF", "DATEDIFF"),
    ("TIMEDIFF", "DATEDIFF"),
    ("TO_TIMESTAMPNTZ", "TO_TIMESTAMP_NTZ"),
    ("TO_TIMESTAMPLTZ", "TO_TIMESTAMP_LTZ"),
    ("TO_TIMESTAMPTZ", "TO_TIMESTAMP_TZ"),
    ("DATEFROMPARTS", "DATE_FROM_PARTS"),
    ("TIMESTAMPNTZFROMPARTS", "TIMESTAMP_NTZ_FROM_PARTS"),
    ("TIMESTAMP_FROM_PARTS", "TIMESTAMP_NTZ_FROM_PARTS"),
    ("CHARACTER_LENGTH", "LENGTH"),
    ("CHAR_LENGTH", "LENGTH"),
    ("CHAR", "CHR"),
    ("UNICODE", "ASCII"),
    ("POW", "POWER"),
    ("IFNULL", "NVL"),
    ("COALESCE", "NVL"),
    ("CEILING", "CEIL"),
    ("REGEXP", "REGEXP_LIKE"),
    ("REGEXP_EXTRACT", "REGEXP_SUBSTR"),
    ("SHA256", "SHA2"),
    ("STRING_AGG", "LISTAGG"),
    ("STDDEV_SAMP", "STDDEV"),
    ("VAR_SAMP", "VARIANCE"),
    ("VARIANCE_SAMP", "VARIANCE"),
    ("VAR_POP", "VARIANCE_POP"),
    ("APPROX_COUNT_DISTINCT", "COUNT_DISTINCT"),
    ("HLL", "COUNT_DISTINCT"),
];

/// Aggregates that DataFusion computes: Snowflake's name, DataFusion's name, and the function that
/// converts the arguments, if any. The last field is not used.
const AGGREGATES: &[(&str, &str, Option<&str>, Option<&str>)] = &[
    ("SUM", "sum", Some("$summand"), None),
    ("MIN", "min", None, None),
    ("MAX", "max", None, None),
    ("ANY_VALUE", "first_value", None, None),
    ("MEDIAN", "median", Some("$median"), None),
    ("STDDEV", "stddev", Some("$float"), None),
    ("STDDEV_POP", "stddev_pop", Some("$float"), None),
    ("VARIANCE", "var", Some("$float"), None),
    ("VARIANCE_POP", "var_pop", Some("$float"), None),
    ("CORR", "corr", Some("$float"), None),
    ("COVAR_POP", "covar_pop", Some("$float"), None),
    ("COVAR_SAMP", "covar_samp", Some("$float"), None),
    ("BOOLAND_AGG", "bool_and", None, None),
    ("BOOLOR_AGG", "bool_or", None, None),
];

/// Window functions: Snowflake's name, DataFusion's name, and the type that the result is cast to,
/// if any. Ranks have the type of counts.
const WINDOWS: &[(&str, &str, Option<&str>)] = &[
    ("ROW_NUMBER", "row_number", Some(COUNT_TYPE)),
    ("RANK", "rank", Some(COUNT_TYPE)),
    ("DENSE_RANK", "dense_rank", Some(COUNT_TYPE)),
    ("NTILE", "ntile", Some(COUNT_TYPE)),
    ("PERCENT_RANK", "percent_rank", None),
    ("CUME_DIST", "cume_dist", None),
    ("LAG", "lag", None),
    ("LEAD", "lead", None),
    ("FIRST_VALUE", "first_value", None),
    ("LAST_VALUE", "last_value", None),
    ("NTH_VALUE", "nth_value", None),
];

/// Returns whether a function is an aggregate. GROUP BY ALL does not group by columns with one.
pub fn is_aggregate(name: &str) -> bool {
    const OTHERS: &[&str] = &[
        "COUNT",
        "COUNT_IF",
        "COUNT_DISTINCT",
        "AVG",
        "LISTAGG",
        "MAX_BY",
        "MIN_BY",
        "ARRAY_AGG",
    ];
    let name = synonym(name);
    OTHERS.contains(&name) || AGGREGATES.iter().any(|(known, ..)| *known == name)
}

/// Returns the names of functions that queries may call, in no particular order.
pub fn function_names() -> Vec<&'static str> {
    let scalar = FUNCTIONS.keys().copied();
    let scalar = scalar.filter(|name| !name.starts_with('$'));
    let aggregates = AGGREGATES.iter().map(|one| one.0);
    let windows = WINDOWS.iter().map(|one| one.0);
    let synonyms = SYNONYMS.iter().map(|one| one.0);
    let all = scalar.chain(aggregates).chain(windows).chain(synonyms);
    all.chain(["COUNT", "AVG", "LISTAGG", "MAX_BY", "MIN_BY", "COUNT_IF"])
        .collect()
}

fn synonym(name: &str) -> &str {
    let found = SYNONYMS.iter().find(|(other, _)| *other == name);
    found.map_or(name, |(_, name)| *name)
}

/// Rewrites a call whose arguments have been rewritten.
///
/// # Errors
/// If the call has clauses or arguments that the function does not take.
pub fn rewrite(function: Function) -> SqlResult<Rewritten> {
    let mut call = Call::take(function)?;
    call.name = synonym(&call.name).to_owned();
    for (name, place) in PART_ARGUMENTS {
        if call.name == *name
            && let Some(Expr::Identifier(Ident { value, .. })) = call.arguments.get(*place)
        {
            call.arguments[*place] = string(value.clone());
        }
    }
    if let Some((_, inner, convert, _)) = AGGREGATES.iter().find(|one| one.0 == call.name) {
        return call.aggregate(inner, *convert).map(Rewritten::Expr);
    }
    if let Some((_, inner, ty)) = WINDOWS.iter().find(|one| one.0 == call.name) {
        return call.window(inner, *ty).map(Rewritten::Expr);
    }
    if let Some(rewritten) = call.counted()? {
        return Ok(Rewritten::Expr(rewritten));
    }
    call.refuse_clauses()?;
    if let Some(rewritten) = call.conditional()? {
        return Ok(Rewritten::Expr(rewritten));
    }
    // TRUNC truncates numbers; with a date part it truncates dates.
    if call.name == "TRUNC" {
        let part = match call.arguments.get(1) {
            Some(Expr::Value(value)) => match &value.value {
                Value::SingleQuotedString(text) => Some(text.clone()),
                _ => None,
            },
            Some(Expr::Identifier(ident)) => Some(ident.value.clone()),
            _ => None,
        };
        call.name = "TRUNCATE".to_owned();
        if let Some(part) = part {
            call.name = "DATE_TRUNC".to_owned();
            call.arguments.swap(0, 1);
            call.arguments[0] = string(part);
        }
    }
    if FUNCTIONS.contains_key(call.name.as_str()) && !call.name.starts_with('$') {
        Ok(Rewritten::Expr(self::call(&call.name, call.arguments)))
    } else {
        Ok(Rewritten::Unknown(call))
    }
}

impl Call {
    fn take(function: Function) -> SqlResult<Self> {
        let Function {
            name,
            uses_odbc_syntax: _,
            parameters,
            args,
            filter,
            null_treatment,
            over,
            within_group,
        } = function;
        let name = name.to_string().trim_matches('"').to_owned();
        let refuse = |what: &str| SqlError::unsupported(format_args!("{what} in a call of {name}"));
        if parameters != FunctionArguments::None {
            return Err(refuse("parameters"));
        }
        if filter.is_some() {
            return Err(refuse("FILTER"));
        }
        let mut call = Self {
            name: name.clone(),
            arguments: Vec::new(),
            is_star: false,
            distinct: false,
            over,
            within_group,
            nulls: null_treatment,
        };
        let list = match args {
            FunctionArguments::None => return Ok(call),
            FunctionArguments::Subquery(_) => return Err(refuse("a query as the argument")),
            FunctionArguments::List(list) => list,
        };
        call.distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        for clause in list.clauses {
            match clause {
                FunctionArgumentClause::IgnoreOrRespectNulls(nulls) => call.nulls = Some(nulls),
                _ => return Err(refuse("a clause among the arguments")),
            }
        }
        for argument in list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => call.arguments.push(expr),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "COUNT" => {
                    call.is_star = true;
                }
                FunctionArg::Unnamed(_) => return Err(refuse("*")),
                FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
                    return Err(refuse("a named argument"));
                }
            }
        }
        Ok(call)
    }

    /// Refuses the clauses that a scalar function does not take, such as OVER and DISTINCT.
    fn refuse_clauses(&self) -> SqlResult<()> {
        let clause = match self {
            _ if self.over.is_some() => "OVER",
            _ if self.distinct => "DISTINCT",
            _ if !self.within_group.is_empty() => "WITHIN GROUP",
            _ if self.nulls.is_some() => "IGNORE NULLS",
            _ => return Ok(()),
        };
        Err(SqlError::unsupported(format_args!(
            "{clause} in a call of {}",
            self.name
        )))
    }

    fn wants(&self, count: std::ops::RangeInclusive<usize>) -> SqlResult<()> {
        if count.contains(&self.arguments.len()) {
            return Ok(());
        }
        let (word, expected) = if self.arguments.len() < *count.start() {
            ("not enough", count.start())
        } else {
            ("too many", count.end())
        };
        let text = format!(
            "error line 0 at position -1\n{word} arguments for function [{}], expected {expected}, got {}",
            self.name,
            self.arguments.len()
        );
        Err(SqlError::compilation(code::ARGUMENT_COUNT, text))
    }

    /// Builds a call of DataFusion's function with these arguments, and with the DISTINCT, OVER and
    /// IGNORE NULLS of this call.
    fn inner(&self, name: &str, arguments: Vec<Expr>) -> Function {
        let mut inner = function(name, arguments.into_iter().map(argument).collect());
        if let FunctionArguments::List(list) = &mut inner.args
            && self.distinct
        {
            list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
        }
        inner.over.clone_from(&self.over);
        inner.null_treatment = self.nulls;
        inner
    }

    fn aggregate(self, inner: &str, convert: Option<&str>) -> SqlResult<Expr> {
        let most = if ["corr", "covar_pop", "covar_samp"].contains(&inner) {
            2
        } else {
            1
        };
        self.wants(most..=most)?;
        if !self.within_group.is_empty() {
            return Err(SqlError::unsupported(format_args!(
                "WITHIN GROUP in {}",
                self.name
            )));
        }
        let arguments = self.arguments.iter().cloned().map(|one| match convert {
            Some(convert) => call(convert, vec![one]),
            None => one,
        });
        let arguments = arguments.collect();
        Ok(Expr::Function(self.inner(inner, arguments)))
    }

    fn window(mut self, inner: &str, ty: Option<&str>) -> SqlResult<Expr> {
        let Some(over) = &mut self.over else {
            let text = format!("Missing OVER clause of the window function {}", self.name);
            return Err(SqlError::compilation(code::INVALID_WINDOW, text));
        };
        // FIRST_VALUE, LAST_VALUE and NTH_VALUE see the whole partition unless a frame is given.
        if inner.ends_with("_value")
            && let WindowType::WindowSpec(spec) = over
            && spec.window_frame.is_none()
        {
            spec.window_frame = Some(WindowFrame {
                units: WindowFrameUnits::Rows,
                start_bound: WindowFrameBound::Preceding(None),
                end_bound: Some(WindowFrameBound::Following(None)),
            });
        }
        let arguments = std::mem::take(&mut self.arguments);
        let inner = Expr::Function(self.inner(inner, arguments));
        Ok(match ty {
            Some(ty) => cast(inner, ty),
            None => inner,
        })
    }

    /// Rewrites COUNT and the aggregates that are computed from others, such as AVG.
    fn counted(&mut self) -> SqlResult<Option<Expr>> {
        let arguments = self.arguments.clone();
        let first = || arguments.first().cloned().unwrap_or_else(null);
        let rewritten = match self.name.as_str() {
            "COUNT" if self.is_star => cast(
                Expr::Function(self.inner("count", vec![integer(1)])),
                COUNT_TYPE,
            ),
            "COUNT" => {
                self.wants(1..=1)?;
                cast(Expr::Function(self.inner("count", arguments)), COUNT_TYPE)
            }
            "COUNT_DISTINCT" => {
                self.wants(1..=1)?;
                self.distinct = true;
                cast(Expr::Function(self.inner("count", arguments)), COUNT_TYPE)
            }
            "COUNT_IF" => {
                self.wants(1..=1)?;
                let one = case(vec![(first(), integer(1))], null());
                cast(Expr::Function(self.inner("count", vec![one])), COUNT_TYPE)
            }
            "AVG" => {
                self.wants(1..=1)?;
                let summand = call("$summand", vec![first()]);
                let sum = self.inner("sum", vec![summand.clone()]);
                let count = self.inner("count", vec![summand]);
                call("$average", vec![Expr::Function(sum), Expr::Function(count)])
            }
            "RATIO_TO_REPORT" => {
                self.wants(1..=1)?;
                let sum = self.inner("sum", vec![call("$summand", vec![first()])]);
                call("/", vec![first(), Expr::Function(sum)])
            }
            "MAX_BY" | "MIN_BY" => {
                self.wants(2..=2)?;
                let mut inner = self.inner("first_value", vec![first()]);
                let by = arguments[1].clone();
                let order = order_by(by.clone(), self.name == "MIN_BY");
                if let FunctionArguments::List(list) = &mut inner.args {
                    list.clauses
                        .push(FunctionArgumentClause::OrderBy(vec![order]));
                }
                inner.filter = Some(Box::new(Expr::IsNotNull(Box::new(by))));
                Expr::Function(inner)
            }
            "LISTAGG" => {
                self.wants(1..=2)?;
                let gap = arguments.get(1).cloned().unwrap_or_else(|| string(""));
                let text = cast(first(), "VARCHAR");
                let order = std::mem::take(&mut self.within_group);
                let mut inner = self.inner("string_agg", vec![text.clone(), gap]);
                if let FunctionArguments::List(list) = &mut inner.args {
                    // With DISTINCT, the ORDER BY must be on exactly the aggregate's argument.
                    let order = order.into_iter().map(|mut one| {
                        if self.distinct && one.expr == first() {
                            one.expr = text.clone();
                        }
                        one
                    });
                    let order: Vec<OrderByExpr> = order.collect();
                    if !order.is_empty() {
                        list.clauses.push(FunctionArgumentClause::OrderBy(order));
                    }
                }
                call("coalesce", vec![Expr::Function(inner), string("")])
            }
            _ => return Ok(None),
        };
        if !self.within_group.is_empty() {
            return Err(SqlError::unsupported(format_args!(
                "WITHIN GROUP in {}",
                self.name
            )));
        }
        Ok(Some(rewritten))
    }

    /// Rewrites the conditional functions to CASE or `coalesce`.
    fn conditional(&mut self) -> SqlResult<Option<Expr>> {
        let equal = |a: &Expr, b: &Expr| Expr::IsNotDistinctFrom(nested(a), nested(b));
        let is_null = |a: &Expr| Expr::IsNull(nested(a));
        let a = self.arguments.clone();
        Ok(Some(match self.name.as_str() {
            "IFF" => {
                self.wants(3..=3)?;
                case(vec![(a[0].clone(), a[1].clone())], a[2].clone())
            }
            "NVL" => {
                self.wants(1..=usize::MAX)?;
                call("coalesce", a)
            }
            "NVL2" => {
                self.wants(3..=3)?;
                case(vec![(is_null(&a[0]), a[2].clone())], a[1].clone())
            }
            "ZEROIFNULL" => {
                self.wants(1..=1)?;
                call("coalesce", vec![a[0].clone(), integer(0)])
            }
            "NULLIF" | "NULLIFZERO" => {
                let count = if self.name == "NULLIF" { 2 } else { 1 };
                self.wants(count..=count)?;
                let other = a.get(1).cloned().unwrap_or_else(|| integer(0));
                let same = binary(a[0].clone(), BinaryOperator::Eq, other);
                case(vec![(same, null())], a[0].clone())
            }
            "EQUAL_NULL" => {
                self.wants(2..=2)?;
                equal(&a[0], &a[1])
            }
            "DECODE" => {
                self.wants(3..=usize::MAX)?;
                let (pairs, rest) = a[1..].as_chunks::<2>();
                let branches = pairs
                    .iter()
                    .map(|[value, result]| (equal(&a[0], value), result.clone()));
                let otherwise = rest.first().cloned().unwrap_or_else(null);
                case(branches.collect(), otherwise)
            }
            "GREATEST" | "LEAST" => {
                self.wants(1..=usize::MAX)?;
                let op = match self.name.as_str() {
                    "GREATEST" => BinaryOperator::GtEq,
                    _ => BinaryOperator::LtEq,
                };
                let mut branches =
                    vec![(super::build::any(a.iter().map(is_null).collect()), null())];
                for (at, one) in a.iter().enumerate().take(a.len() - 1) {
                    let others = a[at + 1..].iter();
                    let wins = others.map(|other| binary(one.clone(), op.clone(), other.clone()));
                    branches.push((all(wins.collect()), one.clone()));
                }
                // If no earlier argument won against all those after it, the last argument wins.
                case(branches, a[a.len() - 1].clone())
            }
            _ => return Ok(None),
        }))
    }
}

fn nested(expr: &Expr) -> Box<Expr> {
    Box::new(Expr::Nested(Box::new(expr.clone())))
}

fn order_by(expr: Expr, ascending: bool) -> OrderByExpr {
    use datafusion::sql::sqlparser::ast::OrderByOptions;
    OrderByExpr {
        expr,
        options: OrderByOptions {
            asc: Some(ascending),
            nulls_first: Some(false),
        },
        with_fill: None,
    }
}
