"""Puts the drivers of one account together, and takes them down."""

from __future__ import annotations

import copy
import random
from functools import partial
from typing import TYPE_CHECKING

import anyio

from kling_async.core.durations import Durations
from kling_async.core.questions import Forms
from kling_async.core.schedule import Schedule
from kling_async.creates import Creates
from kling_async.downloads import Places
from kling_async.errors import ClientClosed
from kling_async.events import Hooks
from kling_async.limiter import Limiter
from kling_async.limits import PackReader
from kling_async.loops import GRACE, Home
from kling_async.poller import Poller
from kling_async.recovery import Recovery
from kling_async.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.auth import Signer
    from kling_async.events import Event
    from kling_async.options import Polling, Retry, Timeouts
    from kling_async.sessions import Sessions

__all__ = ["Engine"]


class Engine:
    """What clients that share slots share; `derived` ones differ in how they ask, retry and time out."""

    def __init__(
        self,
        signer: Signer,
        base_url: str,
        *,
        sessions: Callable[[Home], Sessions],
        headers: Mapping[str, str] | None,
        limits: Mapping[str, int] | None,
        polling: Polling,
        retry: Retry,
        timeouts: Timeouts,
        queueing: bool,
        max_task_life: float,
        now: Callable[[], float],
        rng: random.Random | None,
        on_event: Callable[[Event], object] | None,
    ) -> None:
        self.polling, self.retry, self.timeouts = polling, retry, timeouts
        self.account = signer.account
        """Names the key, for what is written down."""
        self.rng = random.Random() if rng is None else rng  # noqa: S311 - jitter, not secrets
        self.home = Home(now)
        self.hooks = Hooks(on_event, self.home.time)
        self.sessions = sessions(self.home)
        self.places = Places(self.home)
        self.transport = Transport(self.sessions, signer, base_url, headers, hooks=self.hooks)
        self.limiter = Limiter(
            self.home, self.hooks, self.rng, limits=limits, life=max_task_life, gate=queueing
        )
        self.recovery = Recovery(self.home, self.transport, self.limiter, self.rng)
        self.creates = Creates(
            self.home,
            self.hooks,
            self.transport,
            self.limiter,
            self.recovery,
            self.rng,
            queueing=queueing,
        )
        self.packs = PackReader(self.home, self.transport, self.limiter, timeouts)
        self.creates.on_out_of_units = self.packs.again
        self.durations = Durations()
        self.forms = Forms(batch_ids=not signer.renewable)  # /tasks wants an API key
        self.pollers: dict[Polling, Poller] = {}
        self.poller = self._poller_for(polling)

    def _poller_for(self, polling: Polling) -> Poller:
        """Return the poller of these settings: one each, however many clients use them."""
        poller = self.pollers.get(polling)
        if poller is None:
            schedule = partial(Schedule, polling, self.retry, self.durations, self.forms, self.rng)
            poller = Poller(
                self.home, self.hooks, self.transport, self.limiter, schedule, self.rng, self.timeouts
            )
            poller.find_ticket = self.recovery.claim
            self.pollers[polling] = poller
        return poller

    def derived(self, polling: Polling | None, retry: Retry | None, timeouts: Timeouts | None) -> Engine:
        """Return an engine over the same slots and sessions with other settings."""
        other = copy.copy(self)
        other.retry = retry or self.retry
        other.timeouts = timeouts or self.timeouts
        other.polling = polling or self.polling
        other.poller = self._poller_for(other.polling)
        return other

    def looking_after(self, poller: Poller) -> Engine:
        """Return this engine with the poller that already looks after a task: it must have only one."""
        if poller is self.poller:
            return self
        other = copy.copy(self)
        other.poller = poller
        return other

    async def close(self) -> None:
        """End everything; what waits gets `ClientClosed`, creates in flight get a few seconds."""
        if self.home.closed:
            return
        self.home.closed = True
        self.limiter.silence()
        self.packs.silence()
        self.recovery.silence()
        self.creates.fail_queued(ClientClosed("the client was closed while this queued; nothing was sent"))
        for poller in self.pollers.values():
            poller.silence()
            poller.fail_all(ClientClosed("the client was closed; the task runs on, attach() to it later"))
        with anyio.move_on_after(GRACE + 1, shield=True):
            await self.home.close()
            await self.sessions.close()
