"""Habits that no other tool checks, over the whole tree."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "kling_async").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LINES = 440
FUNCTION_LINES = 45


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(parsed(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, the docstring left out."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_every_test_says_what_it_proves() -> None:
    """A test function without a docstring is found."""
    silent = [
        f"{path.name}:{function.name}"
        for path in TESTS
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


def test_files_and_functions_stay_small() -> None:
    """About 400 lines a file and 40 a function, docstrings of functions not counted."""
    long_files = [str(path) for path in PACKAGE if len(path.read_text().splitlines()) > LINES]
    long_functions = [
        f"{path.name}:{function.name} {code_lines(function)}"
        for path in PACKAGE
        for function in functions(path)
        if code_lines(function) > FUNCTION_LINES
    ]
    assert (long_files, long_functions) == ([], [])


def test_nobody_sleeps_on_the_real_clock() -> None:
    """``time.sleep`` is nowhere; tests let virtual time pass instead."""
    sleepers = [
        path.name
        for path in (*PACKAGE, *TESTS)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and node.attr == "sleep"
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
    ]
    assert sleepers == []


@pytest.mark.parametrize("path", PACKAGE, ids=lambda p: str(p.relative_to(ROOT / "kling_async")))
def test_public_modules_say_what_they_are(path: Path) -> None:
    """Each begins with a docstring; public ones list their names, sorted as ruff sorts them."""
    module = parsed(path)
    assert ast.get_docstring(module)
