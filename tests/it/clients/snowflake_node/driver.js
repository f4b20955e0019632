// Uses Snowflake from a Node program with the unmodified driver, and prints one JSON object of the
// results. The environment variables are those of snowflake_driver.py.
const snowflake = require("snowflake-sdk");

snowflake.configure({ logLevel: "OFF" });
const { SNOWFLAKE_HOST, SNOWFLAKE_PORT, SNOWFLAKE_USER, SNOWFLAKE_PASSWORD, TYPES_SQL, MISSING_SQL, LARGE_SQL } = process.env;

function connect(changes) {
  const connection = snowflake.createConnection({
    account: "icebox",
    accessUrl: `http://${SNOWFLAKE_HOST}:${SNOWFLAKE_PORT}`,
    username: SNOWFLAKE_USER,
    password: SNOWFLAKE_PASSWORD,
    database: "retail",
    ...changes,
  });
  return new Promise((resolve, reject) => connection.connect((error) => (error ? reject(error) : resolve(connection))));
}

function execute(connection, sqlText, options) {
  return new Promise((resolve, reject) =>
    connection.execute({
      sqlText,
      ...options,
      complete: (error, statement, rows) => (error ? reject(error) : resolve({ statement, rows })),
    }),
  );
}

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return { code: error.code, state: error.sqlState, text: error.message };
  }
  throw new Error("should have failed");
}

function canceled(connection) {
  return failure(
    new Promise((resolve, reject) => {
      const statement = connection.execute({
        sqlText: "SELECT SYSTEM$WAIT(60)",
        complete: (error, _, rows) => (error ? reject(error) : resolve(rows)),
      });
      setTimeout(() => statement.cancel((error) => error && reject(error)), 1000);
    }),
  );
}

async function asynchronous(connection) {
  const { statement } = await execute(connection, "SELECT SYSTEM$WAIT(1)", { asyncExec: true });
  const queryId = statement.getQueryId();
  const first = await connection.getQueryStatus(queryId);
  const result = await connection.getResultsFromQueryId({ queryId });
  const rows = await new Promise((resolve, reject) => {
    const rows = [];
    const stream = result.streamRows();
    stream.on("error", reject);
    stream.on("data", (row) => rows.push(row));
    stream.on("end", () => resolve(rows));
  });
  return { first, last: await connection.getQueryStatus(queryId), rows };
}

async function main() {
  const connection = await connect({});
  const seen = {};
  const { statement, rows } = await execute(connection, TYPES_SQL);
  seen.columns = statement.getColumns().map((column) => [column.getName(), column.getType(), column.getScale(), column.getPrecision()]);
  seen.types = rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Buffer.isBuffer(value) ? value.toString("hex") : value])));
  await execute(connection, "CREATE TABLE DRIVER_NODE (N DECIMAL(12,2), S VARCHAR, B BOOLEAN)");
  const one = await execute(connection, "INSERT INTO DRIVER_NODE VALUES (?, ?, ?)", { binds: [12.34, "it's", true] });
  const many = Array.from({ length: 100 }, (_, n) => [n, `row ${n}`, n % 2 === 0]);
  const hundred = await execute(connection, "INSERT INTO DRIVER_NODE VALUES (?, ?, ?)", { binds: many });
  seen.inserted = [one.statement.getNumUpdatedRows(), hundred.statement.getNumUpdatedRows()];
  seen.sums = (await execute(connection, "SELECT COUNT(*) AS C, SUM(N) AS N FROM DRIVER_NODE WHERE S <> ?", { binds: ["none"] })).rows;
  seen.missing = await failure(execute(connection, MISSING_SQL));
  seen.password = await failure(connect({ password: "wrong" }));
  seen.canceled = await canceled(connection);
  seen.asynchronous = await asynchronous(connection);
  seen.slow = (await execute(connection, "SELECT SYSTEM$WAIT(5)")).rows;
  seen.large = (await execute(connection, LARGE_SQL)).rows.length;
  await new Promise((resolve, reject) => connection.destroy((error) => (error ? reject(error) : resolve())));
  console.log(JSON.stringify(seen, null, 1));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
