//! The comparison of answers: ties, order, types, and the text of a difference.

use icebox_parity::{Answer, Column, Difference, Value, ValueKind, compare};

fn int(value: i128) -> Value {
    Value::Int(value)
}

fn decimal(text: &str) -> Value {
    Value::Decimal(text.parse().unwrap())
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn answer(columns: &[(&str, ValueKind)], rows: Vec<Vec<Value>>) -> Answer {
    let columns = columns
        .iter()
        .map(|(name, kind)| Column {
            name: (*name).to_owned(),
            kind: *kind,
        })
        .collect();
    Answer { columns, rows }
}

/// Returns an answer with a score and a name in each row.
fn scores(rows: &[(i128, &str)]) -> Answer {
    let rows = rows
        .iter()
        .map(|(score, name)| vec![int(*score), text(name)])
        .collect();
    answer(
        &[("score", ValueKind::Int), ("name", ValueKind::Text)],
        rows,
    )
}

#[test]
fn without_order_by_rows_are_a_multiset() {
    let left = scores(&[(1, "a"), (2, "b"), (2, "b")]);
    assert_eq!(
        compare(&left, &scores(&[(2, "b"), (1, "a"), (2, "b")]), &[]),
        None
    );
    let Some(Difference::Rows {
        only_left,
        only_right,
        ..
    }) = compare(&left, &scores(&[(2, "b"), (1, "a"), (1, "a")]), &[])
    else {
        panic!("one duplicate less is a difference");
    };
    assert_eq!(
        (only_left, only_right),
        (vec![vec![int(2), text("b")]], vec![vec![int(1), text("a")]])
    );
}

#[test]
fn with_order_by_only_ties_may_change_places() {
    let left = scores(&[(3, "a"), (2, "b"), (2, "c"), (1, "d")]);
    let tie = scores(&[(3, "a"), (2, "c"), (2, "b"), (1, "d")]);
    assert_eq!(compare(&left, &tie, &[0]), None);
    assert!(matches!(
        compare(&left, &tie, &[0, 1]),
        Some(Difference::Order { row: 1, .. })
    ));
    let moved = scores(&[(3, "a"), (2, "b"), (1, "d"), (2, "c")]);
    assert!(matches!(
        compare(&left, &moved, &[0]),
        Some(Difference::Order { row: 2, .. })
    ));
    // A row in the wrong tie is a different row.
    let swapped = scores(&[(2, "a"), (3, "b"), (2, "c"), (1, "d")]);
    assert!(matches!(
        compare(&left, &swapped, &[0]),
        Some(Difference::Rows { .. })
    ));
}

#[test]
fn numbers_compare_by_value_but_never_as_floats() {
    let of = |kind, value| answer(&[("n", kind)], vec![vec![value]]);
    let two = of(ValueKind::Int, int(2));
    assert_eq!(
        compare(&two, &of(ValueKind::Decimal, decimal("2.000")), &[]),
        None
    );
    assert_eq!(
        compare(
            &of(ValueKind::Decimal, decimal("1.50")),
            &of(ValueKind::Decimal, decimal("1.5")),
            &[0]
        ),
        None
    );
    let hidden_by_floats = ("0.1234567890123456789", "0.1234567890123456788");
    assert!(
        compare(
            &of(ValueKind::Decimal, decimal(hidden_by_floats.0)),
            &of(ValueKind::Decimal, decimal(hidden_by_floats.1)),
            &[]
        )
        .is_some()
    );
    let float = of(ValueKind::Float, Value::Float(2.0));
    let expected = Difference::Types(vec![("n".into(), ValueKind::Int, ValueKind::Float)]);
    assert_eq!(compare(&two, &float, &[]), Some(expected));
    let nan = || of(ValueKind::Float, Value::Float(f64::NAN));
    assert_eq!(compare(&nan(), &nan(), &[0]), None);
    let next = of(
        ValueKind::Float,
        Value::Float(f64::from_bits(2.0f64.to_bits() + 1)),
    );
    assert!(compare(&float, &next, &[]).is_some());
    assert_ne!(Value::Float(0.0), Value::Float(-0.0));
}

#[test]
fn null_equals_only_null() {
    let of = |value| answer(&[("t", ValueKind::Text)], vec![vec![value]]);
    assert_eq!(compare(&of(Value::Null), &of(Value::Null), &[0]), None);
    for other in ["", "NULL"] {
        assert!(
            compare(&of(Value::Null), &of(text(other)), &[]).is_some(),
            "{other:?}"
        );
    }
    // A column of NULLs only has no type on one of the sides.
    let untyped = answer(&[("t", ValueKind::Null)], vec![vec![Value::Null]]);
    assert_eq!(compare(&of(Value::Null), &untyped, &[]), None);
}

#[test]
fn types_differ_even_where_the_text_is_the_same() {
    let day = 20_454;
    let date = answer(&[("day", ValueKind::Date)], vec![vec![Value::Date(day)]]);
    let micros = i64::from(day) * 86_400_000_000;
    let timestamp = answer(
        &[("day", ValueKind::Timestamp)],
        vec![vec![Value::Timestamp(micros)]],
    );
    let zoned = answer(
        &[("day", ValueKind::TimestampTz)],
        vec![vec![Value::TimestampTz(micros)]],
    );
    for (left, right) in [(&date, &timestamp), (&timestamp, &zoned)] {
        assert!(matches!(
            compare(left, right, &[]),
            Some(Difference::Types(_))
        ));
    }
    let later = answer(
        &[("day", ValueKind::Timestamp)],
        vec![vec![Value::Timestamp(micros + 1)]],
    );
    assert!(matches!(
        compare(&timestamp, &later, &[]),
        Some(Difference::Rows { .. })
    ));
}

#[test]
fn differences_read_well() {
    let left = scores(&[(1, "a"), (2, "b"), (3, "c")]);
    let mut pages = vec![
        compare(
            &left,
            &scores(&[(1, "a"), (2, "changed"), (3, "c"), (4, "new")]),
            &[0],
        ),
        compare(&left, &scores(&[(1, "a"), (3, "c"), (2, "b")]), &[0]),
        compare(
            &left,
            &answer(
                &[("score", ValueKind::Float), ("name", ValueKind::Text)],
                vec![],
            ),
            &[],
        ),
        compare(&left, &answer(&[("score", ValueKind::Int)], vec![]), &[]),
    ];
    let many: Vec<_> = (0..25).map(|score| (score, "x")).collect();
    pages.push(compare(&scores(&many), &scores(&[]), &[]));
    let pages: Vec<_> = pages
        .into_iter()
        .map(|page| page.unwrap().render("heap", "snowflake"))
        .collect();
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("differences", pages.join("\n"));
    });
}
