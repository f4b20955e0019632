//! Queries with a recursive part, which DataFusion 53 needs help with.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;

/// Whether a plan has a recursive query.
pub(super) fn is_recursive(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::RecursiveQuery(_));
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

/// Without two optimisations of DataFusion 53 that give wrong answers where a plan has a recursive query:
///
/// - A dynamic filter is not reset when the recursive term runs again: an aggregate in it finds every row to be no
///   better than what it saw the time before, and sees none.
/// - Columns that only the recursion reads are pruned from one side of it, so that it reads others in their place.
pub(super) fn without_recursion_bugs(state: &SessionState) -> SessionState {
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
