ALTER TASK look_for_transactions SUSPEND;
ALTER TASK look_for_items SUSPEND;
