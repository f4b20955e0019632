//! Statements: one table of what they begin with, one function each.

mod call;
mod copy;
mod define;
mod files;
pub mod insert;
mod place;
pub mod query;
mod run;
mod show;

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlparser::tokenizer::Token;
use tokio_util::sync::CancellationToken;

use super::error::SqlResult;
use super::rest::{Answer, StatementKind, canceled};
use super::rows::Rows;
use super::script::Bindings;
use super::session::Session;
use super::syntax::Cursor;

pub use run::{Statement, run, value};

/// What a statement runs with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub session: &'a Session,
    /// What `:name` and `?` stand for.
    pub bindings: &'a Bindings,
    /// The bindings of each time that an INSERT is to run, if it is more than one.
    pub repeats: &'a [Bindings],
    /// The answers that `$1`, `$2` … of a pipe stand for, `$1` the last one.
    pub earlier: &'a [Rows],
    /// How many statements this one is inside of.
    pub depth: usize,
    pub cancel: &'a CancellationToken,
    /// Session parameters for this statement alone.
    pub parameters: &'a BTreeMap<String, String>,
}

impl Context<'_> {
    /// Waits for something that may be left half done, such as a query; if the statement is cancelled meanwhile, it is.
    pub async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = SqlResult<T>>,
    ) -> SqlResult<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(canceled()),
            result = work => result,
        }
    }
}

/// Runs what follows its first words.
type Run = for<'a> fn(Context<'a>, Cursor<'a>) -> BoxFuture<'a, SqlResult<Answer>>;

/// What a statement's columns are known from without running it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Described {
    /// The query's plan.
    Planned,
    /// It has no effect, so it is run.
    Same,
    /// A number of rows.
    Inserted,
    /// A value.
    Block,
    /// A text that tells that it is done.
    Status,
}

/// A kind of statement: the words that it begins with, and what runs it. Where the words of one begin another's, the longer
/// come first.
struct Verb {
    words: &'static str,
    run: Run,
    describe: Described,
}

macro_rules! verbs {
    ($($words:literal => $run:path, $describe:ident;)*) => {
        &[$(Verb {
            words: $words,
            run: |context, cursor| $run(context, cursor).boxed(),
            describe: Described::$describe,
        }),*]
    };
}

const VERBS: &[Verb] = verbs! {
    "SELECT" => query::select, Planned;
    "WITH" => query::select, Planned;
    "VALUES" => query::select, Planned;
    "CREATE" => define::create, Status;
    "ALTER SESSION" => place::alter_session, Status;
    "ALTER" => define::alter, Status;
    "DROP" => define::drop, Status;
    "UNDROP" => define::undrop, Status;
    "DESCRIBE" => define::describe, Same;
    "DESC" => define::describe, Same;
    "SHOW" => show::show, Same;
    "USE" => place::use_, Status;
    "SET" => place::set, Status;
    "UNSET" => place::unset, Status;
    "INSERT INTO" => insert::insert, Inserted;
    "COPY INTO" => copy::copy_into, Status;
    "LIST" => copy::list, Same;
    "LS" => copy::list, Same;
    "CALL" => call::call, Block;
    "EXECUTE IMMEDIATE" => call::execute_immediate, Block;
    "EXECUTE TASK" => call::execute_task, Status;
    "DECLARE" => call::block, Block;
    "BEGIN" => call::block, Block;
    "COMMIT" => place::transaction, Status;
    "ROLLBACK" => place::transaction, Status;
    "GRANT" => place::grant, Status;
    "REVOKE" => place::grant, Status;
};

/// The kind of statement that begins here, its words passed. A query in brackets is a SELECT, whose text is looked at whole.
fn verb(cursor: &mut Cursor<'_>) -> Option<&'static Verb> {
    match cursor.peek() {
        Some(Token::LParen) => VERBS.first(),
        _ => VERBS.iter().find(|verb| cursor.accept(verb.words)),
    }
}

/// The answer of a statement that changes what there is.
fn done(rows: Rows) -> Answer {
    Answer {
        rows,
        kind: StatementKind::Ddl,
    }
}

fn succeeded() -> Answer {
    done(Rows::succeeded())
}
