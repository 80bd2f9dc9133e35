#!/usr/bin/env bash
# Compiles the program with its engine, and prints the folder.  scripts/compile.sh [--fresh]
#
# The result is kept, named by a hash of its inputs, in ${XDG_CACHE_HOME:-~/.cache}/nealytics-build (or
# NEALYTICS_BUILD_CACHE): the second call returns at once. --fresh compiles again. ccache keeps the compiler's output.
# Of concurrent calls, one compiles and the others wait. nealytics.report.xml beside the folder lists the contents.
# Needs gcc (or CC), binutils and patchelf.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
. scripts/env.sh

case ${1:-} in
  "" | --fresh) ;;
  *) fail "unknown argument $1; only --fresh is known" ;;
esac
for tool in "${CC:-gcc}" patchelf strip objdump; do
  command -v "$tool" >/dev/null || fail "needs $tool; on Debian: apt-get install gcc libc6-dev binutils patchelf ccache"
done
# Use the same values in every call, so that a release and its test share one folder.
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=315532800
make_env .venv-build build/requirements-build.txt >&2
python=.venv-build/bin/python
"$python" -c 'import _nealytics_appender, _nealytics_plain_rows' 2>/dev/null || fail "Python's headers are missing; on Debian: apt-get install python3-dev"
cache=${NEALYTICS_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nealytics-build}

# The system libraries that Python and the packages are linked to. Some are copied into the folder, and an update of the
# system can change them without a new version of the compiler.
system_libraries() {
  local modules
  modules=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("DESTSHARED"))')
  {
    realpath "$python"
    find "$modules" .venv-build/lib -name '*.so'
  } | xargs -d '\n' ldd | grep -v ':$' | grep -oE '/[^ ]+' | grep -v /site-packages/ | sort -u |
    xargs -d '\n' realpath | sort -u | xargs -d '\n' sha256sum
}
hash_of_all() {
  {
    "$python" -VV
    for tool in "${CC:-gcc}" ld strip patchelf; do "$tool" --version; done
    # Variables that Nuitka passes to the compiler.
    for variable in CC CPPFLAGS CFLAGS CCFLAGS CXXFLAGS LDFLAGS; do echo "$variable=${!variable:-}"; done
    system_libraries || fail "ldd did not list the libraries of Python and its packages"
    find nealytics build/nuitka.py build/requirements-build.txt pyproject.toml -type f ! -name '*.pyc' -print0 |
      sort -z | xargs -0 sha256sum
  } | sha256sum | cut -c1-20
}
name=$(hash_of_all)
made=$cache/$name
if [ "${1:-}" = --fresh ] || [ ! -e "$made/nealytics.dist/nealytics" ]; then
  mkdir -p "$cache"
  exec {lock}>"$cache/.lock"
  lock_or_wait "$lock" "a folder in $cache"
fi
if [ "${1:-}" = --fresh ] || [ ! -e "$made/nealytics.dist/nealytics" ]; then
  # Remove the remains of killed compilations: this call holds the lock, so no other one runs.
  rm -rf "$cache"/.making-*
  # Compile into a temporary name, so that an incomplete folder never has the final one.
  scratch=$(mktemp -d "$cache/.making-XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  export CCACHE_DIR=${CCACHE_DIR:-$cache/ccache} NUITKA_CACHE_DIR=${NUITKA_CACHE_DIR:-$cache/nuitka} CCACHE_NOHASHDIR=1
  "$python" build/nuitka.py --output "$scratch" --engine ${JOBS:+--jobs "$JOBS"} >&2
  [ "$(hash_of_all)" = "$name" ] || fail "a source changed during the compilation; run it again"
  rm -rf "$made"
  mv "$scratch" "$made"
  # Remove folders of earlier sources, except the newest three.
  find "$cache" -mindepth 2 -maxdepth 2 -name nealytics.dist -printf '%T@ %h\n' | sort -rn | tail -n +4 | cut -d' ' -f2- |
    xargs -r -d '\n' rm -rf
fi
echo "$made/nealytics.dist"
