//! Reading of statements: a cursor over the tokens of sqlparser's tokenizer, which the parser of
//! every statement uses.

mod cursor;
mod data_type;
mod split;

pub use cursor::{Cursor, ident_of, name};
pub use data_type::data_type;
pub use split::{Statement, is_complete, pass_statement, split};
