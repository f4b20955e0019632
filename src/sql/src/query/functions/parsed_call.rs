//! A call of a function as the parser reads it.

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, NullTreatment, OrderByExpr, WindowType,
};

use crate::error::{SqlError, SqlResult};
use crate::query::syntax_tree::{argument, function, integer};

/// A function call, taken apart.
pub struct ParsedCall {
    pub name: String,
    /// The arguments. That of `COUNT(*)` is 1.
    pub arguments: Vec<Expr>,
    pub distinct: bool,
    pub over: Option<WindowType>,
    pub within_group: Vec<OrderByExpr>,
    nulls: Option<NullTreatment>,
}

impl ParsedCall {
    /// Takes a call apart.
    ///
    /// # Errors
    /// If the call has a clause or a form of argument that no function takes.
    pub fn new(function: Function) -> SqlResult<Self> {
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
                    call.arguments.push(integer(1));
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
    ///
    /// # Errors
    /// If the call has such a clause.
    pub fn refuse_clauses(&self) -> SqlResult<()> {
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

    /// Refuses WITHIN GROUP.
    ///
    /// # Errors
    /// If the call has the clause.
    pub fn refuse_within_group(&self) -> SqlResult<()> {
        if self.within_group.is_empty() {
            return Ok(());
        }
        Err(SqlError::unsupported(format_args!(
            "WITHIN GROUP in {}",
            self.name
        )))
    }

    /// Builds a call of DataFusion's function with these arguments, and with the DISTINCT, OVER and
    /// IGNORE NULLS of this call.
    pub fn datafusion_call(&self, name: &str, arguments: Vec<Expr>) -> Function {
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
}
