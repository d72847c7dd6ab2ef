"""Estimates: when the task of a submission that queues may have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kling_async.core.durations import Durations
    from kling_async.orchestrator.slot_keeper import SlotKeeper
    from kling_async.orchestrator.submission import Submission

__all__ = ["expected_end"]


def expected_end(durations: Durations, limiter: SlotKeeper, submission: Submission) -> float | None:
    """Return the seconds until a submission's task may have ended; None until some like it have."""
    endpoint, ticket = submission.endpoint, submission.ticket
    law = durations.law((endpoint.name, endpoint.kind(submission.request)), endpoint.median)
    if not law.known:
        return None
    turns = 0.0
    if submission.waiting:  # it needs as many slots to come free as those before it and itself lack
        pool = limiter.pool(endpoint.pool)
        needed = (pool.position(ticket) or 0) + ticket.weight + pool.held - pool.belief
        turns = max(0, needed) / max(1, pool.belief)
    return law.quantile(0.5) * (1 + turns)
