#!/usr/bin/env bash
# Builds the artefacts of a release for this machine's architecture into dist/.  scripts/release.sh [options] [VERSION]
#
#   nealytics-VERSION-linux-ARCH.tar.gz            the server as one file, for an existing ClickHouse
#   nealytics-VERSION-linux-ARCH-embedded.tar.gz   a folder with ClickHouse inside
#   nealytics-VERSION-linux-ARCH[-embedded].cdx.json   what is inside (CycloneDX)
#   nealytics-VERSION.tgz                          the npm package; NEALYTICS_WITHOUT_NPM=1 omits it on a machine without npm
#   SHA256SUMS [SHA256SUMS.minisig]                signed if MINISIGN_KEY is the file of a secret key, or its content
#
#   --release             refuse anything that must not be published; the default in a build of a tag
#   --glibc-max 2.28      fail if anything inside needs a newer C library
#   --check-reproducible  build twice, the second time without any cache, and compare
#
# The version is that of nealytics/__init__.py; VERSION and the head of CHANGELOG.md must agree with it. docs/releasing.md
# describes all steps.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
. scripts/env.sh

server_bytes_max=30000000
release='' glibc_max='' reproducible='' asked=''
[ "${GITHUB_REF_TYPE:-}" != tag ] || release=yes
while [ $# -gt 0 ]; do
  case $1 in
    --release) release=yes ;;
    --check-reproducible) reproducible=yes ;;
    --glibc-max)
      [ $# -gt 1 ] || fail "--glibc-max needs a version, e.g. 2.28"
      glibc_max=$2
      shift
      ;;
    -*) fail "unknown option $1; the head of this file lists all" ;;
    *) asked=$1 ;;
  esac
  shift
done

if [ -n "${NEALYTICS_WITHOUT_NPM:-}" ]; then
  echo "release.sh: without the npm package, because NEALYTICS_WITHOUT_NPM is set"
else
  command -v npm >/dev/null ||
    fail "the npm package needs Node.js with npm, and npm is not installed; NEALYTICS_WITHOUT_NPM=1 builds the rest without it"
fi
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' nealytics/__init__.py)
head=$(sed -n 's/^## //p' CHANGELOG.md | head -n 1)
[ -z "$asked" ] || [ "$asked" = "$version" ] ||
  fail "asked for $asked, but nealytics/__init__.py says $version; change it there and in CHANGELOG.md"
[ "${head%% *}" = "$version" ] || fail "the head of CHANGELOG.md is \"$head\", but nealytics/__init__.py says $version"
if [ -n "$release" ]; then
  [[ $head != *unreleased* ]] || fail "the head of CHANGELOG.md is \"$head\"; replace (unreleased) with the date"
  [ -z "$(git status --porcelain)" ] || fail "the checkout differs from its commit; commit or remove what git status shows"
  [ "${GITHUB_REF_TYPE:-}" != tag ] || [ "${GITHUB_REF_NAME:-}" = "v$version" ] ||
    fail "the tag is ${GITHUB_REF_NAME:-}, but the version is $version"
fi
case $(uname -m) in
  x86_64) arch=x64 ;;
  aarch64) arch=arm64 ;;
  *) fail "this machine is $(uname -m); only x86_64 and aarch64 are supported" ;;
esac
# The time of the commit, so that the same commit gives the same files.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC

# pack FLAVOUR COMPILED OUTPUT: creates one tarball and its SBOM.
pack() {
  local flavour=$1 compiled=$2 output=$3 suffix='' name
  [ "$flavour" = server ] || suffix=-embedded
  name=nealytics-$version-linux-$arch$suffix
  local folder=$scratch/$name
  rm -rf "$folder"
  mkdir -p "$folder"
  if [ "$flavour" = server ]; then
    .venv-build/bin/python build/single_file.py "$compiled" "$folder/nealytics"
  else
    cp -a "$compiled" "$folder/program"
    ln -s program/nealytics "$folder/nealytics"
  fi
  .venv-build/bin/python build/contents.py "$compiled" "$(dirname "$compiled")/nealytics.report.xml" --flavour "$flavour" \
    --licences "$folder/licences" --sbom "$output/$name.cdx.json"
  cp nealytics.example.toml clickhouse-init.sql clickhouse-init-cluster.sql build/nealytics.service \
    build/nealytics-backup.* LICENSE "$folder"
  sed "s/@VERSION@/$version/g" "build/README.$flavour.md" >"$folder/README.md"
  chmod -R u=rwX,go=rX "$folder"
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=gnu \
    --directory "$scratch" "$name" | gzip --no-name -6 >"$output/$name.tar.gz"
}

# build OUTPUT [--fresh]: builds both flavours from one compilation; $compiled is its folder.
build() {
  local output=$1
  compiled=$(scripts/compile.sh "${@:2}")
  mkdir -p "$output"
  pack server "$compiled" "$output"
  pack embedded "$compiled" "$output"
  [ -n "${NEALYTICS_WITHOUT_NPM:-}" ] || scripts/npm.sh "$output"
}

# The newest version of the C library that any file below a folder needs.
glibc_of() {
  local versions
  versions=$(find "$@" -type f \( -name nealytics -o -name '*.so' -o -name '*.so.*' \) -exec objdump -T {} + |
    grep -o 'GLIBC_2[0-9.]*' | sort -Vu) ||
    fail "objdump -T does not show which glibc is needed by the files in: $*; its messages are above"
  tail -n 1 <<<"$versions" | cut -d_ -f2
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
output=dist
began=$SECONDS
build "$output" ${reproducible:+--fresh}
echo "release.sh: built in $((SECONDS - began)) s"

if [ -n "$reproducible" ]; then
  # Also without the compiler's cache: the compiler itself must be reproducible.
  CCACHE_DIR=$scratch/cache/ccache NUITKA_CACHE_DIR=$scratch/cache/nuitka NEALYTICS_BUILD_CACHE=$scratch/cache \
    build "$scratch/again" --fresh
  differ=''
  for file in "$scratch/again"/*; do
    if cmp --silent "$file" "$output/$(basename "$file")"; then
      echo "release.sh: reproducible: $(basename "$file")"
    else
      differ+=" $(basename "$file")"
    fi
  done
  [ -z "$differ" ] || {
    mkdir -p dist/again
    cp "$scratch"/again/* dist/again/
    fail "two builds differ in:$differ; the second build is in dist/again"
  }
fi

server=$output/nealytics-$version-linux-$arch.tar.gz
bytes=$(stat -c %s "$server")
[ "$bytes" -le $server_bytes_max ] || fail "$server has $bytes bytes, and at most $server_bytes_max are allowed"
own=$(glibc_of "$compiled" "$scratch/nealytics-$version-linux-$arch/nealytics")
echo "release.sh: runs with glibc $own or newer (this machine: $(getconf GNU_LIBC_VERSION | cut -d' ' -f2))"
if [ -n "$glibc_max" ] && [ "$(printf '%s\n' "$own" "$glibc_max" | sort -V | tail -n 1)" != "$glibc_max" ]; then
  fail "the program needs glibc $own, and at most $glibc_max is allowed; build in the image that build/manylinux.sh names"
fi

cd "$output"
files=("nealytics-$version-linux-"*)
[ -n "${NEALYTICS_WITHOUT_NPM:-}" ] || files+=("nealytics-$version.tgz")
sha256sum "${files[@]}" >SHA256SUMS
rm -f SHA256SUMS.minisig
if [ -n "${MINISIGN_KEY:-}" ]; then
  key=$MINISIGN_KEY
  [ -f "$key" ] || { (umask 077 && printf '%s\n' "$MINISIGN_KEY" >"$scratch/key"); key=$scratch/key; }
  minisign -S -W -s "$key" -m SHA256SUMS -t "nealytics $version"
  echo "release.sh: signed; minisign -V -p KEY.pub -m SHA256SUMS verifies it, then sha256sum -c SHA256SUMS"
fi
sha256sum --check --quiet SHA256SUMS
stat -c '%s %n' "${files[@]}" | awk '{ printf "release.sh: %7.1f MB  %s\n", $1 / 1e6, $2 }'
