"""Client of one account: its public methods, each a thin call of `kling_async.orchestrator`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import msgspec

from kling_async.account import Account
from kling_async.batch.batch import Batch
from kling_async.batch.options import BatchOptions, resume_options
from kling_async.errors import QueueTimeout, TransportError
from kling_async.http.auth import base_url_from, signer_from
from kling_async.http.own_files import OwnFiles
from kling_async.http.sessions import Sessions
from kling_async.options import Polling, Retry, Settings, SlotOptions, Timeouts, check_types, need_function
from kling_async.orchestrator import calls
from kling_async.orchestrator.callback_intake import CallbackIntake
from kling_async.orchestrator.create_spec import checked_callback
from kling_async.orchestrator.discovery import discover
from kling_async.orchestrator.draining import drain
from kling_async.orchestrator.engine import Drivers, Engine
from kling_async.orchestrator.handles import attach, known_tasks, order
from kling_async.orchestrator.history import History, history_query
from kling_async.orchestrator.ledger.opening import new_limiter
from kling_async.orchestrator.leftovers import ClientHold, noted, sent_words
from kling_async.orchestrator.submission import Submission
from kling_async.prices import Estimate, estimate
from kling_async.runtime.loop import within
from kling_async.stats import Stats, state_words, stats_of
from kling_async.tasks import Task
from kling_async.wire.dialects.translate import Dialects
from kling_async.wire.hosts import is_local
from kling_async.wire.requests import CallRequest, TaskRequest

if TYPE_CHECKING:
    import datetime as dt
    import random
    import ssl as ssl_module
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    import aiohttp

    from kling_async.batch.options import BatchArguments, ResumeArguments
    from kling_async.batch.source import Requests
    from kling_async.events import Event
    from kling_async.options import SubmitOptions
    from kling_async.orchestrator.history import HistoryOf
    from kling_async.orchestrator.submission import Unresolved
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.records import TaskRecord
    from kling_async.wire.dialects.dialect import DialectName

__all__ = ["Client"]

R = TypeVar("R")


class Client:
    """A client of one Kling account. Make one for the life of the process; it is cheap.

    Enter it with ``async with``, or use it bare and ``await client.aclose()`` at the end (notebooks). It may
    be made outside an event loop and outlive one, but works in one running loop at a time.

    Args:
        api_key: The key from the console. Default: ``KLING_API_KEY``.
        access_key: The first half of a key pair, the older kind of key. Default: ``KLING_ACCESS_KEY``.
        secret_key: The other half. Default: ``KLING_SECRET_KEY``.
        base_url: Address of the API; a path prefix is fine. Default: ``KLING_BASE_URL``, else the host for
            accounts outside China (`kling_async.GLOBAL`; the other one is `kling_async.CHINA`).
        limits: Slots of each pool, ``{"video": 20}``, where you know better than the account's packs. With
            ``{"video/kling-3.0": 5}`` the tasks of that model, of either generation, have slots of their own,
            as the vendor's rules of 2026 word it; see ``stats().models``.
        polling: How often to ask about running tasks.
        retry: How often to repeat requests that are harmless to repeat.
        timeouts: How long one exchange with the server may take.
        queueing: False raises `ConcurrencyExceeded` where the account is full, instead of waiting.
        max_queued: Most submits that may wait for slots at once; the next one raises `QueueFull`.
        label_limits: Most slots of each pool that the tasks of a label may hold together, ``{"free": 2}``; at
            its limit a label waits, and others pass. Labels that are not named may hold any number.
        max_units: Most units that this client's tasks may cost, for each pool or as ``{"video": 100}``. A
            submit that could pass the limit raises `UnitLimitReached`. The most that a task can cost is
            reserved, and settled by what it did cost once its end was seen. Batches keep a limit of their
            own; their units count here, too.
        slots: Where the account's slots are kept. Default: in this process's memory. With
            ``"sqlite:///run/app/kling.db"`` (that is ``/run/app/kling.db``) all processes of this machine
            that name the file share them, with the queue, the limits and the status queries. Each makes its
            own client. The file must lie on a local disk. Beside it lie a lock and a socket of each process.
            With ``"postgresql://user:password@host/database"``, or ``"host=... dbname=..."``, processes on
            many machines share them, in the schema ``kling_slots``; this needs ``kling_async[fleet]``.
            ``#NAME`` behind an address names the account, for all its keys: by default each key has slots of
            its own. Of several hosts, ``host=a,b``, the one that can be written is used.
        session: Your own aiohttp session, which you close. Requests to the API use it; downloads use its
            connections, without its headers and cookies.
        proxy: Address of an HTTP proxy.
        ssl: An SSL context, or False to trust any certificate, as in aiohttp.
        trust_env: Let aiohttp take proxies from the environment.
        headers: Sent with every request to the API, not with downloads.
        max_task_life: Seconds after which the slots of a task stop counting, seen ended or not.
        now: The wall clock, seconds since 1970.
        rng: Source of jitter.
        on_event: Called with every `Event`. Must be quick; an exception in it is logged.
        callback_url: Address to which the vendor posts every change of status of the tasks created here, for
            a `kling_async.webhooks.CallbackReceiver`. It is not put on a `RawTask`.
        dialect: Language of the server: that of a gateway is learned from the first task that it shows
            (``auto``), or named: ``vendor``, ``envelope`` (a gateway with the vendor's forms), ``new-api``,
            ``flat``. Nobody can notice a gateway that drops fields silently.

    Raises:
        ConfigurationError: Credentials, addresses or limits cannot work; the message says what to set.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        base_url: str | None = None,
        limits: Mapping[str, int] | None = None,
        polling: Polling = Polling(),
        retry: Retry = Retry(),
        timeouts: Timeouts = Timeouts(),
        queueing: bool = True,
        max_queued: int = 10_000,
        label_limits: Mapping[str, int] | None = None,
        max_units: float | Mapping[str, float] | None = None,
        slots: str | None = None,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool | None = None,
        trust_env: bool = False,
        headers: Mapping[str, str] | None = None,
        max_task_life: float = 7200,
        now: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        on_event: Callable[[Event], object] | None = None,
        callback_url: str | None = None,
        dialect: DialectName = "auto",
    ) -> None:
        check_types(locals())  # first of all: here locals() are the arguments and nothing else
        address = base_url_from(base_url)
        # addresses in results are untrusted: files come from this machine only if the API does too
        local = is_local(address)
        settings = Settings(
            polling=polling,
            retry=retry,
            timeouts=timeouts,
            callback_url=checked_callback(callback_url, local=local),
            model_pools=frozenset(name for name in limits or () if "/" in name),
        )
        signer, dialects = signer_from(api_key, access_key, secret_key), Dialects(dialect, address)
        own = OwnFiles(address, signer, dialects)
        drivers = Drivers(
            signer,
            address,
            settings,
            SlotOptions(limits, queueing, max_queued, max_task_life, label_limits, max_units, slots),
            new_limiter=new_limiter,
            sessions=lambda scope: Sessions(
                scope,
                session=session,
                proxy=proxy,
                ssl=ssl,
                trust_env=trust_env,
                local_files=local,
                own_files=own,
            ),
            headers=headers,
            dialects=dialects,
            now=now,
            rng=rng,
            on_event=on_event,
        )
        engine = Engine(drivers, settings)
        self._use(address, engine, ClientHold(engine))

    def _use(self, base_url: str, engine: Engine, hold: ClientHold) -> None:
        self.base_url = base_url
        self._engine = engine
        self._hold = hold
        self.account = Account(engine)
        self.callbacks = CallbackIntake(engine)
        """Takes callbacks that come by other ways than a `kling_async.webhooks.CallbackReceiver`."""

    def with_options(
        self,
        *,
        timeouts: Timeouts | None = None,
        polling: Polling | None = None,
        retry: Retry | None = None,
    ) -> Client:
        """Return a client with other settings that shares this one's session, slots and life."""
        given = {"timeouts": timeouts, "polling": polling, "retry": retry}
        given = {name: value for name, value in given.items() if value is not None}
        check_types(given)
        settings = msgspec.structs.replace(self._engine.settings, **given)
        return _DerivedClient(self.base_url, self._engine.with_settings(settings), self._hold)

    async def __aenter__(self) -> Self:
        self._engine.scope.enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self, *, grace: float = 0.0) -> None:
        """Close the client; harmless to repeat.

        Creates on their way get 5 s to end; waiting calls raise `ClientClosed`; running tasks run on.

        Args:
            grace: Seconds that creates, waits for running tasks, and downloads get to end first. Nothing more
                is admitted meanwhile: what queues, or is submitted, raises `ClientClosed`. Another
                ``aclose()`` ends it.
        """
        try:
            if grace > 0:
                await drain(self._engine, grace)
        finally:
            await self._engine.close()

    def __repr__(self) -> str:
        return f"<Client {self.base_url} {state_words(self._engine)}>"

    # -- tasks

    async def enqueue(self, request: TaskRequest[R], **options: Unpack[SubmitOptions]) -> Task[R]:
        """Check a request and put it in the queue; return the handle of its task at once.

        The task's status is ``queued`` until the vendor has accepted it. It goes on whether or not anybody
        waits; how it ends is told by `Task.accepted`, `Task.wait` and `Task.download`. An end without a task
        that nobody waits for is a warning in the log; `attach` by its id finds it for 10 minutes.

        The queue is memory: what is queued ends with this process. After a restart enqueue everything
        unfinished again under its own id with ``if_exists="attach"``: what exists is found, not made again.

        Args:
            request: The request to send.
            **options: The keywords that follow.
            external_task_id: Your own id, unique in the account; the task can be found by it, and it keeps a
                repeated create from being paid twice. Default: a random one.
            if_exists: With an id that a task has already, here or in the account: ``"error"``, the default,
                raises `ExternalIdTaken`; ``"attach"`` takes that task, whatever its state.
            callback_url: Address to which the vendor posts every change of status. Default: the client's, at
                endpoints that are known to take one; "" for none.
            priority: Higher goes first. Default: 0.
            label: Within one priority, labels take turns. Default: "".
            queue_timeout: Seconds to wait for slots; it never cuts short a create on its way. Of calls that
                share an id the longest counts.

        Raises:
            RequestInvalid: The request cannot be right, or its id is that of another one; nothing was sent.
            ExternalIdTaken: This client has a task of that id; `accepted` and `wait` raise it if the account
                has one at another endpoint.
            QueueFull: ``max_queued`` submits wait already.
            UnitLimitReached: The task could cost more than ``max_units`` leaves.
        """
        engine, found = await order(self._engine, request, options)
        if isinstance(found, Submission):
            engine.queue.enqueue(found)
        return Task(engine, found)

    async def submit(self, request: TaskRequest[R], **options: Unpack[SubmitOptions]) -> Task[R]:
        """Check a request, wait for slots, create the task; return when the vendor has accepted it.

        This await is the queue: a full account makes it wait, never fail. Cancelled while it queues, it
        leaves the queue, unless somebody else waits for the same id. Cancelling it does not cancel a create
        that was sent; the task then appears in `tasks()`.

        Args:
            request: The request to send.
            **options: As for `enqueue`.

        Raises:
            RequestInvalid: The request cannot be right; nothing was sent.
            QueueTimeout: No slot was free in time; nothing was created.
            APIError: The vendor refused the request.
            AmbiguousCreate: The create's answer was lost and the task could not be looked up; see
                `unresolved`.
        """
        return await self._made(*await order(self._engine, request, options))

    async def _made(self, engine: Engine, found: Submission | TrackedTask) -> Task[Any]:
        """Wait until a task exists; one that only this call wants leaves the queue with it."""
        if isinstance(found, Submission):
            with noted(lambda: sent_words(found)):
                return Task(engine, await engine.queue.submit(found))
        return Task(engine, found)

    @overload
    async def run(
        self,
        request: TaskRequest[R],
        *,
        timeout: float | None = None,
        on_task: Callable[[Task[R]], object] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> R: ...

    @overload
    async def run(self, request: CallRequest[R], *, timeout: float | None = None) -> R: ...

    async def run(
        self,
        request: TaskRequest[R] | CallRequest[R],
        *,
        timeout: float | None = None,
        on_task: Callable[[Task[R]], object] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> R:
        """Submit a request and wait for its result; or, for a `CallRequest`, call.

        Args:
            request: The request to send.
            timeout: Seconds for queue, task and result together.
            on_task: Called with the task once it exists.
            **options: As for `submit`.

        Raises:
            TaskTimeout: The task exists and runs on.
            QueueTimeout: The task was not created.
            KlingError: As for `submit` and `Task.wait`.
        """
        need_function("on_task", on_task)
        task: Task[R] | None = None
        submission: Submission | None = None
        with within(timeout):
            if isinstance(request, CallRequest):
                return await self.call(request)
            handle = await order(self._engine, request, options)
            submission = handle.of if isinstance(handle.of, Submission) else None
            task = await self._made(*handle)
            if on_task is not None:
                on_task(task)
            return await task.wait()
        # reached only out of time: every other way out of the block returns or raises
        if task is not None:
            raise task.tracked.timed_out(timeout or 0.0)
        if submission is not None:
            raise submission.out_of_time(timeout or 0.0)
        if not isinstance(request, CallRequest):  # while it was checked
            raise QueueTimeout(options.get("external_task_id") or "", timeout or 0.0)
        # of a call: how far it came is not known, so it counts as sent
        raise TransportError(f"no answer within {timeout or 0.0:g} s", sent=True)

    @overload
    def attach(self, kind: type[TaskRequest[R]] | TaskRequest[R], *, task_id: str) -> Task[R]: ...

    @overload
    def attach(self, kind: type[TaskRequest[R]] | TaskRequest[R], *, external_task_id: str) -> Task[R]: ...

    def attach(
        self,
        kind: type[TaskRequest[R]] | TaskRequest[R],
        *,
        task_id: str | None = None,
        external_task_id: str | None = None,
    ) -> Task[R]:
        """Return a handle on a task made elsewhere or earlier, by either id. Nothing is sent yet.

        A task then found running holds its slots here too. An id from a user of yours proves nothing: check.

        Args:
            kind: The endpoint's request type, ``v1.TextToVideo``, or the request that the task was made from.
            task_id: The vendor's id.
            external_task_id: The id that the create carried.

        Raises:
            RequestInvalid: Not exactly one id, or one that could name another path.
        """
        return Task(*attach(self._engine, kind, task_id=task_id, external_task_id=external_task_id))

    async def find(self, id: str) -> Task[Any]:  # noqa: A002 - either of a task's ids
        """Return a handle on a task of which only an id is known, not the endpoint; ``/tasks`` knows it.

        Costs some 3 to 25 free queries. Where the endpoint is known, `attach` costs none.

        Args:
            id: The task_id or external_task_id.

        Raises:
            RequestInvalid: The id could name another path.
            ConfigurationError: The client has a key pair; ``/tasks`` takes an API key only.
            TaskNotFound: The account has no such task, or its endpoint is not known to this version.
        """
        return Task(*await discover(self._engine, id))

    def tasks(self) -> list[Task[Any]]:
        """Return the tasks this client has seen running and not yet seen ended, then those that queue."""
        return [Task(*handle) for handle in known_tasks(self._engine)]

    def nudge(self, id: str) -> bool:  # noqa: A002 - either of a task's ids
        """Ask about a task at once, if a call waits for it: there is a hint that it has changed.

        Made for callbacks, which are hints unless their signature was checked; fewer queries are sent as they
        prove reliable. Repeated and late calls are harmless. From any thread; with no loop, in the next one.

        Args:
            id: The task_id or external_task_id.

        Returns:
            Whether this client tracks a task of that id.
        """
        return self._engine.nudge(id)

    def set_limits(self, limits: Mapping[str, int | None]) -> None:
        """Change the sizes of pools at once, as ``Client(limits=...)`` does; None: by packs, or by trying.

        What queues and is heavier fails with `RequestInvalid`. May be called from any thread. Pools of single
        models are those that the client was made with.

        Raises:
            ConfigurationError: A size or a pool is wrong; nothing was changed.
        """
        self._engine.set_limits(limits)

    def stats(self) -> Stats:
        """Return numbers of what this client has done and is doing. Cheap; nothing is sent."""
        return stats_of(self._engine, self.account.limits())

    def unresolved(self) -> list[Unresolved]:
        """Return the creates whose answer was lost: their tasks may exist, and their slots are held."""
        self._engine.scope.refresh()
        return self._engine.recovery.entries()

    def abandon(self, external_task_id: str) -> bool:
        """Give up a create of unknown fate and free its slots; return False if there is none of that id.

        If its task exists, it runs on and is billed, and the account may refuse another create until it ends.
        May be called from any thread; with no loop running it acts in the next one.
        """
        return self._engine.abandon(external_task_id)

    async def list(
        self, kind: type[TaskRequest[Any]], *, page: int = 1, page_size: int = 30
    ) -> list[TaskRecord]:
        """Return one page of an endpoint's tasks, newest first; a page shorter than asked for is the last.

        Args:
            kind: The endpoint's request type, ``v1.TextToVideo``.
            page: From 1 to 1000.
            page_size: From 1 to 500.
        """
        return await calls.list_page(self._engine, kind, page, page_size)

    def history(
        self,
        *,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        status: str | Sequence[str] | None = None,
        product_type: str | Sequence[str] | None = None,
        of: HistoryOf = "tasks",
    ) -> AsyncIterator[TaskRecord]:
        """Iterate over the tasks of the whole account, made by anybody, in either generation of the API.

        No answer names the endpoint: `attach` with the type of the request makes a handle out of a task_id.

        Args:
            start: Begin with tasks made at this time; aware. Default: 30 days before the end.
            end: End with tasks made before this time; aware. Default: now.
            status: ``submitted``, ``processing``, ``succeeded``, ``failed``, or several of them.
            product_type: ``video``, ``image``, ``try_on``, or several of them.
            of: ``solutions`` for the tasks of these products, which the vendor keeps in a list of their own.

        Raises:
            RequestInvalid: Names the arguments that cannot be right.
            ConfigurationError: The client has a key pair: the list takes an API key.
            BadResponse: While iterating: the vendor says that there is more, but not where.
        """
        query = history_query(of, start=start, end=end, status=status, product_type=product_type)
        return History(self._engine, of, query)

    def batch(self, requests: Requests[R], **options: Unpack[BatchArguments]) -> Batch[R]:
        """Return many requests as one job: ``async with`` it, then ``async for`` its outcomes as they come.

        Args:
            requests: Any iterable or async iterable, endless if need be, of requests or (key, request). An
                item that is neither is a failed outcome of its own; an error while iterating ends the input.
            **options: The keywords that follow.
            journal: A file that makes the batch durable: the same call resumes it after any end, also after
                a kill; nothing is made or paid twice. Its folder is made if needed. Default: none.
            download_to: A folder for the files. Default: files are not fetched.
            name: How to name files, as for `Task.download`, with ``{index}`` the request's position when the
                journal first saw the job (if it knew another job there, more is added). Default:
                ``"{index}-{task_id}"``.
            watermarked: Fetch the marked copies instead. Default: False.
            sidecar: Write a JSON file with what is known of the task beside each file. Default: False.
            refetch: Fetch files again that an earlier run stored and that are gone or changed; False: they
                may be moved away. Default: True.
            max_units: Make no more tasks once spent and reserved units would pass this: one number for each
                pool, or numbers by pool. With a journal, all runs together count. Default: no limit.
            price: Returns what a request costs at most, in units, where you know better than `estimate`; None
                where you do not.
            on_error: ``"collect"``: a failure is an outcome like any other; ``"stop"``: after the first one
                no more tasks are made; ``"raise"``: its error is raised besides. Default: ``"collect"``.
            retries: How many new tasks to make for one whose task failed, unless by moderation or bad
                input. Each may be billed. Default: 0.
            retry_failed: Try again what earlier runs wrote down as failed: True, or a function of the
                outcome that says which. It may be billed again. Default: False.
            stop_after_refusals: After so many equal refusals of different requests in a row, none accepted
                between, or where the client holds such creates (``stats().holds``), no more tasks of that
                endpoint and model are made; the rest goes on. None: never, held ones wait. Default: 10.
            job_timeout: Seconds from acceptance, or a resumed run's begin, after which a task that still runs
                makes an outcome with `TaskTimeout`. Default: ``max_task_life``, if the vendor answers then.
            order: ``"longest"`` reads the whole input and begins with the longest tasks, which shortens the
                end; ``"given"``: as it comes. Default: ``"given"``.
            priority: As for `submit`. Default: 0.
            label: As for `submit`, or a function of the request; the report adds up costs by it.
            ahead: How many requests to hold at once. Default: twice the slots, at least 16.
            downloads: How many files to fetch at once. Default: the client's four.
            source_thread: Whether a generator, a file or another input that may block is read in a thread of
                its own (sequences, sets and dict views never are); False for objects bound to the thread that
                made them, as sqlite3 cursors: while they block, so does the event loop. Default: True.
            signals: Whether SIGINT and SIGTERM end the batch in good order, where the program has no
                handlers for them. Default: True.
            progress: Gets the batch's `Progress` while it runs, at most ten times a second, and at its end: a
                function, which must be quick, or a bar of tqdm. ``results.progress()`` gives it at any time.

        Raises:
            RequestInvalid: Names the options that cannot be used.
        """
        return Batch(self._engine, requests, BatchOptions(**options))

    def resume(self, journal: str | Path, **options: Unpack[ResumeArguments]) -> Batch[Any]:
        """Return the unfinished jobs of a batch's journal as a batch, without its input; nothing is made.

        Running tasks are waited for, creates in doubt looked up, missing files fetched. Finished jobs are
        counted, without an outcome. Jobs without a task are skipped (`Report.skipped`): the journal holds
        only fingerprints of requests.

        Args:
            journal: The file.
            **options: As for `batch`: ``download_to``, ``name``, ``watermarked``, ``sidecar``, ``refetch``,
                ``on_error``, ``ahead``, ``downloads``, ``signals``, ``progress``.

        Raises:
            RequestInvalid: Names the options that cannot be used.
        """
        return Batch(self._engine, (), resume_options(journal, options), journal_only=True)

    def check(self, request: TaskRequest[Any] | CallRequest[Any]) -> None:
        """Check a request as `submit` does, the first bytes of its files included; nothing is sent or paid.

        Raises:
            RequestInvalid: The request cannot be right; every wrong field is named.
        """
        calls.check_here(self._engine, request)

    def estimate(self, request: TaskRequest[Any] | CallRequest[Any]) -> Estimate:
        """Return what a request will cost by the vendor's price pages; nothing is sent or paid."""
        return estimate(request)

    # -- calls

    async def call(self, request: CallRequest[R]) -> R:
        """Send a request that is answered at once; return its typed answer.

        Raises:
            RequestInvalid: The request cannot be right; nothing was sent.
            APIError: The vendor refused it.
        """
        return await calls.call(self._engine, request)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """Send anything to the API, signed; return the answer's ``data`` as plain objects.

        A GET is repeated as `Retry` says; anything else is sent once, since a repetition might be paid twice.
        The request takes no slots: for tasks of an endpoint without types, use `RawTask`.
        """
        return await calls.request(self._engine, method.upper(), path, json=json, params=params)


class _DerivedClient(Client):
    """A client of `Client.with_options`: settings of its own, everything else shared."""

    def __init__(self, base_url: str, engine: Engine, hold: ClientHold) -> None:
        self._use(base_url, engine, hold)
