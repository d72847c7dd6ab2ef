"""Opening: make what keeps the slots of a client, as its options say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from kling_async.orchestrator.ledger.places import boot_id, ledger_path, refuse_network
from kling_async.orchestrator.ledger.shared import SharedLimiter
from kling_async.orchestrator.ledger.store import LedgerFile
from kling_async.orchestrator.limiter import Limiter
from kling_async.orchestrator.pool_limits import checked_label_limits, checked_limits

if TYPE_CHECKING:
    import random

    from kling_async.events import Hooks
    from kling_async.options import SlotOptions
    from kling_async.orchestrator.slot_keeper import SlotKeeper
    from kling_async.runtime.loop import LoopScope

__all__ = ["Api", "new_limiter"]


class Api(Protocol):
    """The API as it is reached (`http.transport.Transport`)."""

    @property
    def base_url(self) -> str:
        """Address of the API."""
        ...

    @property
    def host(self) -> str:
        """The host that creates are sent to."""
        ...


def new_limiter(
    scope: LoopScope,
    hooks: Hooks,
    rng: random.Random,
    options: SlotOptions,
    api: Api,
    account: str,
) -> SlotKeeper:
    """Return what keeps the slots of an account: this process's memory, or a ledger.

    Args:
        scope: The client's loop and clock.
        hooks: Takes events.
        rng: Source of jitter.
        options: Of the client; they name the file, if there is one.
        api: Says where creates are sent to.
        account: Names the key.

    Raises:
        ConfigurationError: The option names no file of this machine, or a limit cannot be.
    """
    if options.slots is None:
        return Limiter(scope, hooks, rng, options, host=api.host)
    path = ledger_path(options.slots)
    refuse_network(path.parent)
    sizes = {name: size for name, size in checked_limits(options.limits or {}).items() if size is not None}
    labels, life, clock = checked_label_limits(options), options.max_task_life, time.monotonic
    own = path, api.base_url, account

    def open_file() -> LedgerFile:  # refers to no part of the client: it outlives one that is dropped
        return LedgerFile(*own, limits=sizes, label_limits=labels, life=life, clock=clock, boot=boot_id())

    return SharedLimiter(scope, hooks, rng, clock=clock, open_file=open_file, options=options, host=api.host)
