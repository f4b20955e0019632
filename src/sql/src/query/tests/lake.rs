//! Columns with the Arrow types of data files, in typical queries.

use arrow::array::*;
use arrow::datatypes::{Int32Type, TimeUnit};

use super::*;

fn lake() -> TestCatalog {
    let micros = 1_704_067_200_123_456;
    let ntz = TimestampMicrosecondArray::from(vec![Some(micros), None]);
    let ltz = TimestampMicrosecondArray::from(vec![Some(micros), None]).with_timezone("+00:00");
    let uuid = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        [Some([7_u8; 16]), None].into_iter(),
        16,
    )
    .unwrap();
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    TestCatalog::default().with_arrays(
        "T",
        vec![
            (
                "I",
                Arc::new(Int32Array::from(vec![Some(7), None])) as ArrayRef,
            ),
            ("L", Arc::new(Int64Array::from(vec![Some(i64::MAX), None]))),
            ("R", Arc::new(Float32Array::from(vec![Some(0.5), None]))),
            (
                "D",
                Arc::new(
                    Decimal128Array::from(vec![Some(1050), None])
                        .with_precision_and_scale(12, 2)
                        .unwrap(),
                ),
            ),
            (
                "S",
                Arc::new(StringViewArray::from(vec![Some("abc"), None])),
            ),
            ("G", Arc::new(LargeStringArray::from(vec![Some("x"), None]))),
            ("B", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("DT", Arc::new(Date32Array::from(vec![Some(19723), None]))),
            (
                "TM",
                Arc::new(Time64MicrosecondArray::from(vec![
                    Some(3_600_000_000),
                    None,
                ])),
            ),
            ("N", Arc::new(ntz)),
            ("Z", Arc::new(ltz)),
            (
                "X",
                Arc::new(BinaryArray::from(vec![Some(&b"\x01\xff"[..]), None])),
            ),
            ("U", Arc::new(uuid)),
            ("A", Arc::new(list)),
        ],
    )
}

#[tokio::test]
async fn every_type_is_read() {
    let session = lake();
    let rows = run("SELECT * FROM t ORDER BY i", &session).await.unwrap();
    assert_eq!(
        columns_of(&rows),
        "I NUMBER(10,0), L NUMBER(19,0), R FLOAT, D NUMBER(12,2), S VARCHAR(16777216), G VARCHAR(16777216), B BOOLEAN, \
         DT DATE, TM TIME(6), N TIMESTAMP_NTZ(6), Z TIMESTAMP_LTZ(6), X BINARY(8388608), U UUID, A ARRAY"
    );
    assert_eq!(
        rows_of(&rows)[0],
        "7 | 9223372036854775807 | 0.5 | 10.50 | abc | x | true | 2024-01-01 | 01:00:00 | 2024-01-01 00:00:00.123 | \
         2023-12-31 16:00:00.123 -0800 | 01FF | 07070707-0707-0707-0707-070707070707 | [\n  1,\n  null\n]"
    );
    let nulls = vec!["NULL"; 14].join(" | ");
    assert_eq!(rows_of(&rows)[1], nulls);
}

#[tokio::test]
async fn every_type_is_worked_with() {
    let session = lake();
    for (sql, expected) in [
        (
            "i + 1, i * d, l + 1, i / 2, d / 3, -i, -d",
            "8 | 73.50 | 9223372036854775808 | 3.500000 | 3.50000000 | -7 | -10.50",
        ),
        ("r * 2, r + d, SUM(r) OVER ()", "1 | 11 | 0.5"),
        (
            "s || '-' || i, UPPER(s), LENGTH(g), s LIKE 'a%', s = 'abc', s > 'ab'",
            "abc-7 | ABC | 1 | true | true | true",
        ),
        (
            "DATEADD(day, 1, dt), DATEDIFF(day, dt, z), dt + 1, DATE_TRUNC('month', n)",
            "2024-01-02 | -1 | 2024-01-02 | 2024-01-01 00:00:00.000",
        ),
        (
            "n < CURRENT_TIMESTAMP(), z < CURRENT_TIMESTAMP, dt < CURRENT_DATE, z = n",
            "true | true | true | false",
        ),
        (
            "n::date, z::date, n::varchar, z::timestamp_ntz, z::time",
            "2024-01-01 | 2023-12-31 | 2024-01-01 00:00:00.123 | 2023-12-31 16:00:00.123 | 16:00:00",
        ),
        (
            "HOUR(z), HOUR(n), HOUR(tm), TO_CHAR(z, 'YYYY-MM-DD HH24 TZH')",
            "16 | 0 | 1 | 2023-12-31 16 -08",
        ),
        (
            "n + INTERVAL '1 hour', z - INTERVAL '1 day'",
            "2024-01-01 01:00:00.123 | 2023-12-30 16:00:00.123 -0800",
        ),
        (
            "a[0], ARRAY_SIZE(a), a[0] + 1, TO_JSON(a)",
            "1 | 2 | 2 | [1,null]",
        ),
        (
            "u = '07070707-0707-0707-0707-070707070707', x::varchar, b AND i > 5",
            "true | 01FF | true",
        ),
        (
            "IFF(b, d, i), COALESCE(i, d), NVL(s, 'none'), CASE WHEN i > 5 THEN 'many' END",
            "10.50 | 7.00 | abc | many",
        ),
        (
            "i = '7', '7.0' = i, dt = '2024-01-01', dt BETWEEN '2023-12-31' AND '2024-01-01', i IN (7, 8), d IN (10.5)",
            "true | true | true | true | true | true",
        ),
        (
            "ROUND(d, 1), ROUND(i / 3, 2), d::int, d::varchar, i::float, r::number(5,2)",
            "10.5 | 2.33 | 11 | 10.50 | 7 | 0.50",
        ),
    ] {
        let sql = format!("SELECT {sql} FROM t WHERE i IS NOT NULL");
        assert_eq!(ask_of(&session, &sql).await, expected, "{sql}");
    }
    for (sql, expected) in [
        (
            "SELECT SUM(i), SUM(l), SUM(d), SUM(r), AVG(i), AVG(d), AVG(r) FROM t",
            "7 | 9223372036854775807 | 10.50 | 0.5 | 7.000000 | 10.50000000 | 0.5",
        ),
        (
            "SELECT MIN(s), MAX(dt), MIN(n), MAX(z), MIN(d), MAX(b) FROM t",
            "abc | 2024-01-01 | 2024-01-01 00:00:00.123 | 2023-12-31 16:00:00.123 -0800 | 10.50 | true",
        ),
        (
            "SELECT DATE_TRUNC('month', n) AS m, COUNT(*) FROM t GROUP BY m ORDER BY m",
            "2024-01-01 00:00:00.000 | 1; NULL | 1",
        ),
        (
            "SELECT DATE_TRUNC('month', n), SUM(d * i) FROM t GROUP BY DATE_TRUNC('month', n) ORDER BY 1",
            "2024-01-01 00:00:00.000 | 73.50; NULL | NULL",
        ),
        (
            "SELECT IFF(i > 5, 'a', 'b') AS k, COUNT(*) FROM t GROUP BY k ORDER BY COUNT(*) DESC, k",
            "a | 1; b | 1",
        ),
        (
            "SELECT COUNT(*), SUM(i), MAX(i), LISTAGG(s) FROM t WHERE false",
            "0 | NULL | NULL | ",
        ),
        ("SELECT SUM(i) + COUNT(*) * 1.5 FROM t", "10.0"),
        (
            "SELECT i FROM t GROUP BY i HAVING COUNT(*) > 0 ORDER BY i NULLS FIRST",
            "NULL; 7",
        ),
        (
            "SELECT x.i FROM t x JOIN t y ON x.i = y.l - 9223372036854775800",
            "7",
        ),
        (
            "SELECT COUNT(*) FROM t WHERE z > '2023-12-31 15:00:00'",
            "1",
        ),
        (
            "SELECT COUNT(*) FROM t WHERE z > '2023-12-31 17:00:00'",
            "0",
        ),
        (
            "SELECT COUNT(*) FROM t WHERE n >= '2024-01-01'::date AND n < DATEADD(day, 1, '2024-01-01'::date)",
            "1",
        ),
        (
            "SELECT COUNT(DISTINCT i), COUNT(DISTINCT s), AVG(DISTINCT i) FROM t",
            "1 | 1 | 7.000000",
        ),
        (
            "SELECT n FROM t UNION ALL SELECT z FROM t WHERE false ORDER BY 1",
            "2024-01-01 00:00:00.123 -0800; NULL",
        ),
        (
            "SELECT i FROM t UNION SELECT d FROM t ORDER BY 1",
            "7.00; 10.50; NULL",
        ),
        (
            "SELECT i FROM t UNION ALL SELECT s FROM t",
            "000002 (0A000): SQL compilation error:\nUnsupported feature 'the implicit conversion between NUMBER(10,0) and VARCHAR(16777216); cast one to the other's type'.",
        ),
    ] {
        assert_eq!(ask_of(&session, sql).await, expected, "{sql}");
    }
    assert_eq!(ntz_unit(&session).await, TimeUnit::Microsecond);
}

/// Returns the unit of `DATEADD` on a column of microseconds. It stays microseconds, which reach
/// years such as 9999.
async fn ntz_unit(session: &TestCatalog) -> TimeUnit {
    let rows = run("SELECT DATEADD(day, 1, n) FROM t", session)
        .await
        .unwrap();
    match rows.schema.field(0).data_type() {
        arrow::datatypes::DataType::Timestamp(unit, _) => *unit,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn nulls_without_a_type() {
    expect(&[
        ("NULL + 1, NULL || 'a', UPPER(NULL), DATEADD(day, 1, NULL), NULL = 1, -NULL", "NULL | NULL | NULL | NULL | NULL | NULL"),
        ("NULL::int, TO_DATE(NULL), PARSE_JSON(NULL), NULL IN (1), NULL LIKE 'a'", "NULL | NULL | NULL | NULL | NULL"),
        ("ARRAY_CONSTRUCT()::varchar, OBJECT_CONSTRUCT()::varchar, ARRAY_CONSTRUCT(NULL)::varchar", "[] | {} | [null]"),
        ("NULL, IFF(NULL, 1, 2), CASE WHEN false THEN 1 END, COALESCE(NULL, NULL)", "NULL | 2 | NULL | NULL"),
        ("SUM(NULL), AVG(NULL), COUNT(NULL), MAX(NULL)", "NULL | NULL | 0 | NULL"),
        ("1e3, 15e-03, 0.5, .5, 1., 12345678901234567890, 123456789012345678901234567890", "1000 | 0.015 | 0.5 | 0.5 | 1 | 12345678901234567890 | 123456789012345678901234567890"),
        ("true AND NULL, NOT NULL, false OR NULL, 1 = 1 AND 2 > 1", "NULL | NULL | NULL | true"),
    ])
    .await;
}

/// The rows of VALUES may have different types.
#[tokio::test]
async fn values_have_one_type_a_column() {
    for (sql, expected) in [
        ("SELECT column1 FROM VALUES (1), (2.55)", "1.00; 2.55"),
        ("SELECT column1 FROM VALUES (1), (NULL)", "1; NULL"),
        ("SELECT column1 FROM VALUES ('a'), ('b')", "a; b"),
        ("SELECT column1 + 1 FROM VALUES ('1'), ('2')", "2; 3"),
        (
            "SELECT column1 FROM VALUES (1), ('a')",
            "100038 (22018): Numeric value 'a' is not recognized",
        ),
        (
            "SELECT column1 FROM VALUES ('a'), (1)",
            "100038 (22018): Numeric value 'a' is not recognized",
        ),
        (
            "SELECT column1 FROM VALUES ('2024-01-01'::date), (CURRENT_DATE)",
            "2024-01-01; 2024-07-15",
        ),
        ("SELECT column1 FROM VALUES (1), (true)", "Unsupported"),
    ] {
        let found = ask(sql).await;
        match expected {
            "Unsupported" => assert!(found.contains(expected), "{sql}: {found}"),
            _ => assert_eq!(found, expected, "{sql}"),
        }
    }
}
