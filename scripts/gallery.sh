#!/usr/bin/env bash
# Creates the pictures of README.md and docs/embedding.md.  scripts/gallery.sh
#
# Starts a node, sends it the example events up to a fixed day, and opens each element in Chromium, light and dark, always
# with the same events, sizes and font. Needs Chromium, cwebp and the font Inter; on Debian:
# apt-get install chromium webp fonts-inter
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
command -v cwebp >/dev/null || fail "needs cwebp; on Debian: apt-get install webp"
fc-list | grep "Inter" >/dev/null || fail "needs the font Inter; on Debian: apt-get install fonts-inter"
make_env .venv build/requirements-dev.txt
exec .venv/bin/python -m tests.browser.gallery docs/images
