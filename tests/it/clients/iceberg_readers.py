"""Reads tables with DuckDB's iceberg_scan and with pyiceberg.

Standard input says where each table is, and what PostgreSQL counts and sums in its columns.
"""

import json
import os
import sys
from decimal import Decimal, getcontext
from urllib.parse import urlparse

import duckdb
import pyarrow.compute as pc
from duckdb_extensions import import_extension
from pyiceberg.table import StaticTable

# More digits than any sum in these tables needs.
getcontext().prec = 80

endpoint = os.environ["AWS_ENDPOINT_URL"]
db = duckdb.connect(
    config={"home_directory": os.getcwd(), "extension_directory": os.path.join(os.getcwd(), "ext")}
)
for extension in ["httpfs", "avro", "iceberg"]:
    import_extension(extension, con=db)
    db.sql(f"LOAD {extension}")
db.sql(
    f"""CREATE SECRET s (TYPE S3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}',
    SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}', ENDPOINT '{urlparse(endpoint).netloc}',
    REGION '{os.environ["AWS_REGION"]}', URL_STYLE 'path', USE_SSL false)"""
)
properties = {
    "s3.endpoint": endpoint,
    "s3.access-key-id": os.environ["AWS_ACCESS_KEY_ID"],
    "s3.secret-access-key": os.environ["AWS_SECRET_ACCESS_KEY"],
    "s3.region": os.environ["AWS_REGION"],
}


def exact(value):
    return None if value is None else Decimal(value)


def equal(who, table, what, found, expected):
    assert found == expected, (
        f"{who}: {table['table']} {what} is {found}, PostgreSQL says {expected}"
    )


for table in json.load(sys.stdin):
    quoted = {
        column["name"]: '"' + column["name"].replace('"', '""') + '"' for column in table["columns"]
    }
    scan = "iceberg_scan('" + table["location"].replace("'", "''") + "')"
    equal(
        "DuckDB",
        table,
        "count(*)",
        db.sql(f"SELECT count(*) FROM {scan}").fetchone()[0],
        int(table["rows"]),
    )
    for column in table["columns"]:
        name = quoted[column["name"]]
        # DuckDB sums no type wider than hugeint and decimal(38) exactly.
        total = f"sum({name})::varchar" if column["sum"] is not None else "NULL"
        count, total = db.sql(f"SELECT count({name}), {total} FROM {scan}").fetchone()
        equal("DuckDB", table, f"count({name})", count, int(column["count"]))
        equal("DuckDB", table, f"sum({name})", exact(total), exact(column["sum"]))

    rows = StaticTable.from_metadata(table["location"], properties=properties).scan().to_arrow()
    equal("pyiceberg", table, "count(*)", rows.num_rows, int(table["rows"]))
    for column in table["columns"]:
        values = rows.column(column["name"])
        equal(
            "pyiceberg",
            table,
            f"count({column['name']})",
            pc.count(values).as_py(),
            int(column["count"]),
        )
        if column["sum"] is not None:
            total = sum(
                (Decimal(value) for value in values.to_pylist() if value is not None), Decimal(0)
            )
            equal("pyiceberg", table, f"sum({column['name']})", total, exact(column["sum"]))
    print(table["table"], table["rows"])
print("all passed")
