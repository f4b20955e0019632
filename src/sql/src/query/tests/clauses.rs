//! Clauses, subqueries and set operations.

use super::*;

/// DataFusion would return one row for each row of the subquery.
#[tokio::test]
async fn a_query_as_a_value_has_one_row() {
    let session = TestCatalog::default()
        .with("T", "SELECT column1 AS a FROM VALUES (1), (2)")
        .await;
    for (sql, expected) in [
        ("SELECT (SELECT a FROM t WHERE a = 2)", "2"),
        ("SELECT (SELECT a FROM t WHERE a > 2)", "NULL"),
        (
            "SELECT (SELECT a FROM t)",
            "090150 (22000): Single-row subquery returns more than one row.",
        ),
        (
            "SELECT a FROM t WHERE a = (SELECT a FROM t)",
            "090150 (22000): Single-row subquery returns more than one row.",
        ),
        (
            "SELECT a, (SELECT MAX(x.a) FROM t x WHERE x.a = t.a - 1) FROM t ORDER BY a",
            "1 | NULL; 2 | 1",
        ),
        (
            "SELECT a, (SELECT MAX(x.a) FROM t x WHERE x.a < t.a) FROM t",
            "002031 (42601): SQL compilation error:\nUnsupported subquery type cannot be evaluated",
        ),
        (
            "SELECT a, (SELECT x.a FROM t x WHERE x.a = t.a) FROM t ORDER BY a",
            "1 | 1; 2 | 2",
        ),
        ("SELECT a FROM t WHERE a IN (SELECT a + 1 FROM t)", "2"),
        (
            "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM t x WHERE x.a > t.a)",
            "1",
        ),
    ] {
        assert_eq!(ask_of(&session, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn nulls_in_sets() {
    let session = TestCatalog::default()
        .with("T", "SELECT column1 AS a FROM VALUES (1), (NULL)")
        .await
        .with("U", "SELECT column1 AS a FROM VALUES (2), (NULL)")
        .await;
    for (sql, expected) in [
        ("SELECT a FROM t WHERE a NOT IN (SELECT a FROM u)", ""),
        (
            "SELECT a FROM t WHERE a NOT IN (SELECT a FROM u WHERE a = 2)",
            "1",
        ),
        ("SELECT a FROM t WHERE a NOT IN (2, NULL)", ""),
        (
            "SELECT 3 NOT IN (2, NULL), 2 IN (2, NULL), NULL IN (1)",
            "NULL | true | NULL",
        ),
        ("SELECT a FROM t INTERSECT SELECT a FROM u", "NULL"),
        ("SELECT a FROM t EXCEPT SELECT a FROM u", "1"),
        (
            "SELECT COUNT(DISTINCT a), COUNT(*) FROM (SELECT a FROM t UNION SELECT a FROM u)",
            "2 | 3",
        ),
        ("SELECT COUNT(*) FROM t JOIN u ON t.a = u.a", "0"),
        ("SELECT COUNT(*) FROM t JOIN u ON EQUAL_NULL(t.a, u.a)", "1"),
    ] {
        assert_eq!(ask_of(&session, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn clauses() {
    let session = TestCatalog::default()
        .with(
            "T",
            "SELECT column1 AS id, column2 AS name FROM VALUES (1, 'a'), (2, 'b')",
        )
        .await;
    for (sql, expected) in [
        (
            "SELECT * FROM t JOIN t u USING (id) ORDER BY id",
            "1 | a | a; 2 | b | b",
        ),
        (
            "SELECT * REPLACE (id * 2 AS id) FROM t ORDER BY 1",
            "2 | a; 4 | b",
        ),
        ("SELECT x.k FROM t AS x(k, v) WHERE v = 'b'", "2"),
        ("WITH x(k) AS (SELECT id FROM t) SELECT SUM(k) FROM x", "3"),
        (
            "SELECT v.b FROM VALUES (1, 'x'), (2, 'y') AS v(a, b) WHERE a = 2",
            "y",
        ),
        (
            "SELECT b FROM (SELECT name AS a, id + 1 FROM t ORDER BY a) AS v(b, c) WHERE c = 3",
            "b",
        ),
        (
            "WITH RECURSIVE f(n, x) AS (SELECT 1, 1 UNION ALL SELECT n + 1, x * (n + 1) FROM f WHERE n < 5) SELECT MAX(x) FROM f",
            "120",
        ),
        (
            "WITH r AS (SELECT 'a' AS s UNION ALL SELECT s || 'b' FROM r WHERE LENGTH(s) < 3) SELECT s FROM r ORDER BY s DESC LIMIT 1",
            "abb",
        ),
        ("SELECT id FROM t ORDER BY id DESC LIMIT 1 OFFSET 1", "1"),
        (
            "(SELECT id FROM t ORDER BY id LIMIT 1) UNION ALL SELECT 9",
            "1; 9",
        ),
        (
            "SELECT name, COUNT(*) FROM t GROUP BY 1 ORDER BY 2, 1",
            "a | 1; b | 1",
        ),
        (
            "SELECT UPPER(name) AS name, COUNT(*) FROM t GROUP BY name ORDER BY name",
            "A | 1; B | 1",
        ),
        ("SELECT DISTINCT 1 FROM t", "1"),
        ("SELECT id + 1 AS n, n * 2 FROM t WHERE n = 2", "2 | 4"),
        (
            "SELECT a.id FROM t a LEFT JOIN t b ON a.id = b.id + 1 WHERE b.id IS NULL",
            "1",
        ),
        ("SELECT COUNT(*) FROM t NATURAL JOIN t u", "2"),
        (
            "SELECT id FROM t WHERE name = 'a' OR NOT name LIKE '%'",
            "1",
        ),
        ("SELECT COUNT(*) FROM t WHERE name LIKE NULL", "0"),
        (
            "SELECT COUNT(*) FROM t WHERE id::varchar || '.0' IN (SELECT id FROM t)",
            "2",
        ),
        (
            "SELECT COUNT(*) FROM t WHERE id IN (SELECT id::varchar FROM t)",
            "000002 (0A000): SQL compilation error:\nUnsupported feature 'IN with a subquery whose column has another type; cast the column in the subquery'.",
        ),
        ("SELECT MAX(id) AS m FROM t HAVING m > 1", "2"),
        (
            "SELECT id FROM t WHERE id IN (SELECT MAX(id) FROM t GROUP BY name) ORDER BY 1",
            "1; 2",
        ),
        (
            "SELECT t.*, u.name AS other FROM t JOIN t u ON t.id = u.id WHERE t.id = 1",
            "1 | a | a",
        ),
        (
            "SELECT DATEADD(day, id, '2024-01-01'::date) FROM t ORDER BY 1",
            "2024-01-02; 2024-01-03",
        ),
        (
            "SELECT id, LAG(name) OVER (ORDER BY id), LEAD(id, 1, 0.5) OVER (ORDER BY id) FROM t ORDER BY 1",
            "1 | NULL | 2.0; 2 | a | 0.5",
        ),
        (
            "SELECT SUM(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t ORDER BY 1",
            "1; 3",
        ),
        ("SELECT id FROM t ORDER BY name DESC, id", "2; 1"),
        (
            "SELECT a.name, b.name FROM t a, t b WHERE a.id = b.id - 1",
            "a | b",
        ),
        (
            "SELECT x.n FROM (SELECT COUNT(*) AS n FROM t GROUP BY id) x ORDER BY n DESC LIMIT 1",
            "1",
        ),
        (
            "SELECT name, COUNT(*) OVER () FROM t GROUP BY name ORDER BY name",
            "a | 2; b | 2",
        ),
        (
            "SELECT name, SUM(COUNT(*)) OVER () FROM t GROUP BY name ORDER BY name",
            "a | 2; b | 2",
        ),
        (
            "SELECT name, SUM(id) / SUM(SUM(id)) OVER () FROM t GROUP BY name ORDER BY name",
            "a | 0.333333; b | 0.666667",
        ),
        (
            "SELECT CASE name WHEN 'a' THEN id END FROM t ORDER BY 1",
            "1; NULL",
        ),
        (
            "SELECT COUNT(DISTINCT CASE WHEN id > 1 THEN name END) FROM t",
            "1",
        ),
        (
            "SELECT id FROM t QUALIFY RANK() OVER (ORDER BY id DESC) <= 1",
            "2",
        ),
        (
            "SELECT id AS \"Id\", \"Id\" + 1 FROM t ORDER BY \"Id\" LIMIT 1",
            "1 | 2",
        ),
    ] {
        assert_eq!(ask_of(&session, sql).await, expected, "{sql}");
    }
}
