"""A pool's whole state as a value, to be compared before and after."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kling_async.core.admission import Pool


def copy_of(pool: Pool) -> dict[str, object]:
    """All of a pool's state and of its parts; of the queue, what is in it."""
    parts: dict[str, object] = {
        "pool": pool,
        "slots": pool.slots,
        "pacing": pool.pacing,
        "closure": pool.closure,
    }
    parts["waiting"] = pool.waiting
    state: dict[str, object] = {
        f"{name}.{field}": copy.copy(value)
        for name, part in parts.items()
        for field, value in vars(part).items()
        if isinstance(value, list | dict | set | int | float)
    }
    tickets = [(ticket, ticket.phase) for ticket in pool.tickets()]
    return state | {
        "view": pool.view(),
        "access": pool.closure.life.state,
        "tickets": tickets,
    }
