# Every build shares one directory and one profile, so that a fresh machine compiles once.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", cache / "target")
cache := env("XDG_CACHE_HOME", env("HOME") / ".cache") / "icebox"
clients_dir := env("ICEBOX_CLIENTS", cache / "clients")
tools_dir := cache / "tools"
icebox := CARGO_TARGET_DIR / "debug" / "icebox"

# What there is to run
help:
    @just --list --unsorted

# Start the lakehouse, fill it, sync it, compare the answers, and leave it running (just sandbox --engine native)
sandbox *arguments: build
    {{icebox}} up {{arguments}}
    {{icebox}} run scenarios/retail-lakehouse
    @echo 'The sandbox goes on running: `./x icebox up` tells how to connect, `./x down` stops it.'

# Run the program: ./x icebox status, ./x icebox sql "SELECT 1"
[no-exit-message]
[positional-arguments]
icebox *arguments: checkout
    @cargo build --locked --quiet
    @{{icebox}} "$@"

# Stop the sandbox; its data stays (just down --purge removes it)
down *arguments: build
    {{icebox}} down {{arguments}}

build: checkout
    cargo build --locked

# Cargo goes by the age of files and not by where they are: without this, a build of another checkout in the shared
# directory (with its paths, and perhaps its code) would be taken for one of this.
[private]
checkout:
    #!/bin/sh
    set -eu
    stamp='{{CARGO_TARGET_DIR}}/icebox-checkout'
    [ "$(cat "$stamp" 2>/dev/null)" != "$PWD" ] || exit 0
    cargo clean --locked --quiet --workspace
    mkdir -p '{{CARGO_TARGET_DIR}}'
    printf '%s\n' "$PWD" >"$stamp"

# Run all tests, or those whose names contain the arguments
test *filter: checkout clients
    #!/bin/sh
    set -eu
    export ICEBOX_CLIENTS='{{clients_dir}}'
    cargo build --locked
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked {{filter}}
        cargo test --locked --doc
    else
        cargo test --locked {{filter}}
    fi
    [ -n '{{filter}}' ] || tests/it/conformance/run.sh '{{icebox}}' --but-embedded

# What the real pg_lake answered, on every engine that is here or on one: just conformance --engine native
[no-exit-message]
conformance *arguments: build clients
    ICEBOX_CLIENTS='{{clients_dir}}' tests/it/conformance/run.sh '{{icebox}}' {{arguments}}

# Real clients (aws, DuckDB, pyiceberg, Snowflake's drivers, ...) for the tests, in virtual environments, and PostgreSQL 16 to 18; made once
clients:
    #!/bin/sh
    set -eu
    environment() {
        [ -e "$1" ] && ! cmp -s "$1" "$2/requirements.txt" || return 0
        python3 -m venv "$2"
        "$2/bin/pip" install --quiet --disable-pip-version-check -r "$1"
        cp "$1" "$2/requirements.txt"
    }
    environment tests/it/clients/requirements.txt '{{clients_dir}}'
    # These exclude each other, and much else.
    for one in snowflake4 snowflake5 snowflake_cli; do
        environment "tests/it/clients/$one.txt" "{{clients_dir}}/$one"
    done
    if ! command -v npm >/dev/null; then
        echo "npm is not here: tests of the engine native and of Snowflake's driver for Node are skipped" >&2
        exit 0
    fi
    for one in postgres snowflake_node; do
        packages="tests/it/clients/$one" dir="{{clients_dir}}/$one"
        ! cmp -s "$packages/package-lock.json" "$dir/package-lock.json" || continue
        mkdir -p "$dir"
        cp "$packages/package.json" "$packages/package-lock.json" "$dir"
        npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel error || rm -f "$dir/package-lock.json"
    done

# An installation for the engine native without the real pg_lake: PostgreSQL 16, 17 or 18, and icebox as its pgduck_server
native-installation version dir: build clients
    python3 tests/it/clients/native_installation.py '{{clients_dir}}'/postgres/node_modules/postgres-{{version}}-* '{{dir}}' '{{icebox}}'
    @echo 'Now: icebox --state-dir <another> up --engine native --pg-bin {{dir}}/bin'

# Test the engine `containers` on substitute images, which are made from this system's own packages, without a registry
[no-exit-message]
test-containers *filter: build clients
    ICEBOX_CLIENTS='{{clients_dir}}' tests/containers/run.sh {{icebox}} {{filter}}

# Build the image with PostgreSQL and the real pg_lake, and get that of the S3 server: what the engine `containers` runs on
images:
    #!/bin/sh
    set -eu
    image() { printenv "$1" || sed -n "s/^$1=//p" compose/.env; }
    docker=$(command -v docker || command -v podman) || { echo 'images: neither docker nor podman is installed' >&2; exit 1; }
    "$docker" build --tag "$(image ICEBOX_POSTGRES_IMAGE)" compose
    "$docker" image inspect "$(image ICEBOX_S3_IMAGE)" >/dev/null 2>&1 || "$docker" pull "$(image ICEBOX_S3_IMAGE)"

# Measure start, sync, bulk write and the guide's queries in throw-away sandboxes, beside peers
bench *arguments: build clients
    ICEBOX_CLIENTS='{{clients_dir}}' {{icebox}} bench {{arguments}}

# Formatting, clippy, documentation and spelling: what CI asks before the tests
lint: checkout lint-tools
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --quiet
    '{{tools_dir}}/python/bin/typos'

# The programs that `just lint` runs besides Cargo's own; made once
[private]
lint-tools:
    #!/bin/sh
    set -eu
    [ -x '{{tools_dir}}/python/bin/typos' ] || {
        python3 -m venv '{{tools_dir}}/python'
        '{{tools_dir}}/python/bin/pip' install --quiet --disable-pip-version-check typos==1.52.0
    }

# Licences, sources and duplicates of dependencies (deny.toml), by cargo-deny, which is built once
deny: checkout
    #!/bin/sh
    set -eu
    export PATH='{{tools_dir}}/bin':"$PATH"
    command -v cargo-deny >/dev/null ||
        CARGO_TARGET_DIR='{{tools_dir}}/target' cargo install --locked --debug --root '{{tools_dir}}' cargo-deny
    cargo deny --locked check bans licenses sources

# Unit tests of one crate, whose name is that of its folder in src/: just unit sql date_trunc
unit crate *filter:
    # With icebox-tests beside it, so that dependencies have the same features as in every other build.
    cargo test --locked --lib -p icebox-{{crate}} -p icebox-tests -- {{filter}}

fmt:
    cargo fmt --all
