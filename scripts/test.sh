#!/usr/bin/env bash
# Installs what the tests need into .venv and runs all of them.  scripts/test.sh [pytest arguments]
#
# Three processes share the tests, which mostly wait, file by file, the long files first (tests/conftest.py). `-n 0` runs
# them in one process, which -s and --pdb need. The slowest tests are listed at the end.
#
# Root is not needed. Tests that need something this machine does not have are skipped, with the reason.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
make_env .venv build/requirements-dev.txt
scripts/tools.sh

# Hundreds of tests start the program, and without byte code each process compiles all of it again (0.3 s).
unset PYTHONDONTWRITEBYTECODE
exec .venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=40 "$@"
