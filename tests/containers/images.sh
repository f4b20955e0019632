#!/bin/sh
# Builds the substitute images from Debian or Ubuntu packages, without an image registry.
#   images.sh ICEBOX
# ICEBOX is the path of the program, which is copied into the images. Their base is therefore the
# same release as the host's, so that the program's libraries fit.
set -eu
cd "$(dirname "$0")/../.."
program=$1
docker=${ICEBOX_DOCKER:-docker}
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
base=icebox-substitute-base:$suite

say() { printf 'test-containers: %s\n' "$*" >&2; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

work=$(mktemp -d)
trap 'as_root rm -rf "$work"' EXIT
if ! $docker image inspect "$base" >/dev/null 2>&1; then
    say "making $base with debootstrap"
    as_root debootstrap --variant=minbase "$suite" "$work/root" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
    as_root tar -C "$work/root" -c . | $docker import - "$base" >/dev/null
fi
context=$work/context
mkdir "$context"
strip -o "$context/icebox" "$program"
cp compose/entrypoint.sh tests/containers/s3-entrypoint.sh "$context/"
for image in postgres s3; do
    say "building icebox-substitute-$image"
    # Packages may come through a proxy on the host's loopback, so the build uses the host's
    # network.
    $docker build --network host --build-arg "BASE=$base" --file "tests/containers/$image.Dockerfile" \
        --tag "icebox-substitute-$image" "$context" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 1; }
done
