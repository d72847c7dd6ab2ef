"""Engine: put the drivers of one account together, and take them down."""

from __future__ import annotations

import random
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

import anyio

from kling_async.catalog import ACCOUNT_COSTS, endpoint_of
from kling_async.core.callbacks import CallbackChannels
from kling_async.core.durations import Durations
from kling_async.core.queries import QueryForms
from kling_async.core.schedule import Schedule
from kling_async.core.verdict import Got, Missing
from kling_async.errors import ClientClosed
from kling_async.events import Hooks
from kling_async.http.retry import not_found
from kling_async.http.transport import Transport
from kling_async.options import need_setting
from kling_async.orchestrator.bodies import check_media
from kling_async.orchestrator.limiter import Limiter, checked_limits
from kling_async.orchestrator.lookup import Lookup
from kling_async.orchestrator.packs import PackReader
from kling_async.orchestrator.poller import Poller
from kling_async.orchestrator.recovery import Recovery
from kling_async.orchestrator.registry import TaskRegistry
from kling_async.orchestrator.results import answer_of
from kling_async.orchestrator.scheduling import TaskScheduling
from kling_async.orchestrator.status_reader import StatusReader
from kling_async.orchestrator.submission import CreateSpec, Submission, check_order
from kling_async.orchestrator.submitter import Submitter
from kling_async.runtime.loop import GRACE, DownloadSlots, LoopScope
from kling_async.wire.checks import check
from kling_async.wire.endpoints import check_id
from kling_async.wire.hosts import is_local
from kling_async.wire.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Unpack

    from kling_async.core.pool_sizes import Pack
    from kling_async.events import Event
    from kling_async.http.auth import Signer
    from kling_async.http.sessions import Sessions
    from kling_async.options import Polling, Retry, Settings, SubmitOptions, Timeouts
    from kling_async.orchestrator.attempts import EarlierAttempt
    from kling_async.orchestrator.limiter import ContentionListener
    from kling_async.orchestrator.submission import SubmissionHooks
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.wire.requests import TaskRequest

__all__ = ["Drivers", "Engine", "Pollers"]


class Drivers:
    """The drivers of one account: made once, and shared by all clients that share its slots."""

    def __init__(
        self,
        signer: Signer,
        base_url: str,
        settings: Settings,
        *,
        sessions: Callable[[LoopScope], Sessions],
        headers: Mapping[str, str] | None,
        limits: Mapping[str, int] | None,
        queueing: bool,
        max_task_life: float,
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
        self.transport = Transport(self.sessions, signer, base_url, headers, hooks=self.hooks)
        self.limiter = Limiter(
            scope,
            self.hooks,
            self.rng,
            host=self.transport.host,
            limits=limits,
            life=max_task_life,
            gate=queueing,
        )
        self.recovery = Recovery(scope, self.limiter, Lookup(self.transport, self.rng))
        self.packs = PackReader(scope, self.limiter, partial(_read_packs, self.transport, settings.timeouts))
        self.submitter = Submitter(
            scope,
            self.hooks,
            self.transport,
            self.limiter,
            self.recovery,
            self.packs,
            self.rng,
            queueing=queueing,
        )
        self.durations = Durations()
        self.pollers = Pollers(self)

    async def close(self) -> None:
        """End everything; what waits gets `ClientClosed`, creates in flight get a few seconds.

        A second caller waits for the first. Cut short, it can be repeated.
        """
        if not self.scope.closed:
            self._turn_away()
        async with self.scope.closing:  # where all has ended, the rest does nothing
            with anyio.move_on_after(GRACE + 1, shield=True):
                await self.scope.close()
                await self.sessions.close()

    def _turn_away(self) -> None:
        """Start nothing more, and fail whatever waits."""
        self.scope.closed = True
        for driver in (self.limiter, self.packs, self.recovery):
            driver.stop_timers()
        self.limiter.fail_queued(ClientClosed("the client was closed while this queued; nothing was sent"))
        for poller in self.pollers:
            poller.stop_timers()
            poller.fail_all(ClientClosed("the client was closed; the task runs on, attach() to it later"))


class Pollers:
    """The pollers of one account: one for each `Polling` in use, however many clients use it.

    A poller that no client uses any more is freed once its last task was seen ended.
    """

    def __init__(self, drivers: Drivers) -> None:
        self._drivers = drivers
        self._contended: set[str] = set()
        self._busy: set[Poller] = set()
        """Pollers with tasks not seen ended, which must live on without a client."""
        self._forms = QueryForms(batch_ids=drivers.transport.unified)  # /tasks wants an API key
        self.channels = CallbackChannels()
        self._pollers: WeakValueDictionary[Polling, Poller] = WeakValueDictionary()
        drivers.limiter.subscribe(self)
        drivers.scope.subscribe(self)

    def __iter__(self) -> Iterator[Poller]:
        """All pollers in use."""
        return iter(list(self._pollers.values()))

    def subscribe(self, listener: ContentionListener) -> None:
        """Tell a new poller which pools submits queue for; it hears of changes while it lives."""
        for pool in self._contended:
            listener.on_contention(pool, True)

    def keep(self, poller: Poller, busy: bool) -> None:
        """Take whether a poller has tasks not seen ended: then it lives on though no client uses it."""
        (self._busy.add if busy else self._busy.discard)(poller)

    def on_contention(self, pool: str, contended: bool) -> None:
        """Note whether submits queue for the slots of a pool, and tell the pollers."""
        (self._contended.add if contended else self._contended.discard)(pool)
        for poller in self:
            poller.on_contention(pool, contended)

    def on_loop_replaced(self) -> None:
        """Have the pollers start anew in another loop."""
        for poller in self:
            poller.on_loop_replaced()

    def obtain(self, polling: Polling, retry: Retry, timeouts: Timeouts) -> Poller:
        """Return the poller of these settings, made when first asked for."""
        poller = self._pollers.get(polling)
        if poller is None:
            drivers = self._drivers
            schedule = partial(Schedule, polling, retry, drivers.durations, self._forms, drivers.rng)
            poller = self._pollers[polling] = Poller(
                drivers.scope,
                drivers.hooks,
                StatusReader(drivers.transport, timeouts),
                TaskRegistry(drivers.limiter, drivers.recovery),
                self,
                schedule,
                TaskScheduling(drivers.scope, self.channels),
                drivers.rng,
            )
        return poller


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
        own = self.settings
        poller = self._drivers.pollers.obtain(settings.polling, own.retry, own.timeouts)
        return Engine(self._drivers, settings, poller)

    def looking_after(self, poller: Poller) -> Engine:
        """Return this engine with the poller that already polls a task: only one may."""
        return self if poller is self.poller else Engine(self._drivers, self.settings, poller)

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
    def limiter(self) -> Limiter:
        """The slots."""
        return self._drivers.limiter

    @property
    def packs(self) -> PackReader:
        """Keeps the sizes of the pools in step with the account's packs."""
        return self._drivers.packs

    @property
    def submitter(self) -> Submitter:
        """Runs creates."""
        return self._drivers.submitter

    @property
    def recovery(self) -> Recovery:
        """Creates of unknown fate."""
        return self._drivers.recovery

    @property
    def pollers(self) -> Pollers:
        """All pollers of the account."""
        return self._drivers.pollers

    def set_limits(self, limits: Mapping[str, int | None]) -> None:
        """Change the sizes of pools; those given back (None) are read from the packs again, if in use.

        From any thread.

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
                    (poller, tracked)
                    for poller in self.pollers
                    for tracked in poller
                    if name in (tracked.id, tracked.external_task_id)
                ]
            except RuntimeError:  # the loop's thread added or dropped one meanwhile
                continue

    def nudge(self, name: str) -> bool:
        """Make the next queries about tasks of this id due at once, from any thread; False: there is none."""

        def ask() -> None:
            known = self.known_as(name)
            for poller, tracked in known:
                poller.hinted(tracked)
            if not known:  # a query may have just found its end
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
        endpoint = endpoint_of(request)
        if not checked:
            check(request)
        await check_media(request, self.scope, local=self.local)
        given = options.get("external_task_id")
        name = str(uuid.uuid4()) if given is None else check_id(given, "external_task_id")
        self.packs.start(endpoint.pool)
        return Submission(
            CreateSpec(
                request,
                endpoint,
                name,
                generated=given is None if generated is None else generated,
                callback_url=options.get("callback_url"),
            ),
            self.poller,
            self.settings,
            hooks=hooks,
            earlier=earlier,
            priority=options.get("priority", 0),
            label=options.get("label", ""),
            queue_timeout=options.get("queue_timeout"),
        )


async def _read_packs(transport: Transport, timeouts: Timeouts, query: Mapping[str, str]) -> Iterable[Pack]:
    """Ask for the account's packs once: the next reading comes soon enough by itself."""
    verdict = await transport.read("GET", ACCOUNT_COSTS.path, params=query, timeouts=timeouts)
    if isinstance(verdict, Got):
        return answer_of(ACCOUNT_COSTS, verdict).packs
    raise not_found(verdict, "") if isinstance(verdict, Missing) else verdict.error
