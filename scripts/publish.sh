#!/usr/bin/env bash
# Creates the release on GitHub from the files in dist/.  scripts/publish.sh VERSION
#
# Needs the tarballs and SBOMs of both architectures from scripts/release.sh at the tag v$VERSION, the npm package from
# scripts/npm.sh, and gh with the right to write releases ($GH_TOKEN). Writes SHA256SUMS and, if $MINISIGN_KEY contains a
# secret key of minisign without a password, SHA256SUMS.minisig. The notes are the section of this version in CHANGELOG.md.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "publish.sh: $*" >&2
  exit 1
}

[ $# = 1 ] || fail "give the version, e.g. 2.0.0"
version=$1
for arch in x64 arm64; do
  for file in "dist/nealytics-$version-linux-$arch"{.tar.gz,-embedded.tar.gz,.cdx.json,-embedded.cdx.json}; do
    [ -s "$file" ] || fail "$file is missing; scripts/release.sh makes it on a machine of that architecture"
  done
done
[ -s "dist/nealytics-$version.tgz" ] || fail "dist/nealytics-$version.tgz is missing; scripts/npm.sh dist makes it"
# The text from the heading of this version to the next.
notes=$(awk -v heading="## $version" '/^## / { on = ($0 == heading || index($0, heading " ") == 1); next } on' CHANGELOG.md)
[ -n "${notes//[[:space:]]/}" ] || fail "CHANGELOG.md has no section \"## $version\", or it is empty"

cd dist
rm -f SHA256SUMS SHA256SUMS.minisig
files=("nealytics-$version-"* "nealytics-$version.tgz")
sha256sum "${files[@]}" >SHA256SUMS
files+=(SHA256SUMS)
if [ -n "${MINISIGN_KEY:-}" ]; then
  command -v minisign >/dev/null || { sudo apt-get update && sudo apt-get install --yes minisign; } >&2
  # -W: without a password. minisign reads the key from a file only, and this one is in memory.
  minisign -S -W -s <(printf '%s\n' "$MINISIGN_KEY") -m SHA256SUMS -t "nealytics $version"
  files+=(SHA256SUMS.minisig)
else
  echo "publish.sh: MINISIGN_KEY is not set, so SHA256SUMS is not signed" >&2
fi
options=()
case $version in
  *-*) options+=(--prerelease) ;;
esac
gh release create "v$version" --verify-tag --title "Nealytics $version" --notes "$notes" "${options[@]}" "${files[@]}"
