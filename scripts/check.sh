#!/usr/bin/env bash
# One command that tells whether a change is good: format, lint, types, fast tests.  scripts/check.sh [--fix]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
make_env .venv build/requirements-dev.txt
if [ "${1:-}" = --fix ]; then
  .venv/bin/ruff format nealytics tests build/*.py
  .venv/bin/ruff check --fix nealytics tests build/*.py
fi
.venv/bin/ruff format --check nealytics tests build/*.py
.venv/bin/ruff check nealytics tests build/*.py
.venv/bin/mypy
.venv/bin/python -m pytest -q -m "not e2e and not slow"
