#!/bin/bash
# Tests the engine `containers` on the substitute images.
#   run.sh ICEBOX [FILTER…]
# Starts dockerd if it is installed and not running. Exits with 77 if there is no container engine
# and none can be started.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$1
shift
docker=${ICEBOX_DOCKER:-docker}

say() { printf 'test-containers: %s\n' "$*" >&2; }
answers() { timeout 10 "$docker" version >/dev/null 2>&1; }

dockerd=
log=$(mktemp)
finish() {
    if [ -n "$dockerd" ]; then
        kill "$dockerd"
        wait "$dockerd" || true
    fi
    rm -f "$log"
}
trap finish EXIT
if ! answers && [ "$(id -u)" -eq 0 ] && command -v dockerd >/dev/null; then
    say "starting dockerd"
    dockerd >"$log" 2>&1 &
    dockerd=$!
    for _ in $(seq 60); do
        if answers || ! kill -0 "$dockerd" 2>/dev/null; then break; fi
        sleep 0.5
    done
fi
if ! answers; then
    say "SKIPPED: no container engine answers to \`$docker version\`, and none can be started here"
    tail -n 5 "$log" >&2
    exit 77
fi

tests/containers/images.sh "$program"
export ICEBOX_TEST_CONTAINERS=1 ICEBOX_POSTGRES_IMAGE=icebox-substitute-postgres ICEBOX_S3_IMAGE=icebox-substitute-s3
# The guide's tests take their engine from this variable.
export ICEBOX_TEST_ENGINE=containers
# A test may have two sandboxes. Few tests run at a time, so that a small machine can run them.
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --test it --test-threads 2 -E 'test(/^(containers|guide)::/)' "$@"
else
    cargo test --locked --test it containers:: -- --test-threads 2 "$@"
    cargo test --locked --test it guide:: -- --test-threads 2 "$@"
fi

left=$("$docker" ps -aq --filter label=dev.icebox.sandbox
    "$docker" network ls -q --filter label=dev.icebox.sandbox
    "$docker" volume ls -q --filter label=dev.icebox.sandbox)
if [ -n "$left" ]; then
    say "the tests have left something in the container engine: $left"
    exit 1
fi
