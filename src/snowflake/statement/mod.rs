//! Statements: one table of what they begin with, one function each.

mod call;
mod copy;
mod define;
pub mod insert;
mod place;
pub mod query;
mod show;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlparser::tokenizer::Token;

use super::error::{SqlError, SqlResult};
use super::rest::{Answer, StatementKind};
use super::rows::Rows;
use super::script::Bindings;
use super::session::Session;
use super::syntax::{self, Cursor};

/// Blocks and procedures that call each other, and pipes, at most so deep.
const MOST_DEPTH: usize = 16;

/// What a statement runs with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub session: &'a Session,
    /// What `:name` and `?` stand for.
    pub bindings: &'a Bindings,
    /// The answers that `$1`, `$2` … of a pipe stand for, `$1` the last one.
    pub earlier: &'a [Rows],
    pub depth: usize,
}

/// Runs what follows its first words.
type Run = for<'a> fn(Context<'a>, Cursor<'a>) -> BoxFuture<'a, SqlResult<Answer>>;

/// A kind of statement: the words that it begins with, and what runs it. Where the words of one begin another's, the longer
/// come first.
struct Statement {
    words: &'static str,
    run: Run,
}

macro_rules! statements {
    ($($words:literal => $run:path),* $(,)?) => {
        &[$(Statement { words: $words, run: |context, cursor| $run(context, cursor).boxed() }),*]
    };
}

const STATEMENTS: &[Statement] = statements! {
    "SELECT" => query::select,
    "WITH" => query::select,
    "VALUES" => query::select,
    "CREATE" => define::create,
    "ALTER SESSION" => place::alter_session,
    "ALTER" => define::alter,
    "DROP" => define::drop,
    "UNDROP" => define::undrop,
    "DESCRIBE" => define::describe,
    "DESC" => define::describe,
    "SHOW" => show::show,
    "USE" => place::use_,
    "SET" => place::set,
    "UNSET" => place::unset,
    "INSERT INTO" => insert::insert,
    "COPY INTO" => copy::copy_into,
    "LIST" => copy::list,
    "LS" => copy::list,
    "CALL" => call::call,
    "EXECUTE IMMEDIATE" => call::execute_immediate,
    "EXECUTE TASK" => call::execute_task,
    "DECLARE" => call::block,
    "BEGIN" => call::block,
    "COMMIT" => place::transaction,
    "ROLLBACK" => place::transaction,
    "GRANT" => place::grant,
    "REVOKE" => place::grant,
};

/// Runs one statement, or several that are joined by `->>`, each with the answers of those before it as `$1`, `$2` …
pub fn execute<'a>(
    session: &'a Session,
    sql: &'a str,
    bindings: &'a Bindings,
    depth: usize,
) -> BoxFuture<'a, SqlResult<Answer>> {
    run_pipe(session, sql, bindings, depth).boxed()
}

async fn run_pipe(
    session: &Session,
    sql: &str,
    bindings: &Bindings,
    depth: usize,
) -> SqlResult<Answer> {
    if depth > MOST_DEPTH {
        return Err(SqlError::new(
            392_603,
            "54001",
            "Stored procedure execution error: recursion is too deep.",
        ));
    }
    let mut earlier: Vec<Rows> = Vec::new();
    let parts = pipe(sql)?;
    let last = parts.len() - 1;
    for (index, part) in parts.into_iter().enumerate() {
        let context = Context {
            session,
            bindings,
            earlier: &earlier,
            depth,
        };
        let answer = one(context, part).await?;
        if index == last {
            return Ok(answer);
        }
        earlier.insert(0, answer.rows);
    }
    unreachable!("a text has a part")
}

async fn one(context: Context<'_>, sql: &str) -> SqlResult<Answer> {
    let mut cursor = Cursor::new(sql)?;
    if cursor.is_at_end() {
        return Err(SqlError::new(900, "42601", "Empty SQL statement."));
    }
    let statement = STATEMENTS.iter().find(|one| cursor.accept(one.words));
    match statement {
        Some(statement) => (statement.run)(context, cursor).await,
        None if cursor.peek() == Some(&Token::LParen) => query::select(context, cursor).await,
        None => Err(cursor.unexpected()),
    }
}

/// The statements of a pipe: `a ->> b ->> c`.
fn pipe(sql: &str) -> SqlResult<Vec<&str>> {
    let statements = syntax::split(sql)?;
    let sql = match statements.as_slice() {
        [] => return Err(SqlError::new(900, "42601", "Empty SQL statement.")),
        [one] => one.sql,
        more => {
            let text = format!(
                "Actual statement count {} did not match the desired statement count 1.",
                more.len()
            );
            return Err(SqlError::new(8, "0A000", text));
        }
    };
    let mut cursor = Cursor::new(sql)?;
    let (mut parts, mut start) = (Vec::new(), 0);
    while let Some(token) = cursor.peek() {
        if *token == Token::LongArrow {
            parts.push(sql[start..cursor.offset()].trim_end());
            cursor.bump();
            start = cursor.offset();
            continue;
        }
        cursor.bump();
    }
    parts.push(&sql[start..]);
    Ok(parts)
}

/// The answer of a statement that changes what there is.
fn done(rows: Rows) -> Answer {
    Answer {
        rows,
        kind: StatementKind::Ddl,
    }
}

fn succeeded() -> Answer {
    done(Rows::status("Statement executed successfully."))
}
