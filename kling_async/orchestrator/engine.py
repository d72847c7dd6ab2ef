"""Puts the drivers of one account together, and takes them down."""

from __future__ import annotations

import copy
import random
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from kling_async.catalog import endpoint_of
from kling_async.core.durations import Durations
from kling_async.core.queries import QueryForms
from kling_async.core.schedule import Schedule
from kling_async.errors import ClientClosed
from kling_async.events import Hooks
from kling_async.http.transport import Transport
from kling_async.orchestrator.bodies import check_media
from kling_async.orchestrator.limiter import Limiter
from kling_async.orchestrator.packs import PackReader
from kling_async.orchestrator.poller import Poller
from kling_async.orchestrator.recovery import Recovery
from kling_async.orchestrator.submission import Submission, check_order
from kling_async.orchestrator.submitter import Submitter
from kling_async.runtime.loop import GRACE, DownloadSlots, LoopScope
from kling_async.wire.checks import check
from kling_async.wire.endpoints import check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.events import Event
    from kling_async.http.auth import Signer
    from kling_async.http.sessions import Sessions
    from kling_async.options import Polling, Retry, Timeouts
    from kling_async.wire.requests import TaskRequest

__all__ = ["Engine"]


class Engine:
    """What clients that share slots share; `derived` ones differ in how they ask, retry and time out."""

    def __init__(
        self,
        signer: Signer,
        base_url: str,
        *,
        sessions: Callable[[LoopScope], Sessions],
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
        self.scope = LoopScope(now)
        self.hooks = Hooks(on_event, self.scope.time)
        self.sessions = sessions(self.scope)
        self.download_slots = DownloadSlots(self.scope)
        self.transport = Transport(self.sessions, signer, base_url, headers, hooks=self.hooks)
        self.limiter = Limiter(
            self.scope, self.hooks, self.rng, limits=limits, life=max_task_life, gate=queueing
        )
        self.recovery = Recovery(self.scope, self.transport, self.limiter, self.rng)
        self.creates = Submitter(
            self.scope,
            self.hooks,
            self.transport,
            self.limiter,
            self.recovery,
            self.rng,
            queueing=queueing,
        )
        self.packs = PackReader(self.scope, self.transport, self.limiter, timeouts)
        self.creates.on_out_of_units = self.packs.again
        self.durations = Durations()
        self.forms = QueryForms(batch_ids=not signer.renewable)  # /tasks wants an API key
        self.pollers: dict[Polling, Poller] = {}
        self.poller = self._poller_for(polling)

    def _poller_for(self, polling: Polling) -> Poller:
        """Return the poller of these settings: one each, however many clients use them."""
        poller = self.pollers.get(polling)
        if poller is None:
            schedule = partial(Schedule, polling, self.retry, self.durations, self.forms, self.rng)
            poller = Poller(
                self.scope, self.hooks, self.transport, self.limiter, schedule, self.rng, self.timeouts
            )
            poller.find_ticket = self.recovery.claim
            self.pollers[polling] = poller
        return poller

    async def new_submission(
        self,
        request: TaskRequest[Any],
        *,
        external_task_id: str | None = None,
        callback_url: str | None = None,
        generated: bool | None = None,
        **order: Any,
    ) -> Submission:
        """Check a request and make the submission that waits for its slots.

        Args:
            request: What to make.
            external_task_id: The id its create carries; None: a random one.
            callback_url: Where the vendor posts changes.
            generated: Whether nobody else can have used that id; None: if it is a random one.
            **order: ``priority``, ``label``, ``queue_timeout``.

        Raises:
            RequestInvalid: The request cannot be right; nothing was sent.
        """
        self.scope.enter()
        if isinstance(request, type):
            raise TypeError(f"submit() takes a request, not its type: {request.__name__}(...)")
        check_order(**order)
        endpoint = endpoint_of(request)
        check(request)
        await check_media(request, self.scope)
        if external_task_id is None:
            name, ours = str(uuid.uuid4()), True
        else:
            name, ours = check_id(external_task_id, "external_task_id"), False
        self.packs.start(endpoint.pool)
        return Submission(
            request,
            endpoint,
            name,
            self.poller,
            callback_url=callback_url,
            generated=ours if generated is None else generated,
            retry=self.retry,
            timeouts=self.timeouts,
            **order,
        )

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
        if self.scope.closed:
            return
        self.scope.closed = True
        self.limiter.silence()
        self.packs.silence()
        self.recovery.silence()
        self.creates.fail_queued(ClientClosed("the client was closed while this queued; nothing was sent"))
        for poller in self.pollers.values():
            poller.silence()
            poller.fail_all(ClientClosed("the client was closed; the task runs on, attach() to it later"))
        with anyio.move_on_after(GRACE + 1, shield=True):
            await self.scope.close()
            await self.sessions.close()
