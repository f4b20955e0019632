//! Tests of the scripting statements, one by one, by their results.

use super::{TestHost, run, run_on};

const TABLES: [&str; 2] = [
    "CREATE TABLE invoices (id INT, price DECIMAL(12,2))",
    "INSERT INTO invoices VALUES (1, 11.11), (2, 22.22), (3, 33.33)",
];

async fn on_invoices(body: &str) -> String {
    run_on(&mut TestHost::new(&TABLES).await, body).await
}

#[tokio::test]
async fn variables_have_types() {
    let declared = "DECLARE profit NUMBER(38,2) DEFAULT 0.0;
                    BEGIN
                      LET cost NUMBER(38,2) := 100.0;
                      LET revenue NUMBER(38,2) DEFAULT 110.0;
                      profit := revenue - cost;
                      RETURN profit;
                    END;";
    assert_eq!(run(declared).await, "10.00");
    assert_eq!(
        run("DECLARE n NUMBER(5,0); BEGIN n := '12.5'; RETURN n; END").await,
        "13"
    );
    assert_eq!(
        run("DECLARE t VARCHAR; BEGIN t := 24 * 7; RETURN t || '!'; END").await,
        "168!"
    );
    assert_eq!(
        run("DECLARE d DATE; BEGIN d := '2020-09-30'; RETURN d; END").await,
        "2020-09-30"
    );
    assert_eq!(
        run("DECLARE d TIMESTAMP; BEGIN RETURN d IS NULL; END").await,
        "true"
    );
    assert_eq!(
        run("BEGIN LET n := 9; n := n + 1000000000000; RETURN n; END").await,
        "1000000000009"
    );
    assert_eq!(
        run("BEGIN LET f := 12.3; f := f / 3; RETURN f; END").await,
        "4.1000000000000005"
    );
    assert_eq!(run("DECLARE \"mixed\" INT DEFAULT 1; mixed INT DEFAULT 2; BEGIN RETURN \"mixed\" + mixed * 10; END").await, "21");
}

#[tokio::test]
async fn branches() {
    let graded = |n: u32| {
        format!(
            "BEGIN LET n := {n};
               IF (n > 9) THEN RETURN 'high';
               ELSEIF ((n > 4) AND (n <> 6)) THEN RETURN 'middle';
               ELSE RETURN 'low'; END IF;
             END"
        )
    };
    for (n, expected) in [(10, "high"), (5, "middle"), (6, "low"), (1, "low")] {
        assert_eq!(run(&graded(n)).await, expected);
    }
    let simple = "BEGIN LET v := 'b'; CASE (v) WHEN 'a' THEN RETURN 1; WHEN 'b' THEN RETURN 2; END CASE; END";
    assert_eq!(run(simple).await, "2");
    let numbers = "BEGIN CASE (1 + 1) WHEN 2.0 THEN RETURN 'two'; ELSE RETURN 'other'; END; END";
    assert_eq!(run(numbers).await, "two");
    let null =
        "DECLARE v INT; BEGIN CASE (v) WHEN NULL THEN RETURN 1; ELSE RETURN 2; END CASE; END";
    assert_eq!(run(null).await, "2");
    let searched = "BEGIN LET v := 7; CASE WHEN v < 5 THEN RETURN 'a'; WHEN v < 9 THEN RETURN 'b'; END; RETURN 'c'; END";
    assert_eq!(run(searched).await, "b");
    let expression =
        "BEGIN LET v := 7; LET w VARCHAR := CASE WHEN v < 5 THEN 'a' ELSE 'b' END; RETURN w; END";
    assert_eq!(run(expression).await, "b");
    // The condition is not cast: only `1` and `true` are true.
    assert_eq!(
        run("BEGIN IF ('yes') THEN RETURN 1; END IF; RETURN 2; END").await,
        "2"
    );
    assert_eq!(
        run("BEGIN IF ('tr' || 'ue') THEN RETURN 1; END IF; RETURN 2; END").await,
        "1"
    );
}

#[tokio::test]
async fn counting_loops() {
    let up = "DECLARE t VARCHAR DEFAULT ''; n INT DEFAULT 3; BEGIN FOR i IN 1 TO n DO t := t || i; END FOR; RETURN t; END";
    assert_eq!(run(up).await, "123");
    let down = "DECLARE t VARCHAR DEFAULT ''; BEGIN FOR i IN REVERSE 1 TO 3 LOOP t := t || i; END LOOP; RETURN t; END";
    assert_eq!(run(down).await, "321");
    let none = "DECLARE n INT DEFAULT 0; BEGIN FOR i IN REVERSE 3 TO 1 DO n := n + 1; END FOR; RETURN n; END";
    assert_eq!(run(none).await, "0");
    let shadow = "DECLARE i INT DEFAULT -9; BEGIN FOR i IN 1 TO 2 DO NULL; END FOR; RETURN i; END";
    assert_eq!(run(shadow).await, "-9");
    let bounds = "DECLARE n INT DEFAULT 0; BEGIN FOR i IN CASE WHEN TRUE THEN 2 END TO (1 + 3) DO n := n + i; END FOR; RETURN n; END";
    assert_eq!(run(bounds).await, "9");
}

#[tokio::test]
async fn conditional_loops() {
    assert_eq!(
        run("BEGIN LET n := 0; WHILE (n < 5) DO n := n + 2; END WHILE; RETURN n; END").await,
        "6"
    );
    assert_eq!(
        run("BEGIN LET n := 9; WHILE (n < 5) LOOP n := n + 2; END LOOP; RETURN n; END").await,
        "9"
    );
    assert_eq!(
        run("BEGIN LET n := 9; REPEAT n := n + 1; UNTIL (n > 5) END REPEAT; RETURN n; END").await,
        "10"
    );
    let jumps = "BEGIN
        LET n := 0; LET sum := 0;
        LOOP
          n := n + 1;
          IF (n = 2) THEN CONTINUE; END IF;
          IF (n > 4) THEN BREAK; END IF;
          sum := sum + n;
        END LOOP;
        RETURN sum;
      END";
    assert_eq!(run(jumps).await, "8");
    let labels = "DECLARE t VARCHAR DEFAULT '';
      BEGIN
        FOR i IN 1 TO 5 DO
          FOR j IN 1 TO 5 DO
            IF (j = 2 AND i < 3) THEN ITERATE rows_; END IF;
            IF (i = 4) THEN EXIT rows_; END IF;
            IF (j > 2) THEN BREAK columns_; END IF;
            t := t || i || j || ' ';
          END FOR columns_;
        END FOR rows_;
        RETURN t;
      END";
    assert_eq!(run(labels).await, "11 21 31 32 ");
    let block = "BEGIN LET n := 1; BEGIN IF (TRUE) THEN BREAK out_; END IF; n := 2; END out_; RETURN n; END";
    assert_eq!(run(block).await, "1");
}

#[tokio::test]
async fn cursors() {
    let fetched = "DECLARE a FLOAT; b FLOAT; c CURSOR FOR SELECT price FROM invoices ORDER BY id;
      BEGIN OPEN c; FETCH c INTO a; FETCH c INTO b; CLOSE c; RETURN a + b; END";
    assert_eq!(on_invoices(fetched).await, "33.33");
    let looped =
        "DECLARE total NUMBER(12,2) DEFAULT 0; c CURSOR FOR SELECT id, price FROM invoices;
      BEGIN FOR r IN c DO total := total + r.price * r.ID; END FOR; RETURN total; END";
    assert_eq!(on_invoices(looped).await, "155.54");
    let used = "DECLARE low FLOAT DEFAULT 20; high FLOAT DEFAULT 30; id INT;
        c CURSOR FOR SELECT id FROM invoices WHERE price > ? AND price < ?;
      BEGIN OPEN c USING (low, :high); FETCH c INTO id; RETURN id; END";
    assert_eq!(on_invoices(used).await, "2");
    // FETCH in the loop advances the loop's cursor, so the loop sees every second row. Past the end
    // FETCH gives NULL.
    let both = "DECLARE t VARCHAR DEFAULT ''; n INT; c CURSOR FOR SELECT id FROM invoices ORDER BY id;
      BEGIN FOR r IN c DO FETCH c INTO n; t := t || r.id || IFNULL(n, 0) || ' '; END FOR; RETURN t; END";
    assert_eq!(on_invoices(both).await, "12 30 ");
    let again = "DECLARE n INT; c CURSOR FOR SELECT id FROM invoices ORDER BY id;
      BEGIN OPEN c; FETCH c INTO n; FETCH c INTO n; CLOSE c; OPEN c; FETCH c INTO n; RETURN n; END";
    assert_eq!(on_invoices(again).await, "1");
    let table = "DECLARE n INT; c CURSOR FOR SELECT id FROM invoices ORDER BY id;
      BEGIN OPEN c; FETCH c INTO n; RETURN TABLE(RESULTSET_FROM_CURSOR(c)); END";
    assert_eq!(on_invoices(table).await, "1;2;3");
}

#[tokio::test]
async fn result_sets() {
    let declared =
        "DECLARE r RESULTSET DEFAULT (SELECT id, price FROM invoices WHERE id < 3 ORDER BY id);
      BEGIN RETURN TABLE(r); END";
    assert_eq!(on_invoices(declared).await, "1,11.11;2,22.22");
    let assigned = "DECLARE r RESULTSET; n INT DEFAULT 2; c CURSOR FOR r; sum INT DEFAULT 0;
      BEGIN
        r := (SELECT id FROM invoices WHERE id >= :n);
        FOR row_ IN c DO sum := sum + row_.id; END FOR;
        FOR row_ IN r DO sum := sum + 10 * row_.id; END FOR;
        RETURN sum;
      END";
    assert_eq!(on_invoices(assigned).await, "55");
    let immediate = "DECLARE r RESULTSET; q VARCHAR DEFAULT 'SELECT id FROM invoices WHERE id > ? ORDER BY id'; n INT DEFAULT 1;
      BEGIN r := (EXECUTE IMMEDIATE :q USING (n)); RETURN TABLE(r); END";
    assert_eq!(on_invoices(immediate).await, "2;3");
    let block = "BEGIN LET r RESULTSET := (BEGIN LET q RESULTSET := (SELECT 5 AS a); RETURN TABLE(q); END); RETURN TABLE(r); END";
    assert_eq!(on_invoices(block).await, "5");
    let shown = "BEGIN LET r RESULTSET := (SHOW TABLES); RETURN TABLE(r); END";
    assert_eq!(on_invoices(shown).await, "Statement executed successfully.");
}

#[tokio::test]
async fn select_into() {
    let two = "DECLARE a INT; b NUMBER(5,1);
      BEGIN SELECT id, price INTO :a, :b FROM invoices WHERE id = 2; RETURN a || ' ' || b; END";
    assert_eq!(on_invoices(two).await, "2 22.2");
    let none = "DECLARE a INT DEFAULT 7; BEGIN SELECT id INTO :a FROM invoices WHERE id > 99; RETURN a; END";
    assert_eq!(on_invoices(none).await, "NULL");
    let many = "DECLARE a INT; BEGIN\n  SELECT id INTO :a FROM invoices; RETURN a; END";
    assert_eq!(
        on_invoices(many).await,
        "092228 (P0000): Uncaught exception of type 'STATEMENT_ERROR' on line 2 at position 2 : \
         A SELECT INTO statement expects exactly 1 returned row, but got 3."
    );
    // An INTO in parentheses belongs to another statement.
    let with = "DECLARE a INT; BEGIN WITH t AS (SELECT MAX(id) AS m FROM invoices) SELECT m INTO a FROM t; RETURN a; END";
    assert_eq!(on_invoices(with).await, "3");
}

#[tokio::test]
async fn statements_see_variables_with_a_colon() {
    let mut host = TestHost::new(&TABLES).await;
    let body = "DECLARE id INT DEFAULT 8; c CURSOR FOR SELECT id, price FROM invoices WHERE id = 1;
      BEGIN
        FOR r IN c DO INSERT INTO invoices VALUES (:id, :r.price); END FOR;
        LET found INT := (SELECT COUNT(*) FROM invoices WHERE id = :id AND price = 11.11);
        ALTER SESSION SET note = ':id';
        EXECUTE IMMEDIATE 'COMMENT ON x IS ''' || id || '''';
        RETURN found;
      END";
    assert_eq!(run_on(&mut host, body).await, "1");
    assert_eq!(
        host.log[1..],
        [
            "INSERT INTO invoices VALUES (8, CAST('11.11' AS DECIMAL(38,2)))",
            "ALTER SESSION SET note = ':id'",
            "COMMENT ON x IS '8'"
        ]
    );
}

#[tokio::test]
async fn counts_of_changes() {
    let body = "BEGIN
        LET before_ VARCHAR := IFNULL(CAST(SQLROWCOUNT AS VARCHAR), 'none');
        INSERT INTO invoices VALUES (4, 1), (5, 1);
        LET n INT := SQLROWCOUNT;
        LET found BOOLEAN := SQLFOUND;
        LET not_found BOOLEAN := SQLNOTFOUND;
        SELECT 1;
        RETURN before_ || ' ' || n || ' ' || found || ' ' || not_found || ' ' || (SQLROWCOUNT IS NULL);
      END";
    assert_eq!(on_invoices(body).await, "none 2 true false true");
}

#[tokio::test]
async fn blocks_are_scopes() {
    let body =
        "DECLARE a INT DEFAULT 1; BEGIN DECLARE a INT DEFAULT 2; BEGIN a := 3; END; RETURN a; END";
    assert_eq!(run(body).await, "1");
    let outer = "DECLARE a INT DEFAULT 1; BEGIN BEGIN a := 3; END; RETURN a; END";
    assert_eq!(run(outer).await, "3");
    assert_eq!(run("BEGIN NULL; END").await, "NULL");
    assert_eq!(run("BEGIN RETURN; END").await, "NULL");
    assert_eq!(run("RETURN 1 + 1").await, "2");
}

#[tokio::test]
async fn words_that_are_no_variables() {
    let body =
        "DECLARE day INT DEFAULT 5; abs INT DEFAULT 1; value INT DEFAULT 2; t VARCHAR DEFAULT 'x';
      BEGIN
        RETURN abs(-3) + DATE_PART('day', DATE '2020-01-09') + CAST(value AS INT) + day
          + (SELECT MAX(value) FROM (SELECT 100 AS value) AS v);
      END";
    assert_eq!(run(body).await, "119");
    assert_eq!(
        run("DECLARE t VARCHAR DEFAULT 'x'; BEGIN RETURN 't' || t || ':t'; END").await,
        "tx:t"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn an_endless_loop_lets_others_run_and_can_be_stopped() {
    let body = "BEGIN LOOP NULL; END LOOP; EXCEPTION WHEN OTHER THEN RETURN 'caught'; END";
    let mut host = TestHost::new(&[]).await;
    host.patience = Some(1000.into());
    assert_eq!(
        run_on(&mut host, body).await,
        "000604 (57014): SQL execution canceled"
    );

    let looping = tokio::spawn(async move { run(body).await });
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert!(!looping.is_finished());
    looping.abort();
    assert!(looping.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn simple_expressions_have_the_hosts_values() {
    let declare = "DECLARE n INT DEFAULT 41; m INT; s VARCHAR DEFAULT 'it''s'; e VARCHAR; d NUMBER(5,2) DEFAULT 1.5;
      c CURSOR FOR SELECT 7 AS id;";
    for expression in [
        "n + 1",
        "n - -1",
        "1 - n",
        "n + m",
        "n = 41",
        "n <> 41",
        "41 >= n",
        "n < m",
        "s || n",
        "s || '-' || :s || 5",
        "s || e",
        "s = 'it''s'",
        "s > 'a'",
        "e = s",
        "n + d",
        "s || d",
        "d > n",
        "n != 3",
        "r.id + n",
        "r.id || s",
        "n <= 9999999999999999999999999999999999999",
    ] {
        let body = |expression: &str| {
            format!("{declare} BEGIN FOR r IN c DO RETURN {expression}; END FOR; END")
        };
        // Constant folding does not apply to an expression in parentheses, so the host evaluates
        // it.
        let (plain, by_host) = (
            run(&body(expression)).await,
            run(&body(&format!("({expression})"))).await,
        );
        assert_eq!(plain, by_host, "{expression}");
        assert!(!plain.contains("Uncaught"), "{expression}: {plain}");
    }
    assert_eq!(
        run("BEGIN RETURN 'a' = nosuch; END").await.lines().next(),
        Some(
            "000001 (42000): Uncaught exception of type 'EXPRESSION_ERROR' on line 1 at position 13 : SQL compilation error:"
        )
    );
}

#[tokio::test]
async fn long_loops_and_deep_nesting() {
    let long = "BEGIN LET n := 0; WHILE (n < 100000) DO n := n + 1; END WHILE; RETURN n; END";
    assert_eq!(run(long).await, "100000");
    let blocks = format!("{}RETURN 1; {}", "BEGIN ".repeat(50), "END; ".repeat(50));
    assert_eq!(run(&blocks).await, "1");
    let branches = format!(
        "{}RETURN 1; {}",
        "IF (TRUE) THEN ".repeat(49),
        "END IF; ".repeat(49)
    );
    assert_eq!(run(&format!("BEGIN {branches} END")).await, "1");
    let loops = format!(
        "{}RETURN 1; {}",
        "LOOP ".repeat(49),
        "END LOOP; ".repeat(49)
    );
    assert_eq!(run(&format!("BEGIN {loops} END")).await, "1");
}
