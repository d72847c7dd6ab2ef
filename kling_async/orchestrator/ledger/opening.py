"""Opening: make the limiter whose slots lie in the file that a client's option names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kling_async.orchestrator.ledger.places import boot_id, ledger_path, refuse_network
from kling_async.orchestrator.ledger.shared import SharedLimiter
from kling_async.orchestrator.ledger.store import LedgerFile
from kling_async.orchestrator.pool_limits import checked_limits

if TYPE_CHECKING:
    import random

    from kling_async.events import Hooks
    from kling_async.options import SlotOptions
    from kling_async.runtime.loop import LoopScope

__all__ = ["shared_limiter"]


def shared_limiter(
    scope: LoopScope,
    hooks: Hooks,
    rng: random.Random,
    options: SlotOptions,
    *,
    host: str,
    whose: tuple[str, str],
) -> SharedLimiter:
    """Return the limiter of an account whose slots lie in a ledger.

    Args:
        scope: The client's loop and clock.
        hooks: Takes events.
        rng: Source of jitter.
        options: Of the client; they name the file.
        host: The host that creates are sent to.
        whose: Address of the API, and the name of the key.

    Raises:
        ConfigurationError: The option names no file of this machine, or a limit cannot be.
    """
    path = ledger_path(options.slots or "")
    refuse_network(path.parent)
    sizes = {name: size for name, size in checked_limits(options.limits or {}).items() if size is not None}

    def open_file() -> LedgerFile:
        return LedgerFile(
            path, *whose, limits=sizes, life=options.max_task_life, clock=time.monotonic, boot=boot_id()
        )

    return SharedLimiter(
        scope, hooks, rng, clock=time.monotonic, open_file=open_file, options=options, host=host
    )
