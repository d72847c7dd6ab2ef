"""Python files read as syntax trees, for the checks that judge the package without running it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "kling_async"


class Import(NamedTuple):
    """One imported module, by its full name, and the place of the statement."""

    importer: str
    target: str
    line: int
    type_only: bool


def module_name(package: Path, path: Path) -> str:
    """Return the full dotted name of the module in ``path``."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(name: str, tree: ast.Module, files: Mapping[str, Path]) -> Iterator[Import]:
    """Yield every import in one module, those inside functions included."""
    parent = name if files[name].name == "__init__.py" else name.rpartition(".")[0]
    for node, type_only in import_statements(tree, type_only=False):
        for target in targets(node, parent, files):
            yield Import(name, target, node.lineno, type_only)


def import_statements(
    node: ast.AST, *, type_only: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield the import statements in ``node``, and whether only type checkers see them."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, type_only
    guarded = node.body if isinstance(node, ast.If) and is_type_checking(node.test) else []
    for child in ast.iter_child_nodes(node):
        yield from import_statements(child, type_only=type_only or child in guarded)


def is_type_checking(test: ast.expr) -> bool:
    """Recognise ``TYPE_CHECKING`` and ``typing.TYPE_CHECKING``."""
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def targets(node: ast.Import | ast.ImportFrom, parent: str, files: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules that a statement names; ``from package import module`` names the module."""
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
