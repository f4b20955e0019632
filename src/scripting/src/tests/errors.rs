//! Tests of errors before and during a run, and of exception handlers.

use super::{TestHost, run, run_on};
use crate::Script;

#[tokio::test]
async fn syntax_errors_have_their_place_in_the_body() {
    let cases = [
        (
            "BEGIN RETURN 1 END",
            "line 1 at position 18 unexpected '<EOF>'",
        ),
        (
            "BEGIN\n  IF x > 1 THEN NULL; END IF;\nEND",
            "line 2 at position 5 unexpected 'x'",
        ),
        (
            "BEGIN\n  FOR i IN 1 TO 2 DO NULL; END LOOP;\nEND",
            "line 2 at position 31 unexpected 'LOOP'",
        ),
        ("BEGIN END", "line 1 at position 6 unexpected 'END'"),
        (
            "DECLARE a; BEGIN NULL; END",
            "line 1 at position 9 unexpected ';'",
        ),
        (
            "DECLARE e EXCEPTION (-20001 - 1, 'x'); BEGIN NULL; END",
            "line 1 at position 28 unexpected '-'",
        ),
        (
            "BEGIN LET a := ; END",
            "line 1 at position 15 unexpected ';'",
        ),
        (
            "BEGIN NULL; END; SELECT 1",
            "line 1 at position 17 unexpected 'SELECT'",
        ),
        (
            "BEGIN EXECUTE IMMEDIATE 'x' USING (1); END",
            "line 1 at position 35 unexpected '1'",
        ),
        (
            "BEGIN NULL; EXCEPTION END",
            "line 1 at position 22 unexpected 'END'",
        ),
    ];
    for (body, expected) in cases {
        let error = run(body).await;
        assert!(
            error.starts_with("001003 (42000)") && error.contains(expected),
            "{body}: {error}"
        );
    }
    let deep = format!("{}NULL; {}", "BEGIN ".repeat(300), "END; ".repeat(300));
    let error = Script::parse(&deep).unwrap_err();
    assert!(
        error
            .message
            .contains("more than 50 levels of nested blocks"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let cases = [
        "BEGIN LET r RESULTSET := ASYNC (SELECT 1); END",
        "BEGIN AWAIT r; END",
        "BEGIN ASYNC (INSERT INTO t VALUES (1)); END",
        "DECLARE v VECTOR(FLOAT); BEGIN NULL; END",
        "DECLARE p PROCEDURE() RETURNS INT AS BEGIN RETURN 1; END; BEGIN NULL; END",
    ];
    for (body, what) in
        cases
            .iter()
            .zip(["ASYNC", "AWAIT", "ASYNC", "data type VECTOR", "PROCEDURE"])
    {
        let error = run(body).await;
        let is_named = error.contains("Unsupported feature") && error.contains(what);
        assert!(
            is_named || what.contains("VECTOR") && error.contains("unexpected 'FLOAT'"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn names_are_checked_before_anything_runs() {
    let cases = [
        (
            "BEGIN LET x NUMBER := 1; LET y NUMBER := :nosuch; RETURN 1; END",
            41,
            "invalid identifier 'nosuch'",
        ),
        (
            "BEGIN nosuchtarget := 1; END",
            6,
            "invalid identifier 'NOSUCHTARGET'",
        ),
        (
            "BEGIN OPEN nosuchcursor; END",
            11,
            "invalid identifier 'NOSUCHCURSOR'",
        ),
        ("BEGIN RAISE nosuch; END", 12, "invalid identifier 'NOSUCH'"),
        (
            "BEGIN INSERT INTO t VALUES (:a); END",
            28,
            "invalid identifier 'a'",
        ),
        (
            "BEGIN LOOP BREAK outer_; END LOOP inner_; END",
            17,
            "invalid identifier 'OUTER_'",
        ),
        ("BEGIN BREAK; END", 6, "BREAK is possible only in a loop."),
        (
            "BEGIN LET x := 1; EXCEPTION WHEN OTHER THEN RETURN :x; END",
            51,
            "invalid identifier 'x'",
        ),
    ];
    for (body, column, text) in cases {
        let mut host = TestHost::new(&[]).await;
        let body = body.replacen("BEGIN ", "BEGIN INSERT INTO log VALUES (1);\n", 1);
        let error = run_on(&mut host, &body).await;
        let place = format!("error line 2 at position {}\n", column - 6);
        assert!(
            error.contains(&place) && error.contains(text),
            "{body}: {error}"
        );
        assert_eq!(host.log, [""; 0]);
    }
}

#[tokio::test]
async fn a_name_is_introduced_once_in_a_scope() {
    let twice = |line, column, name| {
        format!(
            "092228 (P0000): SQL compilation error: error line {line} at position {column}\n \
             Variable with name '{name}' declared twice."
        )
    };
    assert_eq!(
        run("DECLARE\n  a INT;\n  A CURSOR FOR SELECT 1;\nBEGIN NULL; END").await,
        twice(3, 2, "A")
    );
    assert_eq!(
        run("DECLARE a INT; BEGIN\n  LET a := 2;\nEND").await,
        twice(2, 2, "A")
    );
    assert_eq!(
        run("BEGIN LET a := 1;\n  LET a := 2; END").await,
        twice(2, 2, "A")
    );
    assert_eq!(
        run("DECLARE a INT DEFAULT 4; a EXCEPTION (-20001, 'x'); BEGIN RETURN a; END").await,
        "4"
    );
    assert_eq!(
        run("BEGIN LET a := 1; FOR i IN 1 TO 2 DO LET a := 5; END FOR; RETURN a; END").await,
        "1"
    );
}

#[tokio::test]
async fn types_that_cannot_be_inferred() {
    let body =
        "DECLARE c CURSOR FOR SELECT 1 AS p; BEGIN\n FOR r IN c DO\n  LET x := r.p; END FOR; END";
    assert_eq!(
        run(body).await,
        "092228 (P0000): SQL compilation error: error line 3 at position 2\n \
         variable 'X' cannot have its type inferred from initializer"
    );
    let cast = "DECLARE c CURSOR FOR SELECT 1 AS p; BEGIN FOR r IN c DO LET x := r.p::INT; RETURN x; END FOR; END";
    assert_eq!(run(cast).await, "1");
    assert!(
        run("BEGIN LET x := NULL; END")
            .await
            .contains("cannot have its type inferred")
    );
}

#[tokio::test]
async fn uncaught_errors_are_wrapped() {
    assert_eq!(
        run("DECLARE e EXCEPTION (-20002, 'Too late.');\nBEGIN\n  IF (TRUE) THEN\n    RAISE e;\n  END IF;\nEND").await,
        "-20002 (P0001): Uncaught exception of type 'E' on line 4 at position 4 : Too late."
    );
    assert_eq!(
        run("DECLARE plain EXCEPTION; BEGIN RAISE plain; END").await,
        "-20000 (P0001): Uncaught exception of type 'PLAIN' on line 1 at position 31"
    );
    assert_eq!(
        run("BEGIN\n  SELECT * FROM nowhere;\nEND").await,
        "002003 (42S02): Uncaught exception of type 'STATEMENT_ERROR' on line 2 at position 2 : \
         SQL compilation error:\nObject 'NOWHERE' does not exist or not authorized."
    );
    assert_eq!(
        run("BEGIN LET n := 0; RETURN 1 / n; END").await,
        "100051 (22012): Uncaught exception of type 'EXPRESSION_ERROR' on line 1 at position 25 : Division by zero"
    );
    assert_eq!(
        run("DECLARE r VARCHAR(2) := 'abcdef'; BEGIN NULL; END").await,
        "100078 (22000): Uncaught exception of type 'EXPRESSION_ERROR' on line 1 at position 24 : \
         String 'abcdef' is too long and would be truncated"
    );
    assert_eq!(
        run("BEGIN LET x DATE := TRUE; RETURN x; END").await,
        "001007 (22023): Uncaught exception of type 'EXPRESSION_ERROR' on line 1 at position 20 : \
         SQL compilation error:\ninvalid type [CAST(TRUE AS DATE)] for parameter 'TO_DATE'"
    );
    assert_eq!(
        run("DECLARE c CURSOR FOR SELECT ?; BEGIN OPEN c; END").await,
        "002049 (42601): Uncaught exception of type 'STATEMENT_ERROR' on line 1 at position 37 : \
         SQL compilation error: error line 1 at position 7\nBind variable ? not set."
    );
    let codes = run("DECLARE\n    e EXCEPTION (-30000, 'x');\nBEGIN NULL; END").await;
    assert!(
        codes.contains("error line 2 at position 4\n Invalid error code '-30,000'. Must be between -20,999 and -20,000"),
        "{codes}"
    );
}

#[tokio::test]
async fn cursors_that_are_not_open_or_open_already() {
    let declare = "DECLARE n INT; c CURSOR FOR SELECT 1; r RESULTSET; BEGIN";
    for (body, text) in [
        ("FETCH c INTO n;", "Cursor C is not open; OPEN it first."),
        ("CLOSE c;", "Cursor C is not open; OPEN it first."),
        (
            "OPEN c; OPEN c;",
            "Cursor C is already open; CLOSE it first.",
        ),
        (
            "FOR x IN r DO NULL; END FOR;",
            "RESULTSET R has no rows: assign a query to it first.",
        ),
        (
            "FOR i IN n TO 2 DO NULL; END FOR;",
            "The bound n of FOR is NULL; it must be a whole number.",
        ),
    ] {
        let error = run(&format!("{declare} {body} END")).await;
        assert!(error.contains(text), "{body}: {error}");
    }
}

#[tokio::test]
async fn handlers_catch_by_kind_and_name() {
    let caught = |what: &str| {
        format!(
            "DECLARE e1 EXCEPTION (-20001, 'one'); e2 EXCEPTION (-20002, 'two');
             BEGIN
               {what}
               RETURN 'none';
             EXCEPTION
               WHEN e1 OR e2 THEN RETURN 'declared ' || SQLCODE || ' ' || SQLERRM || ' ' || SQLSTATE;
               WHEN STATEMENT_ERROR THEN RETURN 'statement ' || SQLCODE || ' ' || SQLSTATE;
               WHEN EXPRESSION_ERROR THEN RETURN 'expression ' || :sqlerrm;
               WHEN OTHER THEN RETURN 'other';
             END"
        )
    };
    for (what, expected) in [
        ("RAISE e2;", "declared -20002 two P0001"),
        ("DROP TABLE gone;", "statement 2003 42S02"),
        ("LET n := 0; LET x := 1 / n;", "expression Division by zero"),
        ("NULL;", "none"),
        (
            "BEGIN RAISE e1; EXCEPTION WHEN e2 THEN NULL; END;",
            "declared -20001 one P0001",
        ),
        (
            "BEGIN RAISE e1; EXCEPTION WHEN OTHER THEN NULL; END;",
            "none",
        ),
        (
            "BEGIN RAISE e1; EXCEPTION WHEN OTHER THEN RAISE; END;",
            "declared -20001 one P0001",
        ),
        (
            "BEGIN RAISE e1; EXCEPTION WHEN OTHER THEN RAISE e2; END;",
            "declared -20002 two P0001",
        ),
        // An exception of the same name that an inner block declares is a different one.
        (
            "DECLARE e1 EXCEPTION (-20009, 'x'); BEGIN RAISE e1; END;",
            "other",
        ),
    ] {
        assert_eq!(run(&caught(what)).await, expected, "{what}");
    }
    // DECLARE is not covered by the block's own handlers.
    let declared = "DECLARE x INT DEFAULT 'x'; BEGIN NULL; EXCEPTION WHEN OTHER THEN RETURN 1; END";
    assert!(run(declared).await.starts_with("100038"));
    // An exception in a handler is for the enclosing blocks.
    let inner = "BEGIN BEGIN DROP TABLE a; EXCEPTION WHEN OTHER THEN LET n INT := 'x'; WHEN EXPRESSION_ERROR THEN RETURN 1; END; \
                 EXCEPTION WHEN EXPRESSION_ERROR THEN RETURN 2; END";
    assert_eq!(run(inner).await, "2");
    // After an inner exception was handled, SQLERRM is that of the outer handler again.
    let nested = "DECLARE e1 EXCEPTION (-20001, 'one'); e2 EXCEPTION (-20002, 'two');
      BEGIN RAISE e1; EXCEPTION WHEN e1 THEN
        BEGIN RAISE e2; EXCEPTION WHEN e2 THEN NULL; END;
        RETURN SQLERRM;
      END";
    assert_eq!(run(nested).await, "one");
}

#[tokio::test]
async fn continue_handlers_go_on_after_the_statement() {
    let after = "DECLARE e EXCEPTION (-20001, 'x');
      BEGIN
        LET n := 0;
        IF (TRUE) THEN RAISE e; n := 100; END IF;
        n := n + 10;
        RETURN n;
      EXCEPTION WHEN e CONTINUE THEN n := n + 1;
      END";
    assert_eq!(run(after).await, "11");
    let iterations = "DECLARE x INT DEFAULT 0; bad INT DEFAULT 0;
      BEGIN FOR i IN 0 TO 5 DO x := 10 / i; END FOR; RETURN x || ' ' || bad;
      EXCEPTION WHEN EXPRESSION_ERROR CONTINUE THEN bad := bad + 1; END";
    assert_eq!(run(iterations).await, "2 1");
    let condition =
        "DECLARE z INT DEFAULT 0; BEGIN WHILE (1 / z > 0) DO NULL; END WHILE; RETURN 'after';
      EXCEPTION WHEN OTHER CONTINUE THEN NULL; END";
    assert_eq!(run(condition).await, "after");
    let exit = "DECLARE n INT DEFAULT 0; BEGIN LOOP n := n + 1; IF (n > 3) THEN DROP TABLE gone; END IF; END LOOP;
      EXCEPTION WHEN OTHER EXIT THEN RETURN n; END";
    assert_eq!(run(exit).await, "4");
}
