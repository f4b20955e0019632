# Every build shares one directory and one profile, so that a fresh machine compiles once.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", cache / "target")
cache := env("XDG_CACHE_HOME", env("HOME") / ".cache") / "icebox"
clients_dir := env("ICEBOX_CLIENTS", cache / "clients")
icebox := CARGO_TARGET_DIR / "debug" / "icebox"

# What there is to run
help:
    @just --list --unsorted

# Start the lakehouse, fill it, sync it, compare the answers, and leave it running
sandbox: build
    {{icebox}} up
    {{icebox}} run scenarios/retail-lakehouse
    @echo 'The sandbox goes on running: `./x icebox up` tells how to connect, `./x down` stops it.'

# Run the program: ./x icebox status, ./x icebox sql "SELECT 1"
[no-exit-message]
[positional-arguments]
icebox *arguments:
    @cargo build --locked --quiet
    @{{icebox}} "$@"

# Stop the sandbox; its data stays (just down --purge removes it)
down *arguments: build
    {{icebox}} down {{arguments}}

build:
    cargo build --locked

# Run all tests, or those whose names contain the arguments
test *filter: clients
    #!/bin/sh
    set -eu
    export ICEBOX_CLIENTS='{{clients_dir}}'
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked {{filter}}
        exec cargo test --locked --doc
    fi
    exec cargo test --locked {{filter}}

# Real clients (aws, DuckDB, pyiceberg, ...) for the tests, in a virtual environment, and PostgreSQL 16 to 18; made once
clients:
    #!/bin/sh
    set -eu
    requirements=tests/it/clients/requirements.txt
    [ -e "$requirements" ] || exit 0
    if ! cmp -s "$requirements" '{{clients_dir}}/requirements.txt'; then
        python3 -m venv '{{clients_dir}}'
        '{{clients_dir}}/bin/pip' install --quiet --disable-pip-version-check -r "$requirements"
        cp "$requirements" '{{clients_dir}}/requirements.txt'
    fi
    packages=tests/it/clients/postgres
    if ! command -v npm >/dev/null; then
        echo 'npm is not here: tests of the engine native are skipped' >&2
    elif ! cmp -s "$packages/package-lock.json" '{{clients_dir}}/postgres/package-lock.json'; then
        mkdir -p '{{clients_dir}}/postgres'
        cp "$packages/package.json" "$packages/package-lock.json" '{{clients_dir}}/postgres'
        npm ci --prefix '{{clients_dir}}/postgres' --ignore-scripts --no-audit --no-fund --loglevel error ||
            rm -f '{{clients_dir}}/postgres/package-lock.json'
    fi

# An installation for the engine native without the real pg_lake: PostgreSQL 16, 17 or 18, and icebox as its pgduck_server
native-installation version dir: build clients
    python3 tests/it/clients/native_installation.py '{{clients_dir}}'/postgres/node_modules/postgres-{{version}}-* '{{dir}}' '{{icebox}}'
    @echo 'Now: icebox --state-dir <another> up --engine native --pg-bin {{dir}}/bin'

# Measure start, sync, bulk write and the guide's queries in throw-away sandboxes, beside peers
bench *arguments: build clients
    ICEBOX_CLIENTS='{{clients_dir}}' {{icebox}} bench {{arguments}}

lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings

fmt:
    cargo fmt
