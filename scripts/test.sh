#!/usr/bin/env bash
# Installs what the tests need into .venv and runs all of them.  scripts/test.sh [pytest arguments]
#
# Root is not needed. Tests that need something this machine lacks are skipped and say what.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
make_env .venv build/requirements-dev.txt
exec .venv/bin/python -m pytest "$@"
