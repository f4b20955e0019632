//! Parsing of branches and loops.

use super::Parser;
use crate::ast::{Control, Kind, Loop};
use crate::expression::Expression;
use icebox_sql::error::SqlResult;
use icebox_sql::syntax::Cursor;

impl Parser<'_> {
    /// Parses `IF (…) THEN … [ELSEIF (…) THEN …] [ELSE …] END IF`.
    pub(super) fn branches(&mut self) -> SqlResult<Kind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.condition(&["THEN"])?;
            self.cursor.expect("THEN")?;
            branches.push((condition, self.statements(&["ELSEIF", "ELSE", "END"])?));
            if !self.cursor.accept("ELSEIF") {
                break;
            }
        }
        let otherwise = if self.cursor.accept("ELSE") {
            self.statements(&["END"])?
        } else {
            Vec::new()
        };
        self.cursor.expect("END IF")?;
        Ok(Kind::If {
            branches,
            otherwise,
        })
    }

    /// Parses `CASE [(…)] WHEN … THEN … [ELSE …] END [CASE]`.
    pub(super) fn case(&mut self) -> SqlResult<Kind> {
        let subject = if self.cursor.is_next("WHEN") {
            None
        } else {
            Some(self.expression(&["WHEN"])?)
        };
        let mut branches = Vec::new();
        self.cursor.expect("WHEN")?;
        loop {
            let condition = self.expression(&["THEN"])?;
            self.cursor.expect("THEN")?;
            branches.push((condition, self.statements(&["WHEN", "ELSE", "END"])?));
            if !self.cursor.accept("WHEN") {
                break;
            }
        }
        let otherwise = if self.cursor.accept("ELSE") {
            self.statements(&["END"])?
        } else {
            Vec::new()
        };
        self.cursor.expect("END")?;
        self.cursor.accept("CASE");
        Ok(Kind::Case {
            subject,
            branches,
            otherwise,
        })
    }

    /// Parses `FOR … IN [REVERSE] … TO … DO … END FOR` and `FOR … IN cursor DO … END FOR`, both
    /// also with LOOP.
    pub(super) fn for_loop(&mut self) -> SqlResult<Kind> {
        let variable = self.cursor.ident()?;
        self.cursor.expect("IN")?;
        let mut after = self.cursor.clone();
        after.bump();
        let control = if ["DO", "LOOP"].iter().any(|word| after.is_next(word)) {
            Control::Rows {
                row: variable,
                source: self.reference()?,
            }
        } else {
            let is_reverse = self.cursor.accept("REVERSE");
            let start = self.expression(&["TO"])?;
            self.cursor.expect("TO")?;
            Control::Range {
                variable,
                is_reverse,
                start: Box::new(start),
                end: Box::new(self.expression(&["DO", "LOOP"])?),
            }
        };
        self.loop_body(control, "FOR")
    }

    /// Parses `WHILE (…) DO … END WHILE`, also with LOOP.
    pub(super) fn while_loop(&mut self) -> SqlResult<Kind> {
        let condition = self.condition(&["DO", "LOOP"])?;
        self.loop_body(Control::While(condition), "WHILE")
    }

    pub(super) fn endless_loop(&mut self) -> SqlResult<Kind> {
        let body = self.statements(&["END"])?;
        self.cursor.expect("END LOOP")?;
        let label = self.end_label()?;
        Ok(Kind::Loop(Loop {
            control: Control::Forever,
            body,
            label,
        }))
    }

    /// Parses `REPEAT … UNTIL (…) END REPEAT`.
    pub(super) fn repeat(&mut self) -> SqlResult<Kind> {
        let body = self.statements(&["UNTIL"])?;
        self.cursor.expect("UNTIL")?;
        let condition = self.condition(&["END"])?;
        self.cursor.expect("END REPEAT")?;
        let label = self.end_label()?;
        Ok(Kind::Loop(Loop {
            control: Control::Until(condition),
            body,
            label,
        }))
    }

    /// Parses `DO … END <name>` or `LOOP … END LOOP`.
    fn loop_body(&mut self, control: Control, name: &str) -> SqlResult<Kind> {
        let end = if self.cursor.accept("DO") {
            name
        } else {
            self.cursor.expect("LOOP")?;
            "LOOP"
        };
        let body = self.statements(&["END"])?;
        self.cursor.expect("END")?;
        self.cursor.expect(end)?;
        let label = self.end_label()?;
        Ok(Kind::Loop(Loop {
            control,
            body,
            label,
        }))
    }

    fn expression(&mut self, ends: &[&str]) -> SqlResult<Expression> {
        Expression::read(&mut self.cursor, ends_at(ends))
    }

    fn condition(&mut self, ends: &[&str]) -> SqlResult<Expression> {
        Expression::condition(&mut self.cursor, ends_at(ends))
    }
}

fn ends_at(ends: &[&str]) -> impl Fn(&Cursor<'_>) -> bool {
    move |cursor| ends.iter().any(|end| cursor.is_next(end))
}
