"""Check that imports inside the package only point downwards: ``python -m tests.check_layers``.

The command prints the rooms from top to bottom with the import level of every module, then every violation,
and exits with 1 if there is one. Modules are read, not run. Every ``import`` counts, also one inside a
function and one under ``if TYPE_CHECKING:``: naming a type of an upper room is knowing that room (a Protocol
beside its user avoids that). Type-only imports from outside the package are free: they load nothing.

Two levels are checked. Between the rooms of `ROOMS`, imports go to lower rows, or to another room of the same
row. Within a package, at any depth, there is no circle, neither of modules nor of sub-packages.
"""

from __future__ import annotations

import ast
import functools
import sys
import textwrap
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.graphs import circles, levels, longest_chain
from tests.sources import PACKAGE, Import, imports_of, module_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.graphs import Graph

    Rows = tuple[tuple[str, ...], ...]

# --- the tables: a name stands for kling_async.<name>, a module or a package with all that is in it


class Allowances(NamedTuple):
    """Violations that are known and on their way out."""

    levels: int = 0
    circles: tuple[frozenset[str], ...] = ()


ALLOWED: Final = Allowances()
"""To be removed. A test fails as soon as one of these is no longer needed."""

MAX_LEVELS: Final = 19
"""Modules in the longest chain of imports: from a command about a fleet, which stands on batches, to plain
values. The emulator is a tree of its own and counted alone."""

MAX_AT_THE_TOP: Final = 18
"""Modules directly in the package, its ``__init__`` included."""

ROOMS: Final = (
    ("__main__",),
    ("cli", "notebook", "web", "webhooks", "fleet", "otel"),
    ("client",),
    ("batch",),
    ("tasks", "account", "stats"),
    ("downloads",),
    ("orchestrator",),
    ("http",),
    ("runtime",),
    ("events", "prices"),
    ("core",),
    ("catalog",),
    ("v1", "v2"),
    ("wire",),
    ("options", "errors", "records", "redaction", "display", "_version"),
    ("decoding",),
)
"""From top to bottom."""

LATER: Final = set[str]()
"""Rooms that have their place but are not built yet."""

BESIDE: Final = {"emulator": set[str](), "testing": {"emulator"}}
"""Rooms outside the order, and what of the package each may import."""

STOREYS: Final = {"emulator": (("emulator",), ("http",), ("calls",), ("state",), ("judging", "footage"))}
"""The order within a room, from top to bottom, where it is fixed; elsewhere there is only no circle."""

EXTRA: Final = {"cli": {"emulator"}}
"""Who else may import a room from beside the order."""

BY_NAME: Final = {"cli"}
"""Rooms that, like the package's own ``__init__``, may load modules by name: what is used is known late."""

PURE: Final = {
    "batch.budget",
    "batch.cells",
    "batch.checksums",
    "batch.entry",
    "batch.exclusions",
    "batch.failures",
    "batch.identity",
    "batch.lifecycle",
    "batch.pace",
    "batch.planned",
    "core",
    "downloads.ranges",
    "errors",
    "options",
    "decoding.generations",
    "display.html",
    "decoding.lenient",
    "decoding.outputs",
    "prices",
    "records",
    "redaction",
    "webhooks.gate",
    "webhooks.payloads",
    "webhooks.signatures",
}
"""Decisions and plain data: time and chance are arguments here, and nothing waits."""

PURE_LATER: Final = set[str]()
"""Pure modules that are not written yet."""

IMPURE: Final = (
    *("aiohttp", "anyio", "asyncio", "backoff", "concurrent", "http", "logging", "os", "pathlib", "random"),
    *("secrets", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading"),
    *("time", "urllib.request", "uuid"),
)
"""Clocks, I/O, chance and event loops: pure modules import none of these."""

NO_HTTP: Final = {name for row in ROOMS[ROOMS.index(("events", "prices")) :] for name in row}
"""Rooms that never import aiohttp: requests are built, checked and stored without loading it."""


# --- the check -----------------------------------------------------------------------------------


class House:
    """All modules of one package and the imports between them."""

    def __init__(self, package: Path) -> None:
        self.face = package.name
        self.files = {module_name(package, path): path for path in sorted(package.rglob("*.py"))}
        self.trees = {name: ast.parse(path.read_bytes()) for name, path in self.files.items()}
        self.imports = [
            found for name, tree in self.trees.items() for found in imports_of(name, tree, self.files)
        ]
        self.graph: dict[str, set[str]] = {
            self.short(name): set() for name in self.files if name != self.face
        }
        for found in self.inner_imports():
            self.graph[self.short(found.importer)].add(self.short(found.target))
        self.levels = levels(without_emulator(self.graph))
        self.circles = circles(self.graph)

    def short(self, name: str) -> str:
        """Cut the package's name off a module's."""
        return name.removeprefix(f"{self.face}.")

    def is_package(self, name: str) -> bool:
        """Tell whether a module, by its short name, is the ``__init__`` of a package within."""
        path = self.files.get(f"{self.face}.{name}")
        return path is not None and path.name == "__init__.py"

    def inner_imports(self) -> Iterator[Import]:
        """Yield the imports of one module of the package by another, the face left out."""
        for found in self.imports:
            inner = found.target in self.files and self.face not in {found.importer, found.target}
            if inner and found.importer != found.target:
                yield found

    def place(self, found: Import) -> str:
        """Say where an import stands, as editors and terminals understand it."""
        return f"{self.files[found.importer]}:{found.line}"


@functools.cache
def our_house() -> House:
    """Read the package itself; it stays the same while a process of tests runs."""
    return House(PACKAGE)


def violations(house: House, allowed: Allowances = Allowances()) -> list[str]:  # noqa: B008 - immutable
    """List every breach of the rules in a package, as lines for people."""
    return [
        *homeless(house),
        *bad_imports(house),
        *impurities(house),
        *loads_by_name(house),
        *circle_complaints(house, allowed),
        *count_complaints(house, allowed),
    ]


def needless(house: House, allowed: Allowances) -> list[str]:
    """List the allowances that nothing in a package needs any more."""
    gone = [circle for circle in allowed.circles if not any(found <= circle for found in house.circles)]
    lines = [f"no circle between {', '.join(sorted(circle))}: take it out of ALLOWED" for circle in gone]
    if allowed.levels and max(house.levels.values(), default=0) <= MAX_LEVELS:
        lines.append("no chain of imports is too long: take the levels out of ALLOWED")
    return lines


def homeless(house: House) -> Iterator[str]:
    """Name the modules whose room is in no table."""
    known = {*BESIDE, *(name for row in ROOMS for name in row)}
    for name, path in house.files.items():
        inside = house.short(name)
        if name != house.face and room(inside) not in known:
            yield f"{path}: give it a room in tests/check_layers.py"
        if room(inside) in STOREYS and storey(inside) is None and inside != room(inside):
            yield f"{path}: give it a storey in tests/check_layers.py"


def bad_imports(house: House) -> Iterator[str]:
    """Find imports of the face, of upper rooms, and of packages that a module must do without."""
    for found in house.imports:
        if found.importer == house.face:
            continue
        importer, target = house.short(found.importer), house.short(found.target)
        if found.target == house.face:
            complaint: str | None = "imports the face of the package: import the module meant"
        elif found.target.startswith(f"{house.face}."):
            complaint = inside_complaint(importer, target)
        else:
            complaint = None if found.type_only else outside_complaint(importer, target)
        if complaint:
            yield f"{house.place(found)}: {importer} {complaint}"


def inside_complaint(importer: str, target: str) -> str | None:
    """Judge an import of one module of the package by another."""
    user, used = room(importer), room(target)
    if user == used:
        above, below = storey(importer), storey(target)
        upwards = above is not None and below is not None and below < above
        return f"imports {target}: upwards within {user}" if upwards else None
    if used in EXTRA.get(user, ()):
        return None
    if user in BESIDE:
        allowed = ", ".join(sorted(BESIDE[user])) or "nothing"
        return None if used in BESIDE[user] else f"imports {target}; {user} may import: {allowed}"
    if used in BESIDE:
        return f"imports {target}, which stands beside the rooms"
    upper, lower = row_of(user, ROOMS), row_of(used, ROOMS)
    if upper is None or lower is None or lower >= upper:
        return None
    return f"imports {target}: upwards, {used} stands above {user}"


def outside_complaint(importer: str, target: str) -> str | None:
    """Judge an import of a module that is not part of the package."""
    if is_pure(importer) and (top := next((name for name in IMPURE if is_in(target, name)), None)):
        return f"is pure and imports {top}"
    if room(importer) in NO_HTTP and is_in(target, "aiohttp"):
        return "describes requests and imports aiohttp"
    return None


def impurities(house: House) -> Iterator[str]:
    """Find what pure modules must not hold besides imports from outside the package."""
    for found in house.inner_imports():
        importer, target = house.short(found.importer), house.short(found.target)
        if is_pure(importer) and room(importer) == room(target) and not (found.type_only or is_pure(target)):
            yield f"{house.place(found)}: {importer} is pure and imports {target}, which is not"
    for name, path in house.files.items():
        if is_pure(house.short(name)):
            for node in ast.walk(house.trees[name]):
                if what := impurity(node):
                    line = getattr(node, "lineno", 0)
                    yield f"{path}:{line}: {house.short(name)} is pure and has {what}"


def impurity(node: ast.AST) -> str | None:
    """Say what makes a piece of syntax impure: waiting, files, the terminal, the clock."""
    match node:
        case ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith():
            return "async code"
        case ast.Await():
            return "an await"
        case ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
            return "async code" if any(part.is_async for part in node.generators) else None
        case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
            return f"a call of {name}()"
        case ast.Call(func=ast.Attribute(attr="now" | "utcnow" | "today" as name, value=owner)):
            of_type = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            return f"a call of {of_type}.{name}()" if of_type in {"datetime", "date"} else None
        case _:
            return None


def loads_by_name(house: House) -> Iterator[str]:
    """Find imports that this check cannot follow, because a function does them by name."""
    for name, path in house.files.items():
        if name == house.face or room(house.short(name)) in BY_NAME:
            continue
        for node in ast.walk(house.trees[name]):
            if isinstance(node, ast.Name | ast.Attribute):
                called = node.attr if isinstance(node, ast.Attribute) else node.id
                if called in {"__import__", "import_module"}:
                    yield f"{path}:{node.lineno}: {house.short(name)} loads modules by name ({called})"


def circle_complaints(house: House, allowed: Allowances) -> Iterator[str]:
    """Find circles of modules, and of sub-packages between which no single module closes a circle."""
    for circle in house.circles:
        if not any(circle <= known for known in allowed.circles):
            yield f"imports in a circle: {', '.join(sorted(circle))}"
    straight = [
        (importer, target)
        for importer, found in house.graph.items()
        for target in found
        if not any({importer, target} <= circle for circle in house.circles)
    ]
    parents = {name[:end] for name in house.graph for end, letter in enumerate(name) if letter == "."}
    for parent in ("", *sorted(parents)):
        for circle in circles(between_children(parent, straight)):
            yield f"a circle of parts of {parent or house.face}: {', '.join(sorted(circle))}"


def between_children(parent: str, imports: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Draw the imports between the parts of a package, each part with all that is in it as one node."""
    graph: dict[str, set[str]] = {}
    for importer, target in imports:
        user, used = child_of(parent, importer), child_of(parent, target)
        if user and used and user != used:
            graph.setdefault(user, set()).add(used)
            graph.setdefault(used, set())
    return graph


def count_complaints(house: House, allowed: Allowances) -> Iterator[str]:
    """Compare the counts with their limits."""
    limit = max(MAX_LEVELS, allowed.levels)
    high = max(house.levels.values(), default=0)
    if high > limit:
        chain = " > ".join(longest_chain(without_emulator(house.graph), house.levels))
        yield f"{high} levels of imports, at most {limit} are allowed: {chain}"
    top = at_the_top(house)
    if top > MAX_AT_THE_TOP:
        yield f"{top} modules at the top of {house.face}, at most {MAX_AT_THE_TOP} are allowed"


# --- names and graphs ----------------------------------------------------------------------------


def room(name: str) -> str:
    """Return the entry of the tables that a module comes under: ``core`` for ``core.verdict``."""
    return name.partition(".")[0]


def row_of(name: str, rows: Rows) -> int | None:
    """Return the row that holds a name, 0 at the top; None if none does."""
    return next((number for number, row in enumerate(rows) if name in row), None)


def storey(name: str) -> int | None:
    """Return the storey of a module within its room, 0 at the top; None where no order is fixed."""
    top, _, rest = name.partition(".")
    return row_of(room(rest), STOREYS.get(top, ()))


def is_in(name: str, package: str) -> bool:
    """Tell whether a module is ``package`` or a part of it."""
    return name == package or name.startswith(f"{package}.")


def is_pure(name: str) -> bool:
    """Tell whether a module is listed as pure, by itself or by its package."""
    return any(is_in(name, pure) for pure in PURE)


def child_of(parent: str, name: str) -> str | None:
    """Return the part of ``parent`` (empty: the whole) that a module belongs to; None if it is outside."""
    if not parent:
        return room(name)
    return f"{parent}.{room(name[len(parent) + 1 :])}".rstrip(".") if is_in(name, parent) else None


def at_the_top(house: House) -> int:
    """Count the modules directly in the package, its ``__init__`` included."""
    root = house.files[house.face].parent
    return sum(path.parent == root for path in house.files.values())


def without_emulator(graph: Graph) -> dict[str, set[str]]:
    """Leave out the imports of the emulator by others, so that its levels do not add to theirs."""
    return {
        name: {target for target in found if room(target) != "emulator" or room(name) == "emulator"}
        for name, found in graph.items()
    }


# --- the command ---------------------------------------------------------------------------------


def drawn(house: House) -> Iterator[str]:
    """Draw the map: every room from top to bottom, its modules with their levels, the highest first."""
    for row in (*ROOMS, tuple(BESIDE)):
        for name in row:
            inside = [module for module in house.levels if room(module) == name]
            inside.sort(key=lambda module: (-house.levels[module], module))
            init = "__init__" if len(inside) > 1 else name
            words = " ".join(
                f"{module[len(name) + 1 :] or init}({house.levels[module]})" for module in inside
            )
            yield from textwrap.wrap(words, 110, initial_indent=f"{name:<12} ", subsequent_indent=" " * 13)
    yield ""


def counts(house: House) -> str:
    """Sum up what is limited."""
    high = {False: 0, True: 0}
    for name, level in house.levels.items():
        emulator = room(name) == "emulator"
        high[emulator] = max(high[emulator], level)
    return (
        f"{len(house.files)} modules, {at_the_top(house)} at the top (limit {MAX_AT_THE_TOP}); "
        f"{high[False]} levels of imports, emulator {high[True]} (limit {MAX_LEVELS}); "
        f"{len(house.circles)} circles of modules"
    )


def main() -> int:
    """Print the map of the package, its counts and what is wrong."""
    house = our_house()
    found = violations(house, ALLOWED)
    for line in (*drawn(house), counts(house), *found):
        print(line)  # noqa: T201 - a command
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
