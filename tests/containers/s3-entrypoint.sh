#!/bin/sh
# Serves the buckets in DIR on port 9000.
#   s3-entrypoint.sh server DIR
# MINIO_ROOT_USER and MINIO_ROOT_PASSWORD are the access key id and the secret access key.
set -eu
if [ "$#" -ne 2 ] || [ "$1" != server ]; then
    echo "usage: server DIR" >&2
    exit 2
fi
umask 077
cat >/run/s3.json <<JSON
{
    "component": "s3",
    "root": "$2",
    "listen": "0.0.0.0:9000",
    "region": "${MINIO_REGION:-us-east-1}",
    "accounts": [{
        "id": "000000000000",
        "root_access_key_id": "$MINIO_ROOT_USER",
        "root_secret_access_key": "$MINIO_ROOT_PASSWORD",
        "root_takes_any_role": true
    }],
    "iam": "$2/.icebox/iam",
    "audit": "$2/.icebox/audit"
}
JSON
exec icebox component s3 --config /run/s3.json
