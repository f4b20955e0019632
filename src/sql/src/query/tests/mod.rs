//! Queries over in-memory tables, with a test session as the catalog.

mod clauses;
mod differences;
mod functions;
mod guide;
mod lake;
mod session;

use std::sync::Mutex;

use arrow::datatypes::Schema;
use datafusion::catalog::MemTable;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::optimizer::optimizer::Optimizer;

use super::*;
use crate::error::SqlError;

/// The session of these tests: tables by name, and a record of the calls it received.
#[derive(Default)]
struct TestCatalog {
    tables: HashMap<String, Arc<dyn TableProvider>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Catalog for TestCatalog {
    async fn table(
        &self,
        name: &ObjectName,
        at: Option<&TimeTravel>,
    ) -> SqlResult<Arc<dyn TableProvider>> {
        if let Some(at) = at {
            let asked = format!("{name} {at:?}");
            self.asked.lock().unwrap().push(asked);
        }
        let table = self.tables.get(name.last().as_str());
        table.cloned().ok_or_else(|| SqlError::no_object(name))
    }

    async fn table_function(
        &self,
        name: &ObjectName,
        arguments: &[TableFunctionArgument],
    ) -> SqlResult<Rows> {
        for argument in arguments {
            let asked = format!(
                "{name} {} => {} {}",
                argument.name.as_ref().map_or("", Ident::as_str),
                render(&argument.value, argument.ty, chrono_tz::UTC)?.unwrap_or_default(),
                argument.ty,
            );
            self.asked.lock().unwrap().push(asked);
        }
        Ok(Rows::texts(&["FILE_NAME", "STATUS"], []))
    }

    async fn directory(&self, stage: &ObjectName) -> SqlResult<Rows> {
        self.asked
            .lock()
            .unwrap()
            .push(format!("DIRECTORY {stage}"));
        let ty = DataType::TimestampTz { scale: 3 };
        let at = |millis| ScalarValue::TimestampMillisecond(Some(millis), Some("UTC".into()));
        let file = |name: &str, millis| vec![ScalarValue::from(name), at(millis)];
        Rows::from_values(
            &[("RELATIVE_PATH", DataType::TEXT), ("LAST_MODIFIED", ty)],
            [
                file("00001-a.metadata.json", 1_000),
                file("00002-b.metadata.json", 2_000),
                file("snap-1.avro", 3_000),
            ],
        )
    }

    async fn session_function(
        &self,
        name: &str,
        arguments: &[ScalarValue],
    ) -> SqlResult<Option<(ScalarValue, DataType)>> {
        Ok(match name {
            "CURRENT_ROLE" => Some((ScalarValue::from("SYSADMIN"), DataType::TEXT)),
            "SYSTEM$STREAM_HAS_DATA" => {
                let has = arguments[0].try_as_str().flatten() == Some("S");
                Some((ScalarValue::from(has), DataType::Boolean))
            }
            _ => None,
        })
    }
}

impl TestCatalog {
    /// Adds a table with the rows and column types of a query.
    async fn with(mut self, name: &str, query: &str) -> Self {
        let rows = run(query, &self)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        self.insert(name, rows);
        self
    }

    fn insert(&mut self, name: &str, rows: Rows) {
        let table = MemTable::try_new(rows.schema, vec![rows.batches]).unwrap();
        self.tables.insert(name.to_owned(), Arc::new(table));
    }

    /// Adds a table whose columns have the Arrow types of data files.
    fn with_arrays(mut self, name: &str, columns: Vec<(&str, arrow::array::ArrayRef)>) -> Self {
        let batch = arrow::array::RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        let schema: Arc<Schema> = batch.schema();
        let table = MemTable::try_new(schema, vec![vec![batch]]).unwrap();
        self.tables.insert(name.to_owned(), Arc::new(table));
        self
    }
}

fn engine() -> &'static Engine {
    static ENGINE: std::sync::LazyLock<Engine> = std::sync::LazyLock::new(|| {
        Engine::new(Arc::new(RuntimeEnv::default()), Optimizer::new().rules)
    });
    &ENGINE
}

/// Returns the parameters of every statement in these tests.
fn parameters() -> Parameters {
    Parameters::at("2024-07-15T19:30:00.123456789Z".parse().unwrap())
}

async fn run(sql: &str, session: &TestCatalog) -> SqlResult<Rows> {
    engine().run(sql, session, &parameters()).await
}

/// Formats the rows of a result, with ` | ` between columns and `NULL` for NULL.
fn rows_of(rows: &Rows) -> Vec<String> {
    let types = rows.types();
    let cell = |row, column: usize| {
        let value = rows.value(row, column);
        render(&value, types[column], parameters().zone)
            .unwrap()
            .unwrap_or("NULL".to_owned())
    };
    let row = |row| {
        (0..types.len())
            .map(|column| cell(row, column))
            .collect::<Vec<_>>()
            .join(" | ")
    };
    (0..rows.len()).map(row).collect()
}

/// Formats the names and types of the columns.
fn columns_of(rows: &Rows) -> String {
    let fields = rows.schema.fields().iter();
    let column = |field: &arrow::datatypes::FieldRef| {
        format!("{} {}", field.name(), DataType::of_field(field))
    };
    fields.map(column).collect::<Vec<_>>().join(", ")
}

/// Runs a query and formats its rows, or its error.
async fn ask_of(session: &TestCatalog, sql: &str) -> String {
    match run(sql, session).await {
        Ok(rows) => rows_of(&rows).join("; "),
        Err(error) => error.to_string(),
    }
}

async fn ask(sql: &str) -> String {
    ask_of(&TestCatalog::default(), sql).await
}

/// Evaluates an expression and formats its value with its type.
async fn typed(expression: &str) -> String {
    match run(
        &format!("SELECT {expression} AS X"),
        &TestCatalog::default(),
    )
    .await
    {
        Ok(rows) => format!("{} {}", rows_of(&rows).join("; "), rows.types()[0]),
        Err(error) => error.to_string(),
    }
}

/// Checks the values of expressions that read no table.
async fn expect(cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (expression, expected) in cases {
        let found = ask(&format!("SELECT {expression}")).await;
        if found != *expected {
            wrong.push(format!(
                "{expression}\n  is       {found}\n  expected {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks the values and types of expressions that read no table.
async fn expect_typed(cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (expression, expected) in cases {
        let found = typed(expression).await;
        if found != *expected {
            wrong.push(format!(
                "{expression}\n  is       {found}\n  expected {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
