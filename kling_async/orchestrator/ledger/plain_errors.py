"""Plain errors: the error that closed a pool as text, to be raised in other processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kling_async import errors
from kling_async.errors import KlingError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["dump_error", "load_error"]


def dump_error(error: KlingError) -> str:
    """Return an error as text: its class, its message, and the attributes that are text or numbers."""
    facts = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float)}
    return json.dumps({"class": type(error).__name__, "message": error.message, "facts": facts})


def load_error(text: str) -> KlingError:
    """Return the error that `dump_error` wrote; one of a newer version becomes a plain `KlingError`."""
    read: Mapping[str, object] = json.loads(text)
    kind = getattr(errors, str(read["class"]), KlingError)
    if not (isinstance(kind, type) and issubclass(kind, KlingError)):
        kind = KlingError
    error = kind.__new__(kind, str(read["message"]))
    error.args = (str(read["message"]),)
    facts = read["facts"]
    error.__dict__.update({"message": str(read["message"]), **(facts if isinstance(facts, dict) else {})})
    return error
