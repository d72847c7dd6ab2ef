"""Descriptions of fields, read at run time from the docstrings that editors and ``help()`` show."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import textwrap
from typing import Final

__all__ = ["attribute_docs", "field_docs", "summary"]

_ENTRY: Final = re.compile(r"(\w+): (.+)")
_INDENT: Final = " " * 4


def field_docs(kind: type) -> dict[str, str]:
    """Return the descriptions in the ``Args:`` section of a class docstring, by field, each in one line.

    Args:
        kind: A type of requests or parts. Only its own docstring counts, not that of a base.

    Raises:
        ValueError: A line of the section neither begins an entry nor continues one.
    """
    docs: dict[str, str] = {}
    name = ""
    for line in _section(kind.__dict__.get("__doc__") or ""):
        if line.startswith(_INDENT) and name:
            docs[name] += f" {line.strip()}"
        elif (entry := _ENTRY.fullmatch(line)) is not None:
            name, docs[entry[1]] = entry[1], entry[2]
        else:
            raise ValueError(f"{kind.__name__}: not an entry of Args: {line!r}")
    return docs


@functools.cache
def attribute_docs(kind: type) -> dict[str, str]:
    """Return the docstrings below the fields of a class, by field, each in one line; {} without its source.

    Args:
        kind: A type of results or records. Its bases count too.
    """
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        body = _body(base) if base.__module__.startswith("kling_async.") else []
        for field, text in itertools.pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    docs[name] = " ".join(words.split())
    return docs


def _body(kind: type) -> list[ast.stmt]:
    """Return the statements of a class."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, SyntaxError, TypeError):  # no source, as in some bundles
        return []
    return next((node.body for node in tree.body if isinstance(node, ast.ClassDef)), [])


def summary(kind: type) -> str:
    """Return a class docstring up to its ``Args:``, each paragraph in one line; empty if it has none."""
    doc = inspect.cleandoc(kind.__dict__.get("__doc__") or "").partition("\nArgs:")[0]
    return "\n\n".join(" ".join(part.split()) for part in doc.split("\n\n") if part.strip())


def _section(doc: str) -> list[str]:
    """Return the lines of ``Args:`` without their common indentation; it ends at a line that has none."""
    lines = iter(inspect.cleandoc(doc).splitlines())
    if "Args:" not in lines:  # this reads the lines up to it
        return []
    section: list[str] = []
    for line in lines:
        if line and not line.startswith(_INDENT):
            break
        if line:
            section.append(line.removeprefix(_INDENT))
    return section
