#!/bin/bash
# Runs while the image is built, because that has a network. Installs the extensions of DuckDB that
# pgduck_server loads when it starts, and tests whether it then starts without installing anything.
# If so, the folder gets the file `complete`: see entrypoint.sh.
set -euo pipefail
extensions=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Starts pgduck_server with these arguments, runs the statements on standard input, then stops it.
pgduck() {
    local pid code=1
    HOME=$work pgduck_server --unix_socket_directory "$work" --port 5332 --extensions_dir "$extensions" \
        --cache_dir "$work/cache" --duckdb_database_file_path "$work/$RANDOM.db" "$@" &
    pid=$!
    for _ in $(seq 1200); do
        if [ -S "$work/.s.PGSQL.5332" ]; then
            code=0
            break
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    [ "$code" -ne 0 ] || psql -X -h "$work" -p 5332 -U postgres -d postgres || true
    kill "$pid" 2>/dev/null || true
    wait "$pid" || true
    rm -f "$work/.s.PGSQL.5332"
    return "$code"
}

mkdir -p "$extensions"
# pgduck_server installs `spatial` itself. A build with support for Delta also loads `delta` when it
# may not install.
echo 'INSTALL delta;' | pgduck
if pgduck --no_extension_install </dev/null; then
    touch "$extensions/complete"
else
    echo 'duckdb-extensions: pgduck_server does not start without a network' >&2
    exit 1
fi
