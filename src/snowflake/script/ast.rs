//! What a body consists of.

use std::sync::Arc;

use super::expression::Expression;
use super::template::Template;
use crate::snowflake::error::Position;
use crate::snowflake::names::Ident;
use crate::snowflake::types::DataType;

/// `[DECLARE …] BEGIN … [EXCEPTION …] END [label]`
#[derive(Clone, Debug)]
pub struct Block {
    pub declarations: Vec<Declaration>,
    pub body: Vec<Statement>,
    pub handlers: Vec<Handler>,
    pub label: Option<Ident>,
}

/// A name that a block introduces, in DECLARE or with LET.
#[derive(Clone, Debug)]
pub struct Declaration {
    pub name: Ident,
    pub position: Position,
    pub kind: Declared,
}

#[derive(Clone, Debug)]
pub enum Declared {
    /// At least one of the two is there.
    Variable {
        ty: Option<DataType>,
        initial: Option<Operand>,
    },
    Cursor(Rows),
    ResultSet(Option<Query>),
    Exception(Arc<Exception>),
}

/// What a cursor runs over.
#[derive(Clone, Debug)]
pub enum Rows {
    Query(Template),
    ResultSet(Reference),
}

/// `name EXCEPTION (code, 'message')`
#[derive(Clone, Debug)]
pub struct Exception {
    pub name: Ident,
    pub code: i32,
    pub message: Option<String>,
}

/// A name that refers to something introduced before.
#[derive(Clone, Debug)]
pub struct Reference {
    pub name: Ident,
    /// As an error shows it: as it stood, if it stood with a colon.
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

/// How often a loop runs.
#[derive(Clone, Debug)]
pub enum Control {
    Forever,
    While(Expression),
    /// REPEAT: the condition comes after the body, and ends the loop.
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

/// What is assigned or returned: an expression, which a RESULTSET takes as a query if it is one in brackets.
#[derive(Clone, Debug)]
pub struct Operand {
    pub expression: Expression,
    pub query: Option<Query>,
}

/// A statement that is run by the host.
#[derive(Clone, Debug)]
pub enum Query {
    Sql(Template),
    /// EXECUTE IMMEDIATE
    Immediate {
        position: Position,
        text: Box<Expression>,
        using: Vec<Reference>,
    },
}

impl Query {
    pub fn position(&self) -> Position {
        match self {
            Query::Sql(template) => template.position,
            Query::Immediate { position, .. } => *position,
        }
    }
}

/// `WHEN … [EXIT | CONTINUE] THEN …`
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
