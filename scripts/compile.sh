#!/usr/bin/env bash
# Compiles the program with its engine, and prints the folder.  scripts/compile.sh [--fresh]
#
# What was compiled is kept, named by a hash of all that goes into it, in ${XDG_CACHE_HOME:-~/.cache}/nealytics-build (or
# NEALYTICS_BUILD_CACHE): the second call answers at once. --fresh compiles again. Compilers' output is kept by ccache.
# Beside the folder lies nealytics.report.xml, which says what went in. Needs gcc (or CC) and patchelf.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

for tool in "${CC:-gcc}" patchelf strip objdump; do
  command -v "$tool" >/dev/null || fail "needs $tool; on Debian: apt-get install gcc libc6-dev binutils patchelf ccache"
done
make_env .venv-build build/requirements-build.txt >&2
python=.venv-build/bin/python
cache=${NEALYTICS_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nealytics-build}
name=$({
  "$python" -VV
  "${CC:-gcc}" --version
  find nealytics build/nuitka.py build/requirements-build.txt -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum
} | sha256sum | cut -c1-20)
made=$cache/$name
if [ "${1:-}" = --fresh ] || [ ! -e "$made/nealytics.dist/nealytics" ]; then
  mkdir -p "$cache"
  # Compiled aside, so that a half-made folder never has the name of a whole one.
  scratch=$(mktemp -d "$cache/.making-XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  export CCACHE_DIR=${CCACHE_DIR:-$cache/ccache} NUITKA_CACHE_DIR=${NUITKA_CACHE_DIR:-$cache/nuitka} CCACHE_NOHASHDIR=1
  "$python" build/nuitka.py --output "$scratch" --engine ${JOBS:+--jobs "$JOBS"} >&2
  rm -rf "$made"
  mv "$scratch" "$made"
  # Folders of earlier sources; the newest three are kept.
  find "$cache" -mindepth 2 -maxdepth 2 -name nealytics.dist -printf '%T@ %h\n' | sort -rn | tail -n +4 | cut -d' ' -f2- |
    xargs -r rm -rf
fi
echo "$made/nealytics.dist"
