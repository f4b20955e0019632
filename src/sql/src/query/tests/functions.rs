//! Functions, with the documentation's examples where it has some.

use super::*;
use crate::query::functions as registry;

#[tokio::test]
async fn conditionals() {
    expect(&[
        ("IFF(1 > 2, 'a', 'b')", "b"),
        ("NVL2(NULL, 1, 2)", "2"),
        ("ZEROIFNULL(NULL), NULLIFZERO(0), NULLIF(1, 1), NULLIF(1, 2)", "0 | NULL | NULL | 1"),
        ("DECODE(2, 1, 'one', 2, 'two', 'many'), DECODE(NULL, NULL, 'none'), DECODE(3, 1, 'one')", "two | none | NULL"),
        ("GREATEST(1, 3, 2.5), LEAST(1, NULL), LEAST('b', 'a')", "3.0 | NULL | a"),
        ("EQUAL_NULL(NULL, NULL), EQUAL_NULL(1, NULL)", "true | false"),
        // Only the chosen branch is evaluated.
        ("IFF(true, 1, 1/0)", "1.000000"),
    ])
    .await;
}

#[tokio::test]
async fn dates() {
    expect(&[
        ("DATEADD(month, 1, '2024-01-31'::date)", "2024-02-29"),
        ("DATEADD('hours', -24, '2024-03-01'::date)", "2024-02-29 00:00:00.000"),
        ("TIMESTAMPADD(qtr, 1, '2024-01-31 10:00:00'::timestamp)", "2024-04-30 10:00:00.000"),
        ("DATEDIFF(year, '2023-12-31'::date, '2024-01-01'::date)", "1"),
        ("DATEDIFF(week, '2024-03-03'::date, '2024-03-04'::date)", "1"),
        ("DATEDIFF(hh, '2024-01-01 01:59:59'::timestamp, '2024-01-01 02:00:00'::timestamp)", "1"),
        ("TIMEDIFF(minute, '10:00:00'::time, '09:30:00'::time)", "-30"),
        ("DATE_TRUNC('month', '2024-03-05'::date), DATE_TRUNC(week, '2024-03-05'::date)", "2024-03-01 | 2024-03-04"),
        ("DATE_TRUNC(hour, '2024-03-05 14:07:09'::timestamp)", "2024-03-05 14:00:00.000"),
        ("TRUNC('2024-03-05'::date, 'year')", "2024-01-01"),
        ("EXTRACT(year FROM '2024-03-05'::date), DATE_PART(dow, '2024-03-03'::date)", "2024 | 0"),
        ("YEAR('2024-03-05'::date), QUARTER('2024-05-01'::date), WEEK('2024-01-01'::date), DAYOFYEAR('2024-12-31'::date)", "2024 | 2 | 1 | 366"),
        ("DATE_PART(epoch_second, '1970-01-02'::timestamp_ntz)", "86400"),
        ("LAST_DAY('2024-02-10'::date), LAST_DAY('2024-02-10'::date, 'year')", "2024-02-29 | 2024-12-31"),
        ("NEXT_DAY('2024-03-05'::date, 'Tu'), PREVIOUS_DAY('2024-03-05'::date, 'mo')", "2024-03-12 | 2024-03-04"),
        ("ADD_MONTHS('2024-02-29'::date, 1)", "2024-03-31"),
        ("DAYNAME('2024-03-05'::date), MONTHNAME('2024-03-05'::date)", "Tue | Mar"),
        ("'2024-03-05'::date + 1, '2024-03-05'::date - '2024-02-05'::date", "2024-03-06 | 29"),
        ("'2024-03-05'::date + INTERVAL '1 year, 2 days'", "2025-03-07"),
        ("'2024-03-05'::timestamp - INTERVAL '1 hour'", "2024-03-04 23:00:00.000"),
        ("DATE_FROM_PARTS(2024, 2, 30)", "2024-03-01"),
        ("CONVERT_TIMEZONE('UTC', 'America/New_York', '2024-07-01 12:00:00'::timestamp_ntz)", "2024-07-01 08:00:00.000"),
        ("CURRENT_DATE(), CURRENT_TIMESTAMP", "2024-07-15 | 2024-07-15 12:30:00.123 -0700"),
        ("SYSDATE()", "2024-07-15 19:30:00.123"),
        ("DATEADD(fortnight, 1, CURRENT_DATE)", "001099 (22023): SQL compilation error:\n'FORTNIGHT' is not a valid date/time component"),
        ("DATE '2024-01-01', TIMESTAMP '2024-01-01 10:00:00'", "2024-01-01 | 2024-01-01 10:00:00.000"),
        // Daylight saving time begins in between, so the day has 23 hours.
        ("DATEADD(day, 1, '2024-03-09 12:00:00'::timestamp_ltz)", "2024-03-10 12:00:00.000 -0700"),
    ])
    .await;
}

#[tokio::test]
async fn conversions() {
    expect(&[
        ("TRY_CAST('x' AS INT), TRY_CAST('7' AS INT)", "NULL | 7"),
        (
            "TRY_TO_DATE('2024-13-01'), TRY_TO_NUMBER('1x'), TRY_TO_BOOLEAN('maybe')",
            "NULL | NULL | NULL",
        ),
        (
            "TO_NUMBER('12.3456', 10, 2), TO_NUMBER('$1,234.50', '$9,999.99', 10, 2)",
            "12.35 | 1234.50",
        ),
        (
            "TO_TIMESTAMP(1704067200), TO_TIMESTAMP_NTZ(1704067200123, 3)",
            "2024-01-01 00:00:00.000 | 2024-01-01 00:00:00.123",
        ),
        (
            "TO_TIMESTAMP('05.03.2024 14', 'DD.MM.YYYY HH24')",
            "2024-03-05 14:00:00.000",
        ),
        (
            "TO_DATE('x', 'YYYY')",
            "100096 (22007): Can't parse 'x' as date with format 'YYYY'",
        ),
        (
            "'maybe'::boolean",
            "100037 (22018): Boolean value 'maybe' is not recognized",
        ),
        (
            "'1e2'::float, 1.50::varchar, true::varchar, 0.1::float",
            "100 | 1.50 | true | 0.1",
        ),
        (
            "1::boolean, 'off'::boolean, '2024-01-01'::timestamp::date",
            "true | false | 2024-01-01",
        ),
        ("'9999-12-31'::timestamp_ntz(6)", "9999-12-31 00:00:00.000"),
    ])
    .await;
    expect_typed(&[
        ("'a'::varchar(3)", "a VARCHAR(3)"),
        (
            "'2024-01-01 10:00:00'::timestamp_ltz(6)",
            "2024-01-01 10:00:00.000 -0800 TIMESTAMP_LTZ(6)",
        ),
        (
            "TO_TIMESTAMP_TZ('2024-01-01 10:00:00 +0530')",
            "2024-01-01 10:00:00.000 +0530 TIMESTAMP_TZ(9)",
        ),
        ("NULL::number(10,2)", "NULL NUMBER(10,2)"),
    ])
    .await;
}

#[tokio::test]
async fn texts() {
    expect(&[
        ("UPPER('é'), LOWER('AB'), INITCAP('the big-one'), REVERSE('abc')", "É | ab | The Big-One | cba"),
        ("'a' || 1 || 2.50, CONCAT('a', 'b', 'c'), CONCAT_WS('-', 'a', 'b')", "a12.50 | abc | a-b"),
        ("'a' || NULL", "NULL"),
        ("SUBSTR('abcdef', 2, 3), SUBSTRING('abcdef', -2), LEFT('abc', 2), RIGHT('abc', 2)", "bcd | ef | ab | bc"),
        ("TRIM('  a '), LTRIM('xxa', 'x'), RTRIM('a..', '.'), TRIM('*-a-*', '*-')", "a | a | a | a"),
        ("LPAD('7', 3, '0'), RPAD('ab', 1), REPEAT('ab', 2), REPLACE('aXbX', 'X', '-')", "007 | a | abab | a-b-"),
        ("SPLIT_PART('a.b.c', '.', 2), SPLIT_PART('a.b.c', '.', -1), SPLIT_PART('a', '.', 5)", "b | c | "),
        ("POSITION('b', 'abc'), POSITION('b' IN 'abc'), CHARINDEX('z', 'abc'), LENGTH('été')", "2 | 2 | 0 | 3"),
        ("CONTAINS('abc', 'b'), STARTSWITH('abc', 'ab'), ENDSWITH('abc', 'x')", "true | true | false"),
        ("MD5('a'), SHA2('a')", "0cc175b9c0f1b6a831c399e269772661 | ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("'it''s', $$raw 'text'$$, 'tab\\tend'", "it's | raw 'text' | tab\tend"),
    ])
    .await;
}

#[tokio::test]
async fn numbers() {
    expect(&[
        (
            "ROUND(2.345, 2), ROUND(-2.5), ROUND(1250, -2), TRUNC(2.349, 2)",
            "2.35 | -3 | 1300 | 2.34",
        ),
        (
            "CEIL(1.1), FLOOR(-1.1), ABS(-3.5), SIGN(-2), MOD(7, 3)",
            "2 | -2 | 3.5 | -1 | 1",
        ),
        (
            "SQRT(16), POWER(2, 10), EXP(0), LN(1), LOG(10, 100)",
            "4 | 1024 | 1 | 0 | 2",
        ),
        ("-(1 + 2), +3, - 2.5", "-3 | 3 | -2.5"),
        ("WIDTH_BUCKET(5, 0, 10, 5)", "3"),
    ])
    .await;
}

#[tokio::test]
async fn aggregates() {
    let session = TestCatalog::default()
        .with("T", "SELECT column1 AS g, column2 AS v FROM VALUES ('a', 3), ('a', 1), ('b', 2), ('b', NULL)")
        .await;
    for (sql, expected) in [
        (
            "SELECT g, COUNT_IF(v > 1), MAX_BY(g, v), MIN_BY(v, v) FROM t GROUP BY g ORDER BY g",
            "a | 1 | a | 1; b | 1 | b | 2",
        ),
        (
            "SELECT LISTAGG(v, ',') WITHIN GROUP (ORDER BY v DESC) FROM t",
            "3,2,1",
        ),
        (
            "SELECT LISTAGG(DISTINCT g, ',') WITHIN GROUP (ORDER BY g) FROM t",
            "a,b",
        ),
        ("SELECT LISTAGG(g) FROM t WHERE false", ""),
        (
            "SELECT g, SUM(v) s FROM t GROUP BY ALL HAVING s > 2 ORDER BY s DESC",
            "a | 4",
        ),
        (
            "SELECT MEDIAN(v), STDDEV(v), ANY_VALUE(1) FROM t",
            "2.000 | 1 | 1",
        ),
        (
            "SELECT g, v FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY g ORDER BY v) = 1 ORDER BY g",
            "a | 1; b | 2",
        ),
        ("SELECT TOP 1 v FROM t ORDER BY v", "1"),
        ("SELECT g FROM t MINUS SELECT 'a'", "b"),
        (
            "SELECT g, AVG(v) OVER (PARTITION BY g) a FROM t QUALIFY a = 2 ORDER BY 1",
            "a | 2.000000; a | 2.000000; b | 2.000000; b | 2.000000",
        ),
        (
            "SELECT g, RATIO_TO_REPORT(v) OVER () FROM t WHERE v = 3",
            "a | 1.000000",
        ),
        ("SELECT v FROM t WHERE v = (SELECT MAX(v) FROM t)", "3"),
        ("SELECT * EXCLUDE g FROM t WHERE v = 3", "3"),
        ("SELECT *, v FROM t WHERE v = 3", "a | 3 | 3"),
        ("SELECT v, v FROM t WHERE v = 3", "3 | 3"),
        (
            "WITH x AS (SELECT g, v + 1 AS w FROM t) SELECT SUM(w) FROM x",
            "9",
        ),
        (
            "WITH t AS (SELECT v FROM t WHERE v = 1) SELECT * FROM t",
            "1",
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT SUM(n), MAX(n) FROM r",
            "10 | 4",
        ),
        ("SELECT APPROX_COUNT_DISTINCT(g) FROM t", "2"),
    ] {
        assert_eq!(ask_of(&session, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn semi_structured() {
    let session = TestCatalog::default()
        .with(
            "J",
            r#"SELECT PARSE_JSON('{"b": {"c": [1, {"d": "x"}]}, "A": 1.50, "n": null}') AS v"#,
        )
        .await;
    for (sql, expected) in [
        (
            "SELECT v:b.c[0], v:b.c[1].d, v:b.c[1].d::string, v:A, v:a, v:n FROM j",
            "1 | \"x\" | x | 1.5 | NULL | null",
        ),
        ("SELECT v['b']['c'][1]['d']::varchar FROM j", "x"),
        (
            "SELECT v:A::number(4,2) + 1, TYPEOF(v:b), ARRAY_SIZE(v:b.c) FROM j",
            "2.50 | OBJECT | 2",
        ),
        (
            "SELECT v:b.c[1].d = 'x', v:A = 1.5, v:n IS NULL, v:n::int IS NULL FROM j",
            "true | true | false | true",
        ),
        (
            "SELECT OBJECT_CONSTRUCT('b', 1, 'a', NULL, 'c', 'x')::varchar",
            r#"{"b":1,"c":"x"}"#,
        ),
        (
            "SELECT ARRAY_CONSTRUCT(1, 'a', NULL)::varchar, [1, 2]::varchar",
            r#"[1,"a",null] | [1,2]"#,
        ),
        (
            "SELECT PARSE_JSON('[1')",
            "100069 (22P02): Error parsing JSON: EOF while parsing a list at line 1 column 2",
        ),
        (
            "SELECT MAX(v) FROM j",
            "000002 (0A000): SQL compilation error:\nUnsupported feature 'MAX of a VARIANT; cast the argument to a scalar type, such as VARCHAR'.",
        ),
    ] {
        assert_eq!(ask_of(&session, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn every_function_that_is_listed_can_be_called() {
    let session = TestCatalog::default();
    let mut wrong = Vec::new();
    for name in function_names() {
        let function = registry::find(name).unwrap();
        let arguments = vec!["NULL"; function.arity.0].join(", ");
        let over = match function.kind {
            registry::Kind::Window(_) => " OVER (ORDER BY 1)",
            _ => "",
        };
        let sql = format!("SELECT {name}({arguments}){over}");
        let found = ask_of(&session, &sql).await;
        // "Invalid function" is DataFusion's answer for a function that it does not have.
        if ["Unknown function", "Invalid function", "syntax error"]
            .iter()
            .any(|text| found.contains(text))
        {
            wrong.push(format!("{sql}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
