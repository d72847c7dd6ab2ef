"""Which handles stand for the same task: one `Live` for an id, one holder of slots for a task."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kling_async.endpoints import Endpoint
    from kling_async.limiter import Limiter
    from kling_async.live import Live

__all__ = ["Known"]


class Known:
    """All that somebody holds a handle on, or that is looked after."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._by_id: weakref.WeakValueDictionary[tuple[str, str], Live] = weakref.WeakValueDictionary()
        self._holders: weakref.WeakValueDictionary[tuple[str, str], Live] = weakref.WeakValueDictionary()

    def find(self, endpoint: Endpoint[Any], id: str) -> Live | None:  # noqa: A002 - the field's word
        """Return what stands for that id, the vendor's or the external one."""
        return self._by_id.get((endpoint.path, id))

    def add(self, live: Live) -> None:
        """Know it by all ids that it has; who had one of them first keeps it."""
        for name in (live.id, live.task_id, live.external_task_id):
            if name:
                self._by_id.setdefault((live.endpoint.path, name), live)

    def is_holder(self, live: Live) -> bool:
        """Tell whether it is the one of several for the same task that holds its slots and is told about."""
        return self._holders.get(_task(live), live) is live

    def seen(self, live: Live) -> bool:
        """Its task is known and may run: return whether it is the holder.

        Two handles by different ids may turn out to be one task. Its slots are held once: by the one that
        came with slots of its create, else by the one seen first.
        """
        self.add(live)
        holder = self._holders.setdefault(_task(live), live)
        if holder is live:
            return True
        if live.ticket is None:
            return False
        self.let_go(holder)
        self._holders[_task(live)] = live
        return True

    def let_go(self, live: Live) -> None:
        """Free the slots that it holds."""
        if live.ticket is not None:
            self._limiter.release(live.endpoint.pool, live.ticket)
            live.ticket = None


def _task(live: Live) -> tuple[str, str]:
    return live.endpoint.path, live.task_id or ""
