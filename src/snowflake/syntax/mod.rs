//! Reading statements: sqlparser's tokenizer, and a cursor over its tokens that every statement's own parser uses.

mod cursor;
mod split;

pub use cursor::{Cursor, ident_of};
pub use split::{Statement, pass_statement, split};
