"""Descriptions of fields, read at run time from the docstring that editors and ``help()`` show."""

from __future__ import annotations

import inspect
import re
from typing import Final

__all__ = ["field_docs"]

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
