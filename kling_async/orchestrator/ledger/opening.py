"""Opening: make what keeps the slots of a client, as its options say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from kling_async.errors import ConfigurationError
from kling_async.orchestrator.ledger.facts import BEAT, LEASE, LedgerPace
from kling_async.orchestrator.ledger.places import (
    boot_id,
    is_misread,
    is_server,
    ledger_path,
    refuse_network,
    without_account,
)
from kling_async.orchestrator.ledger.server_time import SteeredClock
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
        options: Of the client; they name the file, or the server, if there is one.
        api: Says where creates are sent to.
        account: Names the key.

    Raises:
        ConfigurationError: The option names neither a file of this machine nor a server, the extra for
            servers is not installed, or a limit cannot be.
    """
    if options.slots is None:
        return Limiter(scope, hooks, rng, options, host=api.host)
    sizes = {name: size for name, size in checked_limits(options.limits or {}).items() if size is not None}
    labels, life, clock = checked_label_limits(options), options.max_task_life, time.monotonic
    if is_server(options.slots):
        return _on_server(scope, hooks, rng, options, api, account)
    path = ledger_path(options.slots)
    refuse_network(path.parent)
    own = path, api.base_url, account

    def open_file() -> LedgerFile:  # refers to no part of the client: it outlives one that is dropped
        return LedgerFile(*own, limits=sizes, label_limits=labels, life=life, clock=clock, boot=boot_id())

    return SharedLimiter(scope, hooks, rng, clock=clock, open_file=open_file, options=options, host=api.host)


def _on_server(
    scope: LoopScope, hooks: Hooks, rng: random.Random, options: SlotOptions, api: Api, account: str
) -> SharedLimiter:
    """Return what keeps slots in a PostgreSQL that many machines share."""
    try:
        from kling_async.orchestrator.ledger import postgres, postgres_database  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            'slots="postgresql://..." needs psycopg: install it with pip install "kling_async[fleet]"'
        ) from None
    address, name = without_account(str(options.slots))
    dsn = postgres_database.checked_dsn("" if is_misread(str(options.slots)) else address)
    clock = SteeredClock()
    sizes = {pool: size for pool, size in checked_limits(options.limits or {}).items() if size is not None}
    joining = postgres.Joining(
        api.base_url, unquote(name) or account, sizes, checked_label_limits(options), options.max_task_life
    )

    def open_ledger() -> postgres.PostgresLedger:  # refers to no part of the client, as above
        return postgres.PostgresLedger(dsn, joining, clock)

    pace = LedgerPace(look=BEAT, lease=LEASE)
    return SharedLimiter(
        scope, hooks, rng, clock=clock, open_file=open_ledger, options=options, host=api.host, pace=pace
    )
