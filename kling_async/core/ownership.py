"""Decide whose a task is that was found by the external id of a create in doubt."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kling_async.records import TaskRecord

__all__ = ["Whose", "whose"]


class Whose(enum.Enum):
    """Whose a task is that was found by the external id of a create in doubt."""

    OURS = "ours"  # that create made it
    TAKEN = "taken"  # somebody used that id before
    UNCLEAR = "unclear"  # its time of creation does not tell
    ANOTHER = "another"  # its own id happens to be spelled like our external one, or it was not asked for


def whose(
    record: TaskRecord,
    *,
    external_task_id: str,
    generated: bool,
    first_sent: float,
    shown: frozenset[str] = frozenset(),
) -> Whose:
    """Return whose a task is that was found by the id of a create in doubt.

    Args:
        record: The task that was found.
        external_task_id: The id that the create carried.
        generated: Whether we generated that id, so that nobody else can have used it.
        first_sent: When the create was first sent, by the server's clock, seconds since 1970.
        shown: Ids of a task that the create's answer showed: two questions that agree prove whose it is.
    """
    if record.task_id in shown:
        return Whose.OURS
    if record.external_task_id not in (None, external_task_id) or record.task_id == external_task_id:
        return Whose.ANOTHER
    if generated:
        return Whose.OURS
    created = record.created_at / 1000
    if created < _EARLIEST:  # missing, or seconds where the reference has milliseconds
        return Whose.UNCLEAR
    if created >= first_sent - _DATE_TOLERANCE:
        return Whose.OURS
    return Whose.UNCLEAR if created >= first_sent - _SKEW_MAX else Whose.TAKEN


_DATE_TOLERANCE: Final = 2.0
"""Seconds of tolerance: a Date header has whole seconds, and the create took a moment to arrive."""
_SKEW_MAX: Final = 30.0
"""Seconds by which the clocks of the vendor's servers may differ: a task that seems older by less than this
may still be ours."""
_EARLIEST: Final = 1.5e9
"""Seconds since 1970 (2017): every task of this API is younger."""
