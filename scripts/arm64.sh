#!/usr/bin/env bash
# Builds the release for ARM64 on an x86-64 machine, and tests it.  scripts/arm64.sh [DIRECTORY]
#
# Needs root on Debian 12 or newer and a few GB in DIRECTORY (default /var/tmp/nealytics-arm64), which is kept, so the
# second build is fast. Steps:
#   1. create a Debian root for arm64; the kernel runs its programs under qemu-user
#   2. copy this machine's cross compiler and its libraries into it: as an x86-64 program it runs at full speed, so only
#      Python is emulated
#   3. run scripts/release.sh in it, as on a native machine
#   4. run scripts/smoke.sh in it with both tarballs, and copy them to dist/
# This shows that the program builds and works on ARM64, but not how fast it is. Native machines build the releases
# (.github/workflows/release.yml).
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "arm64.sh: $*" >&2
  exit 1
}

step() { echo "arm64.sh: $((SECONDS / 60)):$(printf %02d $((SECONDS % 60))) $*"; }

directory=$(realpath -m "${1:-/var/tmp/nealytics-arm64}")
root=$directory/root
suite=bookworm
[ "$(id -u)" = 0 ] || fail "needs root, for debootstrap and chroot"
[ "$(uname -m)" = x86_64 ] || fail "this machine is $(uname -m); on ARM64, scripts/release.sh builds natively"
missing=
for tool in debootstrap qemu-aarch64-static update-binfmts aarch64-linux-gnu-g++ ccache; do
  command -v "$tool" >/dev/null || missing+=" $tool"
done
[ -z "$missing" ] ||
  fail "missing:$missing; apt-get install debootstrap qemu-user-static binfmt-support crossbuild-essential-arm64 ccache"

# in_root COMMAND…: runs it in the root, emulated. Its child processes end with it, and no mount remains.
in_root() {
  # shellcheck disable=SC2016
  nice unshare --mount --pid --fork --kill-child bash -c '
    mount --bind "$0" "$0" && cd "$0" && mount -t proc proc proc && mount --rbind /dev dev && exec chroot . "$@"' \
    "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHON=/usr/bin/python3 SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" \
    "$@"
}

[ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64

if [ ! -e "$directory/system.done" ]; then
  step "makes a Debian $suite root for arm64"
  rm -rf "$root"
  mkdir -p "$directory"
  packages=binutils,ca-certificates,libc6-dev,patchelf,python3-dev,python3-venv
  debootstrap --arch arm64 --variant minbase --foreign --include "$packages" "$suite" "$root" >"$directory/system.log" ||
    fail "debootstrap failed; see $directory/system.log"
  in_root /debootstrap/debootstrap --second-stage >>"$directory/system.log" 2>&1 ||
    fail "debootstrap's second stage failed; see $directory/system.log"

  step "copies the cross compiler into it"
  files=$directory/compiler.files
  dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | awk '$1 == "ii" && /aarch64-linux-gnu|arm64-cross/ { print $2 }' |
    xargs dpkg -L ccache | grep -vE '^/usr/share/(doc|info|locale|man|lintian)' | sort -u |
    while read -r file; do [ -d "$file" ] && [ ! -L "$file" ] || echo "$file"; done >"$files"
  # ldd lists the libraries of a program and the loader, and fails for a file that is not a program.
  libraries=$(grep -E '^/usr/(bin|lib/gcc-cross|libexec)/' "$files" | xargs ldd 2>/dev/null |
    grep -oE '/lib[^ :]*\.so[^ :]*' | sort -u || true)
  [ -n "$libraries" ] || fail "found no libraries of the cross compiler in the output of ldd"
  cut -c2- "$files" | tar -C / -c --files-from - | tar -C "$root" -x --keep-directory-symlink
  cut -c2- <<<"$libraries" | tar -C / -c --dereference --files-from - | tar -C "$root" -x --keep-directory-symlink
  for name in gcc g++ ar as ld nm objcopy objdump ranlib readelf strip; do
    ln -sf "/usr/bin/aarch64-linux-gnu-$name" "$root/usr/local/bin/$name"
  done
  in_root gcc --version >/dev/null || fail "the cross compiler does not run in $root"
  touch "$directory/system.done"
fi

step "fetches the packages of build/requirements-build.txt for aarch64"
mkdir -p "$root/wheels" "$root/source"
version_of_python=$(in_root python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
platforms=()
for minor in 17 24 26 28 31 34 35 36; do platforms+=(--platform "manylinux_2_${minor}_aarch64"); done
python3 -m pip download -qq --disable-pip-version-check --no-deps --require-hashes --prefer-binary \
  --requirement build/requirements-build.txt --python-version "$version_of_python" --implementation cp \
  "${platforms[@]}" --platform manylinux2014_aarch64 --dest "$root/wheels"
# Build tools for this package and for packages without wheels.
python3 -m pip download -qq --disable-pip-version-check --dest "$root/wheels" setuptools wheel hatchling editables

step "builds"
# The environment is kept. Remove the old sources, or deleted files would be built in.
find "$root/source" -mindepth 1 -maxdepth 1 ! -name .venv-build -exec rm -rf {} +
git ls-files -z | tar --create --null --files-from - | tar --extract --directory "$root/source"
in_root bash -c 'cd /source && scripts/release.sh'

step "tries what was built"
# An emulated start takes many times as long.
in_root env WAIT_S=300 bash -c 'cd /source && scripts/smoke.sh dist/*-linux-arm64-embedded.tar.gz dist/*-linux-arm64.tar.gz'
mkdir -p dist
cp "$root"/source/dist/*-linux-arm64* dist/
step "done: $(cd dist && ls ./*-linux-arm64*)"
