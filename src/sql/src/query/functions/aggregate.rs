//! Aggregates. DataFusion computes them, on arguments of Snowflake's types.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArgumentClause, FunctionArguments, OrderByExpr, OrderByOptions,
};

use super::{Function, Kind, ParsedCall};
use crate::query::syntax_tree::{call, case, cast, integer, null, string};

pub const FUNCTIONS: &[Function] = &[
    aggregate("COUNT", (1, 1), Aggregate::Composite(count)),
    aggregate("COUNT_IF", (1, 1), Aggregate::Composite(count_if)),
    aggregate(
        "APPROX_COUNT_DISTINCT",
        (1, 1),
        Aggregate::Composite(count_distinct),
    )
    .with_synonyms(&["COUNT_DISTINCT", "HLL"]),
    aggregate("SUM", (1, 1), Aggregate::Converted("sum", "$summand")),
    aggregate("AVG", (1, 1), Aggregate::Composite(average)),
    aggregate("MIN", (1, 1), Aggregate::Plain("min")),
    aggregate("MAX", (1, 1), Aggregate::Plain("max")),
    aggregate("MIN_BY", (2, 2), Aggregate::Composite(min_by)),
    aggregate("MAX_BY", (2, 2), Aggregate::Composite(max_by)),
    aggregate("ANY_VALUE", (1, 1), Aggregate::Plain("first_value")),
    aggregate("MEDIAN", (1, 1), Aggregate::Converted("median", "$median")),
    aggregate("STDDEV", (1, 1), Aggregate::Converted("stddev", "$float"))
        .with_synonyms(&["STDDEV_SAMP"]),
    aggregate(
        "STDDEV_POP",
        (1, 1),
        Aggregate::Converted("stddev_pop", "$float"),
    ),
    aggregate("VARIANCE", (1, 1), Aggregate::Converted("var", "$float"))
        .with_synonyms(&["VAR_SAMP", "VARIANCE_SAMP"]),
    aggregate(
        "VARIANCE_POP",
        (1, 1),
        Aggregate::Converted("var_pop", "$float"),
    )
    .with_synonyms(&["VAR_POP"]),
    aggregate("CORR", (2, 2), Aggregate::Converted("corr", "$float")),
    aggregate(
        "COVAR_POP",
        (2, 2),
        Aggregate::Converted("covar_pop", "$float"),
    ),
    aggregate(
        "COVAR_SAMP",
        (2, 2),
        Aggregate::Converted("covar_samp", "$float"),
    ),
    aggregate("BOOLAND_AGG", (1, 1), Aggregate::Plain("bool_and")),
    aggregate("BOOLOR_AGG", (1, 1), Aggregate::Plain("bool_or")),
    aggregate("LISTAGG", (1, 2), Aggregate::Composite(listagg)).with_synonyms(&["STRING_AGG"]),
];

/// How an aggregate is computed.
pub enum Aggregate {
    /// By DataFusion's aggregate of this name.
    Plain(&'static str),
    /// By DataFusion's aggregate of the first name, with each argument converted by the internal
    /// function of the second name.
    Converted(&'static str, &'static str),
    /// By an expression of other aggregates and functions. WITHIN GROUP is refused where it is not
    /// taken from the call.
    Composite(fn(&mut ParsedCall) -> Expr),
}

/// The type of counts and ranks.
pub const COUNT_TYPE: &str = "NUMBER(18,0)";

const fn aggregate(name: &'static str, arity: super::Arity, aggregate: Aggregate) -> Function {
    Function::new(name, arity, Kind::Aggregate(aggregate))
}

impl Aggregate {
    /// Builds the expression that computes a call. The number of arguments has been checked.
    pub fn expression(&self, call: &mut ParsedCall) -> Expr {
        match self {
            Self::Plain(name) => Expr::Function(call.datafusion_call(name, call.arguments.clone())),
            Self::Converted(name, convert) => {
                let arguments = call.arguments.iter().cloned();
                let converted = arguments.map(|argument| self::call(convert, vec![argument]));
                Expr::Function(call.datafusion_call(name, converted.collect()))
            }
            Self::Composite(build) => build(call),
        }
    }
}

/// Builds a count of the rows in which an expression is not NULL.
fn count_of(call: &ParsedCall, counted: Expr) -> Expr {
    let count = call.datafusion_call("count", vec![counted]);
    cast(Expr::Function(count), COUNT_TYPE)
}

fn count(call: &mut ParsedCall) -> Expr {
    count_of(call, call.arguments[0].clone())
}

fn count_distinct(call: &mut ParsedCall) -> Expr {
    call.distinct = true;
    count(call)
}

fn count_if(call: &mut ParsedCall) -> Expr {
    let condition = call.arguments[0].clone();
    count_of(call, case(vec![(condition, integer(1))], null()))
}

fn average(call: &mut ParsedCall) -> Expr {
    let summand = self::call("$summand", vec![call.arguments[0].clone()]);
    let sum = call.datafusion_call("sum", vec![summand.clone()]);
    let count = call.datafusion_call("count", vec![summand]);
    self::call("$average", vec![Expr::Function(sum), Expr::Function(count)])
}

fn min_by(call: &mut ParsedCall) -> Expr {
    first_by(call, true)
}

fn max_by(call: &mut ParsedCall) -> Expr {
    first_by(call, false)
}

/// Builds the first value of the first argument in the order of the second.
fn first_by(call: &ParsedCall, ascending: bool) -> Expr {
    let [value, by] = [0, 1].map(|index| call.arguments[index].clone());
    let order = OrderByExpr {
        expr: by.clone(),
        options: OrderByOptions {
            asc: Some(ascending),
            nulls_first: Some(false),
        },
        with_fill: None,
    };
    let mut first = call.datafusion_call("first_value", vec![value]);
    if let FunctionArguments::List(list) = &mut first.args {
        let order = FunctionArgumentClause::OrderBy(vec![order]);
        list.clauses.push(order);
    }
    first.filter = Some(Box::new(Expr::IsNotNull(Box::new(by))));
    Expr::Function(first)
}

fn listagg(call: &mut ParsedCall) -> Expr {
    let value = call.arguments[0].clone();
    let delimiter = call.arguments.get(1).cloned();
    let text = cast(value.clone(), "VARCHAR");
    let mut order = std::mem::take(&mut call.within_group);
    for key in &mut order {
        // With DISTINCT, the ORDER BY must be on exactly the aggregate's argument.
        if call.distinct && key.expr == value {
            key.expr = text.clone();
        }
    }
    let arguments = vec![text, delimiter.unwrap_or_else(|| string(""))];
    let mut joined = call.datafusion_call("string_agg", arguments);
    if let FunctionArguments::List(list) = &mut joined.args
        && !order.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    self::call("coalesce", vec![Expr::Function(joined), string("")])
}
