"""Uses S3 through boto3, with addressing, checksums and retries at their defaults."""

import datetime
import hashlib
import io
import os
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

BUCKET = os.environ["ICEBOX_BUCKET"]
s3 = boto3.client("s3")


def code(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError(f"{call} should have failed")


# Small objects, their metadata and their ETags.
body = b"hello from boto3"
put = s3.put_object(
    Bucket=BUCKET, Key="dir/ä +%.txt", Body=body, ContentType="text/plain", Metadata={"a": "b"}
)
assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"', put
got = s3.get_object(Bucket=BUCKET, Key="dir/ä +%.txt")
assert got["Body"].read() == body
assert got["ContentType"] == "text/plain" and got["Metadata"] == {"a": "b"}
assert (datetime.datetime.now(datetime.UTC) - got["LastModified"]).total_seconds() < 60
assert code(s3.get_object, Bucket=BUCKET, Key="missing") == "NoSuchKey"
assert code(s3.head_object, Bucket=BUCKET, Key="missing") == "404"
assert (
    code(s3.put_object, Bucket=BUCKET, Key="dir/ä +%.txt", Body=b"", IfNoneMatch="*")
    == "PreconditionFailed"
)

# A body of unknown hash is sent in chunks with a trailing checksum; a wrong checksum is refused.
s3.put_object(Bucket=BUCKET, Key="chunked", Body=io.BytesIO(bytes(range(256)) * 10_000))
assert s3.get_object(Bucket=BUCKET, Key="chunked")["Body"].read() == bytes(range(256)) * 10_000
summed = s3.head_object(Bucket=BUCKET, Key="chunked", ChecksumMode="ENABLED")
assert "ChecksumCRC32" in summed and summed["ChecksumType"] == "FULL_OBJECT", summed
assert (
    code(s3.put_object, Bucket=BUCKET, Key="bad", Body=b"x", ChecksumCRC32="AAAAAA==")
    == "BadDigest"
)
for algorithm in ["CRC32", "SHA1", "SHA256"]:
    s3.put_object(Bucket=BUCKET, Key="sum", Body=io.BytesIO(body), ChecksumAlgorithm=algorithm)
    assert s3.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")["Body"].read() == body

# Multipart uploads and downloads by the transfer manager, with parts in parallel.
big = os.urandom(23 << 20)
config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
s3.upload_fileobj(io.BytesIO(big), BUCKET, "big", Config=config)
assert s3.head_object(Bucket=BUCKET, Key="big")["ETag"].endswith('-5"')
down = io.BytesIO()
s3.download_fileobj(BUCKET, "big", down, Config=config)
assert down.getvalue() == big
s3.copy({"Bucket": BUCKET, "Key": "big"}, BUCKET, "copy", Config=config)
assert s3.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == big
assert s3.get_object(Bucket=BUCKET, Key="big", Range="bytes=100-199")["Body"].read() == big[100:200]

# Pagination, with the URL encoding that boto3 requests and decodes.
names = sorted(f"many/{i} ä&<{i}>/x" for i in range(25)) + ["many/\x01"]
names.sort(key=lambda n: n.encode())
for name in names:
    s3.put_object(Bucket=BUCKET, Key=name, Body=b"")
for operation in ["list_objects", "list_objects_v2"]:
    pages = s3.get_paginator(operation).paginate(
        Bucket=BUCKET, Prefix="many/", PaginationConfig={"PageSize": 7}
    )
    assert [o["Key"] for page in pages for o in page.get("Contents", [])] == names, operation
    pages = s3.get_paginator(operation).paginate(
        Bucket=BUCKET, Prefix="many/", Delimiter="/", PaginationConfig={"PageSize": 4}
    )
    groups = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
    assert groups == [n[:-1] for n in names if n.endswith("/x")], (operation, groups)

# Presigned URLs and presigned forms.
url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "dir/ä +%.txt"})
if "X-Amz-Signature" in url:
    assert urllib.request.urlopen(url).read() == body
v4 = boto3.client("s3", config=boto3.session.Config(signature_version="s3v4"))
url = v4.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "dir/ä +%.txt"})
assert urllib.request.urlopen(url).read() == body

# Deletes everything through the resource interface. XML cannot represent the key with the control
# character, so that one is deleted by itself.
s3.delete_object(Bucket=BUCKET, Key="many/\x01")
bucket = boto3.resource("s3").Bucket(BUCKET)
bucket.objects.all().delete()
assert list(bucket.objects.all()) == []
print("all passed")
