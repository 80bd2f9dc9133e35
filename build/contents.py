"""Says what is inside a release: a CycloneDX SBOM, and the licences of everything that is not ours.

    python build/contents.py FOLDER REPORT --flavour server|embedded --licences DIR --sbom FILE

FOLDER and REPORT are what build/nuitka.py made: the report names the modules and libraries that went in, so
what is listed is what is there and not what is installed. Whatever has no text of a licence is an error.

What is linked into a package's own modules is listed below that package, as far as the package tells: by an
SBOM in its wheel (PEP 770), or by its library's version when asked. The libraries inside of ClickHouse are
missing, versions and licences: chDB's wheel says nothing of them, only the running engine does, without
versions (system.licenses). Others have small ones that no one names. So the SBOM calls itself incomplete.
"""

import argparse
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import pyexpat
import re
import shutil
import subprocess
import sys
import sysconfig
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parent.parent
ENGINE = "chdb-core"
_LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|authors|copyright)", re.IGNORECASE)


@dataclass
class Component:
    name: str
    version: str
    purl: str
    licence: str = ""
    texts: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)  # in FOLDER; for libraries of the system
    inside: list[dict[str, Any]] = field(default_factory=list)  # linked into its modules, as CycloneDX has it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--flavour", choices=("server", "embedded"), required=True)
    parser.add_argument("--licences", type=Path, required=True, metavar="DIR")
    parser.add_argument("--sbom", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    report = ElementTree.parse(arguments.report).getroot()
    components = sorted(
        [
            python(arguments.folder),
            nuitka(),
            *distributions(report, arguments.flavour),
            *system_libraries(arguments.folder, report),
            *scripts(),
            *([zstd()] if arguments.flavour == "server" else []),
        ],
        key=lambda component: component.name.lower(),
    )
    write_licences(components, arguments.licences)
    text = json.dumps(sbom(components, arguments.flavour, arguments.folder), indent=1) + "\n"
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise SystemExit(f"contents: the SBOM is not what CycloneDX 1.6 wants: {error}")
    arguments.sbom.write_text(text)


def distributions(report: ElementTree.Element, flavour: str) -> Iterator[Component]:
    """The Python packages of which a module, a library or the metadata is inside."""
    names = {node.attrib["name"] for node in report.iter("distribution-usage")}
    names |= {node.attrib["name"] for node in report.iter("included_metadata")}
    if flavour == "embedded":
        names.add(ENGINE)
    found: dict[str, Component] = {}
    for name in names:
        distribution = importlib.metadata.distribution(name)
        key = re.sub(r"[-_.]+", "-", distribution.name).lower()
        if key == "nealytics":
            continue
        texts = [
            Path(str(file.locate()))
            for file in distribution.files or []
            if _LICENCE_FILE.search(file.name)
            and ".dist-info" in file.parts[0]
            and file.suffix not in (".py", ".pyc")
        ]
        metadata = distribution.metadata
        found[key] = Component(
            key, distribution.version, f"pkg:pypi/{key}@{distribution.version}",
            metadata.get("License-Expression") or metadata.get("License", "").split("\n")[0], sorted(texts),
            inside=[*linked_by_sbom(distribution), *linked_by_asking(key)],
        )  # fmt: skip
    return iter(found.values())


def scripts() -> Iterator[Component]:
    """The npm packages that are bundled into the scripts of nealytics/web, which the build lists with their
    licences."""
    notices = ROOT / "nealytics" / "web" / "LICENSES.txt"
    locked = json.loads((ROOT / "web" / "package-lock.json").read_text())["packages"]
    for section in notices.read_text().split(f"\n{'-' * 80}\n\n"):
        name = section.partition("\n")[0]
        package = locked[f"node_modules/{name}"]
        version = package["version"]
        yield Component(
            name.lstrip("@").replace("/", "-"),
            version,
            f"pkg:npm/{quote(name, safe='/')}@{version}",
            package["license"],
            [notices],
        )


def linked_by_sbom(distribution: importlib.metadata.Distribution) -> Iterator[dict[str, Any]]:
    """What the SBOMs in a wheel list, without their references, which mean something there only."""
    for file in distribution.files or []:
        if file.parts[1:2] != ("sboms",) or not file.name.endswith(".json"):
            continue
        bom = json.loads(Path(str(file.locate())).read_text())
        if bom.get("bomFormat") != "CycloneDX":
            raise SystemExit(f"contents: {file} is no CycloneDX; teach build/contents.py to read it")
        for component in bom.get("components", []):
            if not component.get("purl", "").startswith("pkg:pypi/"):  # the wheel itself
                wanted = ("type", "name", "version", "scope", "hashes", "licenses", "purl")
                yield {key: component[key] for key in wanted if key in component}


def library(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "name": name, "version": version, "purl": f"pkg:{purl}{version}"}


def linked_by_asking(package: str) -> Iterator[dict[str, Any]]:
    """The C library that a package's modules have inside, whose version only the modules know."""
    if package == "backports-zstd":
        yield library(
            "zstd", importlib.import_module("backports.zstd").zstd_version, "github/facebook/zstd@v"
        )
    elif package == "uvloop":
        number = importlib.import_module("uvloop.loop").libuv_get_version()
        version = ".".join(str(number >> bits & 0xFF) for bits in (16, 8, 0))
        yield library("libuv", version, "github/libuv/libuv@v")


def python(folder: Path) -> Component:
    """CPython, with the libraries that are part of its own modules unless a distribution took them out."""
    version = ".".join(map(str, sys.version_info[:3]))
    places = [
        Path(sysconfig.get_path("stdlib"), "LICENSE.txt"),
        Path(f"/usr/share/doc/python{sys.version_info[0]}.{sys.version_info[1]}/copyright"),
        *sorted(Path("/usr/share/licenses").glob(f"python{sys.version_info[0]}*/LICENSE")),
    ]
    return Component(
        "cpython", version, f"pkg:generic/cpython@{version}", "PSF-2.0",
        [place for place in places if place.exists()][:1],
        inside=[
            library(name, known, f"generic/{name}@")
            for name, known, file in (
                ("expat", ".".join(map(str, pyexpat.version_info)), "libexpat.so*"),
                ("libmpdec", str(importlib.import_module("_decimal").__libmpdec_version__), "libmpdec.so*"),
            )
            if not any(folder.glob(file))
        ],
    )  # fmt: skip


def nuitka() -> Component:
    """Its run-time library, which is part of every program that it compiles."""
    distribution = importlib.metadata.distribution("nuitka")
    texts = [Path(str(file.locate())) for file in distribution.files or [] if _LICENCE_FILE.match(file.name)]
    texts = [text for text in texts if "dist-info" in str(text)]
    version = distribution.version
    return Component("nuitka-runtime", version, f"pkg:pypi/nuitka@{version}",
                     str(distribution.metadata.get("License-Expression", "")), texts)  # fmt: skip


def zstd() -> Component:
    """The decompressor in build/launcher.c."""
    source = Path(str(importlib.metadata.distribution("nuitka").locate_file("nuitka/build/inline_copy/zstd")))
    text = (source / "zstd.h").read_text()
    version = ".".join(
        re.findall(rf"#define ZSTD_VERSION_{part}\s+(\d+)", text)[0] for part in ("MAJOR", "MINOR", "RELEASE")
    )
    return Component("zstd", version, f"pkg:github/facebook/zstd@v{version}", "BSD-3-Clause",
                     [source / "LICENSE.txt"])  # fmt: skip


def system_libraries(folder: Path, report: ElementTree.Element) -> Iterator[Component]:
    """Libraries of the machine that compiled, as packages of its distribution."""
    system = platform.freedesktop_os_release()
    packages: dict[str, Component] = {}
    for node in report.iter("included_dll"):
        source = _real_path(node.attrib["source_path"])
        if source is None or source.name.startswith("libpython"):
            continue
        name, version, kind, texts = _package_of(source)
        purl = f"pkg:{kind}/{system['ID']}/{quote(name)}@{quote(version, safe=':~')}"
        if "VERSION_ID" in system:
            purl += f"?distro={system['ID']}-{system['VERSION_ID']}"
        component = packages.setdefault(name, Component(name, version, purl, "", texts))
        component.files.append(folder / node.attrib["dest_path"])
    return iter(packages.values())


def _real_path(path: str) -> Path | None:
    """Where a library of the report came from; None if it came with Python or one of its packages."""
    return None if path.startswith("$") or "/site-packages/" in path else Path(path).resolve()


def _package_of(library: Path) -> tuple[str, str, str, list[Path]]:
    """Name, version and kind of the distribution's package that has a file, and the texts of its licence."""
    if shutil.which("dpkg-query"):
        for path in (library, Path("/", *library.parts[2:])):  # /usr/lib/… may be known as /lib/…
            found = subprocess.run(["dpkg-query", "-S", str(path)], capture_output=True, text=True)
            if found.returncode == 0:
                name = found.stdout.split(":")[0]
                version = _output("dpkg-query", "-W", "-f", "${Version}", name)
                return name, version, "deb", [Path("/usr/share/doc", name, "copyright")]
    if shutil.which("rpm"):
        name, version = _output("rpm", "-qf", "--qf", "%{NAME} %{VERSION}-%{RELEASE}", str(library)).split()
        texts = _output("rpm", "-q", "--licensefiles", name).split()
        return name, version, "rpm", [Path(text) for text in texts]
    raise SystemExit(f"contents: no package of this system has {library}, so its licence is not known")


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write_licences(components: list[Component], directory: Path) -> None:
    """A file per component; `SUMMARY.txt` lists them."""
    directory.mkdir(parents=True, exist_ok=True)
    summary = []
    for component in components:
        texts = [text.read_text(errors="replace") for text in component.texts if text.is_file()]
        if not texts:
            raise SystemExit(f"contents: {component.name} {component.version} has no text of its licence")
        (directory / f"{component.name}.txt").write_text(f"\n\n{'-' * 78}\n\n".join(texts))
        summary.append(f"{component.name} {component.version}  {component.licence}".rstrip())
    (directory / "SUMMARY.txt").write_text("\n".join(summary) + "\n")


def sbom(components: list[Component], flavour: str, folder: Path) -> dict[str, object]:
    """CycloneDX 1.6, the same for the same contents."""
    version = re.findall(r'__version__ = "(.*)"', (ROOT / "nealytics/__init__.py").read_text())[0]
    program = f"pkg:github/neavents/nealytics@v{version}"
    listed = [
        {
            "type": "library",
            "bom-ref": component.purl,
            "name": component.name,
            "version": component.version,
            "purl": component.purl,
            **({"licenses": [{"license": {"name": component.licence}}]} if component.licence else {}),
            **(
                {"hashes": [{"alg": "SHA-256", "content": _sha256(component.files[0])}]}
                if len(component.files) == 1
                else {}
            ),
            **({"components": component.inside} if component.inside else {}),
        }
        for component in components
    ]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, program + flavour + json.dumps(listed) + os.uname().machine)
    built = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": built.isoformat().replace("+00:00", "Z"),
            "component": {
                "type": "application",
                "bom-ref": program,
                "name": "nealytics" if flavour == "server" else "nealytics-embedded",
                "version": version,
                "purl": program,
                "licenses": [{"license": {"id": "MIT"}}],
                "hashes": [{"alg": "SHA-256", "content": _sha256(folder / "nealytics")}],
            },
        },
        "components": listed,
        "dependencies": [{"ref": program, "dependsOn": [component.purl for component in components]}],
        "compositions": [{"aggregate": "incomplete", "assemblies": [program]}],
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
