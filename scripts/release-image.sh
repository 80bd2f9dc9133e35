#!/usr/bin/env bash
# Builds an image from the tarball of a release in dist/, and tests it.  scripts/release-image.sh server|embedded x64|arm64
#
# So image and tarball contain the same program. Both flavours use the embedded tarball, which contains the program as a
# folder. Needs a machine of that architecture, with Docker or buildah (BUILDER). The image is
# $IMAGE:VERSION-ARCH, or $IMAGE:VERSION-embedded-ARCH, and dist/images/ gets it as a file for `docker load`. The
# image without ClickHouse is tested with the engine of the tarball.
set -euo pipefail
cd "$(dirname "$0")/.."
image=${IMAGE:-ghcr.io/neavents/nealytics}

fail() {
  echo "release-image.sh: $*" >&2
  exit 1
}

[ $# = 2 ] || fail "give the flavour (server or embedded) and the architecture (x64 or arm64)"
flavour=$1
arch=$2
scratch=$(mktemp -d)
engine=''
clean_up() {
  if [ -n "$engine" ]; then
    kill -TERM "$engine" 2>/dev/null || true
    wait "$engine" || true
  fi
  rm -rf "$scratch"
}
trap clean_up EXIT

tarball=(dist/nealytics-*-linux-"$arch"-embedded.tar.gz)
[ -f "${tarball[*]}" ] || fail "dist/ must contain one nealytics-VERSION-linux-$arch-embedded.tar.gz; scripts/release.sh makes it"
tar -xzf "${tarball[0]}" -C "$scratch"
program=$(find "$scratch" -name nealytics -type f -perm -u+x)
[ -n "$program" ] || fail "${tarball[0]} does not contain the program nealytics"
folder=$(dirname "$program")
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' nealytics/__init__.py)
mkdir -p dist/images
file=dist/images/nealytics-$version-$flavour-$arch.tar
rm -f "$file" "$file.gz" # buildah adds to a file that is there
output=docker-archive:$file
case $flavour in
  embedded)
    scripts/image.sh --embedded --program "$folder" --tag "$image:$version-embedded-$arch" --output "$output" --check
    ;;
  server)
    config=$scratch/nealytics.toml
    "$program" init --config "$config" --data-dir "$scratch/data" >/dev/null
    "$program" engine --config "$config" >"$scratch/environment" 2>"$scratch/log" &
    engine=$!
    end=$((SECONDS + 60))
    until grep -q '^CLICKHOUSE_PASSWORD=' "$scratch/environment"; do
      kill -0 $engine 2>/dev/null || fail "the ClickHouse of the test ended:"$'\n'"$(tail -n 5 "$scratch/log")"
      [ $SECONDS -lt $end ] ||
        fail "the ClickHouse of the test does not answer:"$'\n'"$(tail -n 5 "$scratch/log")"
      sleep 0.2
    done
    # shellcheck source=/dev/null
    . "$scratch/environment"
    export CLICKHOUSE_USER CLICKHOUSE_PASSWORD
    scripts/image.sh --program "$folder" --tag "$image:$version-$arch" --output "$output" \
      --check --clickhouse "$CLICKHOUSE_URL"
    kill -TERM $engine
    wait $engine || fail "the ClickHouse of the test ended with $?"
    engine=''
    ;;
  *) fail "the flavour is \"$flavour\"; write server or embedded" ;;
esac
gzip "$file"
