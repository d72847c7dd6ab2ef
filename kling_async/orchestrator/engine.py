"""Engine: put the drivers of one account together, and take them down."""

from __future__ import annotations

import random
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel

from kling_async.catalog import endpoint_at, endpoint_of
from kling_async.core.durations import Durations
from kling_async.core.queries import QueryForms
from kling_async.core.schedule_parts import ScheduleParts
from kling_async.errors import ClientClosed
from kling_async.events import Hooks
from kling_async.http.transport import Transport
from kling_async.options import need_setting
from kling_async.orchestrator.believing import Believer
from kling_async.orchestrator.bodies import check_media
from kling_async.orchestrator.create_spec import check_order, spec_of
from kling_async.orchestrator.departures import Departures, Pending
from kling_async.orchestrator.estimates import expected_end
from kling_async.orchestrator.ledger.asking import new_asking
from kling_async.orchestrator.leftovers import name_leftovers
from kling_async.orchestrator.lookup import Lookup
from kling_async.orchestrator.matching import Matcher
from kling_async.orchestrator.model_pools import row_for
from kling_async.orchestrator.packs import PackReader, read_packs
from kling_async.orchestrator.poller import Poller
from kling_async.orchestrator.pollers import Pollers
from kling_async.orchestrator.pool_limits import checked_limits
from kling_async.orchestrator.queueing import SubmitQueue
from kling_async.orchestrator.recovery import Recovery
from kling_async.orchestrator.registry import TaskRegistry
from kling_async.orchestrator.scheduling import TaskScheduling
from kling_async.orchestrator.spending import Spending
from kling_async.orchestrator.status_reader import StatusReader
from kling_async.orchestrator.submission import Submission
from kling_async.orchestrator.submitter import Submitter
from kling_async.prices import estimate
from kling_async.runtime.loop import GRACE, DownloadSlots, LoopScope
from kling_async.wire.checks import check
from kling_async.wire.hosts import is_local
from kling_async.wire.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Unpack

    from kling_async.events import Event
    from kling_async.http.auth import Signer
    from kling_async.http.sessions import Sessions
    from kling_async.options import Polling, Retry, Settings, SlotOptions, SubmitOptions, Timeouts
    from kling_async.orchestrator.attempts import EarlierAttempt
    from kling_async.orchestrator.ledger.asking import ShadowParts
    from kling_async.orchestrator.slot_keeper import SlotKeeper
    from kling_async.orchestrator.submission import SubmissionHooks
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.wire.dialects.translate import Dialects
    from kling_async.wire.requests import TaskRequest

__all__ = ["Drivers", "Engine"]


class Drivers:
    """The drivers of one account: made once, and shared by all clients that share its slots."""

    def __init__(
        self,
        signer: Signer,
        base_url: str,
        settings: Settings,
        slots: SlotOptions,
        *,
        sessions: Callable[[LoopScope], Sessions],
        new_limiter: Callable[[LoopScope, Hooks, random.Random, SlotOptions, Transport, str], SlotKeeper],
        headers: Mapping[str, str] | None,
        dialects: Dialects,
        now: Callable[[], float],
        rng: random.Random | None,
        on_event: Callable[[Event], object] | None,
    ) -> None:
        self.account = signer.account
        """Names the key, for what is written down."""
        self.rng = random.Random() if rng is None else rng  # noqa: S311 - jitter, not secrets
        self.scope = scope = LoopScope(now)
        self.hooks = Hooks(on_event, scope.time)
        self.sessions = sessions(scope)
        self.download_slots = DownloadSlots(scope)
        self.transport = Transport(self.sessions, signer, base_url, dialects, headers, hooks=self.hooks)
        self.limiter = new_limiter(scope, self.hooks, self.rng, slots, self.transport, self.account)
        lookup = Lookup(self.transport, self.rng)
        self.recovery = Recovery(scope, self.limiter, lookup)
        self.packs = PackReader(scope, self.limiter, partial(read_packs, self.transport, settings.timeouts))
        self.queue = self._new_queue(lookup, slots)
        self.durations = Durations()
        forms = QueryForms(batch_ids=self.transport.unified, server=dialects)  # /tasks wants an API key
        self.pollers: Pollers[Poller] = Pollers(scope, self.limiter, partial(self._new_poller, forms))
        parts = ScheduleParts(settings.polling, settings.retry, self.durations, forms, self.rng)
        active = partial(self.limiter.new_schedule, parts, asks=True)
        reader = StatusReader(self.transport, settings.timeouts)
        believer = Believer(self.queue, self.recovery, self.pollers)
        how = partial(self._new_shadow_poller, reader), active, endpoint_at, believer
        self.limiter.ask_for_all(partial(new_asking, scope, self.hooks, self.pollers, *how))

    def _new_queue(self, lookup: Lookup, slots: SlotOptions) -> SubmitQueue:
        scope, hooks, limiter, recovery = self.scope, self.hooks, self.limiter, self.recovery
        departures = Departures(scope, hooks, limiter, recovery, Pending(scope.time))
        submitter = Submitter(
            scope,
            hooks,
            self.transport,
            limiter,
            recovery,
            departures,
            self.packs,
            self.rng,
            queueing=slots.queueing,
        )
        own = Matcher(scope, lookup), departures, submitter, Spending(slots.max_units, estimate)
        return SubmitQueue(scope, hooks, limiter, *own, max_queued=slots.max_queued)

    def _new_poller(
        self,
        forms: QueryForms,
        polling: Polling,
        retry: Retry,
        timeouts: Timeouts,
        home: Pollers[Poller],
        /,
    ) -> Poller:
        parts = ScheduleParts(polling, retry, self.durations, forms, self.rng)
        return Poller(
            self.scope,
            self.hooks,
            StatusReader(self.transport, timeouts),
            TaskRegistry(self.limiter, self.recovery),
            home,
            partial(self.limiter.new_schedule, parts),
            TaskScheduling(self.scope, home.channels),
            self.rng,
        )

    def _new_shadow_poller(self, reader: StatusReader, parts: ShadowParts) -> Poller:
        registry = TaskRegistry(parts, parts)
        own = parts.new_schedule, parts.scheduling, self.rng
        return Poller(self.scope, parts.hooks, reader, registry, parts, *own)

    async def close(self) -> None:
        """End everything; what waits gets `ClientClosed`, creates in flight get a few seconds.

        A second caller waits for the first. Cut short, it can be repeated.
        """
        if first := not self.scope.closed:
            self._turn_away()
        try:
            async with self.scope.closing:  # where all has ended, the rest does nothing
                with anyio.move_on_after(GRACE + 1, shield=True):
                    await self.scope.close()
                    await self.sessions.close()
                    await self.limiter.leave_ledger()  # last: another program may have its file locked
        finally:
            if first:
                name_leftovers("the client was closed", self.running())

    def _turn_away(self) -> None:
        """Start nothing more, and fail whatever waits."""
        self.scope.closed = True
        for driver in (self.limiter, self.packs, self.recovery):
            driver.stop_timers()
        self.queue.fail_all(ClientClosed("the client was closed while this queued; nothing was sent"))
        text = "the client was closed; the task runs on, attach() to it later"
        for poller in self.pollers:
            poller.stop_timers()
            poller.fail_all(ClientClosed(text, task_ids=self.running()))

    def running(self) -> list[str]:
        """Return the ids of tasks that run, or may: external ones where no other is known."""
        seen = [tracked.task_id or tracked.id for poller in self.pollers for tracked in poller]
        return [*seen, *filter(None, (entry.external_task_id for entry in self.recovery.entries()))]


class Engine:
    """The drivers of an account as one client uses them, with its own settings. Cheap to make.

    Args:
        drivers: Shared with other clients.
        settings: Of this client.
        poller: Looks after its tasks.
    """

    __slots__ = ("_drivers", "poller", "settings")

    def __init__(self, drivers: Drivers, settings: Settings, poller: Poller | None = None) -> None:
        self._drivers = drivers
        self.settings = settings
        if poller is None:
            poller = drivers.pollers.obtain(settings.polling, settings.retry, settings.timeouts)
        self.poller = poller

    def with_settings(self, settings: Settings) -> Engine:
        """Return an engine over the same drivers with other settings."""
        poller = self._drivers.pollers.obtain(settings.polling, self.retry, self.timeouts)
        return Engine(self._drivers, settings, poller)

    def found_again(self) -> Callable[[], Engine | None]:
        """Return what makes this engine again while anybody else holds its drivers; None later."""
        drivers, settings = weakref.ref(self._drivers), self.settings
        return lambda: None if (held := drivers()) is None else Engine(held, settings)

    def looking_after(self, poller: Poller) -> Engine:
        """Return this engine with the poller that already polls a task: only one may."""
        return self if poller is self.poller else Engine(self._drivers, self.settings, poller)

    def looking_for(self, submission: Submission) -> Engine:
        """Return this engine with the poller that will poll the task of a submission."""
        return self.looking_after(next((p for p in self.pollers if p is submission.watcher), self.poller))

    def running(self) -> list[str]:
        """Return the ids of tasks that run, or may: external ones where no other is known."""
        return self._drivers.running()

    def queued(self) -> Iterable[Submission]:
        """Return the submits without a task."""
        return self.queue.pending

    async def close(self) -> None:
        """End everything, for all clients that share the drivers."""
        await self._drivers.close()

    # -- its parts

    @property
    def retry(self) -> Retry:
        """How often to repeat what is harmless to repeat."""
        return self.settings.retry

    @property
    def timeouts(self) -> Timeouts:
        """How long one exchange may take."""
        return self.settings.timeouts

    @property
    def account(self) -> str:
        """Names the key, for what is written down."""
        return self._drivers.account

    @property
    def local(self) -> bool:
        """Whether the API is on this machine, so that it reaches what this machine reaches."""
        return is_local(self._drivers.transport.base_url)

    @property
    def rng(self) -> random.Random:
        """Source of jitter."""
        return self._drivers.rng

    @property
    def scope(self) -> LoopScope:
        """The loop and the clocks."""
        return self._drivers.scope

    @property
    def hooks(self) -> Hooks:
        """Takes events and counts."""
        return self._drivers.hooks

    @property
    def sessions(self) -> Sessions:
        """The HTTP sessions."""
        return self._drivers.sessions

    @property
    def download_slots(self) -> DownloadSlots:
        """The bound on simultaneous downloads."""
        return self._drivers.download_slots

    @property
    def transport(self) -> Transport:
        """Sends requests to the API."""
        return self._drivers.transport

    @property
    def limiter(self) -> SlotKeeper:
        """The slots."""
        return self._drivers.limiter

    @property
    def packs(self) -> PackReader:
        """Keeps the sizes of the pools in step with the account's packs."""
        return self._drivers.packs

    @property
    def queue(self) -> SubmitQueue:
        """Takes submissions into the queue."""
        return self._drivers.queue

    @property
    def recovery(self) -> Recovery:
        """Creates of unknown fate."""
        return self._drivers.recovery

    @property
    def pollers(self) -> Pollers[Poller]:
        """All pollers of the account."""
        return self._drivers.pollers

    def set_limits(self, limits: Mapping[str, int | None]) -> None:
        """Change the sizes of pools, from any thread; what is given back (None) is read from the packs again.

        Raises:
            ConfigurationError: A size or a name is wrong; nothing has changed.
        """
        need_setting("limits", limits)
        sizes = checked_limits(limits, optional=True)
        self.scope.act(lambda: self._set_limits(sizes))

    def _set_limits(self, sizes: Mapping[str, int | None]) -> None:
        self.limiter.set_limits(sizes)
        for name in [name for name, size in sizes.items() if size is None and name in self.limiter.pools]:
            self.packs.units_changed()
            self.packs.start(name)

    # -- tasks

    def known_as(self, name: str) -> list[tuple[Poller, TrackedTask]]:
        """Return the tasks looked after that have this id, with their pollers; from any thread."""
        while True:
            try:
                return [
                    (poller, tracked) for poller in self.pollers for tracked in poller if name in tracked.ids
                ]
            except RuntimeError:  # the loop's thread added or dropped one meanwhile
                continue

    def nudge(self, name: str) -> bool:
        """Make the next queries about tasks of this id due at once, from any thread; False: there is none."""

        def ask() -> None:
            known = self.known_as(name)
            for poller, tracked in known:
                poller.hinted(tracked)
            if not known:  # another process may have it, or a query may have just found its end
                self.limiter.hint(name)
                self.pollers.channels.told_late(name, self.scope.time())

        self.scope.act(ask)
        return bool(self.known_as(name))

    def abandon(self, name: str) -> bool:
        """Give up the create of unknown fate with this external id, from any thread; False: there is none."""
        known = any(entry.external_task_id == name for entry in self.recovery.entries())
        self.scope.act(lambda: self.recovery.abandon(name))
        return known

    # -- submits

    def expected_seconds(self, request: TaskRequest[Any]) -> float:
        """Return how long the task of a request may take: as learned, else by its endpoint and length."""
        endpoint = endpoint_of(request)
        kind, length = (endpoint.name, endpoint.kind(request)), getattr(request, "duration", None)
        return self._drivers.durations.expected(kind, endpoint.median, length)

    def expected_end(self, submission: Submission) -> float | None:
        """Return the seconds until a submission's task may have ended; None until some like it have."""
        return expected_end(self._drivers.durations, self.limiter, submission)

    async def new_submission(
        self,
        request: TaskRequest[Any],
        *,
        generated: bool | None = None,
        checked: bool = False,
        hooks: SubmissionHooks | None = None,
        earlier: EarlierAttempt | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Submission:
        """Check a request and make the submission that waits for its slots.

        Args:
            request: What to make.
            generated: Whether nobody else can have used its external id; None: if it is a random one.
            checked: Whether the request has passed `check` already.
            hooks: Decisions and notes of a batch.
            earlier: An attempt of an earlier run, after which to look before anything is sent.
            **options: As for ``client.submit``.

        Raises:
            RequestInvalid: The request cannot be right; nothing was sent.
        """
        self.scope.enter()
        if isinstance(request, type):
            raise TypeError(f"submit() takes a request, not its type: {request.__name__}(...)")
        options = cast("SubmitOptions", {name: plain(value) for name, value in options.items()})
        check_order(options, local=self.local)
        endpoint = row_for(request, endpoint_of(request), self.transport, self.settings.model_pools)
        if not checked:
            check(request)
        await check_media(request, self.scope, local=self.local)
        default = self.settings.callback_url
        spec = spec_of(request, endpoint, options, generated=generated, callback_url=default)
        self.packs.start(endpoint.pool)
        await anyio.lowlevel.checkpoint()  # who was cancelled, or is out of time, gets no task
        return Submission(
            spec,
            self.poller,
            self.settings,
            hooks=hooks,
            earlier=earlier,
            priority=options.get("priority", 0),
            label=options.get("label", ""),
            queue_timeout=options.get("queue_timeout"),
        )
