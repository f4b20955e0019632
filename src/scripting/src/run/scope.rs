//! The scopes of a running block: its variables, cursors, result sets and exceptions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ast::{self, Exception};
use crate::value::Value;
use icebox_sql::names::Ident;
use icebox_sql::rows::Rows;

pub enum Slot<'a> {
    Value(Value),
    /// The row of a FOR loop: values by column name.
    Row(BTreeMap<Ident, Value>),
    Cursor(Cursor<'a>),
    ResultSet(Option<Arc<Rows>>),
}

pub struct Cursor<'a> {
    pub source: &'a ast::Rows,
    pub opened: Option<Opened>,
}

/// The rows of an open cursor.
#[derive(Clone)]
pub struct Opened {
    pub rows: Arc<Rows>,
    /// The index of the row that FETCH returns next.
    pub next: usize,
}

#[derive(Default)]
pub struct Scope<'a> {
    slots: HashMap<Ident, Slot<'a>>,
    exceptions: HashMap<Ident, Arc<Exception>>,
}

/// The scopes around a statement, innermost last.
#[derive(Default)]
pub struct Scopes<'a>(Vec<Scope<'a>>);

impl<'a> Scopes<'a> {
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    pub fn open(&mut self) {
        self.0.push(Scope::default());
    }

    /// Closes the scopes beyond a depth.
    pub fn close_to(&mut self, depth: usize) {
        self.0.truncate(depth);
    }

    /// Adds a name to the innermost scope.
    pub fn introduce(&mut self, name: &Ident, slot: Slot<'a>) {
        if let Some(scope) = self.0.last_mut() {
            scope.slots.insert(name.clone(), slot);
        }
    }

    pub fn introduce_exception(&mut self, exception: &Arc<Exception>) {
        if let Some(scope) = self.0.last_mut() {
            let name = exception.name.clone();
            scope.exceptions.insert(name, Arc::clone(exception));
        }
    }

    pub fn find(&self, name: &Ident) -> Option<&Slot<'a>> {
        self.0.iter().rev().find_map(|scope| scope.slots.get(name))
    }

    pub fn find_mut(&mut self, name: &Ident) -> Option<&mut Slot<'a>> {
        let mut scopes = self.0.iter_mut().rev();
        scopes.find_map(|scope| scope.slots.get_mut(name))
    }

    pub fn exception(&self, name: &Ident) -> Option<&Arc<Exception>> {
        let mut scopes = self.0.iter().rev();
        scopes.find_map(|scope| scope.exceptions.get(name))
    }
}
