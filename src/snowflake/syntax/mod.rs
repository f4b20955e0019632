//! Reading statements: sqlparser's tokenizer, and a cursor over its tokens that every statement's own parser uses.

mod cursor;
mod split;

pub use cursor::Cursor;
pub use split::{Statement, split};
