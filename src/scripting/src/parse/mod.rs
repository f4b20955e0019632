//! The parser of scripting blocks (Snowflake documentation, "Snowflake Scripting reference").

mod declaration;
mod flow;

use sqlparser::tokenizer::Token;

use super::ast::{
    Block, Catch, Declaration, Declared, Handler, Kind, Operand, Query, Reference, Return,
    Statement,
};
use super::check::declared_twice;
use super::expression::Expression;
use super::template::{Mode, Template};
use icebox_sql::error::{Position, SqlError, SqlResult};
use icebox_sql::names::Ident;
use icebox_sql::syntax::{Cursor, pass_statement};

/// The greatest depth of nested blocks, branches and loops.
const DEEPEST: usize = 50;

/// The first words of scripting statements, each with the function that parses the rest. All other
/// statements are SQL.
const STATEMENTS: [(&str, Rule); 20] = [
    ("LET", |parser| parser.declaration(true).map(Kind::Let)),
    ("IF", |parser| parser.branches()),
    ("CASE", |parser| parser.case()),
    ("FOR", |parser| parser.for_loop()),
    ("WHILE", |parser| parser.while_loop()),
    ("REPEAT", |parser| parser.repeat()),
    ("LOOP", |parser| parser.endless_loop()),
    ("BREAK", |parser| parser.label().map(Kind::Break)),
    ("EXIT", |parser| parser.label().map(Kind::Break)),
    ("CONTINUE", |parser| parser.label().map(Kind::Continue)),
    ("ITERATE", |parser| parser.label().map(Kind::Continue)),
    ("OPEN", |parser| parser.open()),
    ("FETCH", |parser| parser.fetch()),
    ("CLOSE", |parser| parser.reference().map(Kind::Close)),
    ("RAISE", |parser| parser.label().map(Kind::Raise)),
    ("RETURN", |parser| parser.returns()),
    ("NULL", |_| Ok(Kind::Null)),
    ("AWAIT", |_| Err(asynchronous("AWAIT"))),
    ("CANCEL", |_| Err(asynchronous("CANCEL"))),
    ("ASYNC", |_| Err(asynchronous("ASYNC"))),
];

type Rule = fn(&mut Parser<'_>) -> SqlResult<Kind>;

/// The first words of statements that may appear in parentheses where a value is expected.
const QUERIES: [&str; 18] = [
    "SELECT", "WITH", "CALL", "EXECUTE", "SHOW", "DESC", "DESCRIBE", "LIST", "LS", "INSERT",
    "UPDATE", "DELETE", "MERGE", "COPY", "CREATE", "DROP", "ALTER", "TRUNCATE",
];

fn asynchronous(word: &str) -> SqlError {
    SqlError::unsupported(format_args!("{word} (asynchronous child jobs)"))
}

/// Parses a body: a block, or a single statement.
pub fn body(text: &str) -> SqlResult<Block> {
    let mut parser = Parser::new(Cursor::new(text)?);
    let block = if parser.starts_block() {
        parser.block()?
    } else {
        Block {
            declarations: Vec::new(),
            body: vec![parser.statement()?],
            handlers: Vec::new(),
            label: None,
        }
    };
    parser.cursor.accept_token(&Token::SemiColon);
    parser.cursor.expect_end()?;
    Ok(block)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    /// The start of the statement that is being parsed.
    start: Position,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(cursor: Cursor<'a>) -> Self {
        Parser {
            start: cursor.position(),
            cursor,
            depth: 0,
        }
    }

    /// Returns whether a block comes next: `[DECLARE …] BEGIN … END`, but not `BEGIN TRANSACTION`.
    fn starts_block(&self) -> bool {
        if self.cursor.is_next("DECLARE") {
            return true;
        }
        let mut after = self.cursor.clone();
        after.bump();
        let is_transaction = ["TRANSACTION", "WORK", "NAME"]
            .iter()
            .any(|word| after.is_next(word));
        let is_alone = matches!(after.peek(), None | Some(Token::SemiColon));
        self.cursor.is_next("BEGIN") && !is_transaction && !is_alone
    }

    fn block(&mut self) -> SqlResult<Block> {
        let mut declarations: Vec<Declaration> = Vec::new();
        if self.cursor.accept("DECLARE") {
            while !self.cursor.is_next("BEGIN") {
                let declaration = self.declaration(false)?;
                let is_exception = |it: &Declaration| matches!(it.kind, Declared::Exception(_));
                let is_twice = declarations.iter().any(|known| {
                    known.name == declaration.name
                        && is_exception(known) == is_exception(&declaration)
                });
                if is_twice {
                    return Err(declared_twice(&declaration.name, declaration.position));
                }
                declarations.push(declaration);
                self.cursor.expect_token(&Token::SemiColon)?;
            }
        }
        self.cursor.expect("BEGIN")?;
        let body = self.statements(&["END", "EXCEPTION"])?;
        let mut handlers = Vec::new();
        if self.cursor.accept("EXCEPTION") {
            while self.cursor.accept("WHEN") {
                handlers.push(self.handler()?);
            }
            if handlers.is_empty() {
                return Err(self.cursor.unexpected());
            }
        }
        self.cursor.expect("END")?;
        let label = self.end_label()?;
        Ok(Block {
            declarations,
            body,
            handlers,
            label,
        })
    }

    fn handler(&mut self) -> SqlResult<Handler> {
        let mut catches = Vec::new();
        loop {
            let reference = self.reference()?;
            catches.push(match reference.name.as_str() {
                "OTHER" => Catch::Other,
                "STATEMENT_ERROR" => Catch::StatementError,
                "EXPRESSION_ERROR" => Catch::ExpressionError,
                _ => Catch::Exception(reference),
            });
            if !self.cursor.accept("OR") {
                break;
            }
        }
        let is_continue = self.cursor.accept("CONTINUE");
        if !is_continue {
            self.cursor.accept("EXIT");
        }
        self.cursor.expect("THEN")?;
        let body = self.statements(&["END", "WHEN"])?;
        Ok(Handler {
            catches,
            is_continue,
            body,
        })
    }

    /// Parses one or more statements, up to one of the words in `ends`.
    fn statements(&mut self, ends: &[&str]) -> SqlResult<Vec<Statement>> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let what = format!("more than {DEEPEST} levels of nested blocks, branches and loops");
            return Err(SqlError::unsupported(what).at(self.cursor.position()));
        }
        let mut statements = Vec::new();
        while !ends.iter().any(|end| self.cursor.is_next(end)) {
            statements.push(self.statement()?);
            self.cursor.expect_token(&Token::SemiColon)?;
        }
        if statements.is_empty() {
            return Err(self.cursor.unexpected());
        }
        self.depth -= 1;
        Ok(statements)
    }

    fn statement(&mut self) -> SqlResult<Statement> {
        let position = self.cursor.position();
        self.start = position;
        let kind = self.kind()?;
        Ok(Statement { position, kind })
    }

    fn kind(&mut self) -> SqlResult<Kind> {
        let is_word = matches!(self.cursor.peek(), Some(Token::Word(_)));
        if is_word && self.cursor.peek_at(1) == Some(&Token::Assignment) {
            let target = self.reference()?;
            self.cursor.bump();
            let value = self.operand()?;
            return Ok(Kind::Assign { target, value });
        }
        if self.starts_block() {
            return self.block().map(Kind::Block);
        }
        for (word, rule) in STATEMENTS {
            if self.cursor.accept(word) {
                return rule(self);
            }
        }
        self.query_statement()
    }

    /// Parses a statement for the host, and removes INTO from it.
    fn query_statement(&mut self) -> SqlResult<Kind> {
        if let Some(query) = self.execute_immediate()? {
            let into = Vec::new();
            return Ok(Kind::Query { query, into });
        }
        if !matches!(self.cursor.peek(), Some(Token::Word(_))) {
            return Err(self.cursor.unexpected());
        }
        let mut end = self.cursor.clone();
        pass_statement(&mut end);
        let start = self.cursor.offset();
        let into = if ["SELECT", "WITH", "CALL"]
            .iter()
            .any(|word| self.cursor.is_next(word))
        {
            self.find_into(end.offset())?
        } else {
            None
        };
        let mut template = Template::read(&mut self.cursor, Mode::Statement, |cursor| {
            cursor.offset() >= end.offset()
        })?;
        let into = into.map_or_else(Vec::new, |(range, into)| {
            template.blank(start, range);
            into
        });
        let query = Query::Sql(template);
        Ok(Kind::Query { query, into })
    }

    /// Returns the variables after an INTO outside of parentheses, and its range in the source.
    fn find_into(&self, end: usize) -> SqlResult<Option<(std::ops::Range<usize>, Vec<Reference>)>> {
        let mut ahead = Parser::new(self.cursor.clone());
        let mut brackets = 0_usize;
        while ahead.cursor.offset() < end {
            let start = ahead.cursor.offset();
            if brackets == 0 && ahead.cursor.accept("INTO") {
                let into = ahead.references()?;
                return Ok(Some((start..ahead.cursor.last_end(), into)));
            }
            match ahead.cursor.bump() {
                Some(Token::LParen) => brackets += 1,
                Some(Token::RParen) => brackets = brackets.saturating_sub(1),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Parses `EXECUTE IMMEDIATE expression [USING (…)]`, but not `EXECUTE IMMEDIATE FROM`, which
    /// the host handles.
    fn execute_immediate(&mut self) -> SqlResult<Option<Query>> {
        if self.cursor.is_next("EXECUTE IMMEDIATE FROM")
            || !self.cursor.is_next("EXECUTE IMMEDIATE")
        {
            return Ok(None);
        }
        let position = self.cursor.position();
        self.cursor.accept("EXECUTE IMMEDIATE");
        let text = Expression::read(&mut self.cursor, |cursor| cursor.is_next("USING"))?;
        let using = self.using()?;
        Ok(Some(Query::Immediate {
            position,
            text: Box::new(text),
            using,
        }))
    }

    fn using(&mut self) -> SqlResult<Vec<Reference>> {
        if !self.cursor.accept("USING") {
            return Ok(Vec::new());
        }
        self.cursor.expect_token(&Token::LParen)?;
        let using = self.references()?;
        self.cursor.expect_token(&Token::RParen)?;
        Ok(using)
    }

    /// Parses `name` or `:name`.
    fn reference(&mut self) -> SqlResult<Reference> {
        let position = self.cursor.position();
        let is_bind = self.cursor.accept_token(&Token::Colon);
        let start = self.cursor.offset();
        let name = self.cursor.ident()?;
        let shown = if is_bind {
            self.cursor.text()[start..self.cursor.last_end()].to_owned()
        } else {
            name.as_str().to_owned()
        };
        Ok(Reference {
            name,
            shown,
            position,
        })
    }

    fn references(&mut self) -> SqlResult<Vec<Reference>> {
        let mut references = vec![self.reference()?];
        while self.cursor.accept_token(&Token::Comma) {
            references.push(self.reference()?);
        }
        Ok(references)
    }

    /// Parses the operand of an assignment or RETURN.
    fn operand(&mut self) -> SqlResult<Operand> {
        if self.cursor.is_next("ASYNC") && self.cursor.peek_at(1) == Some(&Token::LParen) {
            return Err(asynchronous("ASYNC"));
        }
        let mut ahead = Parser::new(self.cursor.clone());
        let expression = Expression::read(&mut self.cursor, |_| false);
        let query = match ahead.query_in_brackets()? {
            Some(query) if ahead.cursor.peek() == Some(&Token::SemiColon) => {
                self.cursor = ahead.cursor;
                Some(query)
            }
            _ => None,
        };
        Ok(Operand {
            expression: expression?,
            query,
        })
    }

    /// Parses `( statement )`.
    fn query_in_brackets(&mut self) -> SqlResult<Option<Query>> {
        if !self.cursor.accept_token(&Token::LParen) {
            return Ok(None);
        }
        let is_block = self.starts_block();
        if !is_block && !QUERIES.iter().any(|word| self.cursor.is_next(word)) {
            return Ok(None);
        }
        let query = match self.execute_immediate()? {
            Some(query) => query,
            None => Query::Sql(Template::read(&mut self.cursor, Mode::Statement, |_| {
                false
            })?),
        };
        self.cursor.expect_token(&Token::RParen)?;
        Ok(Some(query))
    }

    fn returns(&mut self) -> SqlResult<Kind> {
        if self.cursor.peek() == Some(&Token::SemiColon) {
            return Ok(Kind::Return(Return::Nothing));
        }
        let is_table =
            self.cursor.is_next("TABLE") && self.cursor.peek_at(1) == Some(&Token::LParen);
        if !is_table {
            return Ok(Kind::Return(Return::Value(self.operand()?)));
        }
        self.cursor.bump();
        self.cursor.bump();
        let returned = if self.cursor.accept("RESULTSET_FROM_CURSOR") {
            self.cursor.expect_token(&Token::LParen)?;
            let cursor = self.reference()?;
            self.cursor.expect_token(&Token::RParen)?;
            Return::Cursor(cursor)
        } else {
            Return::ResultSet(self.reference()?)
        };
        self.cursor.expect_token(&Token::RParen)?;
        Ok(Kind::Return(returned))
    }

    fn open(&mut self) -> SqlResult<Kind> {
        let cursor = self.reference()?;
        let using = self.using()?;
        Ok(Kind::Open { cursor, using })
    }

    fn fetch(&mut self) -> SqlResult<Kind> {
        let cursor = self.reference()?;
        self.cursor.expect("INTO")?;
        let into = self.references()?;
        Ok(Kind::Fetch { cursor, into })
    }

    /// Parses the name after BREAK, CONTINUE or RAISE, if there is one.
    fn label(&mut self) -> SqlResult<Option<Reference>> {
        match self.cursor.peek() {
            Some(Token::SemiColon) => Ok(None),
            _ => self.reference().map(Some),
        }
    }

    /// Parses the label after END, if there is one.
    fn end_label(&mut self) -> SqlResult<Option<Ident>> {
        match self.cursor.peek() {
            Some(Token::Word(_)) => self.cursor.ident().map(Some),
            _ => Ok(None),
        }
    }
}
