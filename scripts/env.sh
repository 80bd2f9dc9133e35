# shellcheck shell=bash
# Sourced by the other scripts: creates a virtual environment with locked dependencies, once per lock file.
#
#   make_env DIRECTORY LOCKFILE
#
# Of concurrent calls, one creates it and the others wait. Needs Python 3.11 or newer (PYTHON=… selects one) and, the first
# time, the package index that pip is configured for.

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# lock_or_wait DESCRIPTOR WHAT: takes the lock on an open file; if another process has it, says so.
lock_or_wait() {
  flock --nonblock "$1" || {
    echo "$(basename "$0"): waiting for another call that creates $2" >&2
    flock "$1"
  }
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3.14 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  fail "needs Python 3.11 or newer; on Debian: apt-get install python3 python3-venv"
}

make_env() {
  local directory=$1 lock=$2
  local stamp="$directory/.installed" python wanted busy
  python=$(find_python)
  wanted=$(cat "$lock" pyproject.toml | sha256sum | cut -d' ' -f1)
  exec {busy}<"$lock"
  lock_or_wait "$busy" "$directory"
  # Python must be the same too: PYTHON may have changed, or the system's Python was updated.
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] &&
    [ "$("$directory/bin/python" -VV 2>/dev/null)" = "$("$python" -VV)" ]; then
    compile_modules "$directory"
    exec {busy}<&-
    return
  fi
  echo "creating $directory with $("$python" --version) (the first time this downloads about 170 MB, nearly all of it the embedded ClickHouse)"
  rm -rf "$directory"
  if ! "$python" -m venv "$directory" 2>/dev/null; then
    # Without python3-venv, Debian's venv has no pip; virtualenv includes its own.
    rm -rf "$directory"
    "$python" -m virtualenv -q "$directory" 2>/dev/null ||
      fail "cannot create a virtual environment with $python; on Debian: apt-get install python3-venv (or, without root: $python -m pip install --user virtualenv)"
  fi
  "$directory/bin/python" -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r "$lock" ||
    fail "installing $lock failed; pip's message is above"
  "$directory/bin/python" -m pip install -q --disable-pip-version-check --no-deps -e . ||
    fail "installing nealytics itself failed; pip's message is above"
  echo "$wanted" >"$stamp"
  compile_modules "$directory"
  exec {busy}<&-
}

# compile_modules ENVIRONMENT: what is written in C, where there is a C compiler with Python's headers: the reader of plain
# events (nealytics/ingest/plain.py) and the appender of the log (nealytics/wal/appender.py). Without them Python does the
# work, more slowly. The stable ABI serves all versions of Python.
compile_modules() {
  local source module headers
  command -v "${CC:-gcc}" >/dev/null || return 0
  headers=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  [ -e "$headers/Python.h" ] || return 0
  for source in nealytics/ingest/plain_rows.c nealytics/wal/appender.c; do
    module=$(echo "$1"/lib/python3*/site-packages)/_nealytics_$(basename "$source" .c).abi3.so
    [ ! "$module" -nt "$source" ] || continue
    "${CC:-gcc}" -O2 -Wall -Wextra -pthread -shared -fPIC -I"$headers" "$source" -o "$module.$$" && mv "$module.$$" "$module" ||
      fail "compiling $source failed; the compiler's message is above"
  done
}

# install_modules DIRECTORY: installs its package-lock.json into its node_modules. Fails without npm, or if npm fails.
# An interrupted installation leaves no .complete, so the next call installs again.
install_modules() {
  local complete="$1/node_modules/.complete"
  command -v npm >/dev/null || return
  [ -f "$complete" ] && [ ! "$1/package-lock.json" -nt "$complete" ] ||
    (cd "$1" && timeout 300 npm ci --no-audit --no-fund >/dev/null 2>&1 && touch node_modules/.complete)
}
