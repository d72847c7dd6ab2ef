"""The READMEs of the folders name only what exists: files, functions and tests."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPS = (
    "kling_async/README.md",
    "kling_async/orchestrator/README.md",
    "tests/README.md",
    "benchmarks/README.md",
)
TICKED = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:py|md|toml|json)|(?:[\w.-]+/)+")
NAME = re.compile(r"((?:[\w.-]+/)*[\w-]+\.py)::([\w.]+)")


def found(path: str, beside: Path) -> Path | None:
    """A path as a README means it: from its own folder, from the package, or from the root."""
    roots = (beside, ROOT / "kling_async", ROOT)
    return next((root / path for root in roots if (root / path).exists()), None)


@functools.cache
def defined(file: Path) -> frozenset[str]:
    """The qualified names of all functions and classes in a file, and of what its top level assigns."""
    names: set[str] = set()

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(prefix + child.name)
                walk(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Assign | ast.AnnAssign) and not prefix:
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                names.update(target.id for target in targets if isinstance(target, ast.Name))

    walk(ast.parse(file.read_text(encoding="utf-8")), "")
    return frozenset(names)


def wrong(text: str, beside: Path) -> list[str]:
    """Everything that a README names in backticks and links, and that does not exist."""
    missing = []
    for ticked in TICKED.findall(text):
        named = NAME.fullmatch(ticked)
        path = named[1] if named else ticked if FILE.fullmatch(ticked) else None
        if path is None:
            continue
        file = found(path, beside)
        if file is None or (named and named[2] not in defined(file)):
            missing.append(ticked)
    links = re.findall(r"\]\(((?!https?:|#)[^)]+)\)", text)
    return missing + [link for link in links if not (beside / link.partition("#")[0]).exists()]


@pytest.mark.parametrize("name", MAPS)
def test_all_that_a_map_names_exists(name: str) -> None:
    """Every `file.py`, `folder/`, `file.py::function` and link of the README leads somewhere."""
    file = ROOT / name
    assert wrong(file.read_text(encoding="utf-8"), file.parent) == []


def test_what_does_not_exist_is_found() -> None:
    """A wrong file, a wrong function, a wrong method and a dead link are each named."""
    text = "`client.py` `nowhere.py` `core/no/` `client.py::Client.nothing` `client.py::nothing` [x](gone.md)"
    missing = ["nowhere.py", "core/no/", "client.py::Client.nothing", "client.py::nothing", "gone.md"]
    assert wrong(text, ROOT) == missing


def test_every_rule_has_a_test() -> None:
    """Each numbered rule of the orchestrator names at least one test, and the numbers have no gap."""
    text = (ROOT / "kling_async/orchestrator/README.md").read_text(encoding="utf-8")
    rules = re.split(r"^\*\*(?=\d+\. )", text, flags=re.MULTILINE)[1:]
    assert [int(rule.partition(".")[0]) for rule in rules] == list(range(1, len(rules) + 1))
    assert all("`tests/" in rule for rule in rules)
