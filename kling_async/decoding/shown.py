"""The task that the answer to a create shows, wherever in the answer its id stands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kling_async.decoding.lenient import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ShownTask", "shown_task"]

_ID_NAMES: Final = ("task_id", "id")
_INNER: Final = ("data", "task")
"""Names under which a gateway wraps a task once more."""
_DEPTH: Final = 3
"""Most objects around a task."""
_OF_ENVELOPES: Final = frozenset({"code", "message", "request_id", "data"})
_ID: Final = re.compile(rb'"task_id"\s*:\s*(?:"([^"\\\x00-\x1f\x7f-\xff]{1,200})"|([0-9]{1,40})(?=[\s,}\]]))')
"""A whole id in an answer that is not JSON, such as one that was cut."""


class ShownTask(NamedTuple):
    """A task as the answer to its create shows it."""

    data: bytes
    """The task object, JSON."""
    ids: tuple[str, ...]
    """All ids that the answer shows for it, the one to ask by first."""


def shown_task(body: bytes) -> ShownTask | None:
    """Find the task in the whole answer to a create; None: it shows no id.

    Taken are ``task_id`` and ``id``, text or numbers, of ``data``, of an object within it, or of the answer
    itself; of an answer that is not JSON a whole ``task_id``. A ``task_id`` goes before an ``id``.
    """
    answer = _decoded(body)
    if not isinstance(answer, dict):
        found = _ID.search(body)
        return None if found is None else _shown({}, ((found[1] or found[2]).decode(),))
    outer, *inner = _objects(answer, _DEPTH)
    objects = [*inner, outer]
    texts = (text_of(known.get(name)) for name in _ID_NAMES for known in objects)
    ids = tuple(dict.fromkeys(text for text in texts if text))
    if not ids:
        return None
    fields: dict[str, Any] = {}
    for known in reversed(objects):  # what stands nearest to the task is about it
        envelope = known is outer or "code" in known
        fields |= {name: value for name, value in known.items() if not (envelope and name in _OF_ENVELOPES)}
    return _shown(fields, ids)


def _shown(fields: dict[str, Any], ids: tuple[str, ...]) -> ShownTask:
    return ShownTask(msgspec.json.encode({**fields, "task_id": ids[0]}), ids)


def _objects(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield an object, and the objects within it in which a task may stand."""
    if isinstance(value, str):  # encoded twice
        value = _decoded(value.encode())
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and depth:
        yield value
        for name in _INNER:
            yield from _objects(value.get(name), depth - 1)


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
