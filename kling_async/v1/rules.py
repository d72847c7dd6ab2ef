"""Rules over several fields that more than one endpoint has. Each judges a request whose types are right.

A rule is a small function, or is made by one that is told the names of the fields it is about.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.checks import Doubt
from kling_async.errors import Problem
from kling_async.v1 import capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.checks import Rule
    from kling_async.v1.capabilities import ImageRow, VideoRow
    from kling_async.v1.parts import Shot

__all__ = [
    "camera_moves_once",
    "exactly_one",
    "image_model",
    "image_row",
    "is_set",
    "model_is_known",
    "parts",
    "placeholders",
    "prompt_or_shots",
    "shots_match",
    "together_at_most",
    "video_model",
]


def is_set(value: object) -> bool:
    """Tell whether a field says anything: None, an empty text and an empty array count as left out."""
    return value is not None and value not in ("", ())


def exactly_one(*names: str, within: str = "") -> Rule:
    """Return the rule that one of these fields is set, and only one.

    Args:
        *names: The fields.
        within: The field whose object, or each of whose objects, has them; as a default the request has.
    """

    def one_of_them(r: Any) -> Iterator[Problem | Doubt]:
        """One of several fields, and only one."""
        for prefix, part in parts(r, within) if within else [("", r)]:
            given = [name for name in names if is_set(getattr(part, name))]
            if len(given) != 1:
                said = "none is" if not given else f"{' and '.join(given)} are"
                field = prefix + (given[-1] if given else names[0])
                yield Problem(field, f"give one of {', '.join(names)}; {said} given")

    return one_of_them


def together_at_most(most: int, *names: str) -> Rule:
    """Return the rule that these fields, each one entry or an array of them, share one limit."""

    def few_enough(r: Any) -> Iterator[Problem | Doubt]:
        """Several fields share one limit."""
        values = [getattr(r, name) for name in names]
        total = sum(len(v) if isinstance(v, tuple) else is_set(v) for v in values)
        if total > most:
            yield Problem(names[-1], f"{' and '.join(names)} together have {total} entries; at most {most}")

    return few_enough


def parts(r: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the object in a field, or each of its objects, with what its fields' paths begin with."""
    value = getattr(r, name)
    if isinstance(value, tuple):
        yield from ((f"{name}[{at}].", part) for at, part in enumerate(value))
    elif value is not None:
        yield f"{name}.", value


def model_is_known(model: str, known: bool, *, retired: frozenset[str]) -> Iterator[Problem | Doubt]:
    """Judge a model's name: an unknown one passes with a warning, as does one announced to end."""
    if model in retired:
        yield Doubt("model_name", f"{model!r} was announced to end on 2026-09-15")
    elif not model.strip():
        yield Problem("model_name", "must not be empty")
    elif not known:
        yield Doubt("model_name", f"{model!r} is not known here; the vendor will judge it")


def prompt_or_shots(r: Any) -> Iterator[Problem | Doubt]:
    """A prompt is needed unless the shots are given one by one."""
    customized = r.multi_shot and r.shot_type == "customize"
    if not customized and not (r.prompt or "").strip():
        yield Problem("prompt", "must not be empty")
    if customized and is_set(r.prompt):
        yield Doubt("prompt", "is ignored by the vendor when shot_type is 'customize'")


def shots_match(r: Any) -> Iterator[Problem | Doubt]:
    """Several shots need a type; given one by one they count from 1 and add up to the duration."""
    if not r.multi_shot:
        for name in ("shot_type", "multi_prompt"):
            if is_set(getattr(r, name)):
                yield Doubt(name, "is ignored by the vendor unless multi_shot is True")
        return
    if not r.shot_type:
        yield Problem("shot_type", "is required with multi_shot; 'customize' or 'intelligence'")
    elif r.shot_type == "customize" and not r.multi_prompt:
        yield Problem("multi_prompt", "is required when shot_type is 'customize'")
    elif r.shot_type == "intelligence" and r.multi_prompt:
        yield Doubt("multi_prompt", "is ignored by the vendor when shot_type is 'intelligence'")
    elif r.shot_type == "customize":
        yield from _shots_add_up(r.multi_prompt or (), r.duration or 5)


def _shots_add_up(shots: tuple[Shot, ...], duration: int) -> Iterator[Problem]:
    total = sum(shot.duration for shot in shots)
    if total != duration:
        yield Problem("multi_prompt", f"the shots last {total} s together; duration is {duration} s")
    indexes = [shot.index for shot in shots]
    if indexes != list(range(1, len(shots) + 1)):
        yield Problem("multi_prompt", f"indexes are {indexes}; they must count from 1 without gaps")


def camera_moves_once(r: Any) -> Iterator[Problem | Doubt]:
    """A simple movement is exactly one; the composed ones take no config."""
    camera = r.camera_control
    if camera is None:
        return
    if camera.type != "simple":
        if camera.config is not None:
            yield Problem("camera_control.config", f"must be left out when type is {camera.type!r}")
        return
    moves = [] if camera.config is None else [v for v in msgspec.structs.astuple(camera.config) if v]
    if len(moves) != 1:
        yield Problem("camera_control.config", f"exactly one movement must not be 0; {len(moves)} are not")


def placeholders(**lists: str) -> Rule:
    """Return the rule that ``<<<image_2>>>`` in a prompt names the second entry of a list that has one.

    Args:
        **lists: By the word of the name (image, element, voice, video) the field that is counted; the
            other words name nothing at this endpoint.
    """

    def names_point_somewhere(r: Any) -> Iterator[Problem | Doubt]:
        """What a prompt names must be there."""
        for path, text in _prompts(r):
            for word, number in dict.fromkeys(_NAME.findall(text)):
                name, field = f"<<<{word}_{number}>>>", lists.get(word)
                if field is None:
                    yield Doubt(path, f"{name} names nothing here: this endpoint has no list of them")
                    continue
                count = len(getattr(r, field) or ())
                if len(number) > 9 or not 1 <= int(number) <= count:
                    yield Problem(path, f"{name} points to nothing: {field} has {count} entries")

    return names_point_somewhere


_NAME: Final = re.compile(r"<<<(image|element|voice|video)_([0-9]+)>>>")


def _prompts(r: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts that the vendor reads, with their paths."""
    if getattr(r, "multi_shot", None) and r.shot_type == "customize":
        yield from (
            (f"multi_prompt[{at}].prompt", shot.prompt) for at, shot in enumerate(r.multi_prompt or ())
        )
    elif r.prompt:
        yield "prompt", r.prompt


def video_model(endpoint: str, *, mode: str = "std", seconds: int = 5, **features: str) -> Rule:
    """Return the rule that the model must offer what is asked for, by the map of an endpoint's models.

    Args:
        endpoint: Name of the catalog row.
        mode: The vendor's default.
        seconds: Likewise.
        **features: Columns of the map, each with the field that asks for it.
    """

    def model_can(r: Any) -> Iterator[Problem | Doubt]:
        """The model must offer what is asked for, by the vendor's capability map."""
        known = _rows(endpoint, r.model_name)
        yield from model_is_known(r.model_name, bool(known), retired=capabilities.RETIRED_VIDEO)
        if not known:
            return
        wanted = r.mode or mode
        rows = [row for row in known if wanted in row.modes]
        if not rows:
            offered = sorted({m for row in known for m in row.modes})
            yield Problem("mode", f"{r.model_name} offers {', '.join(offered)}, not {wanted}")
            return
        length = getattr(r, "duration", None) or seconds
        fitting = [row for row in rows if length in row.durations]
        if not fitting:
            offered_s = ", ".join(map(str, sorted({s for row in rows for s in row.durations})))
            yield Problem("duration", f"{r.model_name} offers {offered_s} s, not {length}")
            return
        asked = {column: field for column, field in features.items() if asks_for(getattr(r, field))}
        yield from _lacking(asked, fitting, f"{r.model_name} in mode {wanted} at {length} s")

    return model_can


@functools.lru_cache(256)
def _rows(endpoint: str, model: str) -> tuple[VideoRow, ...]:
    """Return the rows of a model; what callers name is theirs, so few names are remembered."""
    return tuple(row for row in capabilities.VIDEO if (row.endpoint, row.model) == (endpoint, model))


def asks_for(value: object) -> bool:
    """Tell whether a field asks for the feature it is about: False and "off" do not, a number does."""
    return value is not False and is_set(value)


def _lacking(asked: dict[str, str], rows: list[VideoRow], what: str) -> Iterator[Problem | Doubt]:
    for column, field in asked.items():
        if any(getattr(row, column) is not False for row in rows):
            continue
        text = f"{what} has no {field}"
        yield Problem(field, text) if all(row.sure for row in rows) else Doubt(field, text)


def image_row(endpoint: str, model: str) -> ImageRow | None:
    """Return what is known of a model at an endpoint."""
    rows = (row for row in capabilities.IMAGE if row.model == model and endpoint in row.endpoints)
    return next(rows, None)


def image_model(endpoint: str, *features: str) -> Rule:
    """Return the rule that the model must offer what is asked for, by the map of image models.

    Args:
        endpoint: Name of the catalog row.
        *features: Columns of the map, each named as the field that asks for it.
    """

    def model_can(r: Any) -> Iterator[Problem | Doubt]:
        """The model must offer what is asked for, by the vendor's capability map."""
        row = image_row(endpoint, r.model_name)
        yield from model_is_known(r.model_name, row is not None, retired=capabilities.RETIRED_IMAGE)
        if row is None:
            return
        size = getattr(r, "resolution", None)
        if size and row.resolutions and size not in row.resolutions:
            yield Problem("resolution", f"{row.model} offers {', '.join(row.resolutions)}, not {size}")
        for name in features:
            if asks_for(getattr(r, name)) and not getattr(row, name):
                yield Problem(name, f"{row.model} does not offer it; {_others(endpoint, name)}")

    return model_can


def _others(endpoint: str, feature: str) -> str:
    able = [row.model for row in capabilities.IMAGE if endpoint in row.endpoints and getattr(row, feature)]
    served = [model for model in able if model not in capabilities.RETIRED_IMAGE]
    return f"{' and '.join(served) or 'no model'} does"
