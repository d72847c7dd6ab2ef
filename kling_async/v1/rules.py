"""Rules over several fields, shared by several endpoints. Each judges a request whose types are right.

A rule is a small function, or a function here makes it for the fields that it is given.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from kling_async.errors import Problem
from kling_async.v1 import capabilities
from kling_async.wire.checks import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from kling_async.v1.capabilities import ImageRow, VideoRow
    from kling_async.wire.checks import Rule

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
    "video_rows",
]


def is_set(value: object) -> bool:
    """Tell whether a field is set: None, an empty text and an empty array count as left out."""
    return value is not None and value not in ("", ())


def exactly_one(*names: str, within: str = "") -> Rule:
    """Return the rule that one of these fields is set, and only one.

    Args:
        *names: The fields.
        within: The field whose object, or each of whose objects, has them. Default: the request itself.
    """

    def one_of_them(r: Any) -> Iterator[Problem | Doubt]:
        """Require one of several fields, and only one."""
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
        """Refuse more entries in several fields together than their limit."""
        values = [getattr(r, name) for name in names]
        total = sum(len(v) if isinstance(v, tuple) else is_set(v) for v in values)
        if total > most:
            yield Problem(names[-1], f"{' and '.join(names)} together have {total} entries; at most {most}")

    return few_enough


def parts(r: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the object in a field, or each of its objects, with the prefix of the paths of its fields."""
    value = getattr(r, name)
    if isinstance(value, tuple):
        yield from ((f"{name}[{at}].", part) for at, part in enumerate(value))
    elif value is not None:
        yield f"{name}.", value


def model_is_known(
    model: str, known: frozenset[str], *, endpoint: str, retired: frozenset[str]
) -> Iterator[Problem | Doubt]:
    """Judge the name of a model: an unknown one passes with a warning, as does one announced to end.

    Args:
        model: The name.
        known: The endpoint's models.
        endpoint: Name of the catalog row.
        retired: Models that were announced to end.
    """
    if not model.strip():
        yield Problem("model_name", "must not be empty")
        return
    doubts = ["was announced to end on 2026-09-15"] if model in retired else []
    if model not in known and (others := _endpoints_of(model)):
        served = ", ".join(sorted(known - retired or known))
        doubts.append(f"is a model of {', '.join(others)}; {endpoint} knows {served}")
    elif model not in known | retired:
        doubts.append("is not known here; the vendor will judge it")
    if doubts:
        yield Doubt("model_name", f"{model!r} {', and '.join(doubts)}")


@functools.lru_cache(256)
def _endpoints_of(model: str) -> tuple[str, ...]:
    """Return the endpoints that a model is known at."""
    return tuple(dict.fromkeys(row.endpoint for row in capabilities.capabilities(model)))


@functools.cache
def _models_of(endpoint: str) -> frozenset[str]:
    """Return the models that are known at an endpoint."""
    return frozenset(row.model for row in capabilities.capabilities(endpoint=endpoint))


def prompt_or_shots(r: Any) -> Iterator[Problem | Doubt]:
    """Require a prompt unless the shots are given one by one."""
    customized = r.multi_shot and r.shot_type == "customize"
    if not customized and not (r.prompt or "").strip():
        yield Problem("prompt", "must not be empty")
    if customized and is_set(r.prompt):
        yield Doubt("prompt", "is ignored by the vendor when shot_type is 'customize'")


def shots_match(r: Any, unread: Callable[[Any], bool] = lambda _: False) -> Iterator[Problem | Doubt]:
    """Require a type of several shots; given one by one they count from 1 and add up to the duration.

    Args:
        r: The request.
        unread: Tells whether the vendor does not read the request's duration.
    """
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
        yield from _shots_add_up(r.multi_prompt or (), None if unread(r) else r.duration or 5)


class _Shot(Protocol):
    """A shot of a video, as far as this rule looks at it."""

    @property
    def index(self) -> int: ...

    @property
    def duration(self) -> int: ...


def _shots_add_up(shots: tuple[_Shot, ...], duration: int | None) -> Iterator[Problem]:
    total = sum(shot.duration for shot in shots)
    if duration is not None and total != duration:
        yield Problem("multi_prompt", f"the shots last {total} s together; duration is {duration} s")
    indexes = [shot.index for shot in shots]
    if indexes != list(range(1, len(shots) + 1)):
        yield Problem("multi_prompt", f"indexes are {indexes}; they must count from 1 without gaps")


def camera_moves_once(r: Any) -> Iterator[Problem | Doubt]:
    """Require exactly one movement of type simple, and no config of the other types."""
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
        **lists: By word (image, element, voice, video): the list in which it names entries. Words without a
            list are not documented for the endpoint: they warn.
    """

    def names_point_somewhere(r: Any) -> Iterator[Problem | Doubt]:
        """Refuse names in a prompt that point beyond their list."""
        for path, text in _prompts(r):
            for word, number in dict.fromkeys(_NAME.findall(text)):
                name, field = f"<<<{word}_{number}>>>", lists.get(word)
                if field is None:
                    yield Doubt(
                        path,
                        f"{name} is plain text here: the vendor documents no such name for this endpoint",
                    )
                    continue
                count = len(getattr(r, field) or ())
                if len(number) > 9 or not 1 <= int(number) <= count:
                    yield Problem(path, f"{name} points to nothing: {field} has {count} entries")

    return names_point_somewhere


_NAME: Final = re.compile(r"<<<(image|element|voice|video)_([0-9]+)>>>")


def _prompts(r: Any) -> Iterator[tuple[str, str]]:
    """Yield the prompts that the vendor reads, with their paths."""
    if getattr(r, "multi_shot", None) and r.shot_type == "customize":
        yield from (
            (f"multi_prompt[{at}].prompt", shot.prompt) for at, shot in enumerate(r.multi_prompt or ())
        )
    elif r.prompt:
        yield "prompt", r.prompt


def video_model(
    endpoint: str,
    *features: str,
    mode: str = "std",
    unread: Callable[[Any], bool] = lambda _: False,
    **named: str,
) -> Rule:
    """Return the rule that the model must offer the requested features, by the map of video models.

    Args:
        endpoint: Name of the catalog row.
        *features: Features of the map; the field of the same name asks for each.
        mode: The vendor's default mode.
        unread: Tells whether the vendor does not read the request's duration.
        **named: Features by the field that asks for them, where the names differ.
    """
    asking = {**{name: name for name in features}, **named}

    def model_can(r: Any) -> Iterator[Problem | Doubt]:
        """Refuse features that the model does not offer, by the vendor's capability map."""
        model, wanted = r.model_name, r.mode or mode
        known = video_rows(endpoint, model)
        yield from model_is_known(
            model, _models_of(endpoint), endpoint=endpoint, retired=capabilities.RETIRED_VIDEO
        )
        rows = video_rows(endpoint, model, wanted)
        if known and not rows:
            offered = sorted({m for row in known for m in row.modes})
            yield Problem("mode", f"{model} offers {', '.join(offered)}, not {wanted}")
        if not rows:
            return
        where = f"{model} in mode {wanted}"
        if hasattr(r, "duration") and not unread(r):
            length = r.duration or 5
            fitting = video_rows(endpoint, model, wanted, length)
            if not fitting:
                offered_s = ", ".join(map(str, sorted({s for row in rows for s in row.durations})))
                yield Problem("duration", f"{model} offers {offered_s} s, not {length}")
                return
            rows, where = fitting, f"{where} at {length} s"
        asked = {field: feature for field, feature in asking.items() if asks_for(getattr(r, field))}
        yield from _lacking(asked, rows, where)

    return model_can


@functools.lru_cache(256)
def video_rows(endpoint: str, model: str, mode: str = "", seconds: int = 0) -> tuple[VideoRow, ...]:
    """Return the rows of a model in the map; with a mode or a length, only rows that offer it."""
    # the names come from callers and may be anything, so the cache is small
    return tuple(
        row
        for row in capabilities.VIDEO
        if (row.endpoint, row.model) == (endpoint, model)
        and (not mode or mode in row.modes)
        and (not seconds or seconds in row.durations)
    )


def asks_for(value: object) -> bool:
    """Tell whether the value of a field asks for its feature: False does not, any number does."""
    return value is not False and is_set(value)


def _lacking(asked: dict[str, str], rows: Sequence[VideoRow], where: str) -> Iterator[Problem | Doubt]:
    for field, feature in asked.items():
        if any(feature in row.features for row in rows):
            continue
        if any(feature in row.disputed for row in rows):
            yield Doubt(field, f"{where} may not have it: the vendor's sources disagree")
        else:
            text = f"{where} has no {field}"
            yield Problem(field, text) if any(row.sure for row in rows) else Doubt(field, text)


def image_row(endpoint: str, model: str) -> ImageRow | None:
    """Return the row of a model at an endpoint in the map of image models, None if there is none."""
    rows = (row for row in capabilities.IMAGE if row.model == model and endpoint in row.endpoints)
    return next(rows, None)


def image_model(endpoint: str, *features: str, unsure: Collection[str] = ()) -> Rule:
    """Return the rule that the model must offer the requested features, by the map of image models.

    Args:
        endpoint: Name of the catalog row.
        *features: Columns of the map; the field of the same name asks for each.
        unsure: Features that the map denies while the page of the endpoint does not: they warn.
    """

    def model_can(r: Any) -> Iterator[Problem | Doubt]:
        """Refuse features that the model does not offer, by the vendor's capability map."""
        row = image_row(endpoint, r.model_name)
        yield from model_is_known(
            r.model_name, _models_of(endpoint), endpoint=endpoint, retired=capabilities.RETIRED_IMAGE
        )
        if row is None:
            return
        size = getattr(r, "resolution", None)
        if size and row.resolutions and size not in row.resolutions:
            yield Problem("resolution", f"{row.model} offers {', '.join(row.resolutions)}, not {size}")
        for name in features:
            if not asks_for(getattr(r, name)) or getattr(row, name):
                continue
            others = _others(endpoint, name)
            if name in unsure:
                yield Doubt(name, f"{row.model} may not offer it; {others}")
            else:
                yield Problem(name, f"{row.model} does not offer it; {others}")

    return model_can


def _others(endpoint: str, feature: str) -> str:
    able = [row.model for row in capabilities.IMAGE if endpoint in row.endpoints and getattr(row, feature)]
    served = [model for model in able if model not in capabilities.RETIRED_IMAGE]
    return f"{' and '.join(served) or 'no model'} does"
