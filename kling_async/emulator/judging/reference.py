"""The API's reference as data: its endpoints, their parameters, prices and capabilities, and the error codes.

reference.json is written by ``python -m tests.make_reference``. The emulator has this copy of its own and
shares nothing with the client, so that a mistake on one side cannot hide behind the same one on the other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, NamedTuple, TypedDict

__all__ = [
    "REFERENCE",
    "AnswerStyle",
    "CapabilityRow",
    "MediaLimits",
    "Param",
    "PriceRow",
    "Reference",
    "ReferenceEndpoint",
]


class MediaLimits(TypedDict, total=False):
    """Limits of a file in a request: sizes in MB, px and seconds, aspect as width / height."""

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
    """One parameter of an endpoint, or one field inside a parameter."""

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
    media: MediaLimits
    items: dict[str, Param]


class CapabilityRow(TypedDict):
    """Values that one model takes in one of its modes, and the fields that it does not take."""

    model: str
    allows: dict[str, list[Any]]
    without: list[str]


class PriceRow(TypedDict):
    """Price in units ``per`` second, image, clip or call, for requests whose fields match ``when``."""

    model: str | None
    """None for every model."""
    pool: str
    per: str
    units: float
    when: dict[str, list[Any]]
    """By field, the values that match; ``[True]`` or ``[False]`` asks only whether the field is set."""


class AnswerStyle(NamedTuple):
    """Fields in which the answers of the vendor's endpoints differ from each other."""

    by_external_task_id: bool = True
    """Whether a query by the caller's external_task_id finds the task."""
    task_info_at_once: bool = True
    """Whether the answer to a create has ``task_info``."""
    external_task_id: bool = True
    """Whether the answers to queries repeat the external_task_id."""
    parent_video: bool = False
    """Whether ``task_info`` shows the source video."""
    watermark_info: bool = True
    """Whether the answers to queries have ``watermark_info``."""


@dataclass(frozen=True, slots=True)
class ReferenceEndpoint:
    """One endpoint of the API.

    A synchronous call of another endpoint's product is an endpoint of its own, named such as
    ``multi_elements.init_selection``.
    """

    name: str
    family: str
    pool: str
    weight: str
    """Slots that a task takes: a number, ``n`` (as many as images), or ``series``."""
    method: str
    path: str
    makes_task: bool
    params: dict[str, Param]
    pages: dict[str, Param] = field(default_factory=dict[str, Param])
    """Parameters of the query string of the list of tasks."""
    capabilities: tuple[CapabilityRow, ...] = ()
    prices: tuple[PriceRow, ...] = ()
    answers: AnswerStyle = field(default_factory=AnswerStyle)


class Reference:
    """Endpoints, error codes, resource packs, voices and effect scenes of reference.json."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.endpoints: dict[str, ReferenceEndpoint] = {
            name: _endpoint(name, row) for name, row in data["endpoints"].items()
        }
        self.pack_rows: list[dict[str, Any]] = data["packs"]["rows"]
        self.default_slots: dict[str, int] = data["packs"]["fallback"]
        """Slots by pool of an account that says nothing else."""
        self.voices: dict[str, list[str]] = data["voices"]
        """Languages by voice, for lip sync and text to speech."""
        self.refused_voices: list[str] = data["refused_voices"]
        """Voices in the vendor's list that text to speech refuses nevertheless."""
        self.single_scenes = frozenset[str](data["scenes"]["single"])
        self.dual_scenes = frozenset[str](data["scenes"]["dual"])
        self._errors: dict[str, Any] = data["errors"]

    def status(self, code: int) -> int:
        """Return the HTTP status of an error code, 400 for an unknown one."""
        return int(self._errors[str(code)]["http"]) if str(code) in self._errors else 400

    def message(self, code: int) -> str:
        """Return the usual message of an error code."""
        return str(self._errors[str(code)]["message"]) if str(code) in self._errors else "unknown error"


def _endpoint(name: str, row: dict[str, Any]) -> ReferenceEndpoint:
    address = row.get("create") or row["call"]
    return ReferenceEndpoint(
        name=name,
        family=row["family"],
        pool=row["pool"],
        weight=row["weight"],
        method=address["method"],
        path=address["path"],
        makes_task="create" in row,
        params=row["params"],
        pages={key: _page_param(bounds) for key, bounds in row.get("list", {}).items()},
        capabilities=tuple(row["capabilities"]),
        prices=tuple(row["prices"]),
        answers=AnswerStyle(**row.get("answers", {})),
    )


def _page_param(bounds: dict[str, int]) -> Param:
    return {"type": "int", "min": bounds["min"], "max": bounds["max"], "default": bounds["default"]}


def load() -> Reference:
    """Read the shipped reference.json."""
    file = resources.files("kling_async.emulator.judging") / "reference.json"
    return Reference(json.loads(file.read_text(encoding="utf-8")))


REFERENCE: Final = load()
