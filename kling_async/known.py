"""Which handles stand for the same task: one `Live` for an id, one holder of slots for a task."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kling_async.endpoints import Endpoint
    from kling_async.limiter import Limiter
    from kling_async.live import Live

__all__ = ["Known"]

Key = tuple[str, str]


class Known:
    """All that is looked after, and all that somebody holds a handle on."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._watched: dict[Key, Live] = {}
        """By either id; by the task's own, this is who holds its slots."""
        self._held: weakref.WeakValueDictionary[Key, Live] = weakref.WeakValueDictionary()
        """By what they were attached by, or ended with."""

    def find(self, endpoint: Endpoint[Any], id: str) -> Live | None:  # noqa: A002 - the field's word
        """Return what stands for that id, the vendor's or the external one."""
        key = (endpoint.path, id)
        return self._watched.get(key) or self._held.get(key)

    def attached(self, live: Live) -> None:
        """Know a handle for as long as somebody holds it."""
        self._held.setdefault((live.endpoint.path, live.id), live)

    def is_holder(self, live: Live) -> bool:
        """Tell whether it is the one of several for the same task that holds its slots and is told about."""
        key = _task(live)
        return (self._watched.get(key) or self._held.get(key, live)) is live

    def seen(self, live: Live) -> bool:
        """Its task is known: return whether it is the holder.

        Two handles by different ids may turn out to be one task. Its slots are held once: by the one that
        came with slots of its create, else by the one seen first.
        """
        path = live.endpoint.path
        if live.external_task_id:
            self._watched.setdefault((path, live.external_task_id), live)
        holder = self._watched.setdefault(_task(live), live)
        if holder is live:
            return True
        if live.ticket is None:
            return False
        self._release(holder)
        self._watched[_task(live)] = live
        return True

    def over(self, live: Live) -> None:
        """It is looked after no more: its slots are free, and it is known while somebody holds it."""
        path = live.endpoint.path
        for name in (live.task_id, live.external_task_id):
            if name and self._watched.get((path, name)) is live:
                del self._watched[path, name]
                self._held[path, name] = live
        self._release(live)

    def take_over(self, old: Live, new: Live) -> None:
        """Two stand for one task under one id: the old one goes on, with the slots of the new one."""
        self._release(old)
        old.ticket, new.ticket = new.ticket, None
        if old.ticket is not None:
            old.ticket.owner = old
        for name in (new.task_id, new.external_task_id):
            if name:
                self._watched[new.endpoint.path, name] = old

    def _release(self, live: Live) -> None:
        if live.ticket is not None:
            self._limiter.release(live.endpoint.pool, live.ticket)
            live.ticket = None


def _task(live: Live) -> Key:
    return live.endpoint.path, live.task_id or ""
