#!/usr/bin/env bash
# Builds the release in manylinux_2_28 (AlmaLinux 8, glibc 2.28), so that it runs on Debian 11, Ubuntu 20.04, RHEL 8 and
# everything newer:
#
#   docker run --rm --volume "$PWD:/source" --workdir /source quay.io/pypa/manylinux_2_28_x86_64 build/manylinux.sh
#
# (…_aarch64 on ARM64). Arguments are passed to scripts/release.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -e /etc/almalinux-release ] || {
  echo "manylinux.sh: this is no manylinux_2_28 image; its head says how to run it. On this machine: scripts/release.sh" >&2
  exit 1
}
# The distribution's Python, not those of the image in /opt/python: these have no shared library and are compiled without
# profile-guided and link-time optimization. The distribution's Python and its libraries, such as OpenSSL, get security
# fixes.
dnf install --assumeyes --quiet python3.12 python3.12-devel python3.12-pip
# The checkout belongs to a user outside of the container.
git config --global --add safe.directory "$PWD"
# The image's gcc-toolset comes first in PATH.
export PYTHON=/usr/bin/python3.12 CC=gcc
# The image has no Node.js, and the npm package is the same for all architectures, so its own job packs it.
export NEALYTICS_WITHOUT_NPM=1
exec scripts/release.sh --glibc-max 2.28 "$@"
