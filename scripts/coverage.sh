#!/usr/bin/env bash
# Runs tests and lists the packages of which they run less than 90 % of the lines (LEAST=… is another share), with the
# lines that they leave out.  scripts/coverage.sh [pytest arguments]
#
# Only what runs in the process of the tests is counted, so without arguments the end-to-end tests are left out.
# SOURCE=nealytics.wal scripts/coverage.sh tests/wal is about one package. No part of a normal run: tests/queries takes
# 1.5 times the processor time (29 s → 43 s).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
make_env .venv build/requirements-dev.txt
[ $# -gt 0 ] || set -- -m "not e2e and not slow and not cluster"
export COVERAGE_FILE=.venv/coverage
failed=0
.venv/bin/python -m coverage run --source "${SOURCE:-nealytics}" -m pytest -n 0 -q "$@" || failed=$?
.venv/bin/python -m coverage json -q -o .venv/coverage.json
.venv/bin/python - "${LEAST:-90}" <<'PYTHON'
import collections, itertools, json, os, sys

least = float(sys.argv[1])


def ranges(numbers):
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        first, *_, last = [number for _, number in run] * 2
        yield f"{first}" if first == last else f"{first}-{last}"


packages = collections.defaultdict(list)
for path, file in json.load(open(".venv/coverage.json"))["files"].items():
    packages[os.path.dirname(path)].append((path, file["summary"], file["missing_lines"]))
for package, files in sorted(packages.items()):
    lines = sum(summary["num_statements"] for _, summary, _ in files)
    share = 100 * sum(summary["covered_lines"] for _, summary, _ in files) / max(1, lines)
    print(f"{package}: {share:.0f} % of {lines} lines")
    for path, summary, missing in sorted(files) if share < least else ():
        if missing:
            print(f"  {path}: {summary['percent_covered']:.0f} %, not {', '.join(ranges(missing))}")
PYTHON
exit $failed
