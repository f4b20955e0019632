//! Marks in the names that the rewriter generates.

/// The first character of the generated names of tables and of calls that the session answers.
pub const GENERATED_PREFIX: char = '#';
/// Separates the name of a column from the suffix that makes it unique in its SELECT list. The
/// suffix is not part of the name that the client sees.
pub const DUPLICATE_SUFFIX: char = '\u{1}';
