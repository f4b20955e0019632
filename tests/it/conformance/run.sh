#!/bin/sh
# Runs the conformance suite on every engine that is available, or on the given one, and prints
# their names.
#   run.sh ICEBOX [--engine E | --but-embedded] [part of a test's name]
# ICEBOX is the path of the program. Fails if a test fails, or if the given engine is not available.
set -eu
icebox=$1
shift
engines='embedded native containers'
asked=
while [ $# -gt 0 ]; do
    case $1 in
        --engine) asked=${2:?--engine wants embedded, native or containers} engines=$2; shift 2 ;;
        --engine=*) asked=${1#*=} engines=${1#*=}; shift ;;
        --but-embedded) engines='native containers'; shift ;;
        -*) echo "conformance: unknown option $1" >&2; exit 2 ;;
        *) break ;;
    esac
done

suite() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked "conformance::${1:-}"
    else
        cargo test --locked --test it "conformance::${1:-}"
    fi
}

state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
chmod 755 "$state"
ran= failed=
for engine in $engines; do
    # An engine is available if a sandbox starts on it.
    if ! "$icebox" --state-dir "$state/$engine" up --engine "$engine" >"$state/log" 2>&1; then
        echo "conformance: NOT run on $engine: $(tail -n 1 "$state/log")"
        [ -z "$asked" ] || exit 1
        continue
    fi
    "$icebox" --state-dir "$state/$engine" down --purge >"$state/log" 2>&1 || { cat "$state/log" >&2; exit 1; }
    echo "conformance: running on $engine"
    if ICEBOX_TEST_ENGINE=$engine suite "${1:-}"; then ran="$ran $engine"; else failed="$failed $engine"; fi
done
[ -z "$ran" ] || echo "conformance: passed on$ran"
[ -z "$failed" ] || { echo "conformance: FAILED on$failed"; exit 1; }
