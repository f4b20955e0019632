"""Measures DuckDB on Iceberg tables, as a peer in `icebox bench`.

Reads a job from standard input and writes the times to standard output, both JSON:

  job     {"s3": {"endpoint", "region", "access_key_id", "secret_access_key"},
           "object_dir", "warmups", "runs", "tables": {logical name: metadata location},
           "queries": {name: SQL with {{logical name}}}}
  answer  {"version", "threads", "skipped": {source: reason},
           "times": [{"query", "source": "s3" | "local", "seconds": [...], "rows": [[text]]}]}

The source `s3` is iceberg_scan over S3. The source `local` is read_parquet on the same data files,
which needs an S3 server that keeps objects as plain files.
"""

import json
import os
import re
import sys
import time
from decimal import Decimal
from urllib.parse import urlparse

import duckdb
from duckdb_extensions import import_extension

job = json.load(sys.stdin)
here = os.getcwd()
db = duckdb.connect(
    config={"home_directory": here, "extension_directory": os.path.join(here, "extensions")}
)
for extension in ["httpfs", "avro", "iceberg"]:
    import_extension(extension, con=db)
    db.sql(f"LOAD {extension}")
s3 = job["s3"]
db.sql(
    f"""CREATE SECRET s (TYPE S3, KEY_ID '{s3["access_key_id"]}',
    SECRET '{s3["secret_access_key"]}', ENDPOINT '{urlparse(s3["endpoint"]).netloc}',
    REGION '{s3["region"]}', URL_STYLE 'path', USE_SSL false)"""
)


def local_files(location):
    """Returns the paths of a table's data files.

    Raises LookupError if the table has delete files too, or if the files are not on disk.
    """
    manifests = db.execute(
        "SELECT manifest_content, status, file_path FROM iceberg_metadata(?)", [location]
    ).fetchall()
    paths = []
    for content, status, path in manifests:
        if status == "DELETED":
            continue
        if content != "DATA":
            raise LookupError("the tables have delete files")
        path = os.path.join(job["object_dir"], path.removeprefix("s3://"))
        if not os.path.isfile(path):
            raise LookupError("the S3 server does not keep objects as plain files")
        paths.append(path)
    return paths


def with_tables(template, tables):
    """Returns a query with each logical name replaced by its table."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda name: tables[name[1]], template)


def text(value):
    if value is None:
        return "NULL"
    if isinstance(value, Decimal):
        number = format(value, "f")
        return number.rstrip("0").rstrip(".") if "." in number else number
    return str(value)


sources = {"s3": {name: f"iceberg_scan('{location}')" for name, location in job["tables"].items()}}
skipped = {}
try:
    sources["local"] = {
        name: f"read_parquet({local_files(at)!r})" for name, at in job["tables"].items()
    }
except LookupError as error:
    skipped["local"] = str(error)

times = []
for query, template in job["queries"].items():
    for source, tables in sources.items():
        sql = with_tables(template, tables)
        seconds = []
        for _ in range(job["warmups"] + job["runs"]):
            begun = time.perf_counter()
            rows = db.execute(sql).fetchall()
            seconds.append(time.perf_counter() - begun)
        rows = [[text(value) for value in row] for row in rows]
        times.append(
            {"query": query, "source": source, "seconds": seconds[job["warmups"] :], "rows": rows}
        )

threads = db.execute("SELECT current_setting('threads')").fetchone()[0]
json.dump(
    {"version": duckdb.__version__, "threads": threads, "skipped": skipped, "times": times},
    sys.stdout,
)
