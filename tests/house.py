"""Print the counts of the house: ``python -m tests.house [folder of a package]``.

How many modules and levels there are, how long files and functions are, which public things have a docstring
and how its first line begins, which classes have the most attributes, which names are defined twice. The
limits that `tests/test_habits.py` asserts stand here.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tests.check_layers import House, at_the_top, room
from tests.sources import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Trees: TypeAlias = Mapping[str, ast.Module]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
ClassKey: TypeAlias = tuple[str, str]
"""Module and name of a class."""

# --- limits --------------------------------------------------------------------------------------

MAX_FILE_LINES: Final = 420
MAX_FUNCTION_LINES: Final = 40
MAX_ATTRIBUTES: Final = 13

OPENINGS: Final = ("As ", "It ", "Not ", "These ", "They ", "This ", "Those ", "What ", "Who ")
"""Words that no docstring begins with: they point at something that its reader has not seen."""

CLOSINGS: Final = (".", "?", "!", ":")

VALUES: Final = {"NamedTuple", "TypedDict", "Protocol", "Enum", "StrEnum", "IntEnum"}
"""Bases of classes whose instances do not change."""


class Size(NamedTuple):
    """The size of one file, function or class, in lines or in attributes."""

    of: str
    size: int

    def __str__(self) -> str:
        """Put the number first, so that columns line up."""
        return f"{self.size:>4} {self.of}"


def largest(sizes: Iterable[Size], above: int = 0) -> list[Size]:
    """Sort those above a limit by size."""
    return sorted((size for size in sizes if size.size > above), key=lambda size: (-size.size, size.of))


def trees_of(house: House) -> Trees:
    """Name the syntax trees of a package as the tables do: ``core.verdict``."""
    return {house.short(name): tree for name, tree in house.trees.items()}


# --- lengths -------------------------------------------------------------------------------------


def file_sizes(house: House) -> list[Size]:
    """Count the lines of every file."""
    return [
        Size(house.short(name), len(path.read_text(encoding="utf-8").splitlines()))
        for name, path in house.files.items()
    ]


def functions(tree: ast.AST) -> list[Function]:
    """Find all functions and methods, also nested ones."""
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def code_lines(function: Function) -> int:
    """Count the lines of the body, the docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def function_sizes(trees: Trees) -> list[Size]:
    """Measure every function."""
    return [
        Size(f"{module}:{function.name}", code_lines(function))
        for module, tree in trees.items()
        for function in functions(tree)
    ]


# --- docstrings ----------------------------------------------------------------------------------


class Public(NamedTuple):
    """A public class, function or method, and its docstring."""

    module: str
    name: str
    docstring: str | None


def public(trees: Trees) -> Iterator[Public]:
    """Yield all that is public."""
    for module, tree in trees.items():
        yield from public_in(module, tree)


def public_in(module: str, parent: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[Public]:
    """Yield the public classes and functions of a module, then the public members of a class."""
    for node in parent.body:
        if isinstance(node, Function | ast.ClassDef) and node.name[0] != "_":
            yield Public(module, prefix + node.name, ast.get_docstring(node))
            if isinstance(node, ast.ClassDef):
                yield from public_in(module, node, f"{prefix}{node.name}.")


def bad_first_lines(trees: Trees) -> dict[str, list[str]]:
    """Find the first lines of docstrings that are to be reworded, of private things too, by room."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | Function):
                first_line = (ast.get_docstring(node) or "").partition("\n")[0]
                if reads_badly(first_line):
                    found[room(module)].append(f"{module}:{getattr(node, 'lineno', 1)}: {first_line}")
    return dict(sorted(found.items()))


def reads_badly(first_line: str) -> bool:
    """Tell whether a docstring opens with a riddle or its first line does not end as a sentence does."""
    return bool(first_line) and (first_line.startswith(OPENINGS) or not first_line.endswith(CLOSINGS))


# --- classes -------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """What the instances of a class hold."""

    bases: tuple[str, ...]
    attributes: frozenset[str]
    is_data: bool
    """Frozen by its own definition, or without any function."""


class Shapes(dict[ClassKey, Shape]):
    """The classes of a package."""

    def attributes(self, key: ClassKey) -> frozenset[str]:
        """Return what a class holds, with what comes from its bases in the package."""
        return self[key].attributes.union(*(self.attributes(base) for base in self.bases(key)))

    def is_data(self, key: ClassKey) -> bool:
        """Tell whether a class is plain data, by itself or by its base."""
        return self[key].is_data or any(self.is_data(base) for base in self.bases(key))

    def bases(self, key: ClassKey) -> Iterator[ClassKey]:
        """Yield the bases that are found by name, which is possible where the name exists once."""
        for name in self[key].bases:
            found = [other for other in self if other[1] == name and other != key]
            if len(found) == 1:
                yield found[0]


def shapes(trees: Trees) -> Shapes:
    """Read all classes of a package."""
    return Shapes(
        ((module, node.name), shape(node))
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )


def shape(node: ast.ClassDef) -> Shape:
    """Read one class: its fields, its slots, and what its methods set on ``self``."""
    bases = tuple(last_name(base) for base in node.bases)
    options = [*node.keywords]
    for decorator in node.decorator_list:
        options += decorator.keywords if isinstance(decorator, ast.Call) else []
    frozen = any(option.arg == "frozen" and ast.unparse(option.value) == "True" for option in options)
    is_data = frozen or not functions(node) or bool(VALUES & set(bases))
    return Shape(bases, frozenset(attributes(node)), is_data)


def attributes(node: ast.ClassDef) -> Iterator[str]:
    """Yield the names of what the instances of a class hold."""
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind):
                if "ClassVar" not in ast.unparse(kind):
                    yield name
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                yield from (str(item.value) for item in ast.walk(value) if isinstance(item, ast.Constant))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from set_on_self(statement)


def set_on_self(method: Function) -> Iterator[str]:
    """Yield the attributes of ``self`` that a method assigns."""
    for node in ast.walk(method):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


def last_name(base: ast.expr) -> str:
    """Return ``Struct`` for ``msgspec.Struct`` and ``TaskRequest`` for ``TaskRequest[Videos]``."""
    while isinstance(base, ast.Subscript):
        base = base.value
    return base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")


def attribute_counts(trees: Trees, *, data: bool) -> list[Size]:
    """Count the attributes of all classes that are plain data, or of all others."""
    classes = shapes(trees)
    return [
        Size(":".join(key), len(classes.attributes(key))) for key in classes if classes.is_data(key) is data
    ]


# --- names ---------------------------------------------------------------------------------------


def names_defined_twice(trees: Trees) -> dict[str, list[str]]:
    """Find the public classes and functions of modules that share a name, and the modules they are in."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for module, tree in trees.items():
        for node in tree.body:
            if isinstance(node, Function | ast.ClassDef) and node.name[0] != "_" and not is_overload(node):
                found[node.name].append(module)
    return {name: modules for name, modules in sorted(found.items()) if len(modules) > 1}


def is_overload(node: Function | ast.ClassDef) -> bool:
    """Tell whether a definition is one of several types of the function that follows."""
    return any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list)


# --- the command ---------------------------------------------------------------------------------


def report(house: House) -> Iterator[str]:
    """Write down the counts, a line each, then the largest of each kind."""
    trees = trees_of(house)
    files, sizes = file_sizes(house), function_sizes(trees)
    lines = sum(size for _, size in files)
    ordered = sorted(size for _, size in sizes)
    things = list(public(trees))
    documented = sum(thing.docstring is not None for thing in things) / len(things)
    high = Counter[bool]()
    for name, level in house.levels.items():
        high[room(name) == "emulator"] = max(high[room(name) == "emulator"], level)
    median, p90, longest = ordered[len(ordered) // 2], ordered[len(ordered) * 9 // 10], ordered[-1]
    for label, count in (
        ("modules", f"{len(files)}, {at_the_top(house)} at the top, {lines} lines"),
        ("comment lines", f"{comment_lines(house) / lines:.1%}"),
        ("levels of imports", f"{high[False]}, emulator {high[True]}; {len(house.circles)} circles"),
        ("functions", f"{len(ordered)}: median {median} lines, p90 {p90}, longest {longest}"),
        ("docstrings", f"{documented:.1%} of {len(things)} public classes, functions and methods"),
        ("bad first lines", str(sum(map(len, bad_first_lines(trees).values())))),
        ("names defined twice", str(len(names_defined_twice(trees)))),
    ):
        yield f"{label:<20}{count}"
    yield from shown("files over 400 lines", largest(files, 400))
    yield from shown(f"functions over {MAX_FUNCTION_LINES} lines", largest(sizes, MAX_FUNCTION_LINES))
    yield from shown("attributes of classes", largest(attribute_counts(trees, data=False))[:12])
    yield from shown("fields of requests and plain data", largest(attribute_counts(trees, data=True))[:6])


def shown(title: str, sizes: list[Size]) -> Iterator[str]:
    """Write down a list under its title."""
    yield f"{title}: {'' if sizes else 'none'}".rstrip()
    yield from (f"  {size}" for size in sizes)


def comment_lines(house: House) -> int:
    """Count the lines that hold only a comment."""
    texts = (path.read_text(encoding="utf-8") for path in house.files.values())
    return sum(line.lstrip().startswith("#") for text in texts for line in text.splitlines())


def main(arguments: list[str]) -> int:
    """Print the counts of this package, or of another one for comparison."""
    for line in report(House(Path(arguments[0]).resolve() if arguments else PACKAGE)):
        print(line)  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
