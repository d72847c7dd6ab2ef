"""Schedule parts: the things that every schedule of status queries decides by, as one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random

    from kling_async.core.durations import Durations
    from kling_async.core.queries import QueryForms
    from kling_async.options import Polling, Retry

__all__ = ["ScheduleParts"]


class ScheduleParts(NamedTuple):
    """The things that a schedule decides by."""

    polling: Polling
    retry: Retry
    durations: Durations
    """What is known of how long tasks take; all schedules of a client learn together."""
    forms: QueryForms
    """The forms of query that the account takes."""
    rng: random.Random
    """Source of jitter."""
