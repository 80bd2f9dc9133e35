#!/usr/bin/env bash
# Lays out the files of the image from a compiled program: the program, and as much of a system as it needs.
#
#   build/image-root.sh server|embedded FOLDER IMAGE      FOLDER: what build/nuitka.py made; IMAGE: a directory to make
#
# IMAGE/engine: the embedded ClickHouse, in a layer of its own, since an upgrade seldom changes it; for the server flavour,
# which may be made of a FOLDER that has it, nothing. IMAGE/system: all else. IMAGE/volume: what belongs to the user. The C
# library is this machine's, so the program has to be compiled for the same or an older one.
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

# Libraries that the folder does not bring, at the paths where the loader finds them here. What is opened by name while
# it runs no list shows: threads end by libgcc_s, and before glibc 2.34 names of hosts were resolved by libraries.
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

# glibc has none of it built in, and without it the program cannot read its own arguments.
[ -d /usr/lib/locale/C.utf8 ] || fail "/usr/lib/locale/C.utf8 is missing; install it (Debian: libc-bin)"
mkdir -p "$system/usr/lib/locale"
cp -r /usr/lib/locale/C.utf8 "$system/usr/lib/locale"

# Not this machine's own certificates, which may have others among them: those of the locked dependency.
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
# The same files make the same image, whenever it is built.
find "$image" -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH:-0}" {} +
