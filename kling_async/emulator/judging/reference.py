"""The API's reference as data: what endpoints there are and what they take.

The content of reference.json is made by tests.make_reference. It is the emulator's own copy: nothing here
is shared with the client, so that a mistake on one side cannot hide behind the same mistake on the other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, NamedTuple, TypedDict

__all__ = ["REFERENCE", "Answers", "Capability", "Endpoint", "Media", "Param", "Price", "Reference"]


class Media(TypedDict, total=False):
    """What a file must be. Sizes in MB, px and seconds, aspect as width / height."""

    kind: str
    accepts: list[str]
    formats: list[str]
    max_mb: float
    min_s: float
    max_s: float
    min_side_px: int
    max_side_px: int
    aspect_min: float
    aspect_max: float


class Param(TypedDict, total=False):
    """One parameter, or one field within one."""

    type: str
    item_type: str
    also_type: str
    required: bool
    deprecated: bool
    number_as_text: bool
    default: Any
    enum: list[Any]
    open: bool
    retired: list[str]
    min: float
    max: float
    max_chars: int
    min_items: int
    max_items: int
    media: Media
    items: dict[str, Param]


class Capability(TypedDict):
    """What one model takes, in one of its modes."""

    model: str
    allows: dict[str, list[Any]]
    without: list[str]


class Price(TypedDict):
    """Units ``per`` second, image, clip or call, ``when`` fields hold these words or are set at all."""

    model: str | None
    """None for whatever model."""
    pool: str
    per: str
    units: float
    when: dict[str, list[Any]]


class Answers(NamedTuple):
    """How an endpoint speaks of its tasks: not all say the same."""

    by_external_task_id: bool = True
    """Whether the caller's own id finds a task too."""
    task_info_at_once: bool = True
    """Whether the answer to a create has ``task_info``."""
    external_task_id: bool = True
    """Whether later answers repeat the caller's own id."""
    parent_video: bool = False
    """Whether ``task_info`` shows the video that was worked on."""
    watermark_info: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of the API; a call beside an endpoint is one of its own."""

    name: str
    family: str
    pool: str
    weight: str
    method: str
    path: str
    makes_task: bool
    params: dict[str, Param]
    pages: dict[str, Param] = field(default_factory=dict[str, Param])
    capabilities: tuple[Capability, ...] = ()
    prices: tuple[Price, ...] = ()
    answers: Answers = field(default_factory=Answers)


class Reference:
    """The endpoints, codes, packs, voices and effects that reference.json knows."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.endpoints: dict[str, Endpoint] = {
            name: _endpoint(name, row) for name, row in data["endpoints"].items()
        }
        self.pack_rows: list[dict[str, Any]] = data["packs"]["rows"]
        self.default_slots: dict[str, int] = data["packs"]["fallback"]
        self.voices: dict[str, list[str]] = data["voices"]
        """The languages of each voice of lip sync and text to speech."""
        self.refused_voices: list[str] = data["refused_voices"]
        """Listed voices that text to speech refuses all the same."""
        self.single_scenes = frozenset[str](data["scenes"]["single"])
        self.dual_scenes = frozenset[str](data["scenes"]["dual"])
        self._errors: dict[str, Any] = data["errors"]

    def status(self, code: int) -> int:
        """Return the HTTP status of a code; 400 if nobody knows the code."""
        return int(self._errors[str(code)]["http"]) if str(code) in self._errors else 400

    def message(self, code: int) -> str:
        """Return the usual message of a code."""
        return str(self._errors[str(code)]["message"]) if str(code) in self._errors else "unknown error"


def _endpoint(name: str, row: dict[str, Any]) -> Endpoint:
    door = row.get("create") or row["call"]
    return Endpoint(
        name=name,
        family=row["family"],
        pool=row["pool"],
        weight=row["weight"],
        method=door["method"],
        path=door["path"],
        makes_task="create" in row,
        params=row["params"],
        pages={key: _page_param(bounds) for key, bounds in row.get("list", {}).items()},
        capabilities=tuple(row["capabilities"]),
        prices=tuple(row["prices"]),
        answers=Answers(**row.get("answers", {})),
    )


def _page_param(bounds: dict[str, int]) -> Param:
    return {"type": "int", "min": bounds["min"], "max": bounds["max"], "default": bounds["default"]}


def load() -> Reference:
    """Read the shipped reference.json."""
    file = resources.files("kling_async.emulator.judging") / "reference.json"
    return Reference(json.loads(file.read_text(encoding="utf-8")))


REFERENCE: Final = load()
