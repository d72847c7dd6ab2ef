"""The emulator as users hold it: one account, its server, and the means to steer both."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self

from kling_async.emulator.http.auth import Keys
from kling_async.emulator.http.courier import Courier
from kling_async.emulator.http.dispatch import Dispatcher
from kling_async.emulator.http.faults import Fault, Faults
from kling_async.emulator.http.gateway import Gateway, GatewayFront
from kling_async.emulator.http.media_host import MediaHost
from kling_async.emulator.http.routes import Routes
from kling_async.emulator.http.server import Server
from kling_async.emulator.http.webhook_signing import WebhookSigner
from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.state.account import EmulatedAccount
from kling_async.emulator.state.clock import Clock
from kling_async.emulator.state.ledger import Ledger
from kling_async.emulator.state.prompt_words import PROMPT_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from kling_async.emulator.state.durations import Duration
    from kling_async.emulator.state.items import LibraryItem
    from kling_async.emulator.state.ledger import SentCallback
    from kling_async.emulator.state.packs import Pack
    from kling_async.emulator.state.tasks import Ending, Task

__all__ = ["Emulator"]

LOOPBACK: Final = ("127.0.0.1", "::1")


class Emulator:
    """A Kling API with one account, served on loopback by the running event loop.

    The emulator judges requests by its own copy of the vendor's reference, limits the slots, lets tasks take
    a realistic time, serves playable results, finds earlier results that later calls name, and keeps a ledger
    of all requests. Time is the event loop's: with a virtual clock, minutes pass at once. Words in a prompt,
    or in any other text of a request, steer a task: ``emulator:refuse`` (the content check refuses the
    create), ``emulator:fail`` (the task ends as failed), ``emulator:seconds=12`` (the task takes 12 s,
    whatever the speed). A task fails if an address among its inputs names no public host: the vendor fetches
    files only after it has accepted the request. Each change of a task's status is posted to the
    ``callback_url`` of its create, if that is a loopback address.

    Args:
        slots: Slots of each pool. For a pool that is not listed the account has no pack: code 1102.
        speed: Factor by which tasks are faster than the vendor's.
        seed: Equal seeds give equal ids, durations and pictures.
        api_key: None for an account without one, as for ``access_key`` and ``secret_key``.
        access_key: Access key of the key pair.
        secret_key: Secret key of the key pair.
        packs: Resource packs to show; None for packs that bring exactly the slots.
        foreign: Slots per pool that somebody else holds.
        prefix: Path in front of all paths, such as ``/kling``.
        units: Units left per pool; a pool that is not listed never runs out.
        webhook_secret: Secret that signs callbacks, ``whsec_...``; several as during a rotation; None: they
            are not signed.
        callback_delay: Seconds between a change of a task's status and its callback.
        gateway: A `Gateway` in front of the API, with its own ids and forms of answers; None: none.
        now: Wall clock in seconds since 1970, read at the start; from then on the event loop's clock counts.
        host: A loopback address.
        port: 0 for a free one.

    Raises:
        ValueError: The host is not a loopback address, the speed is not above 0, or a webhook secret is not
            ``whsec_`` and Base64.
    """

    def __init__(
        self,
        *,
        slots: Mapping[str, int] | None = None,
        speed: float = 1.0,
        seed: int = 0,
        api_key: str | None = "emulator-key",
        access_key: str | None = "emulator-access",
        secret_key: str | None = "emulator-secret-of-32-bytes-or-more",  # noqa: S107 - opens nothing
        packs: Sequence[Pack] | None = None,
        foreign: Mapping[str, int] | None = None,
        prefix: str = "",
        units: Mapping[str, float] | None = None,
        webhook_secret: str | Sequence[str] | None = None,
        callback_delay: float = 0.0,
        gateway: Gateway | None = None,
        now: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if host not in LOOPBACK:
            raise ValueError(f"the emulator listens on loopback only, not on {host}")
        if speed <= 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self._keys = Keys(api_key, access_key, secret_key)
        self.ledger = Ledger()
        self.faults = Faults()
        self._host, self._port, self._seed = host, port, seed
        self._prefix = prefix.rstrip("/")
        self._clock = Clock(now)
        self._media = MediaHost(f"{seed} media")
        self._courier = Courier(
            self._clock, self.ledger, self.faults, self._media.urls, seed=seed, delay=callback_delay
        )
        self._courier.signer = WebhookSigner.of(webhook_secret)
        self._account = EmulatedAccount(
            self._clock,
            self.ledger,
            slots=REFERENCE.default_slots if slots is None else slots,
            foreign=foreign or {},
            units=units or {},
            packs=packs,
            speed=speed,
            seed=seed,
            on_change=self._courier.announce,
        )
        self._front = GatewayFront(gateway, self._clock, self._account.tasks.by_id)
        self._server: Server | None = None

    def __repr__(self) -> str:
        where = self.url if self._server is not None else "stopped"
        return f"<Emulator {where} {self._account.pools!r} {len(self.tasks)} tasks>"

    async def start(self) -> None:
        """Listen, and let the emulator's time run.

        After a `stop` the emulator listens again on the same port, with the same tasks: as after an outage.

        Raises:
            RuntimeError: The emulator runs already.
        """
        if self._server is not None:
            raise RuntimeError("the emulator runs already")
        self._clock.start()
        routes = Routes(REFERENCE.endpoints.values(), self._prefix)
        dispatcher = Dispatcher(self._account, self._keys, self._media)
        server = Server(self._clock, self.ledger, self.faults, dispatcher, routes, self._front, self._seed)
        self._port = await server.start(self._host, self._port)
        self._server = server
        self._media.base_url = self.url
        self._courier.start()
        self._account.tasks.resume()

    async def stop(self) -> None:
        """Stop at once: cut the connections of waiting requests; running tasks keep their status.

        Callbacks that are not sent yet are lost.
        """
        self._account.tasks.suspend()
        await self._courier.stop()
        if self._server is not None:
            await self._server.stop()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL, with the prefix."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}{self._prefix}"

    @property
    def api_key(self) -> str | None:
        """The account's API key."""
        return self._keys.api_key

    @property
    def access_key(self) -> str | None:
        """Access key of the key pair."""
        return self._keys.access_key

    @property
    def secret_key(self) -> str | None:
        """Secret key of the key pair."""
        return self._keys.secret_key

    def env(self) -> dict[str, str]:
        """Return the environment variables that point a client to this emulator."""
        env = {"KLING_BASE_URL": self.url}
        if self.api_key is not None:
            return env | {"KLING_API_KEY": self.api_key}
        return env | {"KLING_ACCESS_KEY": self.access_key or "", "KLING_SECRET_KEY": self.secret_key or ""}

    def banner(self) -> str:
        """Return a text for the person who started the emulator: address, slots, keys, steering words."""
        pools = ", ".join(f"{pool} {size}" for pool, size in self._account.pools.sizes.items())
        lines = [f"Kling emulator at {self.url}", f"slots: {pools}"]
        lines += [f"export {name}={value}" for name, value in self.env().items()]
        if self.api_key is not None and self.access_key is not None:
            pair = f"KLING_ACCESS_KEY={self.access_key} KLING_SECRET_KEY={self.secret_key}"
            lines.append(f"or, for clients that sign tokens: {pair}")
        lines.append(
            f"callbacks: to loopback addresses, {'signed' if self._courier.signer.keys else 'unsigned'}"
        )
        lines += [f"in a prompt, {word}: {effect}" for word, effect in PROMPT_WORDS.items()]
        return "\n".join(lines)

    # --- the account ---------------------------------------------------------------------------

    @property
    def tasks(self) -> dict[str, Task]:
        """All tasks by task_id."""
        return self._account.tasks.by_id

    @property
    def units(self) -> dict[str, float]:
        """Units left per pool; may be changed. A pool with 0 answers creates with code 1102."""
        return self._account.wallet.left

    @property
    def packs(self) -> Sequence[Pack] | None:
        """Resource packs to show, None for packs that bring exactly the slots; may be set."""
        return self._account.packs

    @packs.setter
    def packs(self, packs: Sequence[Pack] | None) -> None:
        self._account.packs = packs

    @property
    def account_code(self) -> int | None:
        """Code that answers every create, such as 1100 or 1101; 1304 answers every request."""
        return self._account.code

    @account_code.setter
    def account_code(self, code: int | None) -> None:
        self._account.code = code

    @property
    def forbidden_models(self) -> set[str]:
        """Models to which the account has no right (code 1103); may be changed."""
        return self._account.forbidden_models

    @property
    def skew(self) -> float:
        """Seconds by which the server's wall clock is ahead, in tokens and the Date header."""
        return self._clock.skew

    @skew.setter
    def skew(self, seconds: float) -> None:
        self._clock.skew = seconds

    def set_foreign(self, pool: str, slots: int) -> None:
        """Let somebody else hold ``slots`` slots of a pool, invisibly."""
        self._account.pools.foreign[pool] = slots

    def resize(self, pool: str, slots: int) -> None:
        """Change the size of a pool, as when a pack is bought or ends."""
        self._account.pools.resize(pool, slots)

    def set_duration(self, duration: Duration | None) -> None:
        """Fix the duration of new tasks, in seconds, by a number or a function of the task.

        A fixed duration is not divided by the speed. None restores realistic durations.
        """
        self._account.pace.fixed = duration

    def know(self, *items: LibraryItem) -> None:
        """Add items to the account's library that were not made here, such as videos of ended models.

        ``know(Clip(id="743211632612511839", seconds=10))``. Requests that name an unknown id are refused.
        """
        for item in items:
            self._account.library.add(item)

    def finish(self, task_id: str, status: Ending = "succeed", message: str = "") -> None:
        """End a task now, as succeeded or failed; ``message`` says why it failed."""
        self._account.tasks.finish(self.tasks[task_id], status, message)

    def expire_links(self) -> None:
        """Make every media URL given so far invalid (403); later queries give new ones."""
        self._media.expire()

    def pad_files(self, size: int) -> None:
        """Make every media file at least ``size`` bytes long, for tests of long downloads."""
        self._media.pad(size)

    # --- callbacks -----------------------------------------------------------------------------

    def set_webhook_secret(self, secret: str | Sequence[str] | None) -> None:
        """Sign callbacks from now on with other secrets, as after a rotation; None: sign none.

        Raises:
            ValueError: A secret is not ``whsec_`` and Base64.
        """
        self._courier.signer = WebhookSigner.of(secret)

    async def send_test_callback(self, url: str) -> SentCallback:
        """Send the test callback of the vendor's console to an address; return its row in the ledger."""
        return await self._courier.send_test(url)

    async def drain_callbacks(self) -> None:
        """Wait until all callbacks under way have been sent and answered, late ones included."""
        await self._courier.drain()

    def fault(self, on: str, **fields: Any) -> None:
        """Arm a `Fault` given by its fields: ``fault("create", status=503, code=5001, times=2)``."""
        self.faults.add(Fault(on, **fields))
