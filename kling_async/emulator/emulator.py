"""The emulator as its users hold it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self

from kling_async.emulator.http.auth import Keys
from kling_async.emulator.http.faults import Fault, Faults
from kling_async.emulator.http.media_host import Downloads
from kling_async.emulator.http.routes import Routes
from kling_async.emulator.http.server import Server
from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.state.account import PROMPT_WORDS, Account, Duration
from kling_async.emulator.state.clock import Clock
from kling_async.emulator.state.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from kling_async.emulator.state.library import Thing
    from kling_async.emulator.state.packs import Pack
    from kling_async.emulator.state.tasks import Ending, Task

__all__ = ["Emulator"]

LOOPBACK: Final = ("127.0.0.1", "::1")


class Emulator:
    """A Kling API of one account, on loopback, in the running event loop.

    It judges requests by its own copy of the vendor's reference, holds slots, lets tasks take their time,
    serves playable results, knows what it made when later calls name it, and keeps a ledger of all it was
    asked. Time is the event loop's: on a virtual clock, minutes pass at once. Words in a prompt, or in any
    other text of a request, steer a task: ``emulator:refuse`` (the content check refuses the create),
    ``emulator:fail`` (the task ends as failed), ``emulator:seconds=12``.

    Args:
        slots: Size of each pool. A pool not named is one the account has no pack for: code 1102.
        speed: Tasks run so many times faster than the vendor's.
        seed: Ids, durations and pictures follow from it.
        api_key: None for an account without one. Likewise the pair of ``access_key`` and ``secret_key``.
        packs: Resource packs shown; None for packs that bring exactly the slots.
        foreign: Slots per pool that somebody else holds.
        prefix: Path in front of all paths, such as ``/kling``.
        units: Units left per pool; a pool not named never runs out.
        now: Wall clock, read once at the start; from then on it moves with the loop's.
        host: A loopback address.
        port: 0 for any free one.
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
        now: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if host not in LOOPBACK:
            raise ValueError(f"the emulator listens on loopback only, not on {host}")
        if speed <= 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self.api_key, self.access_key, self.secret_key = api_key, access_key, secret_key
        self.ledger = Ledger()
        self.faults = Faults()
        self._host, self._port, self._seed = host, port, seed
        self._prefix = prefix.rstrip("/")
        self._clock = Clock(now)
        self._downloads = Downloads(f"{seed} media")
        self._account = Account(
            self._clock,
            self.ledger,
            slots=REFERENCE.default_slots if slots is None else slots,
            foreign=foreign or {},
            units=units or {},
            packs=packs,
            speed=speed,
            seed=seed,
        )
        self._server: Server | None = None

    def __repr__(self) -> str:
        where = self.url if self._server is not None else "stopped"
        return f"<Emulator {where} {self._account.pools!r} {len(self.tasks)} tasks>"

    async def start(self) -> None:
        """Listen; from here on the emulator's time runs.

        After a `stop` it listens again on the same port and knows all it knew: an outage.
        """
        if self._server is not None:
            raise RuntimeError("the emulator runs already")
        self._clock.start()
        keys = Keys(self.api_key, self.access_key, self.secret_key)
        routes = Routes(REFERENCE.endpoints.values(), self._prefix)
        server = Server(
            self._clock, self._account, self.ledger, self.faults, self._downloads, keys, routes, self._seed
        )
        self._port = await server.start(self._host, self._port)
        self._server = server
        self._downloads.base_url = self.url
        self._account.tasks.resume()

    async def stop(self) -> None:
        """Stop at once: hanging requests are cut, running tasks stay as they are."""
        self._account.tasks.suspend()
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
        """The base URL, prefix included."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}{self._prefix}"

    def env(self) -> dict[str, str]:
        """Return the environment that points the client here."""
        env = {"KLING_BASE_URL": self.url}
        if self.api_key is not None:
            return env | {"KLING_API_KEY": self.api_key}
        return env | {"KLING_ACCESS_KEY": self.access_key or "", "KLING_SECRET_KEY": self.secret_key or ""}

    def banner(self) -> str:
        """Return what a person wants to know who started it, as lines."""
        pools = ", ".join(f"{pool} {size}" for pool, size in self._account.pools.sizes.items())
        lines = [f"Kling emulator at {self.url}", f"slots: {pools}"]
        lines += [f"export {name}={value}" for name, value in self.env().items()]
        lines += [f"in a prompt, {word}: {effect}" for word, effect in PROMPT_WORDS.items()]
        return "\n".join(lines)

    # --- the account ---------------------------------------------------------------------------

    @property
    def tasks(self) -> dict[str, Task]:
        """All tasks by task_id."""
        return self._account.tasks.by_id

    @property
    def units(self) -> dict[str, float]:
        """Units left per pool, to be changed at will; 0 answers creates with 1102."""
        return self._account.units

    @property
    def packs(self) -> Sequence[Pack] | None:
        """The resource packs shown, None for packs that bring exactly the slots; may be set."""
        return self._account.packs

    @packs.setter
    def packs(self, packs: Sequence[Pack] | None) -> None:
        self._account.packs = packs

    @property
    def account_code(self) -> int | None:
        """A code that answers every create, such as 1100 or 1101; 1304 answers every request."""
        return self._account.code

    @account_code.setter
    def account_code(self, code: int | None) -> None:
        self._account.code = code

    @property
    def forbidden_models(self) -> set[str]:
        """Models the account has no right to, to be changed at will: 1103."""
        return self._account.forbidden_models

    @property
    def skew(self) -> float:
        """Seconds by which the server's wall clock is ahead; tokens and the Date header feel it."""
        return self._clock.skew

    @skew.setter
    def skew(self, seconds: float) -> None:
        self._clock.skew = seconds

    def set_foreign(self, pool: str, slots: int) -> None:
        """Let somebody else hold so many slots, unseen."""
        self._account.pools.foreign[pool] = slots

    def resize(self, pool: str, slots: int) -> None:
        """Change a pool's size, as buying a pack or the end of one does."""
        self._account.pools.resize(pool, slots)

    def set_duration(self, duration: Duration | None) -> None:
        """Fix how many seconds new tasks take, by a number or by a function of the task.

        Speed does not change these. None for the realistic durations.
        """
        self._account.duration = duration

    def know(self, *things: Thing) -> None:
        """Let the account have things it did not make here, such as videos of models that ended.

        ``know(Clip(id="743211632612511839", seconds=10))``; an id that nobody made or told is refused.
        """
        for thing in things:
            self._account.library.keep(thing)

    def finish(self, task_id: str, status: Ending = "succeed", message: str = "") -> None:
        """End a task now."""
        self._account.tasks.finish(self.tasks[task_id], status, message)

    def expire_links(self) -> None:
        """Let every media address given so far die (403); a query gives new ones."""
        self._downloads.expire()

    def pad_files(self, size: int) -> None:
        """Make every file served from now on at least so long, in bytes: for what takes its time to come."""
        self._downloads.pad(size)

    def fault(self, on: str, **fields: Any) -> None:
        """Arm a `Fault`, by its fields: ``fault("create", status=503, code=5001, times=2)``."""
        self.faults.add(Fault(on, **fields))
