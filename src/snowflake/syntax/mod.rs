//! Reading statements: sqlparser's tokenizer, and a cursor over its tokens that every statement's own parser uses.

mod cursor;
mod data_type;
mod split;

pub use cursor::{Cursor, ident_of, name};
pub use data_type::data_type;
pub use split::{Statement, is_complete, pass_statement, split};
