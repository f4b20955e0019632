#!/bin/bash
# Runs PostgreSQL with pg_lake, and the pgduck_server that it needs: both, or one of them if they
# run in two containers that share a volume.
#
#   entrypoint.sh [all | postgres | pgduck | bucket | check]
#
#   all        PostgreSQL and pgduck_server; when one ends, the other is stopped and the exit code
#              is not 0
#   postgres   PostgreSQL only; pgduck_server is in another container on the same volume
#   pgduck     pgduck_server only
#   bucket     creates the bucket, then ends
#   check      health: an Iceberg table can be created and dropped
#
# Everything is configured by the environment:
#
#   ICEBOX_S3_ENDPOINT            http://host:port or https://host:port
#   ICEBOX_S3_REGION              us-east-1
#   ICEBOX_S3_ACCESS_KEY_ID, ICEBOX_S3_SECRET_ACCESS_KEY
#   ICEBOX_BUCKET
#   ICEBOX_ADMIN_PASSWORD         of the role snowflake_admin
#   ICEBOX_APPLICATION_PASSWORD   of the role application
#   ICEBOX_SUPERUSER_PASSWORD     of the role icebox_lake, which without one can connect over the
#                                 socket only
#   ICEBOX_CLIENTS                who may connect over TCP: `all`, or `rules`: only icebox_lake,
#                                 until it has written other rules
#   ICEBOX_TLS_CERTIFICATE, ICEBOX_TLS_KEY     PEM text; a pair is generated if there is none
#   ICEBOX_PGDUCK_MEMORY_LIMIT    for example 2GB; a quarter of the machine's memory if empty
#   ICEBOX_PGDUCK_EXTENSIONS      a directory of DuckDB's extensions; if it contains a file
#                                 `complete`, none is installed
#
# The volume /var/lib/postgresql contains data/ (the cluster), pgduck/ (cache and database of
# pgduck_server), run/ (sockets) and tls/.
set -euo pipefail

home=/var/lib/postgresql
data=$home/data
sockets=$home/run
superuser=icebox_lake
pgduck_port=5332
pgduck_socket=$sockets/.s.PGSQL.$pgduck_port
role=${1:-all}

say() { echo "entrypoint: $*" >&2; }
die() { say "$*"; exit 1; }
needs() {
    local name
    for name; do [ -n "${!name:-}" ] || die "the environment variable $name is not set"; done
}
# Puts a value in single quotes, for an SQL literal or a setting.
quoted() { printf "'%s'" "${1//\'/\'\'}"; }

# Debian keeps the programs of each version in a directory of its own.
debian_bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
PATH=$PATH${debian_bin:+:$debian_bin}

psql_as_superuser() { psql -X -q -v ON_ERROR_STOP=1 -h "$sockets" -U "$superuser" "$@"; }

# Prints the HMAC-SHA256 of standard input. It and the key are in hexadecimal digits.
hmac() { openssl dgst -sha256 -mac HMAC -macopt "hexkey:$1" | sed 's/^.* //'; }

# Asks the S3 server to create the bucket, and prints the HTTP status. The request is signed here
# (Signature Version 4), because the curl of Enterprise Linux 9 cannot sign all of the headers that
# S3 wants signed.
put_bucket() {
    local host=${ICEBOX_S3_ENDPOINT#*://} region=${ICEBOX_S3_REGION:-us-east-1}
    local signed='host;x-amz-content-sha256;x-amz-date' now scope empty request text key part
    now=$(date -u +%Y%m%dT%H%M%SZ)
    scope=${now%T*}/$region/s3/aws4_request
    empty=$(sha256sum </dev/null | cut -d' ' -f1)
    request=$(printf 'PUT\n/%s\n\nhost:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n\n%s\n%s' \
        "$ICEBOX_BUCKET" "$host" "$empty" "$now" "$signed" "$empty" | sha256sum | cut -d' ' -f1)
    text=$(printf 'AWS4-HMAC-SHA256\n%s\n%s\n%s' "$now" "$scope" "$request")
    key=$(printf 'AWS4%s' "$ICEBOX_S3_SECRET_ACCESS_KEY" | od -An -v -tx1 | tr -d ' \n')
    for part in "${now%T*}" "$region" s3 aws4_request "$text"; do key=$(printf %s "$part" | hmac "$key"); done
    curl -sS -o /tmp/answer -w '%{http_code}' -X PUT "$ICEBOX_S3_ENDPOINT/$ICEBOX_BUCKET" \
        -H "x-amz-content-sha256: $empty" -H "x-amz-date: $now" \
        -H "Authorization: AWS4-HMAC-SHA256 Credential=$ICEBOX_S3_ACCESS_KEY_ID/$scope, SignedHeaders=$signed, Signature=$key"
}

make_bucket() {
    needs ICEBOX_S3_ENDPOINT ICEBOX_S3_ACCESS_KEY_ID ICEBOX_S3_SECRET_ACCESS_KEY ICEBOX_BUCKET
    local status deadline=$((SECONDS + 60))
    while :; do
        status=$(put_bucket) || true
        case $status in
            # 409: it exists already.
            200 | 409) say "bucket $ICEBOX_BUCKET is there"; return ;;
            000 | 5??) [ "$SECONDS" -lt "$deadline" ] || die "no S3 server answers at $ICEBOX_S3_ENDPOINT" ;;
            *) die "bucket $ICEBOX_BUCKET cannot be made: HTTP $status $(cat /tmp/answer)" ;;
        esac
        sleep 0.5
    done
}

# Creates and drops a table once after each start of PostgreSQL, in a database of its own. After
# that it is enough that both servers answer, so that the check does not fill the bucket.
check() {
    psql_as_superuser -d postgres -c 'SELECT 1' >/dev/null
    pg_isready -q -h "$sockets" -p "$pgduck_port" || die "pgduck_server does not answer"
    [ -e "$sockets/checked" ] && return
    psql_as_superuser -d postgres -A -t -c "SELECT 1 FROM pg_database WHERE datname = 'icebox_check'" | grep -q 1 ||
        psql_as_superuser -d postgres -c 'CREATE DATABASE icebox_check'
    psql_as_superuser -d icebox_check >/dev/null <<SQL
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_lake CASCADE;
SET pg_lake_iceberg.default_location_prefix = 's3://$ICEBOX_BUCKET/icebox-check';
DROP TABLE IF EXISTS checked;
CREATE TABLE checked (id int) USING iceberg;
DROP TABLE checked;
SQL
    touch "$sockets/checked"
}

start_pgduck() {
    needs ICEBOX_S3_ENDPOINT ICEBOX_S3_ACCESS_KEY_ID ICEBOX_S3_SECRET_ACCESS_KEY
    command -v pgduck_server >/dev/null || die "this image has no pgduck_server"
    mkdir -p "$home/pgduck/cache"
    rm -f "$pgduck_socket" "$pgduck_socket.lock"
    local secure=true
    case $ICEBOX_S3_ENDPOINT in http://*) secure=false ;; esac
    (
        umask 077
        cat >"$home/pgduck/init.sql" <<SQL
-- icebox replaces this secret by its name.
CREATE SECRET icebox (
    TYPE S3,
    KEY_ID $(quoted "$ICEBOX_S3_ACCESS_KEY_ID"),
    SECRET $(quoted "$ICEBOX_S3_SECRET_ACCESS_KEY"),
    ENDPOINT $(quoted "${ICEBOX_S3_ENDPOINT#*://}"),
    REGION $(quoted "${ICEBOX_S3_REGION:-us-east-1}"),
    URL_STYLE 'path',
    USE_SSL $secure
);
SQL
    )
    local limit=${ICEBOX_PGDUCK_MEMORY_LIMIT:-} options=()
    [ -n "$limit" ] || limit=$(awk '$1 == "MemTotal:" { mb = int($2 / 4000); print (mb < 1000 ? 1000 : mb) "MB" }' /proc/meminfo)
    [ -z "${ICEBOX_PGDUCK_EXTENSIONS:-}" ] || options+=(--extensions_dir "$ICEBOX_PGDUCK_EXTENSIONS")
    [ ! -e "${ICEBOX_PGDUCK_EXTENSIONS:-}/complete" ] || options+=(--no_extension_install)
    # icebox's stand-in asks PostgreSQL what has been committed; the real program has no use for
    # this.
    export ICEBOX_PGDUCK_POSTGRES="host=$sockets user=$superuser dbname=postgres"
    HOME=$home/pgduck pgduck_server \
        --unix_socket_directory "$sockets" --port "$pgduck_port" \
        --cache_dir "$home/pgduck/cache" --duckdb_database_file_path "$home/pgduck/duckdb.db" \
        --init_file_path "$home/pgduck/init.sql" --memory_limit "$limit" "${options[@]}" &
}

# PostgreSQL may start without pgduck_server, but its first Iceberg statements would fail.
wait_for_pgduck() {
    local deadline=$((SECONDS + 60))
    until [ -S "$pgduck_socket" ]; do
        [ -z "${1:-}" ] || kill -0 "$1" 2>/dev/null || die "pgduck_server ended while it started"
        [ "$SECONDS" -lt "$deadline" ] || die "pgduck_server has no socket at $pgduck_socket"
        sleep 0.05
    done
}

make_cluster() {
    needs ICEBOX_ADMIN_PASSWORD ICEBOX_APPLICATION_PASSWORD
    # Text sorts by bytes, as Snowflake sorts by default, yet upper and lower know all of Unicode.
    rm -rf "$data" "$data.unfinished"
    initdb -D "$data.unfinished" --username "$superuser" --encoding UTF8 --locale C --lc-ctype C.UTF-8 \
        --auth trust --no-sync --no-instructions >&2
    echo "include_if_exists = 'icebox.conf'" >>"$data.unfinished/postgresql.conf"
    # In single-user mode, the server takes one statement per line.
    postgres --single -D "$data.unfinished" postgres >/dev/null <<SQL
CREATE ROLE snowflake_admin LOGIN SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD $(quoted "$ICEBOX_ADMIN_PASSWORD");
CREATE ROLE application LOGIN PASSWORD $(quoted "$ICEBOX_APPLICATION_PASSWORD");
ALTER DATABASE postgres OWNER TO snowflake_admin;
GRANT CREATE, TEMPORARY ON DATABASE postgres TO application;
GRANT USAGE, CREATE ON SCHEMA public TO application;
SQL
    if [ -n "${ICEBOX_SUPERUSER_PASSWORD:-}" ]; then
        postgres --single -D "$data.unfinished" postgres >/dev/null <<SQL
ALTER ROLE $superuser PASSWORD $(quoted "$ICEBOX_SUPERUSER_PASSWORD");
SQL
    fi
    # Only a finished cluster has the final name, so an interrupted first start is repeated.
    mv "$data.unfinished" "$data"
}

install_certificate() {
    mkdir -p "$home/tls"
    if [ -n "${ICEBOX_TLS_CERTIFICATE:-}" ]; then
        needs ICEBOX_TLS_KEY
        echo "$ICEBOX_TLS_CERTIFICATE" >"$home/tls/server.crt"
        (umask 077 && echo "$ICEBOX_TLS_KEY" >"$home/tls/server.key")
    elif [ ! -e "$home/tls/server.key" ]; then
        (umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=icebox PostgreSQL' \
            -addext 'subjectAltName=DNS:localhost,DNS:postgres,IP:127.0.0.1,IP:::1' \
            -keyout "$home/tls/server.key" -out "$home/tls/server.crt" 2>/dev/null)
    fi
}

write_settings() {
    local libraries library library_dir
    library_dir=$(pg_config --pkglibdir)
    libraries=
    for library in pg_extension_base pg_cron; do
        [ ! -e "$library_dir/$library.so" ] || libraries+=${libraries:+,}$library
    done
    # max_worker_processes: every writer of an Iceberg table and every job takes one, and 8 run out
    # at once.
    # fsync: the kernel keeps what a killed process has written. Only a crash of the machine may
    # cost a sandbox its last seconds.
    cat >"$data/icebox.conf" <<CONF
# Written at every start; use ALTER SYSTEM for your own settings.
listen_addresses = '*'
port = 5432
unix_socket_directories = '$sockets'
unix_socket_permissions = 0700
ssl = on
ssl_cert_file = '$home/tls/server.crt'
ssl_key_file = '$home/tls/server.key'
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off
max_connections = 100
shared_buffers = '128MB'
max_worker_processes = 64
fsync = off
full_page_writes = off
shared_preload_libraries = '$libraries'
pg_lake_engine.host = 'host=$sockets port=$pgduck_port'
pg_lake_iceberg.default_location_prefix = ''
pg_lake_iceberg.default_catalog = 'object_store'
pg_lake_iceberg.object_store_catalog_location_prefix = $(quoted "s3://$ICEBOX_BUCKET")
CONF
    if [[ $libraries == *pg_cron* ]]; then
        printf "cron.database_name = 'postgres'\ncron.use_background_workers = on\n" >>"$data/icebox.conf"
    fi
}

# The socket is for programs in this container. Everyone else connects over TLS with a password.
write_access_rules() {
    [ "${ICEBOX_CLIENTS:-all}" = all ] || [ ! -e "$home/rules" ] || return 0
    local clients=
    [ "${ICEBOX_CLIENTS:-all}" != all ] || clients='hostssl   all all all  scram-sha-256'
    cat >"$data/pg_hba.conf" <<CONF
local     all all      trust
hostssl   all $superuser all  scram-sha-256
$clients
hostnossl all all all  reject
CONF
    touch "$home/rules"
}

start_postgres() {
    needs ICEBOX_BUCKET
    command -v postgres >/dev/null || die "this image has no PostgreSQL"
    [ -e "$data/PG_VERSION" ] || make_cluster
    install_certificate
    write_settings
    write_access_rules
    # The process that wrote these is gone with its container. The process id in them may now belong
    # to another process.
    rm -f "$data/postmaster.pid" "$sockets/.s.PGSQL.5432" "$sockets/.s.PGSQL.5432.lock" "$sockets/checked"
    postgres -D "$data" &
}

# Root first does what PostgreSQL may not do: the volume must belong to the account postgres. An
# account with another number may have filled it, in an image with another base.
if [ "$(id -u)" -eq 0 ] && [ "$role" != bucket ]; then
    if [ "$role" != check ]; then
        mkdir -p "$sockets"
        [ "$(stat -c %U "$sockets")" = postgres ] || chown -R postgres: "$home"
    fi
    exec setpriv --reuid postgres --regid "$(id -g postgres)" --init-groups "$0" "$@"
fi

case $role in
    bucket) make_bucket; exit ;;
    check) check; exit ;;
    all | postgres | pgduck) ;;
    *) die "'$role' is none of all, postgres, pgduck, bucket, check" ;;
esac

# A signal ends `wait`. SIGTERM and SIGINT request PostgreSQL's fast shutdown here, because its
# smart one would wait for the last client.
asked=
trap 'asked=INT' TERM INT
trap 'asked=QUIT' QUIT
pgduck=
postgres=
mkdir -p "$sockets"
if [ "$role" != postgres ]; then
    start_pgduck
    pgduck=$!
fi
if [ "$role" != pgduck ] && wait_for_pgduck "$pgduck" && [ -z "$asked" ]; then
    start_postgres
    postgres=$!
fi
code=0
if [ -z "$asked" ]; then
    wait -n $pgduck $postgres || code=$?
    if [ -n "$asked" ]; then
        code=0
    else
        say "one of the servers ended with exit code $code"
        [ "$code" -ne 0 ] || code=1
        asked=INT
    fi
fi
# Further signals end `wait` as well, so it is repeated.
stop() {
    while kill "-$1" "$2" 2>/dev/null; do wait "$2" || true; done
}
# PostgreSQL stops first: its last transactions may need pgduck_server.
[ -z "$postgres" ] || stop "$asked" "$postgres"
[ -z "$pgduck" ] || stop TERM "$pgduck"
exit "$code"
