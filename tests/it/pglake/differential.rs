//! Differential tests: a statement on a heap table and on its Iceberg twin must give the same rows,
//! values and counts.
//!
//! The table has values on which two engines often differ. The statements mix expressions that the
//! lake engine evaluates with expressions that only PostgreSQL can evaluate.

use crate::support::db::{Answer, Db};
use crate::support::sandbox::TestSandbox;

const COLUMNS: &str = "id int, i int, b bigint, r real, d float8, n numeric(20,4), w numeric(38,10), t text, v varchar(8),
    c char(6), flag boolean, day date, at timestamp, tz timestamptz, tm time, iv interval, u uuid, j jsonb, a int[],
    ta text[], x bytea";

/// Statements that insert the rows of the table `{t}`.
const ROWS: &[&str] = &[
    "INSERT INTO {t} (id) VALUES (1)",
    "INSERT INTO {t} VALUES (2, 0, 0, 'NaN', 'NaN', 0, 0, '', '', '', false, '4713-01-01 BC', '0001-01-01',
       '0001-01-01 00:00+00', '00:00', '0', '00000000-0000-0000-0000-000000000000', 'null', '{}', '{}', '')",
    "INSERT INTO {t} VALUES (3, -2147483648, -9223372036854775808, '-0', '-0', -9999999999999999.9999,
       -9999999999999999999999999999.9999999999, ' leading', 'trail  ', 'a  ', true, '0044-03-15 BC',
       '1582-10-15 12:00', '1969-12-31 23:59:59.999999+00', '24:00', '-1 mons +30 days -24:00:00',
       'ffffffff-ffff-ffff-ffff-ffffffffffff', '{}', '{NULL}', '{NULL,\"\",NULL}', '\\x00')",
    "INSERT INTO {t} VALUES (4, 2147483647, 9223372036854775807, 'Infinity', 'Infinity', 9999999999999999.9999,
       9999999999999999999999999999.9999999999, 'trailing ', 'trail', 'a', NULL, '9999-12-31',
       '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00', '23:59:59.999999', '1 year',
       'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '[1, 2.50, \"ü\"]', '{1,2,3}', '{a,b}', '\\xff00ff')",
    "INSERT INTO {t} VALUES (5, 1, 1, '-Infinity', '-Infinity', 0.0001, 0.0000000001, 'trailing', 'A', 'b%', true,
       '2000-02-29', '2000-02-29 00:00', '2000-02-29 00:00+00', '12:34:56.789', '12 mons', NULL, '\"text\"', '{3,2,1}',
       '{b,a}', NULL)",
    "INSERT INTO {t} VALUES (6, -1, -1, 0.1, 0.1, -0.0001, -0.0000000001, '漢字 🧊', 'ÄÖÜ', 'é', false, '1970-01-01',
       '1970-01-01 00:00:00.000001', '1970-01-01 00:00:00.000001+00', '00:00:00.000001', '1 day', NULL,
       '{\"k\": {\"n\": 1}}', '{1}', '{\"a,b\",\"{}\"}', '\\x01')",
    "INSERT INTO {t} VALUES (7, 1, 1, 1e-45, 5e-324, 1, 1, 'Äpfel', 'a_c', 'a%c', NULL, NULL, NULL, NULL, NULL, '24 hours',
       NULL, '{\"k\": null}', NULL, NULL, NULL)",
    "INSERT INTO {t} VALUES (8, 1, 10, 3.4028235e38, 1.7976931348623157e308, 1.0000, 1.0, 'äpfel', 'abc', 'abc', true,
       '2024-12-31', '2024-12-31 23:59:59.999999', '2025-01-01 00:59:59.999999+01', '23:59', '0.1 sec', NULL,
       '{\"k\": \"v\"}', '{1,1,1}', '{x}', '\\x01')",
    "INSERT INTO {t} VALUES (9, NULL, 10, 1, 1, 2.5, 2.5, E'tab\\tnew\\nline', 'back\\s', '\\', false, '2024-12-30',
       '2024-12-30', '2024-12-30 00:00+00', '10:00', NULL, NULL, NULL, NULL, NULL, NULL)",
    "INSERT INTO {t} VALUES (10, 10, NULL, 1, 1.0000000000000002, -2.5, -2.5, 'it''s 100%', '100%', '100%', true,
       '2025-01-01', '2025-01-01', '2025-01-01 00:00+00', '10:00', NULL, NULL, NULL, NULL, NULL, NULL)",
    "INSERT INTO {t} (id, i, b, d, n, t, flag, day, at) SELECT 100 + g, g % 7, g * 1000003, g / 3.0, g * 1.5, 'row ' || g % 10,
       g % 3 = 0, date '2024-01-01' + g, timestamp '2024-01-01' + g * interval '1 hour' FROM generate_series(1, 200) g",
];

/// Queries on `{t}`. Without an ORDER BY, rows are compared as a multiset.
const QUERIES: &[&str] = &[
    "SELECT * FROM {t} ORDER BY id",
    "SELECT count(*), count(i), count(t), count(tz), count(a) FROM {t}",
    // Comparisons and NULL
    "SELECT id FROM {t} WHERE i = 1",
    "SELECT id FROM {t} WHERE i <> 1",
    "SELECT id FROM {t} WHERE NOT (i = 1)",
    "SELECT id FROM {t} WHERE i = 1 OR flag",
    "SELECT id FROM {t} WHERE NOT (flag AND i > 0)",
    "SELECT id FROM {t} WHERE (i > 0) IS NOT TRUE",
    "SELECT id FROM {t} WHERE flag IS UNKNOWN",
    "SELECT id FROM {t} WHERE i IS DISTINCT FROM 1 AND id < 100",
    "SELECT id FROM {t} WHERE i IN (1, NULL)",
    "SELECT id FROM {t} WHERE i NOT IN (1, NULL)",
    "SELECT id FROM {t} WHERE i NOT IN (1, 2)",
    "SELECT id FROM {t} WHERE NULLIF(i, 1) IS NULL AND coalesce(b, 0) < 100",
    "SELECT id FROM {t} WHERE i = b OR i = n",
    "SELECT id FROM {t} WHERE b = 9223372036854775807 OR b = -9223372036854775808",
    // Floating point: NaN equals itself and is greater than infinity
    "SELECT id FROM {t} WHERE d = 'NaN'",
    "SELECT id FROM {t} WHERE d > 'Infinity'",
    "SELECT id FROM {t} WHERE d = 0",
    "SELECT id FROM {t} WHERE r < 0",
    "SELECT id FROM {t} WHERE r = 0.1 OR d = 0.1",
    "SELECT id, d FROM {t} WHERE id < 100 ORDER BY d DESC NULLS LAST, id",
    "SELECT min(d), max(d), min(r), max(r) FROM {t}",
    "SELECT d + 0, count(*) FROM {t} WHERE id < 100 GROUP BY d",
    "SELECT sum(d), avg(d) FROM {t} WHERE id > 100",
    // Numeric
    "SELECT id FROM {t} WHERE n = 1",
    "SELECT id FROM {t} WHERE n > 0.00005 AND n < 1.00001",
    "SELECT id FROM {t} WHERE w BETWEEN -0.0000000001 AND 2.5",
    "SELECT id, n * 3, n / 7, n % 2, round(n, 1), trunc(n), n ^ 2 FROM {t} WHERE id < 11 ORDER BY id",
    "SELECT sum(n), avg(n), min(n), max(n), stddev(n) FROM {t}",
    "SELECT sum(w), min(w), max(w) FROM {t}",
    "SELECT sum(b), avg(b), min(b), max(b) FROM {t}",
    "SELECT sum(i), avg(i), count(DISTINCT i), sum(DISTINCT i) FROM {t}",
    "SELECT i, count(*), sum(n), avg(n), min(at), max(t) FROM {t} GROUP BY i ORDER BY i NULLS FIRST",
    "SELECT i % 3, sum(b) FROM {t} WHERE id > 100 GROUP BY 1 HAVING count(*) > 50 ORDER BY 2 DESC",
    "SELECT flag, i, count(*) FROM {t} GROUP BY ROLLUP (flag, i)",
    "SELECT sum(n) FILTER (WHERE flag), count(*) FILTER (WHERE t LIKE 'row%') FROM {t}",
    "SELECT sum(i), count(i), min(t), bool_and(flag) FROM {t} WHERE false",
    "SELECT i / 0 FROM {t} WHERE id = 5",
    "SELECT count(*) > 5, NOT (count(i) = 0), sum(i) IS NULL FROM {t}",
    "SELECT i, count(*) > 30 FROM {t} GROUP BY i HAVING NOT count(*) < 2 ORDER BY count(*) DESC, i",
    "SELECT count(*) FROM {t} WHERE i = 1 HAVING count(*) > 100",
    "SELECT 1 FROM {t} HAVING max(i) > 5",
    // Text
    "SELECT id FROM {t} WHERE t = 'trailing '",
    "SELECT id FROM {t} WHERE c = 'a'",
    "SELECT id, length(c), c || '|' FROM {t} WHERE c IS NOT NULL ORDER BY id",
    "SELECT id FROM {t} WHERE v = 'trail'",
    "SELECT id FROM {t} WHERE t = ''",
    "SELECT id FROM {t} WHERE t > 'row 5' ORDER BY t, id LIMIT 7",
    "SELECT t FROM {t} WHERE id < 100 ORDER BY t",
    "SELECT t FROM {t} WHERE id < 100 ORDER BY t DESC NULLS LAST OFFSET 2 LIMIT 3",
    "SELECT id FROM {t} WHERE t LIKE '%pfel'",
    "SELECT id FROM {t} WHERE v LIKE 'a_c'",
    "SELECT id FROM {t} WHERE v LIKE 'a\\_c'",
    "SELECT id FROM {t} WHERE v LIKE '100#%' ESCAPE '#'",
    "SELECT id FROM {t} WHERE v NOT LIKE 'a%'",
    "SELECT id FROM {t} WHERE c LIKE 'a%'",
    "SELECT id FROM {t} WHERE t ILIKE 'ÄPFEL'",
    "SELECT id FROM {t} WHERE t ~ '^row [13]$' ORDER BY id",
    "SELECT id FROM {t} WHERE t !~* 'ROW|ä' AND t SIMILAR TO '%(a|l)%'",
    "SELECT id, upper(t), lower(v), length(t), substr(t, 2, 3), left(t, -2), reverse(t) FROM {t} WHERE id < 11 ORDER BY id",
    "SELECT id FROM {t} WHERE char_length(t) <> octet_length(t)",
    "SELECT id FROM {t} WHERE t LIKE E'%\\n%'",
    "SELECT DISTINCT t FROM {t} WHERE id > 100",
    "SELECT string_agg(t, ',' ORDER BY id) FROM {t} WHERE id < 100",
    // Dates and times
    "SELECT id FROM {t} WHERE day < '0001-01-01'",
    "SELECT id FROM {t} WHERE day = '4713-01-01 BC' OR day = date '2000-02-29'",
    "SELECT id FROM {t} WHERE at >= '2024-12-30' AND at < '2025-01-01'",
    "SELECT id FROM {t} WHERE tz > '1969-12-31 23:59:59.999999+00' AND tz < '2025-01-01 00:00+00'",
    "SELECT id FROM {t} WHERE tz::date = '2024-12-31'",
    "SELECT id FROM {t} WHERE tm = '24:00' OR tm < '00:00:01'",
    "SELECT id FROM {t} WHERE at = day",
    "SELECT date_trunc('month', at), count(*), sum(n) FROM {t} WHERE id > 100 GROUP BY 1 ORDER BY 1",
    "SELECT extract(dow FROM day), count(*) FROM {t} GROUP BY 1 ORDER BY 1",
    "SELECT id, at + interval '1 month', day - 1, age(at, '2000-01-01'), to_char(at, 'YYYY-MM-DD HH24:MI:SS.US BC')
       FROM {t} WHERE id BETWEEN 4 AND 10 ORDER BY id",
    "SELECT min(day), max(day), min(at), max(at), min(tz), max(tz), min(tm), max(tm) FROM {t}",
    "SELECT id FROM {t} WHERE iv = '1 year'",
    "SELECT extract(epoch FROM iv), count(*) FROM {t} GROUP BY iv",
    "SELECT id FROM {t} WHERE iv IS NOT NULL ORDER BY iv, id",
    // Other types
    "SELECT id FROM {t} WHERE u > 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a10' ORDER BY u",
    "SELECT id FROM {t} WHERE j ->> 'k' = 'v' OR j @> '[1]'",
    "SELECT id, j -> 'k' FROM {t} WHERE j ? 'k' ORDER BY id",
    "SELECT id FROM {t} WHERE j = '[1, 2.5, \"ü\"]'",
    "SELECT id FROM {t} WHERE j IS NULL AND id < 100",
    "SELECT id FROM {t} WHERE a = '{1,2,3}'",
    "SELECT id FROM {t} WHERE a @> '{1}' AND array_length(a, 1) > 1",
    "SELECT id, a[1], cardinality(a), ta[1] FROM {t} WHERE 1 = ANY (a) ORDER BY id",
    "SELECT id, unnest(ta) FROM {t} WHERE ta IS NOT NULL ORDER BY id",
    "SELECT id FROM {t} WHERE x = '\\x01' OR x = ''",
    "SELECT id FROM {t} WHERE x < '\\x02' ORDER BY x, id",
    // Shapes of queries
    "SELECT a.id, b.id FROM {t} a JOIN {t} b ON a.i = b.b WHERE a.id < 100 AND b.id < 100",
    "SELECT a.id, b.id FROM {t} a LEFT JOIN {t} b ON a.b = b.i AND b.id < 9 WHERE a.id < 100",
    "SELECT id FROM {t} WHERE EXISTS (SELECT FROM {t} o WHERE o.i = {t}.b AND o.id <> {t}.id)",
    "SELECT id FROM {t} a WHERE n > (SELECT avg(n) FROM {t} b WHERE b.i = a.i)",
    "SELECT id, row_number() OVER (PARTITION BY i ORDER BY n DESC, id), lag(n) OVER (ORDER BY id) FROM {t} WHERE id > 250",
    "WITH RECURSIVE s AS (SELECT 1 AS k UNION ALL SELECT k + 1 FROM s WHERE k < 5) SELECT k, t FROM s JOIN {t} ON id = k",
    "SELECT id FROM {t} WHERE id < 5 UNION ALL SELECT i FROM {t} WHERE id BETWEEN 3 AND 8",
    "SELECT id FROM {t} WHERE id < 8 EXCEPT SELECT i FROM {t}",
    "SELECT CASE WHEN i IS NULL THEN 'none' WHEN i > 0 THEN 'more' ELSE 'less' END, count(*) FROM {t} GROUP BY 1",
    "SELECT i::text || t, i::numeric / 3, n::int, flag::int, at::date, id::float8 FROM {t} WHERE id BETWEEN 5 AND 10 ORDER BY id",
    "SELECT t::int FROM {t} WHERE id = 5",
    "SELECT greatest(i, 3), least(b, 5), abs(i), sign(n) FROM {t} WHERE id BETWEEN 5 AND 10 ORDER BY id",
    "SELECT max(i) - min(i), count(*) * 2 FROM {t} WHERE id > 100",
    "SELECT id FROM {t} ORDER BY flag DESC, i NULLS FIRST, id LIMIT 10",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n), mode() WITHIN GROUP (ORDER BY i) FROM {t}",
    "SELECT array_agg(i ORDER BY id), json_agg(t ORDER BY id) FROM {t} WHERE id < 11",
    "SELECT tableoid::regclass::text = '{t}' FROM {t} WHERE id = 1",
];

/// Statements that change `{t}`, in order. The tables are compared after each.
const CHANGES: &[&str] = &[
    "UPDATE {t} SET i = i + 1 WHERE i = 1",
    "UPDATE {t} SET t = upper(t), n = round(n / 3, 2) WHERE t ~ 'row [0-4]'",
    "UPDATE {t} SET d = 'NaN', r = '-0' WHERE d > 'Infinity' OR d IS NULL",
    "UPDATE {t} SET (v, c) = (c, v) WHERE id < 11",
    "UPDATE {t} SET c = c || 'x' WHERE id = 6",
    "UPDATE {t} SET v = 'far too long for it' WHERE id = 6",
    "UPDATE {t} SET n = n * 1000000000000 WHERE id = 4",
    "UPDATE {t} SET i = NULL, t = NULL, at = NULL, j = '{\"new\": true}', a = a || 9 WHERE id IN (4, 5, 6) RETURNING *",
    "UPDATE {t} SET i = s.total FROM (SELECT flag, count(*)::int AS total FROM {t} GROUP BY flag) s
       WHERE s.flag = {t}.flag AND id > 280 RETURNING id, i, total",
    "UPDATE {t} SET t = o.t FROM {t} o WHERE o.id = {t}.id + 1 AND {t}.id BETWEEN 2 AND 8",
    "UPDATE {t} SET at = at + interval '1 day 00:00:00.000001', day = day + 1, tz = tz - interval '1 month' WHERE id = 8",
    "UPDATE {t} SET i = (SELECT max(i) FROM {t}) WHERE id = 10 RETURNING id, i, pg_typeof(i)",
    "UPDATE {t} SET i = 5 WHERE false",
    "DELETE FROM {t} WHERE c = 'a' RETURNING id, t, n * 2",
    "DELETE FROM {t} WHERE i IS NULL AND id > 200",
    "DELETE FROM {t} USING (VALUES (110), (111), (110)) k(id) WHERE k.id = {t}.id",
    "DELETE FROM {t} WHERE id IN (SELECT id + 1 FROM {t} WHERE t = 'row 7')",
    "DELETE FROM {t} a USING {t} b WHERE a.id = b.id + 2 AND b.n > 200 RETURNING a.id, b.id",
    "WITH gone AS (DELETE FROM {t} WHERE id BETWEEN 150 AND 160 RETURNING *)
       INSERT INTO {t} SELECT (gone).* FROM (SELECT gone FROM gone) g",
    "WITH gone AS (DELETE FROM {t} WHERE id % 2 = 0 AND id > 100 RETURNING id, n) SELECT count(*), sum(n) FROM gone",
    "WITH new AS (INSERT INTO {t} (id, t) VALUES (1000, 'x'), (1001, NULL) RETURNING id)
       UPDATE {t} SET t = 'seen' WHERE id IN (SELECT id + 1 FROM new) OR id = 9",
    "INSERT INTO {t} (id, i) SELECT id + 2000, i FROM {t} WHERE i > 2 RETURNING id, i",
    "INSERT INTO {t} (id, i) VALUES (3000, DEFAULT), (3001, 1 + 1) ON CONFLICT DO NOTHING",
    "INSERT INTO {t} (id, n) VALUES (1, 12345678901234567.1)",
    "INSERT INTO {t} (id, day) VALUES (1, '2024-02-30')",
    "UPDATE {t} SET i = i",
    "DELETE FROM {t} WHERE d = 'NaN' OR r = 'Infinity'",
    "DELETE FROM {t}",
    "INSERT INTO {t} (id) VALUES (1)",
];

async fn twins(db: &Db) {
    db.run("SET timezone = 'UTC'").await;
    db.run(&format!("CREATE TABLE heap ({COLUMNS})")).await;
    db.run(&format!("CREATE TABLE lake ({COLUMNS}) USING iceberg"))
        .await;
    for rows in ROWS {
        for table in ["heap", "lake"] {
            db.run(&rows.replace("{t}", table)).await;
        }
    }
    // The table to read has more than one file, and position deletes.
    for table in ["heap", "lake"] {
        db.run(&format!(
            "INSERT INTO {table} (id, i, t) SELECT g, g, 'gone' FROM generate_series(500, 600) g"
        ))
        .await;
        db.run(&format!("DELETE FROM {table} WHERE t = 'gone'"))
            .await;
        db.run(&format!("DELETE FROM {table} WHERE id = 200")).await;
    }
}

/// Runs a statement on both tables, and returns the difference if there is one.
async fn difference(db: &Db, statement: &str) -> Option<String> {
    let heap = answer(db, statement, "heap").await;
    compared(statement, heap, answer(db, statement, "lake").await)
}

/// Runs a statement on both tables within a transaction, and returns the difference if there is
/// one. A savepoint keeps a failed statement from aborting the transaction.
async fn difference_in_transaction(db: &Db, statement: &str) -> Option<String> {
    let mut answers = Vec::new();
    for table in ["heap", "lake"] {
        db.run("SAVEPOINT s").await;
        let answer = answer(db, statement, table).await;
        db.run(if answer.is_ok() {
            "RELEASE s"
        } else {
            "ROLLBACK TO s; RELEASE s"
        })
        .await;
        answers.push(answer);
    }
    let lake = answers.pop().unwrap();
    compared(statement, answers.pop().unwrap(), lake)
}

async fn answer(db: &Db, statement: &str, table: &str) -> Result<Answer, String> {
    let mut answer = db.try_run(&statement.replace("{t}", table)).await;
    if let Ok(answer) = &mut answer
        && !statement.contains("ORDER BY")
    {
        answer.rows.sort();
    }
    // Details are not compared: a heap table's error shows the failing row, an Iceberg table's does
    // not.
    answer.map_err(|failure| failure.text.replace(&format!("\"{table}\""), "\"{t}\""))
}

fn compared(
    statement: &str,
    heap: Result<Answer, String>,
    lake: Result<Answer, String>,
) -> Option<String> {
    if heap == lake {
        return None;
    }
    let mut shown = format!("{statement}\n");
    match (&heap, &lake) {
        (Ok(heap), Ok(lake)) if heap.count == lake.count => {
            for (heap, lake) in heap
                .rows
                .iter()
                .zip(&lake.rows)
                .filter(|(heap, lake)| heap != lake)
            {
                shown.push_str(&format!("  heap {heap}\n  lake {lake}\n"));
            }
        }
        _ => shown.push_str(&format!("  heap {heap:?}\n  lake {lake:?}")),
    }
    Some(shown)
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_give_what_they_give_on_a_heap_table() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    twins(&db).await;
    let mut wrong = Vec::new();
    for query in QUERIES {
        wrong.extend(difference(&db, query).await);
    }
    // Uncommitted rows, which only the engine's memory has, give the same answers.
    db.run("CREATE TABLE fresh (LIKE heap) USING iceberg").await;
    db.run("BEGIN; ALTER TABLE heap RENAME TO whole; CREATE TABLE heap AS SELECT * FROM whole WHERE id < 140").await;
    db.run("ALTER TABLE lake RENAME TO committed; ALTER TABLE fresh RENAME TO lake")
        .await;
    db.run("INSERT INTO lake SELECT * FROM whole WHERE id < 150; DELETE FROM lake WHERE id >= 140")
        .await;
    for query in QUERIES {
        wrong.extend(
            difference_in_transaction(&db, query)
                .await
                .map(|found| format!("uncommitted: {found}")),
        );
    }
    db.run("ROLLBACK").await;
    assert!(
        wrong.is_empty(),
        "{} queries differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Runs the changes, each in its own transaction or all in one: a change then works on rows in
/// files or on rows in memory.
async fn changes(in_one_transaction: bool) {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    twins(&db).await;
    let mut wrong = Vec::new();
    if in_one_transaction {
        db.run("BEGIN").await;
    }
    for change in CHANGES {
        let different = if in_one_transaction {
            difference_in_transaction(&db, change).await
        } else {
            difference(&db, change).await
        };
        let content = difference(&db, "SELECT * FROM {t} ORDER BY id, i, t").await;
        if let Some(difference) =
            different.or(content.map(|content| format!("after {change}\n{content}")))
        {
            wrong.push(difference);
            // Makes the tables equal again, so that later changes can be compared.
            db.run("DELETE FROM lake").await;
            db.run("INSERT INTO lake SELECT * FROM heap").await;
        }
    }
    if in_one_transaction {
        db.run("COMMIT").await;
        wrong.extend(difference(&db, "SELECT * FROM {t} ORDER BY id, i, t").await);
    }
    assert!(
        wrong.is_empty(),
        "{} changes differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_do_what_they_do_to_a_heap_table() {
    changes(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_in_one_transaction_do_what_they_do_to_a_heap_table() {
    changes(true).await;
}

/// Parameters in every place. PostgreSQL plans the first five executions with the values, and may
/// plan later ones without.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_cursors_and_functions() {
    let test = TestSandbox::start().await;
    let db = test.db().await;
    twins(&db).await;
    let client = &db.client;
    for sql in [
        "SELECT id FROM {t} WHERE i = $1 AND id > 100 ORDER BY id",
        "SELECT id FROM {t} WHERE i = ANY (ARRAY[$1, 3]) ORDER BY id",
        "SELECT sum(i)::int FROM {t} WHERE i > $1 AND id > 100",
        "UPDATE {t} SET b = b + $1 WHERE i = $1 RETURNING id",
        "SELECT b::int FROM {t} WHERE i = $1 AND id > 100 ORDER BY id",
        "DELETE FROM {t} WHERE i = $1 AND id > 290 RETURNING id",
        "INSERT INTO {t} (id, i) VALUES ($1 + 5000, $1) RETURNING id",
    ] {
        let mut answers: Vec<Vec<Vec<i32>>> = Vec::new();
        for table in ["heap", "lake"] {
            let statement = client.prepare(&sql.replace("{t}", table)).await.unwrap();
            let mut rounds = Vec::new();
            for round in 0..8 {
                let rows = client.query(&statement, &[&(round % 7)]).await.unwrap();
                let mut ids: Vec<i32> = rows
                    .iter()
                    .map(|row| row.get::<_, Option<i32>>(0).unwrap_or(-1))
                    .collect();
                if !sql.contains("ORDER BY") {
                    ids.sort_unstable();
                }
                rounds.push(ids);
            }
            answers.push(rounds);
        }
        assert_eq!(answers[0], answers[1], "{sql}");
    }

    for statement in [
        "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id, t FROM {t} WHERE id < 100 ORDER BY id; FETCH 3 FROM c; FETCH BACKWARD 1 FROM c;
         MOVE 2 FROM c; FETCH ALL FROM c; CLOSE c; COMMIT",
        "BEGIN; DECLARE c CURSOR FOR SELECT id FROM {t} ORDER BY id; FETCH 2 FROM c; DELETE FROM {t} WHERE id = 3; FETCH 2 FROM c; COMMIT",
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT id FROM {t} WHERE id < 20 ORDER BY id; COMMIT; FETCH 3 FROM c; CLOSE c",
        "CREATE OR REPLACE FUNCTION f() RETURNS TABLE (k int, total numeric) LANGUAGE plpgsql AS $$
         DECLARE r record; BEGIN
           FOR r IN SELECT id, n FROM {t} WHERE id BETWEEN 4 AND 8 ORDER BY id LOOP
             UPDATE {t} SET n = r.n / 2 WHERE id = r.id;
             IF NOT FOUND THEN RAISE EXCEPTION 'no row %', r.id; END IF;
           END LOOP;
           RETURN QUERY SELECT i, sum(n) FROM {t} WHERE i < 3 GROUP BY i ORDER BY i;
         END $$; SELECT * FROM f()",
        "CREATE OR REPLACE FUNCTION g(low int) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM {t} WHERE id > low'; SELECT g(5), g(150)",
        "DO $$ DECLARE k int; BEGIN
           INSERT INTO {t} (id, i) VALUES (7000, 1) RETURNING id INTO k;
           EXECUTE 'UPDATE {t} SET t = $1 WHERE id = $2' USING 'dynamic', k;
         END $$; SELECT t FROM {t} WHERE id = 7000",
        "CREATE OR REPLACE VIEW {t}_view AS SELECT i, count(*) AS rows FROM {t} GROUP BY i; SELECT * FROM {t}_view ORDER BY i",
        "CREATE OR REPLACE RULE r AS ON INSERT TO {t}_view DO INSTEAD INSERT INTO {t} (id) VALUES (8000); INSERT INTO {t}_view (i) VALUES (1);
         SELECT count(*) FROM {t} WHERE id = 8000",
    ] {
        assert_eq!(difference(&db, statement).await, None);
    }
    assert_eq!(difference(&db, "SELECT * FROM {t} ORDER BY id").await, None);
}

/// COPY FROM STDIN in the formats that clients use, also with invalid rows.
#[tokio::test(flavor = "multi_thread")]
async fn copy_in_and_out() {
    use futures::SinkExt;
    let test = TestSandbox::start().await;
    let db = test.db().await;
    for (table, using) in [("heap", ""), ("lake", "USING iceberg")] {
        db.run(&format!("CREATE TABLE {table} (id int NOT NULL, name text DEFAULT 'none', n numeric(6,2), at timestamptz) {using}")).await;
    }
    let copy = async |sql: &str, data: String| -> Result<u64, String> {
        let error = |error: tokio_postgres::Error| match error.as_db_error() {
            Some(error) => format!("{}: {}", error.code().code(), error.message()),
            None => error.to_string(),
        };
        let sink = db
            .client
            .copy_in::<_, bytes::Bytes>(sql)
            .await
            .map_err(error)?;
        let mut sink = Box::pin(sink);
        sink.send(bytes::Bytes::from(data)).await.map_err(error)?;
        sink.as_mut().finish().await.map_err(error)
    };
    let many: String = (10..20_010)
        .map(|id| format!("{id}\trow {id}\t{}.25\t\\N\n", id % 1000))
        .collect();
    for (sql, data) in [
        ("COPY {t} FROM STDIN", "1\ta\t1.5\t2024-01-01 00:00+00\n2\t\\N\t\\N\t\\N\n3\ttab\\tin\t-9999.99\t0001-01-01 00:00+00\n".to_owned()),
        ("COPY {t} (id, n) FROM STDIN (FORMAT csv, HEADER)", "id,n\n4,\"7.125\"\n5,\n".to_owned()),
        ("COPY {t} FROM STDIN", many),
        ("COPY {t} FROM STDIN", "6\tx\t1\t\\N\nbad\tx\t1\t\\N\n".to_owned()),
        ("COPY {t} FROM STDIN", "6\tx\t12345\t\\N\n".to_owned()),
        ("COPY {t} (name) FROM STDIN", "no id\n".to_owned()),
        ("COPY {t} FROM STDIN", "7\ttoo few\n".to_owned()),
        ("COPY {t} FROM STDIN (FORMAT csv) WHERE id > 100", "99,a,1,\n100001,b,2,\n".to_owned()),
        ("COPY {t} FROM STDIN", String::new()),
    ] {
        let on = async |table: &str| {
            let answer = copy(&sql.replace("{t}", table), data.clone()).await;
            answer.map_err(|error| error.replace(table, "{t}"))
        };
        let (heap, lake) = (on("heap").await, on("lake").await);
        assert_eq!(heap, lake, "{sql} {}", &data[..data.len().min(60)]);
        assert_eq!(difference(&db, "SELECT * FROM {t} ORDER BY id").await, None, "{sql}");
    }
    assert_eq!(db.one("SELECT count(*) FROM lake").await, "20006");
    db.assert_error(
        "COPY lake TO STDOUT",
        "42809: cannot copy from foreign table \"lake\"",
    )
    .await;
}
