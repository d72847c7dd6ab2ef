"""The layers of the package, and the check that imports go only downwards: ``python -m tests.check_layers``.

Imports are read, not run. Every ``import`` counts, also one inside a function. One under
``if TYPE_CHECKING:`` obeys the layers too, for to name an upper layer's type is to know that layer (a
Protocol says it without); but it is free to close a circle within a layer and to name types of modules
that are forbidden at run time, because nothing is loaded by it.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# --- the table: a name stands for the module or package kling_async.<name> and all that is in it --

LAYERS = (
    {
        "_version",
        "catalog",
        "checks",
        "core",
        "endpoints",
        "errors",
        "headers",
        "inputs",
        "names",
        "options",
        "prices",
        "results",
        "v1",
        "v2",
        "wire",
    },
    {
        "addresses",
        "asker",
        "auth",
        "creates",
        "downloads",
        "engine",
        "events",
        "filelock",
        "fetching",
        "files",
        "jobs",
        "journal",
        "known",
        "limiter",
        "limits",
        "live",
        "loops",
        "partials",
        "poller",
        "recovery",
        "retry",
        "search",
        "sessions",
        "store",
        "tally",
        "transport",
        "webhooks",
    },
    {
        "account",
        "batch",
        "calls",
        "client",
        "intake",
        "interrupts",
        "keeping",
        "outcomes",
        "plans",
        "purse",
        "register",
        "runs",
        "stats",
        "submits",
        "tasks",
        "wishes",
    },
    {"cli", "notebook"},
)
"""A module imports from its own layer, without circles, and from those before it."""

BESIDE = {"emulator": set[str](), "testing": {"emulator"}}
"""Outside the layers, and what of the package they may import besides themselves."""

EXTRA = {"cli": {"emulator"}}
"""Who else may import from beside the layers."""

PURE = {"core", "errors"}
IMPURE = {
    "aiohttp",
    "anyio",
    "asyncio",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "threading",
    "time",
    "uuid",
}
"""What `PURE` never imports: no clock, no I/O, no chance of its own."""

NO_HTTP = LAYERS[0]
"""What never imports aiohttp: requests can be built and stored without loading it."""

# The face, kling_async/__init__.py, may import everything (it does so lazily); nobody imports it.


class Import(NamedTuple):
    """One imported module, by its full name, and where."""

    importer: str
    target: str
    line: int
    type_only: bool


def violations(package: Path) -> list[str]:
    """Every breach of the rules in ``package``, as lines for people."""
    files = {module_name(package, path): path for path in sorted(package.rglob("*.py"))}
    face = package.name
    homeless = [
        f"{path}: give it a layer in tests/check_layers.py"
        for name, path in files.items()
        if name != face and layer(unit(name)) is None and unit(name) not in BESIDE
    ]
    imports = [found for name, path in files.items() for found in imports_of(name, path, files)]
    breaches = [
        f"{files[found.importer]}:{found.line}: {complaint}"
        for found in imports
        if found.importer != face and (complaint := complaint_about(found, face))
    ]
    return homeless + breaches + circles(imports, face)


# --- the rules ---------------------------------------------------------------------------------


def complaint_about(found: Import, face: str) -> str | None:
    """What is wrong with one import, if anything."""
    importer = unit(found.importer)
    top, _, _ = found.target.partition(".")
    if top != face:
        return None if found.type_only else outside_complaint(importer, top)
    if found.target == face:
        return f"{importer} imports the face of the package: import the module meant"
    return inside_complaint(importer, unit(found.target))


def inside_complaint(importer: str, target: str) -> str | None:
    """What is wrong with one part of the package importing from another."""
    if importer == target or target in EXTRA.get(importer, ()):
        return None
    if importer in BESIDE:
        allowed = ", ".join(sorted(BESIDE[importer])) or "nothing"
        return None if target in BESIDE[importer] else f"{importer} imports {target}; allowed: {allowed}"
    if target in BESIDE:
        return f"{importer} imports {target}, which stands beside the layers"
    upper, lower = layer(importer), layer(target)
    if upper is None or lower is None or lower <= upper:
        return None
    return f"{importer} (layer {upper}) imports {target} (layer {lower}): upwards"


def outside_complaint(importer: str, top: str) -> str | None:
    """What is wrong with importing ``top``, a module of others."""
    if importer in PURE and top in IMPURE:
        return f"{importer} is pure and imports {top}"
    if importer in NO_HTTP and top == "aiohttp":
        return f"{importer} (layer 0) imports aiohttp"
    return None


def circles(imports: Iterable[Import], face: str) -> list[str]:
    """The first circle of run-time imports, if there is one."""
    graph: dict[str, set[str]] = {}
    for found in imports:
        if not found.type_only and found.importer not in {face, found.target}:
            graph.setdefault(found.importer, set()).add(found.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle: list[str] = error.args[1]
        return [f"imports in a circle: {' <- '.join(circle)}"]
    return []


def layer(name: str) -> int | None:
    """The layer of a module or package directly in kling_async."""
    return next((number for number, names in enumerate(LAYERS) if name in names), None)


def unit(module: str) -> str:
    """The name in the table that ``module`` comes under: ``core`` for ``kling_async.core.verdict``."""
    return [*module.split("."), ""][1]


# --- reading -----------------------------------------------------------------------------------


def module_name(package: Path, path: Path) -> str:
    """The full name of the module in ``path``."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(name: str, path: Path, files: dict[str, Path]) -> Iterator[Import]:
    """Every import in one module."""
    parent = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node, type_only in import_statements(ast.parse(path.read_bytes()), type_only=False):
        for target in targets(node, parent, files):
            yield Import(name, target, node.lineno, type_only)


def import_statements(
    node: ast.AST, *, type_only: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The import statements in ``node``, and whether only type checkers see them."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, type_only
    guarded = node.body if isinstance(node, ast.If) and is_type_checking(node.test) else []
    for child in ast.iter_child_nodes(node):
        yield from import_statements(child, type_only=type_only or child in guarded)


def is_type_checking(test: ast.expr) -> bool:
    """Whether it is ``TYPE_CHECKING`` or ``typing.TYPE_CHECKING``."""
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def targets(node: ast.Import | ast.ImportFrom, parent: str, files: dict[str, Path]) -> Iterator[str]:
    """The modules that a statement names; ``from package import module`` names the module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        above = parent.split(".")[: len(parent.split(".")) - node.level + 1]
        base = ".".join([*above, *([base] if base else [])])
    for alias in node.names:
        inner = f"{base}.{alias.name}"
        yield inner if inner in files else base


def main() -> int:
    """Check the package beside this folder; print what is wrong."""
    found = violations(Path(__file__).resolve().parent.parent / "kling_async")
    for line in found:
        print(line)  # noqa: T201 - a command
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
