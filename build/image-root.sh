#!/usr/bin/env bash
# Creates the files of the image from a compiled program: the program, and the parts of a system that it needs.
#
#   build/image-root.sh server|embedded FOLDER IMAGE      FOLDER: made by build/nuitka.py; IMAGE: a new directory
#
# IMAGE/engine: the embedded ClickHouse, in its own layer, because upgrades seldom change it; empty for the server flavour,
# even if FOLDER contains the engine. IMAGE/system: everything else. IMAGE/volume: files that belong to the user. The C
# library is this machine's, so the program must be compiled for the same or an older one.
set -euo pipefail

fail() {
  echo "image-root.sh: $*" >&2
  exit 1
}

[ $# = 3 ] || fail "give the flavour, the folder of the compiled program, and the directory to make"
flavour=$1 image=$(realpath --canonicalize-missing "$3")
folder=$(realpath "$2")
[ -x "$folder/nealytics" ] || fail "$2 has no program nealytics in it; build/nuitka.py makes such a folder"
[ ! -e "$image" ] || fail "$image exists; remove it or name another directory"
case $flavour in server | embedded) ;; *) fail "$flavour is neither server nor embedded" ;; esac
[ "$flavour" = server ] || [ -d "$folder/chdb" ] || fail "$2 has no ClickHouse in it; build/nuitka.py --engine puts it there"
system=$image/system
program=$system/opt/nealytics
engine=$image/engine/opt/nealytics
mkdir -p "$program" "$engine" "$system/etc/ssl/certs"
cp -a "$folder/." "$program"
for part in "$program"/chdb*; do
  [ ! -e "$part" ] || mv "$part" "$engine"
done
[ "$flavour" = embedded ] || rm -r "$image/engine/opt"

# Libraries that the folder does not contain, at the paths of this machine's loader. ldd does not list libraries that are
# opened at run time: threads need libgcc_s to end, and before glibc 2.34 libraries resolved host names.
mapfile -t objects < <(find "$image" -type f \( -name nealytics -o -name '*.so' -o -name '*.so.*' \))
needed=$(LD_LIBRARY_PATH=$program ldd "${objects[@]}")
if missing=$(grep 'not found' <<<"$needed"); then
  fail "libraries are missing on this machine:"$'\n'"$(sort -u <<<"$missing")"
fi
libraries=$(grep -oE '/[^ ]+ \(0x' <<<"$needed" | cut -d' ' -f1 | grep -vF "$image/" | sort -u)
libc=$(grep -E '/libc\.so\.6$' <<<"$libraries") || fail "the program is not linked to glibc; musl is not supported"
for name in libgcc_s.so.1 libnss_dns.so.2 libnss_files.so.2 libresolv.so.2; do
  found=$(dirname "$libc")/$name
  [ ! -e "$found" ] || libraries+=$'\n'$found
done
grep -q '/libgcc_s\.so\.1$' <<<"$libraries" || fail "libgcc_s.so.1 is not beside $libc; install it (Debian: libgcc-s1)"
while read -r library; do
  install -D -m 755 "$(realpath "$library")" "$system$library"
done < <(sort -u <<<"$libraries")

# glibc does not contain this locale, and without it the program cannot decode its arguments.
[ -d /usr/lib/locale/C.utf8 ] || fail "/usr/lib/locale/C.utf8 is missing; install it (Debian: libc-bin)"
mkdir -p "$system/usr/lib/locale"
cp -r /usr/lib/locale/C.utf8 "$system/usr/lib/locale"

# The certificates of the locked dependency: those of this machine may include private ones.
ln -s /opt/nealytics/certifi/cacert.pem "$system/etc/ssl/certs/ca-certificates.crt"
echo 'hosts: files dns' >"$system/etc/nsswitch.conf"
printf '%s\n' root:x:0:0:root:/:/sbin/nologin nealytics:x:65532:65532:nealytics:/data:/sbin/nologin >"$system/etc/passwd"
printf '%s\n' root:x:0: nealytics:x:65532: >"$system/etc/group"
for package in libc6 libgcc-s1; do
  [ ! -e "/usr/share/doc/$package/copyright" ] ||
    install -D -m 644 "/usr/share/doc/$package/copyright" "$system/usr/share/doc/$package/copyright"
done

install -d -m 700 "$image/volume/data"
chmod -R u=rwX,go=rX "$image/engine" "$system"
# The same files give the same image, at any time.
find "$image" -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH:-0}" {} +
