//! The check of a body before it runs. It finds references to undeclared names, names declared
//! twice, and labels that no loop has.

use std::collections::{HashMap, HashSet};

use super::ast::{
    Block, Catch, Control, Declaration, Declared, Handler, Kind, Loop, Operand, Query, Reference,
    Return, Rows, Statement,
};
use super::expression::Expression;
use super::template::{Template, VariableRef};
use crate::exception::compilation;
use icebox_sql::error::{Position, SqlError, SqlResult};
use icebox_sql::names::Ident;

/// The built-in variables, some of which exist in handlers only.
pub const BUILT_IN: [&str; 6] = [
    "SQLCODE",
    "SQLERRM",
    "SQLSTATE",
    "SQLROWCOUNT",
    "SQLFOUND",
    "SQLNOTFOUND",
];

/// Checks a body whose arguments have these names.
pub fn check(body: &Block, arguments: impl IntoIterator<Item = Ident>) -> SqlResult<()> {
    let mut checker = Checker::default();
    let arguments = arguments.into_iter().map(|name| (name, What::Value));
    checker.scopes.push(arguments.collect());
    checker.exceptions.push(HashSet::new());
    checker.inside_block(body)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Value,
    Row,
    Cursor,
    ResultSet,
}

struct Label {
    name: Option<Ident>,
    is_loop: bool,
}

#[derive(Default)]
struct Checker {
    scopes: Vec<HashMap<Ident, What>>,
    exceptions: Vec<HashSet<Ident>>,
    labels: Vec<Label>,
    /// The number of enclosing handlers.
    handlers: usize,
}

impl Checker {
    fn block(&mut self, block: &Block) -> SqlResult<()> {
        self.scoped(|checker| checker.inside_block(block))
    }

    fn inside_block(&mut self, block: &Block) -> SqlResult<()> {
        for declaration in &block.declarations {
            self.declaration(declaration)?;
        }
        self.labels.push(Label {
            name: block.label.clone(),
            is_loop: false,
        });
        let declared = self.scopes.last().cloned().unwrap_or_default();
        for statement in &block.body {
            self.statement(statement)?;
        }
        let labels = std::mem::take(&mut self.labels);
        for handler in &block.handlers {
            self.handler(handler, &declared)?;
        }
        self.labels = labels;
        self.labels.pop();
        Ok(())
    }

    /// Checks a handler. An EXIT handler sees the names that DECLARE introduces, but not those of
    /// LET. A CONTINUE handler sees all names of the block, as in the documentation's example of
    /// one.
    fn handler(&mut self, handler: &Handler, declared: &HashMap<Ident, What>) -> SqlResult<()> {
        for catch in &handler.catches {
            if let Catch::Exception(reference) = catch {
                self.exception(reference)?;
            }
        }
        let whole = self.scopes.last().cloned().unwrap_or_default();
        if !handler.is_continue
            && let Some(scope) = self.scopes.last_mut()
        {
            scope.clone_from(declared);
        }
        self.handlers += 1;
        self.statements(&handler.body)?;
        self.handlers -= 1;
        if let Some(scope) = self.scopes.last_mut() {
            *scope = whole;
        }
        Ok(())
    }

    fn scoped(&mut self, inside: impl FnOnce(&mut Self) -> SqlResult<()>) -> SqlResult<()> {
        self.scopes.push(HashMap::new());
        self.exceptions.push(HashSet::new());
        inside(self)?;
        self.scopes.pop();
        self.exceptions.pop();
        Ok(())
    }

    fn statements(&mut self, statements: &[Statement]) -> SqlResult<()> {
        self.scoped(|checker| {
            let mut statements = statements.iter();
            statements.try_for_each(|statement| checker.statement(statement))
        })
    }

    fn statement(&mut self, statement: &Statement) -> SqlResult<()> {
        match &statement.kind {
            Kind::Let(declaration) => self.declaration(declaration),
            Kind::Assign { target, value } => {
                self.expect(target, &[What::Value, What::ResultSet])?;
                self.operand(value)
            }
            Kind::If {
                branches,
                otherwise,
            } => self.branches(None, branches, otherwise),
            Kind::Case {
                subject,
                branches,
                otherwise,
            } => self.branches(subject.as_ref(), branches, otherwise),
            Kind::Loop(it) => self.each(it),
            Kind::Block(block) => self.block(block),
            Kind::Break(label) => self.jump("BREAK", label.as_ref(), statement.position),
            Kind::Continue(label) => self.jump("CONTINUE", label.as_ref(), statement.position),
            Kind::Open { cursor, using } => {
                self.expect(cursor, &[What::Cursor])?;
                self.readable(using)
            }
            Kind::Fetch { cursor, into } => {
                self.expect(cursor, &[What::Cursor])?;
                self.targets(into)
            }
            Kind::Close(cursor) => self.expect(cursor, &[What::Cursor]),
            Kind::Raise(Some(exception)) => self.exception(exception),
            Kind::Raise(None) if self.handlers == 0 => {
                let text = "RAISE without an exception is possible only in an exception handler.";
                Err(compilation(statement.position, text))
            }
            Kind::Raise(None) | Kind::Null | Kind::Return(Return::Nothing) => Ok(()),
            Kind::Return(Return::Value(value)) => self.operand(value),
            Kind::Return(Return::ResultSet(name)) => self.expect(name, &[What::ResultSet]),
            Kind::Return(Return::Cursor(name)) => self.expect(name, &[What::Cursor]),
            Kind::Query { query, into } => {
                self.query(query)?;
                self.targets(into)
            }
        }
    }

    fn branches(
        &mut self,
        subject: Option<&Expression>,
        branches: &[(Expression, Vec<Statement>)],
        otherwise: &[Statement],
    ) -> SqlResult<()> {
        if let Some(subject) = subject {
            self.template(&subject.template)?;
        }
        for (condition, body) in branches {
            self.template(&condition.template)?;
            self.statements(body)?;
        }
        self.statements(otherwise)
    }

    fn each(&mut self, it: &Loop) -> SqlResult<()> {
        let variable = match &it.control {
            Control::Forever => None,
            Control::While(condition) | Control::Until(condition) => {
                self.template(&condition.template)?;
                None
            }
            Control::Range {
                variable,
                start,
                end,
                ..
            } => {
                self.template(&start.template)?;
                self.template(&end.template)?;
                Some((variable.clone(), What::Value))
            }
            Control::Rows { row, source } => {
                self.expect(source, &[What::Cursor, What::ResultSet])?;
                Some((row.clone(), What::Row))
            }
        };
        self.labels.push(Label {
            name: it.label.clone(),
            is_loop: true,
        });
        self.scoped(|checker| {
            if let (Some(scope), Some((name, what))) = (checker.scopes.last_mut(), variable) {
                scope.insert(name, what);
            }
            checker.statements(&it.body)
        })?;
        self.labels.pop();
        Ok(())
    }

    fn jump(&self, word: &str, label: Option<&Reference>, position: Position) -> SqlResult<()> {
        let is_continue = word == "CONTINUE";
        let fits = |known: &Label| known.is_loop || !is_continue;
        match label {
            Some(label) => {
                let mut known = self.labels.iter();
                if known.any(|known| known.name.as_ref() == Some(&label.name) && fits(known)) {
                    Ok(())
                } else {
                    Err(invalid(label))
                }
            }
            None if self.labels.iter().any(|known| known.is_loop) => Ok(()),
            None => {
                let text = format!("{word} is possible only in a loop.");
                Err(compilation(position, text))
            }
        }
    }

    fn declaration(&mut self, declaration: &Declaration) -> SqlResult<()> {
        let Declaration {
            name,
            position,
            kind,
        } = declaration;
        let what = match kind {
            Declared::Exception(_) => {
                if let Some(known) = self.exceptions.last_mut()
                    && !known.insert(name.clone())
                {
                    return Err(declared_twice(name, *position));
                }
                return Ok(());
            }
            Declared::Cursor(_) => What::Cursor,
            Declared::ResultSet(_) => What::ResultSet,
            Declared::Variable { .. } => What::Value,
        };
        if self
            .scopes
            .last()
            .is_some_and(|scope| scope.contains_key(name))
        {
            return Err(declared_twice(name, *position));
        }
        match kind {
            Declared::Cursor(Rows::Query(query)) => self.template(query)?,
            Declared::Cursor(Rows::ResultSet(name)) => self.expect(name, &[What::ResultSet])?,
            Declared::ResultSet(Some(query)) => self.query(query)?,
            Declared::Variable {
                ty,
                initial: Some(initial),
            } => {
                self.operand(initial)?;
                let mut places = initial.expression.template.variables.iter();
                if ty.is_none() && places.any(|place| self.is_untyped(place)) {
                    let text = format!(
                        " variable '{}' cannot have its type inferred from initializer",
                        name.as_str()
                    );
                    return Err(compilation(*position, text));
                }
            }
            _ => {}
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.clone(), what);
        }
        Ok(())
    }

    /// Returns whether a place is a column of a row without a cast. The type of such a column is
    /// known only when the cursor is open.
    fn is_untyped(&self, place: &VariableRef) -> bool {
        place.column.is_some() && !place.is_cast && self.find(&place.name) == Some(What::Row)
    }

    fn operand(&self, operand: &Operand) -> SqlResult<()> {
        match &operand.query {
            Some(query) => self.query(query),
            None => self.template(&operand.expression.template),
        }
    }

    fn query(&self, query: &Query) -> SqlResult<()> {
        match query {
            Query::Sql(template) => self.template(template),
            Query::Immediate { text, using, .. } => {
                self.template(&text.template)?;
                self.readable(using)
            }
        }
    }

    fn template(&self, template: &Template) -> SqlResult<()> {
        let mut binds = template.variables.iter().filter(|place| place.is_bind);
        binds.try_for_each(|place| {
            let expected = match place.column {
                Some(_) => What::Row,
                None => What::Value,
            };
            let is_built_in = place.column.is_none() && is_built_in(&place.name);
            if self.find(&place.name) == Some(expected) || is_built_in {
                Ok(())
            } else {
                Err(SqlError::invalid_identifier(
                    &place.written,
                    Some(place.position),
                ))
            }
        })
    }

    fn readable(&self, references: &[Reference]) -> SqlResult<()> {
        references.iter().try_for_each(|reference| {
            if is_built_in(&reference.name) {
                Ok(())
            } else {
                self.expect(reference, &[What::Value])
            }
        })
    }

    fn targets(&self, references: &[Reference]) -> SqlResult<()> {
        let mut references = references.iter();
        references.try_for_each(|reference| self.expect(reference, &[What::Value]))
    }

    fn expect(&self, reference: &Reference, whats: &[What]) -> SqlResult<()> {
        match self.find(&reference.name) {
            Some(what) if whats.contains(&what) => Ok(()),
            _ => Err(invalid(reference)),
        }
    }

    fn exception(&self, reference: &Reference) -> SqlResult<()> {
        let mut scopes = self.exceptions.iter();
        if scopes.any(|scope| scope.contains(&reference.name)) {
            Ok(())
        } else {
            Err(invalid(reference))
        }
    }

    fn find(&self, name: &Ident) -> Option<What> {
        let mut scopes = self.scopes.iter().rev();
        scopes.find_map(|scope| scope.get(name)).copied()
    }
}

fn is_built_in(name: &Ident) -> bool {
    BUILT_IN.contains(&name.as_str())
}

fn invalid(reference: &Reference) -> SqlError {
    SqlError::invalid_identifier(&reference.shown, Some(reference.position))
}

/// Returns the error for a name that is declared twice in one scope.
pub fn declared_twice(name: &Ident, position: Position) -> SqlError {
    let text = format!(" Variable with name '{}' declared twice.", name.as_str());
    compilation(position, text)
}
