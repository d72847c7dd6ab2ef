"""The vendor's clock: the age of tasks that others made, although the local clock may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kling_async.records import TaskRecord

__all__ = ["AGE_MAX", "VendorClock"]

_TOLERANCE: Final = 2.0
"""Seconds: a Date header has whole seconds, and answers take a moment."""
AGE_MAX: Final = 7200.0
"""Seconds: tasks end sooner, so a greater age means that some clock is wrong."""


class VendorClock:
    """Learns from the Date of answers how far the local clock is off."""

    def __init__(self) -> None:
        self.skew = 0.0
        """Seconds by which the vendor's clock is ahead of ours; 0 while it is unknown or next to nothing."""

    def seen(self, date: float | None, wall: float) -> None:
        """Take the Date of an answer (None: it had none) that came when the local clock showed ``wall``."""
        if date is not None:
            skew = date - wall
            self.skew = skew if abs(skew) > _TOLERANCE else 0.0

    def age(self, record: TaskRecord | None, wall: float) -> float:
        """Return the seconds since a task was made, from 0 to 7200; 0 if that is not known."""
        if record is None or not record.created_at:
            return 0.0
        return min(max(0.0, wall + self.skew - record.created_at / 1000), AGE_MAX)
