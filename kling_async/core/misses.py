"""Decide what follows when a create in doubt is not found by its external id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.core.verdict import AfterMiss, Again, Lost

if TYPE_CHECKING:
    from kling_async.core.verdict import CreateVerdict
    from kling_async.errors import KlingError

__all__ = ["ELSEWHERE", "NO_WAY", "UNPROVEN", "after_miss", "needs_proof"]

ELSEWHERE: Final = (
    "an earlier run may have sent it under another key, and this key does not find it: go on with that key;"
    " if it is gone for good, give the request another name: (key, request)"
)
NO_WAY: Final = "there is no way to look a task up here"
UNPROVEN: Final = "this server may have lost its external id: it was not shown to find tasks by theirs"

_LATE: Final = (408, 499)
"""HTTP statuses of a server that gave up waiting: what it had passed on may have been made."""


def after_miss(verdict: CreateVerdict) -> AfterMiss:
    """Return what a complete miss of the look-up means after a verdict."""
    match verdict:
        case Lost(miss=miss):
            return miss
        case Again(doubtful=True):
            return AfterMiss.END
        case _:
            return AfterMiss.RESEND


def needs_proof(miss: AfterMiss, error: KlingError) -> bool:
    """Tell whether a miss counts only where the server was shown to find tasks by their external ids.

    Args:
        miss: What follows from it.
        error: Why the create is in doubt.
    """
    return miss is AfterMiss.RESEND or getattr(error, "http_status", 0) in _LATE
