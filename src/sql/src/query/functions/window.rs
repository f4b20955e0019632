//! Window functions. DataFusion computes them.

use datafusion::sql::sqlparser::ast::{
    Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowType,
};

use super::aggregate::COUNT_TYPE;
use super::{Arity, Function, Kind, ParsedCall};
use crate::error::{SqlError, SqlResult, code};
use crate::query::syntax_tree::{call, cast};

pub const FUNCTIONS: &[Function] = &[
    window("ROW_NUMBER", (0, 0), Window::Rank("row_number")),
    window("RANK", (0, 0), Window::Rank("rank")),
    window("DENSE_RANK", (0, 0), Window::Rank("dense_rank")),
    window("NTILE", (1, 1), Window::Rank("ntile")),
    window("PERCENT_RANK", (0, 0), Window::Plain("percent_rank")),
    window("CUME_DIST", (0, 0), Window::Plain("cume_dist")),
    window("LAG", (1, 3), Window::Plain("lag")),
    window("LEAD", (1, 3), Window::Plain("lead")),
    window("FIRST_VALUE", (1, 1), Window::OfPartition("first_value")),
    window("LAST_VALUE", (1, 1), Window::OfPartition("last_value")),
    window("NTH_VALUE", (2, 2), Window::OfPartition("nth_value")),
    window(
        "RATIO_TO_REPORT",
        (1, 1),
        Window::Composite(ratio_to_report),
    ),
];

/// How a window function is computed.
pub enum Window {
    /// By DataFusion's function of this name.
    Plain(&'static str),
    /// By DataFusion's function of this name, whose result gets the type of counts.
    Rank(&'static str),
    /// By DataFusion's function of this name, over the whole partition unless a frame is given.
    OfPartition(&'static str),
    /// By an expression of other functions.
    Composite(fn(&ParsedCall) -> Expr),
}

const fn window(name: &'static str, arity: Arity, window: Window) -> Function {
    Function::new(name, arity, Kind::Window(window))
}

impl Window {
    /// Builds the expression that computes a call. The number of arguments has been checked.
    ///
    /// # Errors
    /// If OVER is missing.
    pub fn expression(&self, call: &mut ParsedCall) -> SqlResult<Expr> {
        Ok(match self {
            Self::Plain(name) => datafusion_window(name, call)?,
            Self::Rank(name) => cast(datafusion_window(name, call)?, COUNT_TYPE),
            Self::OfPartition(name) => {
                if let Some(WindowType::WindowSpec(spec)) = &mut call.over {
                    spec.window_frame.get_or_insert(WHOLE_PARTITION);
                }
                datafusion_window(name, call)?
            }
            Self::Composite(build) => build(call),
        })
    }
}

const WHOLE_PARTITION: WindowFrame = WindowFrame {
    units: WindowFrameUnits::Rows,
    start_bound: WindowFrameBound::Preceding(None),
    end_bound: Some(WindowFrameBound::Following(None)),
};

fn datafusion_window(name: &str, call: &ParsedCall) -> SqlResult<Expr> {
    if call.over.is_none() {
        let text = format!("Missing OVER clause of the window function {}", call.name);
        return Err(SqlError::compilation(code::INVALID_WINDOW, text));
    }
    let inner = call.datafusion_call(name, call.arguments.clone());
    Ok(Expr::Function(inner))
}

fn ratio_to_report(call: &ParsedCall) -> Expr {
    let value = call.arguments[0].clone();
    let summand = self::call("$summand", vec![value.clone()]);
    let sum = call.datafusion_call("sum", vec![summand]);
    self::call("/", vec![value, Expr::Function(sum)])
}
