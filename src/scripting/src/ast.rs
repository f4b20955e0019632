//! The syntax tree of a scripting block.

use std::sync::Arc;

use super::expression::Expression;
use super::template::Template;
use icebox_sql::error::Position;
use icebox_sql::names::Ident;
use icebox_sql::types::DataType;

/// A block: `[DECLARE …] BEGIN … [EXCEPTION …] END [label]`
#[derive(Clone, Debug)]
pub struct Block {
    pub declarations: Vec<Declaration>,
    pub body: Vec<Statement>,
    pub handlers: Vec<Handler>,
    pub label: Option<Ident>,
}

/// The declaration of a name in a block, in DECLARE or with LET.
#[derive(Clone, Debug)]
pub struct Declaration {
    pub name: Ident,
    pub position: Position,
    pub kind: Declared,
}

#[derive(Clone, Debug)]
pub enum Declared {
    /// A variable, with a type, an initial value, or both.
    Variable {
        ty: Option<DataType>,
        initial: Option<Operand>,
    },
    Cursor(Rows),
    ResultSet(Option<Query>),
    Exception(Arc<Exception>),
}

/// The source of a cursor's rows.
#[derive(Clone, Debug)]
pub enum Rows {
    Query(Template),
    ResultSet(Reference),
}

/// The declaration of an exception: `name EXCEPTION (code, 'message')`
#[derive(Clone, Debug)]
pub struct Exception {
    pub name: Ident,
    pub code: i32,
    pub message: Option<String>,
}

/// A reference to a declared name.
#[derive(Clone, Debug)]
pub struct Reference {
    pub name: Ident,
    /// The name as errors show it: as written, if it was written with a colon.
    pub shown: String,
    pub position: Position,
}

#[derive(Clone, Debug)]
pub struct Statement {
    pub position: Position,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Let(Declaration),
    Assign {
        target: Reference,
        value: Operand,
    },
    If {
        branches: Vec<(Expression, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    Case {
        subject: Option<Expression>,
        branches: Vec<(Expression, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    Loop(Loop),
    Block(Block),
    Break(Option<Reference>),
    Continue(Option<Reference>),
    Open {
        cursor: Reference,
        using: Vec<Reference>,
    },
    Fetch {
        cursor: Reference,
        into: Vec<Reference>,
    },
    Close(Reference),
    Raise(Option<Reference>),
    Return(Return),
    Null,
    Query {
        query: Query,
        into: Vec<Reference>,
    },
}

#[derive(Clone, Debug)]
pub struct Loop {
    pub control: Control,
    pub body: Vec<Statement>,
    pub label: Option<Ident>,
}

/// The control of a loop, which decides how often it runs.
#[derive(Clone, Debug)]
pub enum Control {
    Forever,
    While(Expression),
    /// REPEAT: the condition comes after the body, and ends the loop when it is true.
    Until(Expression),
    Range {
        variable: Ident,
        is_reverse: bool,
        start: Box<Expression>,
        end: Box<Expression>,
    },
    Rows {
        row: Ident,
        source: Reference,
    },
}

#[derive(Clone, Debug)]
pub enum Return {
    Nothing,
    Value(Operand),
    ResultSet(Reference),
    Cursor(Reference),
}

/// The operand of an assignment or RETURN: an expression. If it is a query in parentheses, a
/// RESULTSET takes it as a query.
#[derive(Clone, Debug)]
pub struct Operand {
    pub expression: Expression,
    pub query: Option<Query>,
}

/// A statement that the host runs.
#[derive(Clone, Debug)]
pub enum Query {
    Sql(Template),
    /// EXECUTE IMMEDIATE.
    Immediate {
        position: Position,
        text: Box<Expression>,
        using: Vec<Reference>,
    },
}

impl Query {
    pub fn position(&self) -> Position {
        match self {
            Self::Sql(template) => template.position,
            Self::Immediate { position, .. } => *position,
        }
    }
}

/// An exception handler: `WHEN … [EXIT | CONTINUE] THEN …`
#[derive(Clone, Debug)]
pub struct Handler {
    pub catches: Vec<Catch>,
    pub is_continue: bool,
    pub body: Vec<Statement>,
}

#[derive(Clone, Debug)]
pub enum Catch {
    Other,
    StatementError,
    ExpressionError,
    Exception(Reference),
}
