"""Packs a folder that build/nuitka.py made into one file, which unpacks itself once and becomes the program.

    python build/single_file.py FOLDER FILE [--cc COMPILER]

build/launcher.c says how it behaves, docs/decisions/0009-executable.md why it is not Nuitka's onefile. The
launcher needs nothing but the C library. zstd's decompressor comes with Nuitka, as source.
"""

import argparse
import hashlib
import importlib.metadata
import io
import os
import shlex
import subprocess
import tarfile
import tempfile
from pathlib import Path

import zstandard

LAUNCHER = Path(__file__).with_name("launcher.c")
# Not `import nuitka`, which would import build/nuitka.py.
ZSTD = Path(str(importlib.metadata.distribution("nuitka").locate_file("nuitka/build/inline_copy/zstd")))
# Both flavours use the same folder.
ENGINE_PREFIX = "chdb"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--cc", default=os.environ.get("CC", "gcc"), help="the C compiler")
    arguments = parser.parse_args()
    pack(arguments.folder.resolve(), arguments.file.resolve(), arguments.cc)


def pack(folder: Path, file: Path, cc: str) -> None:
    archive = archive_of(folder)
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        sizes = [member.size for member in members if member.isfile()]
    name = hashlib.sha256(archive).hexdigest()[:32]
    # 19 is the highest level that needs no more memory to unpack. The number of threads does not change the
    # result.
    compressor = zstandard.ZstdCompressor(level=19, threads=4, write_checksum=True, write_content_size=True)
    with tempfile.TemporaryDirectory() as scratch:
        payload = Path(scratch, "payload.zst")
        payload.write_bytes(compressor.compress(archive))
        subprocess.run(
            [
                *shlex.split(cc), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-s",
                "-Wl,--build-id=none",
                # As system headers, so that their warnings are ignored.
                "-isystem", str(ZSTD), "-DZSTD_DISABLE_ASM",
                f'-DPAYLOAD="{payload.name}"', f'-DNAME="{name}"',
                f"-DFILES={len(sizes)}UL", f"-DBYTES={sum(sizes)}ULL",
                "-o", str(file), str(LAUNCHER),
            ],
            cwd=scratch,
            check=True,
        )  # fmt: skip


def archive_of(folder: Path) -> bytes:
    """All files of the folder but the engine's, as a tar: the same for the same names, contents and modes."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if relative.parts[0].startswith(ENGINE_PREFIX):
                continue
            member = tarfile.TarInfo(str(relative))
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            else:
                content = path.read_bytes()  # what a link points to, since the launcher knows no links
                member.size = len(content)
                member.mode = 0o555 if os.access(path, os.X_OK) else 0o444
                archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


if __name__ == "__main__":
    main()
