//! Cases in which DataFusion alone would silently give another result than Snowflake.

use super::*;

/// Documentation: "Arithmetic operators", AVG, SUM, "Data type conversion".
#[tokio::test]
async fn numbers_have_snowflakes_precision_and_scale() {
    expect_typed(&[
        ("1.5", "1.5 NUMBER(2,1)"),
        ("1", "1 NUMBER(1,0)"),
        ("1/2", "0.500000 NUMBER(7,6)"),
        ("2/7", "0.285714 NUMBER(7,6)"),
        ("10.1/2.1", "4.8095238 NUMBER(10,7)"),
        ("10.0001 * 5.45", "54.500545 NUMBER(9,6)"),
        ("1.10 + 2", "3.10 NUMBER(4,2)"),
        ("7 % 4", "3 NUMBER(1,0)"),
        ("1.5::int", "2 NUMBER(38,0)"),
        ("2.5::int", "3 NUMBER(38,0)"),
        ("-1.5::int", "-2 NUMBER(38,0)"),
        ("'12.345'::number(10,2)", "12.35 NUMBER(10,2)"),
        ("9223372036854775807 + 1", "9223372036854775808 NUMBER(20,0)"),
        ("1::float / 4", "0.25 FLOAT"),
        ("DIV0(1, 0)", "0.000000 NUMBER(7,6)"),
        ("1 / 0", "100051 (22012): Division by zero"),
        ("1::float / 0", "100051 (22012): Division by zero"),
        ("99999999999999999999999999999999999999 + 1", "100039 (22003): Numeric value '99999999999999999999999999999999999999 + 1' is out of range"),
    ])
    .await;
}

#[tokio::test]
async fn aggregates_have_snowflakes_types() {
    let session = TestCatalog::default()
        .with("T", "SELECT column1::number(12,2) AS d, column2::int AS i, column3 AS s, column4::number(5,1) AS n \
                    FROM VALUES (1.10, 1, '7', 28.9), (2.25, 2, '8', 29.0), (NULL, 2, NULL, NULL)")
        .await
        .with_arrays("L", vec![("I", Arc::new(arrow::array::Int64Array::from(vec![i64::MAX, 1])))]);
    for (query, columns, expected) in [
        (
            "SELECT SUM(d), AVG(d) FROM t",
            "SUM(D) NUMBER(24,2), AVG(D) NUMBER(38,8)",
            "3.35 | 1.67500000",
        ),
        (
            "SELECT SUM(i), AVG(i) FROM t",
            "SUM(I) NUMBER(38,0), AVG(I) NUMBER(38,6)",
            "5 | 1.666667",
        ),
        (
            "SELECT AVG(n), MEDIAN(i) FROM t",
            "AVG(N) NUMBER(38,7), MEDIAN(I) NUMBER(38,3)",
            "28.9500000 | 2.000",
        ),
        (
            "SELECT COUNT(*), COUNT(d), COUNT(DISTINCT i) FROM t",
            "COUNT(*) NUMBER(18,0), COUNT(D) NUMBER(18,0), COUNT(DISTINCT I) NUMBER(18,0)",
            "3 | 2 | 2",
        ),
        (
            "SELECT SUM(s), AVG(s) FROM t",
            "SUM(S) FLOAT, AVG(S) FLOAT",
            "15 | 7.5",
        ),
        // The sum needs more than 64 bits.
        (
            "SELECT SUM(i) FROM l",
            "SUM(I) NUMBER(31,0)",
            "9223372036854775808",
        ),
        (
            "SELECT AVG(i) FROM l WHERE i < 0",
            "AVG(I) NUMBER(38,6)",
            "NULL",
        ),
    ] {
        let rows = run(query, &session)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(columns_of(&rows), columns, "{query}");
        assert_eq!(rows_of(&rows).join("; "), expected, "{query}");
    }
    // The sum has more than 38 digits: alone, in groups and in windows.
    let large = "(SELECT column1::int AS x FROM VALUES ('90000000000000000000000000000000000000'), ('80000000000000000000000000000000000000'), ('90000000000000000000000000000000000000'), ('90000000000000000000000000000000000000'))";
    for sum in ["SUM(x)", "AVG(x)", "SUM(x) OVER ()"] {
        let found = ask_of(&session, &format!("SELECT {sum} FROM {large}")).await;
        assert!(found.starts_with("100039 (22003)"), "{sum}: {found}");
    }
    assert_eq!(
        ask("SELECT SUM(column1::int) OVER (ORDER BY column1 ROWS 1 PRECEDING) FROM VALUES (1), (2), (3)").await,
        "1; 3; 5"
    );
    assert_eq!(
        ask_of(&session, "SELECT SUM(x) FROM (SELECT 'one' AS x)").await,
        "100038 (22018): Numeric value 'one' is not recognized"
    );
}

#[tokio::test]
async fn nulls_are_last_ascending_and_first_descending() {
    let nulls = "FROM (VALUES (2), (NULL), (1))";
    assert_eq!(
        ask(&format!("SELECT column1 {nulls} ORDER BY 1")).await,
        "1; 2; NULL"
    );
    assert_eq!(
        ask(&format!("SELECT column1 {nulls} ORDER BY 1 DESC")).await,
        "NULL; 2; 1"
    );
    assert_eq!(
        ask(&format!(
            "SELECT column1 {nulls} ORDER BY 1 DESC NULLS LAST"
        ))
        .await,
        "2; 1; NULL"
    );
    assert_eq!(
        ask(&format!(
            "SELECT column1, ROW_NUMBER() OVER (ORDER BY column1 DESC) {nulls} ORDER BY 2"
        ))
        .await,
        "NULL | 1; 2 | 2; 1 | 3"
    );
    assert_eq!(
        ask("SELECT column1 FROM VALUES ('b'), ('B'), ('a') ORDER BY 1").await,
        "B; a; b"
    );
}

#[tokio::test]
async fn texts_are_compared_with_numbers_as_numbers() {
    expect(&[
        ("'10' > 9", "true"),
        ("'1.0' = 1", "true"),
        ("10 IN ('9', '10.0')", "true"),
        ("'10' BETWEEN 9 AND 11", "true"),
        ("CASE 10 WHEN '10.0' THEN 'same' ELSE 'other' END", "same"),
        ("'2024-1-5'::date = '2024-01-05'", "true"),
        (
            "'2024-01-05'::date < '2024-01-05 00:00:01'::timestamp",
            "true",
        ),
        // A TIMESTAMP_NTZ is read in the session's time zone.
        (
            "'2024-07-01 00:00:00'::timestamp_ntz = '2024-07-01 07:00:00 Z'::timestamp_ltz",
            "true",
        ),
        (
            "'x' = 1",
            "100038 (22018): Numeric value 'x' is not recognized",
        ),
        ("true = 'yes'", "true"),
    ])
    .await;
    let sql = "SELECT column1 FROM VALUES ('10'), ('9') WHERE column1 > 9.5";
    assert_eq!(ask(sql).await, "10");
    let sql = "SELECT COUNT(*) FROM (VALUES ('1'), ('02')) a JOIN (VALUES (1), (2)) b ON a.column1 = b.column1";
    assert_eq!(ask(sql).await, "2");
    assert!(
        ask("SELECT 1 = '2024-01-01'::date")
            .await
            .starts_with("001044 (42P13)")
    );
}

#[tokio::test]
async fn formats_are_snowflakes() {
    expect(&[
        (
            "TO_CHAR('2024-03-05 14:07:09'::timestamp, 'YYYY-MM-DD')",
            "2024-03-05",
        ),
        ("TO_VARCHAR('2024-03-05'::date, 'DD-MON-YY')", "05-Mar-24"),
        (
            "TO_CHAR('2024-03-05'::date, '%Y')",
            "100096 (22007): Bad date/timestamp format '%Y'",
        ),
        ("TO_CHAR(1234.5, '9,999.00')", " 1,234.50"),
        ("TO_DATE('05/03/2024', 'DD/MM/YYYY')", "2024-03-05"),
        (
            "'2024-03-05 14:07:09.123456'::timestamp",
            "2024-03-05 14:07:09.123",
        ),
        (
            "'2024-03-05 14:07:09 +0100'::timestamp_tz",
            "2024-03-05 14:07:09.000 +0100",
        ),
        (
            "'2024-03-05 14:07:09'::timestamp_tz",
            "2024-03-05 14:07:09.000 -0800",
        ),
        (
            "'2024-03-05 14:07:09'::timestamp_ltz",
            "2024-03-05 14:07:09.000 -0800",
        ),
        ("'14:07:09'::time", "14:07:09"),
        (
            "'2024-03-05 14:07:09'::timestamp::varchar",
            "2024-03-05 14:07:09.000",
        ),
    ])
    .await;
}

#[tokio::test]
async fn time_travel_reaches_the_catalog() {
    let session = TestCatalog::default().with("T", "SELECT 1 AS a").await;
    for (at, asked) in [
        (
            "AT(TIMESTAMP => '2024-07-01 10:00:00'::timestamp_ntz)",
            "T TimeTravel { before: false, moment: Timestamp(TimestampNanosecond(1719828000000000000, None), TimestampNtz { scale: 9 }) }",
        ),
        (
            "AT(OFFSET => -60*5)",
            "T TimeTravel { before: false, moment: Offset(Decimal128(Some(-300),3,0)) }",
        ),
        (
            "BEFORE(STATEMENT => '01b')",
            "T TimeTravel { before: true, moment: Statement(\"01b\") }",
        ),
        (
            "AT(VERSION => 3821550127947089009)",
            "T TimeTravel { before: false, moment: Version(Int64(3821550127947089009)) }",
        ),
    ] {
        let sql = format!("SELECT x.a FROM t {at} AS x");
        assert_eq!(ask_of(&session, &sql).await, "1", "{sql}");
        assert_eq!(
            session.asked.lock().unwrap().pop().as_deref(),
            Some(asked),
            "{sql}"
        );
    }
}

/// Whatever is parsed is either executed or refused.
#[tokio::test]
async fn what_is_not_there_is_refused_by_name() {
    let session = TestCatalog::default()
        .with("T", "SELECT 1 AS a, 2 AS b")
        .await;
    for (sql, expected) in [
        (
            "SELECT a FROM t SAMPLE (10)",
            "Unsupported feature 'SAMPLE'.",
        ),
        (
            "SELECT a FROM t TABLESAMPLE (10)",
            "Unsupported feature 'SAMPLE'.",
        ),
        (
            "SELECT * FROM t PIVOT(SUM(a) FOR b IN (1, 2))",
            "Unsupported feature 'PIVOT'.",
        ),
        (
            "SELECT NOSUCH(a) FROM t",
            "002140 (42601): SQL compilation error:\nUnknown function NOSUCH.",
        ),
        ("SELECT LOG10(a) FROM t", "Unknown function LOG10."),
        ("SELECT \"$cast\"(a, 'INT') FROM t", "Unknown function"),
        (
            "SELECT a FROM t ORDER BY a FETCH FIRST 1 ROWS WITH TIES",
            "FETCH",
        ),
        ("SELECT a FROM t GROUP BY ROLLUP(a)", "Unsupported feature"),
        (
            "SELECT SUM(a) FILTER (WHERE b > 1) FROM t",
            "syntax error line 1 at position 21 unexpected '('",
        ),
        (
            "SELECT * RENAME a AS k FROM t",
            "Unsupported feature '* RENAME'.",
        ),
        (
            "SELECT * ILIKE 'n%' FROM t",
            "Unsupported feature '* ILIKE'.",
        ),
        (
            "SELECT * FROM t ASOF JOIN t u MATCH_CONDITION (t.a >= u.a)",
            "Unsupported feature",
        ),
        ("SELECT a FROM t AT(TIMESTAMP => a)", "000904"),
        (
            "SELECT t.a FROM t, LATERAL (SELECT t.a) x",
            "Unsupported feature 'LATERAL'.",
        ),
        (
            "SELECT a FROM t WHERE (a, b) > ALL (SELECT 1, 2)",
            "Unsupported feature",
        ),
        (
            "SELECT a FROM t WHERE a = ANY (SELECT 1)",
            "Unsupported feature",
        ),
        (
            "SELECT DISTINCT ON (a) a FROM t",
            "Unsupported feature 'DISTINCT ON'.",
        ),
        (
            "SELECT a FROM t CONNECT BY a = PRIOR b",
            "Unsupported feature 'CONNECT BY'.",
        ),
        (
            "SELECT MIN(a) WITHIN GROUP (ORDER BY b) FROM t",
            "WITHIN GROUP",
        ),
        ("SELECT MAX(a, 2) FROM t", "too many arguments"),
        ("SELECT a FROM t FOR UPDATE", "FOR UPDATE"),
        ("SELECT a COLLATE 'en' FROM t", "Unsupported feature"),
        ("SELECT a::geography FROM t", "Unsupported feature"),
        (
            "SELECT a & b FROM t",
            "Unsupported feature 'the operator &'",
        ),
        (
            "SELECT * FROM t, LATERAL FLATTEN(input => a)",
            "Unsupported feature 'LATERAL FLATTEN'.",
        ),
        (
            "SELECT a FROM t INTERSECT ALL SELECT b FROM t",
            "Unsupported feature 'INTERSECT ALL'.",
        ),
        ("SELECT ROW_NUMBER() FROM t", "Missing OVER clause"),
    ] {
        let found = ask_of(&session, sql).await;
        assert!(found.contains(expected), "{sql}: {found}");
    }
}

#[tokio::test]
async fn patterns_are_snowflakes() {
    expect(&[
        // A backslash is not an escape character of LIKE.
        (r"'a\\b' LIKE 'a\\_'", "true"),
        ("'a_b' LIKE 'a^_b' ESCAPE '^'", "true"),
        ("'axb' LIKE 'a^_b' ESCAPE '^'", "false"),
        ("'ABC' ILIKE 'a%'", "true"),
        ("'abc' LIKE 'abc', 'abc' LIKE '%c', 'abc' LIKE '%b%', 'abc' LIKE '%', '' LIKE '%%', 'abc' LIKE 'b'", "true | true | true | true | true | false"),
        ("'abc' LIKE 'a_c', 'abc' LIKE '_c', 'a.c' LIKE 'a.c', 'abc' LIKE 'a.c', 'a%' LIKE 'a!%' ESCAPE '!'", "true | false | true | false | true"),
        ("'abc' LIKE ANY ('x%', 'a%')", "true"),
        ("'abc' NOT LIKE 'b%'", "true"),
        ("'abc' RLIKE 'b'", "false"),
        ("'abc' RLIKE '.*b.*'", "true"),
        (r"REGEXP_SUBSTR('order 123, 45', '\\d+', 1, 2)", "45"),
        (r"REGEXP_REPLACE('a-b-c', '(\\w)-', '<\\1>')", "<a><b>c"),
        ("REGEXP_COUNT('banana', 'a')", "3"),
        ("'a\nb' LIKE 'a%b'", "true"),
    ])
    .await;
}

#[tokio::test]
async fn distinct_from_binds_tighter_than_or() {
    expect(&[
        ("1 IS DISTINCT FROM 1 OR true", "true"),
        ("NULL IS NOT DISTINCT FROM NULL AND false", "false"),
    ])
    .await;
}

/// Documentation of the window functions: without a frame these see the whole partition.
#[tokio::test]
async fn windows_have_snowflakes_default_frames() {
    let sql = "SELECT column1, LAST_VALUE(column1) OVER (ORDER BY column1), SUM(column1) OVER (ORDER BY column1), \
               LAG(column1, 1, 0) OVER (ORDER BY column1) FROM VALUES (1), (2), (3) ORDER BY 1";
    assert_eq!(
        ask(sql).await,
        "1 | 3 | 1 | 0; 2 | 3 | 3 | 1; 3 | 3 | 6 | 2"
    );
}

#[tokio::test]
async fn branches_get_one_type() {
    expect_typed(&[
        ("CASE WHEN true THEN 1 ELSE 2.55 END", "1.00 NUMBER(3,2)"),
        ("IFF(false, 1, 2.5) * 2", "5.0 NUMBER(3,1)"),
        ("NVL(NULL, 2)", "2 NUMBER(1,0)"),
        ("COALESCE(NULL, 1.5, 2)", "1.5 NUMBER(2,1)"),
        (
            "COALESCE(1, 'x')",
            "100038 (22018): Numeric value 'x' is not recognized",
        ),
        (
            "IFF(true, PARSE_JSON('\"a\"'), NULL)::varchar",
            "a VARCHAR(16777216)",
        ),
    ])
    .await;
    assert_eq!(
        ask("SELECT 1 AS a UNION ALL SELECT 2.5 ORDER BY a").await,
        "1.0; 2.5"
    );
    assert_eq!(ask("SELECT 1 AS a UNION SELECT 1.0").await, "1.0");
}
