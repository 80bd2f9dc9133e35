#!/usr/bin/env bash
# Gives the images of both architectures common names in their registry.  scripts/manifest.sh IMAGE VERSION
#
# From IMAGE:VERSION-x64 and -arm64 (and -embedded-x64, -embedded-arm64), which are in the registry, it creates
# IMAGE:VERSION and IMAGE:latest, and the same with -embedded at the end. A version like 2.1.0-rc.1 is not the latest.
# Needs Docker, logged in. Prints the digests, as `server=sha256:…` and `embedded=sha256:…`.
set -euo pipefail
[ $# = 2 ] || {
  echo "manifest.sh: give the image and the version, e.g. ghcr.io/neavents/nealytics 2.0.0" >&2
  exit 1
}
image=$1
version=$2
names=("$version")
case $version in
  *-*) ;;
  *) names+=(latest) ;;
esac
for flavour in server embedded; do
  suffix=
  [ $flavour = server ] || suffix=-embedded
  for name in "${names[@]}"; do
    # Remove the manifest of an earlier, failed run, if there is one.
    docker manifest rm "$image:$name$suffix" >/dev/null 2>&1 || true
    docker manifest create "$image:$name$suffix" "$image:$version$suffix-x64" "$image:$version$suffix-arm64" >&2
    digest=$(docker manifest push "$image:$name$suffix" | tail -n 1)
    [ "${digest#sha256:}" != "$digest" ] || {
      echo "manifest.sh: docker manifest push printed \"$digest\", but the digest of $image:$name$suffix was expected" >&2
      exit 1
    }
  done
  echo "$flavour=$digest"
done
