//! Recursive queries, for which some optimizations of DataFusion 53 are disabled.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;

/// Returns whether a plan has a recursive query.
pub fn is_recursive(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::RecursiveQuery(_));
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(found)
}

/// Disables two optimizations of DataFusion 53 that give wrong results if a plan has a recursive
/// query:
///
/// - A dynamic filter is not reset when the recursive term runs again. An aggregate in that term
///   then finds no row better than those of the previous iteration, and sees no rows.
/// - Columns that only the recursion reads are pruned from one side of it, so that it reads other
///   columns in their place.
pub fn without_recursion_bugs(state: &SessionState) -> SessionState {
    let rules = state.optimizer().rules.iter();
    let rules = rules.filter(|rule| rule.name() != "optimize_projections");
    let mut state = SessionStateBuilder::new_from_existing(state.clone())
        .with_optimizer_rules(rules.cloned().collect())
        .build();
    let optimizer = &mut state.config_mut().options_mut().optimizer;
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    optimizer.enable_join_dynamic_filter_pushdown = false;
    optimizer.enable_topk_dynamic_filter_pushdown = false;
    state
}
