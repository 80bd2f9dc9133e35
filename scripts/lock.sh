#!/usr/bin/env bash
# Renews the lock files from pyproject.toml: every version and hash, no index address.  scripts/lock.sh [--upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
make_env .venv build/requirements-dev.txt
.venv/bin/python -m pip install -q --disable-pip-version-check uv
# chdb-core declares pandas and pyarrow, 300 MB, for an API that Nealytics does not use (clickhouse/embedded_child.py
# replaces them). scripts/env.sh installs with --no-deps, so omitting them here is enough.
unused=(pandas pyarrow numpy python-dateutil six)
options=(--universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links --quiet "${unused[@]/#/--no-emit-package=}" "$@")
.venv/bin/uv pip compile pyproject.toml --extra embedded "${options[@]}" -o build/requirements.txt
.venv/bin/uv pip compile pyproject.toml --extra embedded --group dev "${options[@]}" -o build/requirements-dev.txt
.venv/bin/uv pip compile pyproject.toml --extra embedded --group build "${options[@]}" -o build/requirements-build.txt
