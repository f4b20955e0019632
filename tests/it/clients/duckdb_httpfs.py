"""Writes and reads Parquet and CSV through DuckDB's S3 client, with globs and range reads."""

import os
from urllib.parse import urlparse

import duckdb
from duckdb_extensions import import_extension

BUCKET = os.environ["ICEBOX_BUCKET"]
db = duckdb.connect(
    config={"home_directory": os.getcwd(), "extension_directory": os.path.join(os.getcwd(), "ext")}
)
import_extension("httpfs", con=db)
db.sql("LOAD httpfs")
db.sql(
    f"""CREATE SECRET s (TYPE S3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}',
    SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}',
    ENDPOINT '{urlparse(os.environ["AWS_ENDPOINT_URL"]).netloc}',
    REGION '{os.environ["AWS_REGION"]}', URL_STYLE 'path', USE_SSL false)"""
)

rows = 2_000_000
db.sql(
    f"""COPY (
    SELECT i, i % 7 AS part, 'row ' || i AS text, hash(i) AS noise FROM range({rows}) t(i))
    TO 's3://{BUCKET}/one/big.parquet' (FORMAT parquet, ROW_GROUP_SIZE 100000)"""
)
one = f"read_parquet('s3://{BUCKET}/one/big.parquet')"
assert db.sql(f"SELECT count(*), sum(i), min(text), max(i) FROM {one}").fetchone() == (
    rows,
    rows * (rows - 1) // 2,
    "row 0",
    rows - 1,
)
assert db.sql(f"SELECT text FROM {one} WHERE i = 1234567").fetchone() == ("row 1234567",)

db.sql(f"COPY (FROM {one}) TO 's3://{BUCKET}/parts' (FORMAT parquet, PARTITION_BY (part))")
listed = db.sql(
    f"SELECT file FROM glob('s3://{BUCKET}/parts/*/*.parquet') ORDER BY file"
).fetchall()
assert len({f.split("/")[-2] for (f,) in listed}) == 7, listed
parts = f"read_parquet('s3://{BUCKET}/parts/**/*.parquet', hive_partitioning = true)"
assert db.sql(f"SELECT count(*), sum(i), count(DISTINCT part) FROM {parts}").fetchone() == (
    rows,
    rows * (rows - 1) // 2,
    7,
)
only = db.sql(f"SELECT count(*) FROM {parts} WHERE part = 3").fetchone()
assert only == (len(range(3, rows, 7)),), only

db.sql(f"COPY (SELECT 'ä, \"b\"' AS a, 1 AS b) TO 's3://{BUCKET}/sub dir/ä+b.csv' (HEADER)")
assert db.sql(f"FROM read_csv('s3://{BUCKET}/sub dir/*.csv')").fetchall() == [('ä, "b"', 1)]

try:
    db.sql(f"FROM read_parquet('s3://{BUCKET}/missing.parquet')")
    raise AssertionError("a missing file should be an error")
except duckdb.Error as error:
    assert "404" in str(error), error
print("all passed")
