"""Uses the Snowflake side through Snowflake's connector, and prints one JSON object of the results.

The environment has the account (SNOWFLAKE_HOST, SNOWFLAKE_PORT, SNOWFLAKE_USER,
SNOWFLAKE_PASSWORD) and three queries: TYPES_SQL has a column for each type, MISSING_SQL asks for a
table that does not exist, and LARGE_SQL returns many rows.
"""

import concurrent.futures
import datetime
import json
import os
import threading
import time
from decimal import Decimal

import snowflake.connector
from snowflake.connector import errors

snowflake.connector.paramstyle = "qmark"
MAJOR = int(snowflake.connector.__version__.split(".")[0])


def connect(**changes):
    settings = {
        "host": os.environ["SNOWFLAKE_HOST"],
        "port": int(os.environ["SNOWFLAKE_PORT"]),
        "protocol": "http",
        "account": "icebox",
        "user": os.environ["SNOWFLAKE_USER"],
        "password": os.environ["SNOWFLAKE_PASSWORD"],
        "paramstyle": "qmark",
        "login_timeout": 20,
    }
    return snowflake.connector.connect(**(settings | changes))


def failure(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except errors.Error as error:
        return {
            "kind": type(error).__name__,
            "code": error.errno,
            "state": error.sqlstate,
            "text": str(error.msg),
        }
    raise AssertionError(f"{call} should have failed")


def types(connection):
    cursor = connection.cursor()
    cursor.execute(os.environ["TYPES_SQL"])
    names = [column.name for column in cursor.description]
    kinds = [
        [column.type_code, column.precision, column.scale, column.internal_size]
        for column in cursor.description
    ]
    rows = [[repr(value) for value in row] for row in cursor.fetchall()]
    described = cursor.describe(os.environ["TYPES_SQL"])
    assert [column.name for column in described] == names, described
    return {"columns": dict(zip(names, kinds)), "rows": [dict(zip(names, row)) for row in rows]}


def bindings(connection):
    """Inserts bound values, one row and hundreds of rows at once, and reads them back."""
    cursor = connection.cursor()
    table = f"DRIVER_{MAJOR}"
    cursor.execute(
        f"CREATE TABLE {table} "
        "(N DECIMAL(12,2), S VARCHAR, F DOUBLE, B BOOLEAN, D DATE, T TIMESTAMP)"
    )
    insert = f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)"
    moment = datetime.datetime(2024, 3, 15, 7, 34, 56, 123456)
    row = [
        Decimal("12.34"),
        'it\'s "quoted"; ?',
        0.5,
        True,
        datetime.date(2024, 2, 29),
        ("TIMESTAMP_NTZ", moment),
    ]
    cursor.execute(insert, row)
    counts = [cursor.rowcount]
    many = [
        [
            Decimal(n) / 4,
            f"row {n}",
            n / 8,
            n % 2 == 0,
            datetime.date(1969, 12, 31),
            ("TIMESTAMP_NTZ", moment),
        ]
        for n in range(200)
    ]
    cursor.executemany(insert, many)
    counts.append(cursor.rowcount)
    cursor.execute(insert, [None] * 6)
    counts.append(cursor.rowcount)
    cursor.execute(
        f"SELECT COUNT(*), SUM(N), MIN(D), MAX(T), MAX(S) FROM {table} WHERE F < ? OR S = ?",
        [1000.0, "none"],
    )
    sums = [repr(value) for value in cursor.fetchone()]
    return {"counts": counts, "sums": sums}


def failures(connection):
    cursor = connection.cursor()
    missing = failure(cursor.execute, os.environ["MISSING_SQL"])
    syntax = failure(cursor.execute, "SELECT 'open")
    # The session can still be used after the errors.
    assert cursor.execute("SELECT 1").fetchone()[0] == 1
    return {
        "missing": missing,
        "syntax": syntax,
        "password": failure(connect, password="wrong"),
        "database": failure(connect, database="nowhere"),
    }


def slow(connection):
    """Runs a statement that takes longer than the server keeps a request waiting."""
    started = time.monotonic()
    cursor = connection.cursor()
    value = cursor.execute("SELECT SYSTEM$WAIT(5)").fetchone()[0]
    assert time.monotonic() - started >= 5
    return value


def asynchronous(connection):
    cursor = connection.cursor()
    cursor.execute_async("SELECT SYSTEM$WAIT(2)")
    query_id = cursor.sfqid
    first = connection.get_query_status(query_id)
    assert connection.is_still_running(first), first
    while connection.is_still_running(connection.get_query_status(query_id)):
        time.sleep(0.1)
    cursor.get_results_from_sfqid(query_id)
    value = cursor.fetchone()[0]
    cursor.execute_async(os.environ["MISSING_SQL"])
    failed = cursor.sfqid
    while connection.is_still_running(connection.get_query_status(failed)):
        time.sleep(0.1)
    return {
        "first": first.name,
        "last": connection.get_query_status(query_id).name,
        "value": value,
        "failed": failure(connection.get_query_status_throw_if_error, failed),
    }


def canceled(connection):
    """Ends a statement by its id and, before connector 5, another by its time limit."""
    started = time.monotonic()
    cursor = connection.cursor()
    cursor.execute_async("SELECT SYSTEM$WAIT(60)")
    query_id = cursor.sfqid
    aborted = cursor.abort_query(query_id)
    while connection.is_still_running(connection.get_query_status(query_id)):
        time.sleep(0.1)
    seen = {
        "aborted": aborted,
        "by_id": failure(connection.get_query_status_throw_if_error, query_id),
    }
    seen["again"] = cursor.abort_query(query_id)
    if MAJOR < 5:
        # Only the code is compared: the text depends on which of the connector's threads comes
        # first.
        seen["by_time"] = failure(cursor.execute, "SELECT SYSTEM$WAIT(60)", timeout=2)["code"]
    assert time.monotonic() - started < 30
    return seen


def several(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT 1 AS A; SELECT 'two;' AS B, 2 AS C", num_statements=2)
    results = [cursor.fetchall()]
    while cursor.nextset():
        results.append(cursor.fetchall())
    return {"results": results, "refused": failure(cursor.execute, "SELECT 1; SELECT 2")}


def crowd(count):
    """Opens this many sessions at once, each with statements of its own."""
    together = threading.Barrier(count, timeout=120)

    def one(number):
        with connect() as connection:
            together.wait()
            return [
                connection.cursor().execute("SELECT ? + ?", [number, n]).fetchone()[0]
                for n in range(5)
            ]

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(one, range(count)))
    assert answers == [[number + n for n in range(5)] for number in range(count)], answers
    return count


def large(connection):
    cursor = connection.cursor()
    cursor.execute(os.environ["LARGE_SQL"])
    return sum(1 for _ in cursor)


def session(connection):
    cursor = connection.cursor()
    cursor.execute("USE WAREHOUSE COMPUTE_WH")
    seen = {"database": connection.database, "warehouse": connection.warehouse}
    other = connect()
    other.close()
    seen["closed"] = failure(other.cursor)
    return seen


def main():
    started = time.monotonic()
    connection = connect(database="retail", client_session_keep_alive=True)
    seen = {"version": snowflake.connector.__version__}
    parts = [session, types, bindings, failures, slow, asynchronous, canceled, several, large]
    wanted = os.environ.get("PARTS")
    for part in parts:
        if wanted is None or part.__name__ in wanted.split(","):
            seen[part.__name__] = part(connection)
    seen["crowd"] = crowd(int(os.environ.get("CROWD", "50")))
    connection.close()
    seen["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(seen, default=repr, indent=1))


main()
