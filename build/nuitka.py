"""Compiles Nealytics with Nuitka into a folder that runs without Python.

    python build/nuitka.py --output DIR [--engine]

creates DIR/nealytics.dist with the program `nealytics`, Python's library and the dependencies that it needs,
and DIR/nealytics.report.xml, which lists the contents. --engine adds the embedded ClickHouse (chDB) beside
the program; nothing is compiled for that, so both flavours use one compilation. Needs the packages of
build/requirements-build.txt, a C compiler and patchelf; uses ccache if it is installed. scripts/release.sh
creates the artefacts of a release from the folder.
"""

import argparse
import compileall
import importlib.metadata
import os
import py_compile
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINE = "chdb-core"

# Modules of the standard library that chDB imports. Nuitka does not see them, because chDB is added later.
ENGINE_NEEDS = (
    "argparse", "decimal", "functools", "inspect", "json", "linecache", "shutil", "tempfile",
    "textwrap", "threading", "uuid", "warnings", "xml.etree.ElementTree",
)  # fmt: skip
# Parts of chDB that the child never loads. Bindings to other versions of Python are added by name below.
ENGINE_UNUSED = ("dbapi/tests", "__main__.py", "py.typed", "_chdb/*.pyi")

# Our own code that decodes and encodes events: CPython has special instructions for fields of structs.
# Compiled, `encode_row` was 0.65 times as fast, and parsing 0.9 times.
FASTER_AS_BYTECODE = ("nealytics.clickhouse.rowbinary", "nealytics.event", "nealytics.ingest.parser")

# Our own code that is not time-critical: commands, code that runs once per start, and once per query, where
# ClickHouse needs most of the time. Machine code is several times as large.
SMALLER_AS_BYTECODE = (
    "nealytics.bench", "nealytics.cli", "nealytics.clickhouse.schema", "nealytics.config",
    "nealytics.http.openapi", "nealytics.http.openapi_schemas", "nealytics.importer", "nealytics.queries",
)  # fmt: skip

# Unreachable modules of the standard library and of dependencies: other modules import them for features that
# we do not use, or Nuitka includes them because a program might import them by name.
UNUSED = (
    "_pydecimal", "_pyio", "backports.zstd.tarfile", "backports.zstd.zipfile", "cgi", "cgitb", "configparser",
    "imaplib", "modulefinder", "multiprocessing", "nntplib", "pickletools", "poplib", "pstats", "smtplib",
    "telnetlib", "trace", "xmlrpc",
)  # fmt: skip

# Libraries of every machine: the C library. Everything else must be included.
C_LIBRARY = re.compile(r"(libc|libm|libdl|librt|libpthread|libutil|libresolv|ld-linux[\w-]*)\.so\.\d+$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--engine", action="store_true", help="put the embedded ClickHouse beside the program"
    )
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="C compilers at once")
    arguments = parser.parse_args()
    folder = compile_program(arguments.output.resolve(), arguments.jobs)
    if arguments.engine:
        add_engine(folder)
    strip(folder)
    add_libraries(folder, folder.with_name("nealytics.report.xml"))
    print(folder)


def compile_program(output: Path, jobs: int) -> Path:
    """`nealytics.dist` in `output`, made anew."""
    output.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "nuitka", *flags(output, jobs), "nealytics"],
        cwd=ROOT,
        check=True,
        env={
            # Otherwise the order of Python's sets would differ in every build.
            **os.environ,
            "PYTHONHASHSEED": "0",
        },
    )
    return output / "nealytics.dist"


def flags(output: Path, jobs: int) -> list[str]:
    """Each of Nuitka's options, with its reason."""
    return [
        # A self-contained folder. Not Nuitka's `onefile`: its program stays in memory as the parent of the
        # real one, so a SIGKILL would hit the wrong process (docs/decisions/0009).
        "--mode=standalone",
        f"--output-dir={output}",
        "--output-filename=nealytics",
        # The package's __main__, as `python -m nealytics` runs it.
        "--python-flag=-m",
        # Disable the guard against programs that start themselves: ours does so on purpose.
        "--deployment",
        # Commands are imported in functions, so name them all.
        "--include-package=nealytics",
        # Only our own code is compiled. Compiled, aiohttp's handlers were 0.6 to 0.9 times as fast as
        # bytecode, and the hot code of other packages is C. The build is faster too.
        *(
            f"--noinclude-custom-mode={name}:bytecode"
            for name in (*dependency_modules(), *FASTER_AS_BYTECODE, *SMALLER_AS_BYTECODE)
        ),
        # chDB has its own folder (`add_engine`); its declared dependencies are not needed.
        # chardet is in the build environment only, and requests would include it.
        *(
            f"--nofollow-import-to={name}"
            for name in ("chardet", "chdb", "numpy", "pandas", "pyarrow", *UNUSED)
        ),
        # It would include multiprocessing.
        "--disable-plugin=multiprocessing",
        *(f"--include-module={name}" for name in ENGINE_NEEDS),
        # Imported by name at run time.
        "--include-package=tzdata",
        "--include-package-data=tzdata:zones",
        "--include-package-data=certifi",
        # Beside the executable, which has the package's name, so no folder can have it.
        "--include-data-dir=nealytics/web=web",
        "--include-data-dir=nealytics/importer/presets=presets",
        # Link-time optimization takes several times as long, without a measurable gain.
        "--lto=no",
        # The list of contents, for licences and SBOM (build/contents.py).
        f"--report={output}/nealytics.report.xml",
        "--report-diffable",
        f"--jobs={jobs}",
        "--remove-output",
        "--quiet",
    ]


def dependencies() -> list[importlib.metadata.Distribution]:
    """What the program needs at run time, without the engine; sorted by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = importlib.metadata.requires("nealytics") or []
    while waiting:
        requirement = waiting.pop()
        if "extra ==" in requirement:
            continue
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None, requirement
        try:
            distribution = importlib.metadata.distribution(name[0])
        except importlib.metadata.PackageNotFoundError:
            continue  # not for this version of Python; the lock file knows
        if distribution.name not in found:
            found[distribution.name] = distribution
            waiting += distribution.requires or []
    return [found[name] for name in sorted(found, key=str.lower)]


def dependency_modules() -> list[str]:
    """The packages and modules that the dependencies consist of, by the names they are imported by."""
    names: set[str] = set()
    for distribution in dependencies():
        for file in distribution.files or []:
            top = file.parts[0]
            if top.endswith(".py"):
                names.add(top.removesuffix(".py"))
            elif len(file.parts) > 1 and file.suffix in (".py", ".so") and top.isidentifier():
                names.add(top)
    return sorted(names)


def engine_files() -> Iterator[Path]:
    """chDB's files, relative to the folder of installed packages: without bindings to other Pythons."""
    binding = f"libpybind11nonlimitedapi_chdb_{sys.version_info[0]}.{sys.version_info[1]}.so"
    for file in importlib.metadata.files(ENGINE) or []:
        path = Path(file)
        if path.suffix == ".pyc" or path.parts[0] not in ("chdb", "chdb_core.libs"):
            continue
        if path.name.startswith("libpybind11nonlimitedapi_chdb_") and path.name != binding:
            continue
        if any(Path(*path.parts[1:]).match(unused) for unused in ENGINE_UNUSED):
            continue
        yield path


def add_engine(folder: Path) -> None:
    """Puts chDB into `folder`, where the embedded child imports it from."""
    packages = Path(str(importlib.metadata.distribution(ENGINE).locate_file("")))
    for file in engine_files():
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(packages / file, target)
    # The folder may belong to another user than the one who runs it. Without its path, which differs in every
    # build.
    if not compileall.compile_dir(
        folder / "chdb",
        quiet=1,
        stripdir=str(folder),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    ):
        raise SystemExit("build: a module of chDB does not compile; the message is above")


def strip(folder: Path) -> None:
    """Takes the symbols off that nothing is loaded by: two thirds of some wheels' extension modules."""
    subprocess.run(["strip", "--strip-unneeded", *folder.rglob("*.so*")], check=True)


def add_libraries(folder: Path, report: Path) -> None:
    """Brings the libraries that extension modules need of this machine, such as libstdc++ and libz.

    Nuitka takes them for granted, and slim systems have none. The modules find them by a path relative to
    themselves. The report then names them too.
    """
    tree = ElementTree.parse(report)
    modules = sorted(folder.rglob("*.so*"))
    for module in modules:  # grows meanwhile: a library that is brought may need another
        unused = _unused_libraries(module)
        for name in unused:
            _output("patchelf", "--remove-needed", name, module)
        needed = [
            name
            for name in _output("patchelf", "--print-needed", module).split()
            if not C_LIBRARY.match(name)
        ]
        for line in _output("ldd", module).splitlines():
            name, arrow, path = line.strip().partition(" => ")
            source = Path(path.split(" (")[0])
            if not arrow or name not in needed or source.is_relative_to(folder):
                continue
            if not source.is_file():
                raise SystemExit(f"build: {module} needs {name}, which this machine has not")
            if not (folder / name).exists():
                shutil.copy(source.resolve(), folder / name)
                modules.append(folder / name)
                ElementTree.SubElement(
                    tree.getroot(), "included_dll", name=name, dest_path=name, source_path=str(source)
                )
            way = os.path.relpath(folder, module.parent)
            known = [each for each in _output("patchelf", "--print-rpath", module).split(":") if each]
            if (mine := f"$ORIGIN/{way}".removesuffix("/.")) not in known:
                _output("patchelf", "--set-rpath", ":".join([*known, mine]), module)
    tree.write(report)


def _unused_libraries(module: Path) -> list[str]:
    """What `module` names as needed, but takes nothing from: linkers write down libstdc++ for each C++ file.
    The C library's parts are left alone; they cost nothing."""
    shown = subprocess.run(["ldd", "-u", module], capture_output=True, text=True).stdout  # 1 if there are any
    names = (Path(line.strip()).name for line in shown.splitlines() if line.startswith("\t"))
    return [name for name in names if not C_LIBRARY.match(name)]


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
