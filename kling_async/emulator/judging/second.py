"""The second generation's reference as data: the model stands in the path, files and texts in ``contents``.

reference_v2.json is written by ``python -m tests.make_reference_v2``. The client has a copy of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypedDict

from kling_async.emulator.judging.reference import REFERENCE, Param, ReferenceEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FAMILIES", "GLOBAL_TYPES", "SECOND", "ContentType", "SecondEndpoint", "maker_of"]


class ContentType(TypedDict, total=False):
    """Entries of one type in ``contents``."""

    required: bool
    max_items: int
    items: dict[str, Param]


@dataclass(frozen=True, slots=True)
class SecondEndpoint:
    """One path of the second generation."""

    endpoint: ReferenceEndpoint
    """Name, pool, prices, and the fields beside ``contents``."""
    model: str | None
    """The model in the path; None for a solution."""
    contents: dict[str, ContentType]
    """What the endpoint reads, by type; empty where the prompt is a field of its own."""

    @property
    def solution(self) -> bool:
        """Whether it is a solution, whose tasks ``/tasks`` does not show."""
        return self.endpoint.family == "solutions"


def _load() -> dict[str, SecondEndpoint]:
    file = resources.files("kling_async.emulator.judging") / "reference_v2.json"
    rows: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return {name: _endpoint(name, row) for name, row in rows.items()}


def _endpoint(name: str, row: dict[str, Any]) -> SecondEndpoint:
    endpoint = ReferenceEndpoint(
        name=name,
        family=row["family"],
        pool=row["pool"],
        weight=row["weight"],
        method="POST",
        path=row["path"],
        makes_task=True,
        params=row["params"],
        prices=tuple(row["prices"]),
    )
    return SecondEndpoint(endpoint, row["model"], row["contents"])


SECOND: Final = _load()
"""The endpoints by name."""
FAMILIES: Final = frozenset(second.endpoint.family for second in SECOND.values() if not second.solution)
"""First parts of the paths that have a model as their second part."""


def _types(endpoints: Iterable[SecondEndpoint]) -> frozenset[str]:
    return frozenset(kind for second in endpoints for kind in second.contents)


GLOBAL_TYPES: Final = _types(second for second in SECOND.values() if not second.solution)
"""Types that every path with a model accepts; those it does not read do nothing."""


def maker_of(name: str) -> ReferenceEndpoint:
    """Return the endpoint of either generation that makes tasks of that name."""
    return SECOND[name].endpoint if name in SECOND else REFERENCE.endpoints[name]
