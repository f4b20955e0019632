//! Snowflake's format models, for dates and for numbers.

pub mod date;
pub mod number;
