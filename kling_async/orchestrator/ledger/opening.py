"""Opening: make the limiter whose slots lie in the file that a client's option names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kling_async.orchestrator.ledger.places import boot_id, ledger_path, refuse_network
from kling_async.orchestrator.ledger.shared import SharedLimiter
from kling_async.orchestrator.ledger.store import LedgerFile
from kling_async.orchestrator.limiter import check_limits

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from kling_async.events import Hooks
    from kling_async.runtime.loop import LoopScope

__all__ = ["shared_limiter"]


def shared_limiter(
    slots: str,
    whose: tuple[str, str],
    scope: LoopScope,
    hooks: Hooks,
    rng: random.Random,
    *,
    limits: Mapping[str, int] | None,
    life: float,
) -> SharedLimiter:
    """Return the limiter of an account whose slots lie in a ledger.

    Args:
        slots: The client's option, which names the file.
        whose: Address of the API, and the name of the key.
        scope: The client's loop and clock.
        hooks: Takes events.
        rng: Source of jitter.
        limits: Sizes of pools that the caller knows.
        life: Seconds after which the slots of a task stop counting.

    Raises:
        ConfigurationError: The option names no file of this machine, or a limit cannot be.
    """
    path, sizes = ledger_path(slots), check_limits(limits or {})
    refuse_network(path.parent)

    def open_file() -> LedgerFile:
        return LedgerFile(path, *whose, limits=sizes, life=life, clock=time.monotonic, boot=boot_id())

    return SharedLimiter(scope, hooks, rng, clock=time.monotonic, open_file=open_file, limits=limits)
