"""Imports point one way. The order below is that of the packages, lowest first."""

import ast
import graphlib
from pathlib import Path

import nealytics

PACKAGE = Path(nealytics.__file__).parent

# Each layer may import from the layers before it and from itself.
LAYERS = [
    {
        "nealytics",
        "backoff",
        "client_address",
        "compression",
        "directories",
        "errors",
        "notify",
        "pace",
        "process",
        "scheduling",
        "shared",
    }
    | {"query_string", "timestamps", "tls", "web"},
    {"observe"},
    {"config"},
    {"quotas", "retention"},
    {"event"},
    {"wal", "clickhouse"},
    {"auth", "backup", "expiry"},
    {"commit", "usage", "erasure"},
    {"ingest", "queries"},
    {"compat"},
    {"dead_letters"},
    {"http"},
    {"reloading"},
    {"server"},
    {"client", "supervisor", "importer", "demo"},
    {"bench"},
    {"cli", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules() -> list[tuple[str, set[str]]]:
    """Each module's dotted name within the package, and the modules of the package that it imports."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE.parent).with_suffix("")
        imports = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                if node.module and node.module.split(".")[0] == "nealytics":
                    imports |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                imports |= {alias.name for alias in node.names if alias.name.split(".")[0] == "nealytics"}
        found.append((".".join(relative.parts), imports))
    return found


def part_of(dotted: str) -> str:
    """`nealytics.wal.log.Log` → `wal`; a name of the package itself (`__version__`) → `nealytics`."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEVEL else "nealytics"


def test_every_part_of_the_package_has_a_layer():
    parts = {
        path.stem if path.suffix else path.name
        for path in PACKAGE.iterdir()
        if path.name not in ("__pycache__", "py.typed")
    }
    assert parts - {"__init__"} <= set(LEVEL)


def test_imports_point_from_later_layers_to_earlier_ones():
    wrong = [
        f"{module} imports {imported}"
        for module, imports in modules()
        for imported in imports
        if LEVEL[part_of(imported)] > LEVEL[part_of(module)]
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle():
    """Also not inside of functions, or for types only."""
    found = dict(modules())
    graph = {}
    for module, imports in found.items():
        # A name that is imported from a module is not a module itself.
        targets = {name if name in found else name.rpartition(".")[0] for name in imports}
        graph[module] = {
            target if target in found else f"{target}.__init__"
            for target in targets
            if target != module.removesuffix(".__init__")
        }
    graphlib.TopologicalSorter(graph).prepare()


def test_the_log_does_not_know_what_an_event_is():
    wrong = [
        f"{module} imports {imported}"
        for module, imports in modules()
        for imported in imports
        if part_of(module) == "wal"
        and part_of(imported) not in {"nealytics", "errors", "config", "directories", "observe", "wal"}
    ]
    assert wrong == []


def test_only_the_named_parts_touch_the_log():
    """`server` wires, `cli.wal` inspects, `cli.doctor` sees its disk, `bench.drain` reads; nobody else."""
    allowed = (
        "nealytics.wal",
        "nealytics.commit",
        "nealytics.usage",
        "nealytics.backup",
        "nealytics.erasure",
        "nealytics.ingest.admission",
        "nealytics.server",
        "nealytics.cli.wal",
        "nealytics.cli.doctor",
        "nealytics.bench.drain",
    )
    wrong = [
        f"{module} imports {imported}"
        for module, imports in modules()
        for imported in imports
        if part_of(imported) == "wal" and not module.startswith(allowed)
    ]
    assert wrong == []
