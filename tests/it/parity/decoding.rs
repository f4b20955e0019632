//! The decoding of values of both engines.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, i256};

use crate::support::postgres::TestPostgres;
use icebox_parity::{PostgresSource, Source, Value, decode_arrow};
use icebox_postgres::connect;

fn decimal(text: &str) -> Value {
    Value::Decimal(text.parse().unwrap())
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// The day 2026-02-03 in days, and 2026-02-03 04:05:06.789012 in microseconds, since 1970.
const DAY: i32 = 20_487;
const MOMENT: i64 = 1_770_091_506_789_012;

#[tokio::test]
async fn postgres_values() {
    let server = TestPostgres::shared().await;
    let client = Arc::new(connect(&server.database("decoding").await).await.unwrap());
    client
        .batch_execute("SET timezone = 'Asia/Tokyo'; CREATE TYPE mood AS ENUM ('sad', 'ok')")
        .await
        .unwrap();
    client
        .batch_execute("CREATE DOMAIN cents AS numeric(12,2)")
        .await
        .unwrap();
    let source = PostgresSource::new("heap", "", client);
    let long = "-123456789012345678901234567890123456789012345678901234567890.000000000000000000000000000000000000000000001";
    let cases: Vec<(String, Value)> = vec![
        ("NULL::int".into(), Value::Null),
        ("true".into(), Value::Bool(true)),
        ("'-32768'::smallint".into(), Value::Int(-32768)),
        ("2147483647".into(), Value::Int(2_147_483_647)),
        (
            "(-9223372036854775808)::bigint".into(),
            Value::Int(i64::MIN.into()),
        ),
        ("'pg_class'::regclass::oid".into(), Value::Int(1259)),
        ("0.00::numeric(12,2)".into(), decimal("0")),
        ("10000".to_owned() + "::numeric", decimal("10000")),
        ("0.0001::numeric".into(), decimal("0.0001")),
        ("-1234.5::cents".into(), decimal("-1234.5")),
        ("1e100::numeric".into(), decimal("1e100")),
        (format!("{long}::numeric"), decimal(long)),
        ("'NaN'::numeric".into(), decimal("NaN")),
        ("'-Infinity'::numeric".into(), decimal("-Infinity")),
        ("1.5::real".into(), Value::Float(1.5)),
        ("0.1::float8".into(), Value::Float(0.1)),
        ("'NaN'::float8".into(), Value::Float(f64::NAN)),
        ("'héllo 漢'::text".into(), text("héllo 漢")),
        ("'ab'::char(4)".into(), text("ab  ")),
        ("'ok'::mood".into(), text("ok")),
        ("'{\"a\": 1}'::jsonb".into(), text("{\"a\": 1}")),
        ("'\\x00ff'::bytea".into(), Value::Bytes(vec![0, 255])),
        ("'2026-02-03'::date".into(), Value::Date(DAY)),
        ("'1969-12-31'::date".into(), Value::Date(-1)),
        ("'infinity'::date".into(), Value::Date(i32::MAX)),
        (
            "'23:59:59.999999'::time".into(),
            Value::Time(86_399_999_999),
        ),
        (
            "'2026-02-03 04:05:06.789012'::timestamp".into(),
            Value::Timestamp(MOMENT),
        ),
        (
            "'2026-02-03 04:05:06.789012+00'::timestamptz".into(),
            Value::TimestampTz(MOMENT),
        ),
        ("'-infinity'::timestamp".into(), Value::Timestamp(i64::MIN)),
        (
            "'1 mon -2 days 00:00:00.5'::interval".into(),
            Value::Interval {
                months: 1,
                days: -2,
                micros: 500_000,
            },
        ),
        (
            "'7d444840-9dc0-11d1-b245-5ffdce74fad2'::uuid".into(),
            Value::Uuid("7d444840-9dc0-11d1-b245-5ffdce74fad2".parse().unwrap()),
        ),
        (
            "ARRAY[1, NULL]".into(),
            Value::List(vec![Value::Int(1), Value::Null]),
        ),
        ("'{}'::text[]".into(), Value::List(vec![])),
        (
            "ARRAY[['a'], ['b']]".into(),
            Value::List(vec![
                Value::List(vec![text("a")]),
                Value::List(vec![text("b")]),
            ]),
        ),
    ];
    for (expression, expected) in cases {
        let answer = source
            .answer(&format!("SELECT {expression}"))
            .await
            .unwrap();
        assert_eq!(answer.rows, [[expected]], "{expression}");
    }
    let error = source
        .answer("SELECT '1.2.3.4'::inet AS host")
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "column host has type inet, which cannot be compared; cast it to text in the query"
    );
    let error = source
        .answer("SELECT 1 FROM nowhere")
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "ERROR: relation \"nowhere\" does not exist (SQLSTATE 42P01)"
    );
}

#[test]
fn arrow_values() {
    let wide = "-12345678901234567890123456789012345678901234567890";
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(1), None]);
    let uuid = uuid::Uuid::from_u128(7);
    let cases: Vec<(ArrayRef, Value)> = vec![
        (Arc::new(NullArray::new(1)), Value::Null),
        (Arc::new(Int32Array::from(vec![None])), Value::Null),
        (
            Arc::new(BooleanArray::from(vec![false])),
            Value::Bool(false),
        ),
        (Arc::new(Int8Array::from(vec![-1])), Value::Int(-1)),
        (
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            Value::Int(u64::MAX.into()),
        ),
        (
            Arc::new(
                Decimal128Array::from(vec![-12_340])
                    .with_precision_and_scale(12, 3)
                    .unwrap(),
            ),
            decimal("-12.34"),
        ),
        (
            Arc::new(
                Decimal256Array::from(vec![i256::from_string(wide).unwrap()])
                    .with_precision_and_scale(60, 2)
                    .unwrap(),
            ),
            decimal("-123456789012345678901234567890123456789012345678.90"),
        ),
        (Arc::new(Float32Array::from(vec![1.5])), Value::Float(1.5)),
        (Arc::new(StringViewArray::from(vec!["漢"])), text("漢")),
        (Arc::new(LargeStringArray::from(vec!["x"])), text("x")),
        (
            Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]])),
            Value::Bytes(vec![0, 255]),
        ),
        (
            Arc::new(FixedSizeBinaryArray::try_from_iter([uuid.as_bytes()].into_iter()).unwrap()),
            Value::Uuid(uuid),
        ),
        (Arc::new(Date32Array::from(vec![DAY])), Value::Date(DAY)),
        (
            Arc::new(Time64MicrosecondArray::from(vec![86_399_999_999])),
            Value::Time(86_399_999_999),
        ),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![MOMENT])),
            Value::Timestamp(MOMENT),
        ),
        (
            Arc::new(TimestampNanosecondArray::from(vec![MOMENT * 1000])),
            Value::Timestamp(MOMENT),
        ),
        (
            Arc::new(TimestampMillisecondArray::from(vec![5]).with_timezone("+00:00")),
            Value::TimestampTz(5000),
        ),
        // The difference of two timestamps that are a day, an hour and a microsecond apart.
        (
            Arc::new(DurationMicrosecondArray::from(vec![90_000_000_001])),
            Value::Interval {
                months: 0,
                days: 1,
                micros: 3_600_000_001,
            },
        ),
        (
            Arc::new(list.finish()),
            Value::List(vec![Value::Int(1), Value::Null]),
        ),
        (
            Arc::new(
                vec![Some("a")]
                    .into_iter()
                    .collect::<DictionaryArray<arrow::datatypes::Int32Type>>(),
            ),
            text("a"),
        ),
    ];
    for (array, expected) in cases {
        let data_type = array.data_type().clone();
        let schema = Arc::new(Schema::new(vec![Field::new("c", data_type.clone(), true)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
        assert_eq!(
            decode_arrow(&schema, &[batch]).unwrap().rows,
            [[expected]],
            "{data_type}"
        );
    }
}

#[test]
fn what_cannot_be_exact_is_an_error() {
    let array: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1]));
    let schema = Arc::new(Schema::new(vec![Field::new(
        "at",
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        true,
    )]));
    let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
    let error = decode_arrow(&schema, &[batch]).unwrap_err().to_string();
    assert_eq!(error, "column at: 1 nanoseconds are not whole microseconds");
}
