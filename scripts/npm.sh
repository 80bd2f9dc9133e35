#!/usr/bin/env bash
# Packs the npm package (web/) as nealytics-VERSION.tgz, ready for `npm publish`.  scripts/npm.sh DIRECTORY
#
# Needs Node.js 20 or newer with npm. The same sources give the same bytes: npm gives every file the same time and mode.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
. scripts/env.sh

[ $# = 1 ] || fail "give the directory, e.g. dist"
mkdir -p "$1"
output=$(cd "$1" && pwd)
command -v npm >/dev/null || fail "the npm package needs Node.js with npm, and npm is not installed"
install_modules web || fail "npm cannot install the build dependencies of the package; run (cd web && npm ci) to see why"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
(cd web && node package.mjs "$scratch/package") >&2
# Print only the name of the file, without notices of the registry.
(cd "$scratch" && npm pack --silent --ignore-scripts --pack-destination "$output" ./package)
