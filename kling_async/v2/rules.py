"""Rules over several fields of requests of the second generation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from kling_async.errors import Problem
from kling_async.v1.rules import is_set
from kling_async.v2.models import ModelRow, model_row, models_of
from kling_async.wire.checks import Doubt
from kling_async.wire.fields import fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec

    from kling_async.wire.checks import Rule

__all__ = ["extra_is_read", "known_words", "model_reads", "names_are_unique", "shots_add_up"]

_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def model_reads(r: Any) -> Iterator[Problem | Doubt]:
    """Refuse fields and values that the model does not read; production charges for the task without them."""
    model = r.model_name
    if not _SEGMENT.fullmatch(model) or not model.strip("."):
        yield Problem("model_name", "becomes a part of the path: use A-Z a-z 0-9 . _ -")
        return
    row = model_row(r.endpoint_name, model)
    if row is None:
        known = ", ".join(models_of(r.endpoint_name))
        yield Doubt(
            "model_name",
            f"{model!r} is not known at {r.endpoint_name}, which knows {known}; the vendor will judge it",
        )
        return
    kind: type[msgspec.Struct] = type(r)
    for field in fields(kind):
        value = getattr(r, field.name)
        if field.name not in ("model_name", "watermark") and is_set(value):
            yield from _read(row, field.name, value)


def _read(row: ModelRow, name: str, value: Any) -> Iterator[Problem]:
    if name not in row.reads:
        yield Problem(name, f"{row.model} does not read it; the vendor would make the task without it")
        return
    bound = row.reads[name]
    if isinstance(bound, tuple) and value not in bound:
        yield Problem(name, f"{row.model} offers {', '.join(map(str, bound))}, not {value}")
    elif isinstance(bound, int) and len(value) > bound:
        what = "characters" if isinstance(value, str) else "entries"
        yield Problem(name, f"has {len(value)} {what}; {row.model} takes at most {bound}")


def extra_is_read(r: Any) -> Iterator[Problem | Doubt]:
    """Warn once of each name in ``extra``: production ignores unknown names silently, and charges."""
    for name in _names(r.extra, ""):
        yield Doubt(
            f"extra{name}",
            "is not known here; the vendor ignores unknown fields silently and charges for the task",
        )


def _names(value: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, item in value.items():
        place = f"{prefix}[{name!r}]"
        if isinstance(item, dict) and item:
            yield from _names(item, place)
        else:
            yield place


_SHOT: Final = re.compile(r"(?:^|;)\s*shot\s+(\d{1,3}),\s*(\d{1,4}),([^;]*)", re.IGNORECASE)
_SHOTS_MAX: Final = 6
_WORDS_MAX: Final = 512


def shots_add_up(r: Any) -> Iterator[Problem | Doubt]:
    """Warn of a prompt of several shots (``shot 1, 3, words; shot 2, 2, words;``) that the vendor may refuse.

    A prompt is free text, so what looks like shots may be none.
    """
    if r.multi_shot is False:
        return
    shots = _SHOT.findall(r.prompt or "")
    if not shots or not (r.prompt or "").lstrip().lower().startswith("shot"):
        return
    total, length = sum(int(seconds) for _, seconds, _ in shots), r.duration or 5
    if total != length:
        yield Doubt("prompt", f"its shots last {total} s together; duration is {length} s")
    if len(shots) > _SHOTS_MAX:
        yield Doubt("prompt", f"has {len(shots)} shots; at most {_SHOTS_MAX}")
    if any(len(words.strip()) > _WORDS_MAX for _, _, words in shots):
        yield Doubt("prompt", f"has a shot of more than {_WORDS_MAX} characters")


_NAMED: Final = re.compile(r"@([A-Za-z0-9_]+)")


def names_are_unique(*materials: str) -> Rule:
    """Return the rule that the names of materials, ``@image_1`` in the prompt, tell them apart.

    Args:
        *materials: The fields whose part, or each of whose parts, has a name in ``id``.
    """

    def names_tell_apart(r: Any) -> Iterator[Problem | Doubt]:
        """Refuse two materials of one name; warn of one name within another, and of names of nothing."""
        named = [(path, part.id) for path, part in _parts(r, materials) if part.id]
        seen: dict[str, str] = {}
        for path, name in named:
            if name in seen:
                yield Problem(f"{path}.id", f"{name!r} names {seen[name]} already")
            seen.setdefault(name, path)
        for path, name in named:
            if any(name != other and name in other for other in seen):
                yield Doubt(f"{path}.id", f"{name!r} is a part of another name: the vendor may confuse them")
        for name in dict.fromkeys(_NAMED.findall(r.prompt or "")):
            # names may run on into words of the text
            if not any(name.startswith(known) for known in seen):
                yield Doubt("prompt", f"@{name} names no material of the request")

    return names_tell_apart


def _parts(r: Any, materials: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for field in materials:
        value = getattr(r, field)
        if isinstance(value, tuple):
            yield from ((f"{field}[{at}]", part) for at, part in enumerate(value))
        elif value is not None:
            yield field, value


def known_words(field: str, words: tuple[str, ...]) -> Rule:
    """Return the rule that a field holds one of the words known today; others warn, for the lists grow."""

    def word_is_known(r: Any) -> Iterator[Problem | Doubt]:
        """Warn of a word that is not known here."""
        value = getattr(r, field)
        if value and value not in words:
            yield Doubt(field, f"{value!r:.60} is not known here; the vendor will judge it")

    return word_is_known
