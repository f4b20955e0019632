//! Statements: one table of their first words, and one function for each.

mod call;
mod copy;
mod create_as_select;
mod ddl;
mod files;
pub mod insert;
pub mod query;
mod run;
mod session;
mod show;

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlparser::tokenizer::Token;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, StatementKind, canceled};
use crate::session::Session;
use icebox_scripting::Bindings;
use icebox_sql::error::SqlResult;
use icebox_sql::rows::Rows;
use icebox_sql::syntax::Cursor;

pub use run::{Statement, run, value};

/// The context in which a statement runs.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub session: &'a Session,
    /// The values of `:name` and `?`.
    pub bindings: &'a Bindings,
    /// The bindings of each repetition of an INSERT, if it runs more than once.
    pub repeats: &'a [Bindings],
    /// The results that `$1`, `$2` … refer to in a pipe. `$1` is the last one.
    pub earlier: &'a [Rows],
    /// How many statements enclose this one.
    pub depth: usize,
    pub cancel: &'a CancellationToken,
    /// Session parameters for this statement alone.
    pub parameters: &'a BTreeMap<String, String>,
}

impl Context<'_> {
    /// Awaits work that may be dropped halfway, such as a query. Cancelling the statement drops the
    /// work.
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

/// The function that runs a statement from the text after its first words.
type Run = for<'a> fn(Context<'a>, Cursor<'a>) -> BoxFuture<'a, SqlResult<Answer>>;

/// How the columns of a statement are known without its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Described {
    /// From the query's plan.
    Planned,
    /// By running the statement, which has no effect.
    Run,
    /// The number of inserted rows.
    RowCount,
    /// The value of a block.
    Value,
    /// The status of the statement.
    Status,
}

/// A kind of statement: its first words, and the function that runs it. Where the words of one kind
/// begin with those of another, the longer come first.
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
    "CREATE" => ddl::create, Status;
    "ALTER SESSION" => session::alter_session, Status;
    "ALTER" => ddl::alter, Status;
    "DROP" => ddl::drop, Status;
    "UNDROP" => ddl::undrop, Status;
    "DESCRIBE" => ddl::describe, Run;
    "DESC" => ddl::describe, Run;
    "SHOW" => show::show, Run;
    "USE" => session::use_, Status;
    "SET" => session::set, Status;
    "UNSET" => session::unset, Status;
    "INSERT INTO" => insert::insert, RowCount;
    "COPY INTO" => copy::copy_into, Status;
    "LIST" => copy::list, Run;
    "LS" => copy::list, Run;
    "CALL" => call::call, Value;
    "EXECUTE IMMEDIATE" => call::execute_immediate, Value;
    "EXECUTE TASK" => call::execute_task, Status;
    "DECLARE" => call::block, Value;
    "BEGIN" => call::block, Value;
    "COMMIT" => session::transaction, Status;
    "ROLLBACK" => session::transaction, Status;
    "GRANT" => session::grant, Status;
    "REVOKE" => session::grant, Status;
};

/// Returns the kind of the statement at the cursor, and consumes its first words. A query in
/// parentheses is a SELECT, which is run from its whole text.
fn verb(cursor: &mut Cursor<'_>) -> Option<&'static Verb> {
    match cursor.peek() {
        Some(Token::LParen) => VERBS.first(),
        _ => VERBS.iter().find(|verb| cursor.accept(verb.words)),
    }
}

/// Returns the answer of a statement that changes objects.
fn done(rows: Rows) -> Answer {
    Answer {
        rows,
        kind: StatementKind::Ddl,
    }
}

fn succeeded() -> Answer {
    done(Rows::succeeded())
}
