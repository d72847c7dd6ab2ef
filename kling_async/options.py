"""Settings of a client (polling, retries, time limits of the wire) and options of one submit."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypedDict

import msgspec

from kling_async.errors import ConfigurationError

__all__ = [
    "OptionTypeError",
    "Polling",
    "Retry",
    "Settings",
    "SubmitOptions",
    "Timeouts",
    "check_types",
    "need_function",
    "need_setting",
    "wrong_function",
]


class OptionTypeError(ConfigurationError, TypeError):
    """A setting has a value of a wrong type; the message names both types, with an example."""


class _Kind(NamedTuple):
    """The kind of values that a setting takes."""

    words: str
    fits: Callable[[Any], bool]
    example: str
    optional: bool = True
    """Whether None leaves it at its default."""


def _is_a(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_units(value: Any) -> bool:
    return _is_number(value) or isinstance(value, Mapping)


def wrong_function(value: object) -> str | None:
    """Return why a value cannot be called back; None if it can: everything is called without ``await``."""
    called = getattr(value, "__call__", None)  # noqa: B004 - of an object that is called like a function
    for function in (value, called):
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            return "must be a plain function, not an async one: nobody would await what that returns"
    return None if callable(value) else f"must be callable, not {type(value).__name__}"


def need_function(name: str, value: object) -> None:
    """Check a function that a caller hands over to be called back; None stands for none.

    Raises:
        ConfigurationError: Names it. It is a `TypeError` as well.
    """
    if value is not None and (text := wrong_function(value)) is not None:
        raise OptionTypeError(f"{name} {text}; for example {name}=print")


def _has(method: str) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, type) and callable(getattr(value, method, None))


def _is_ssl(value: Any) -> bool:
    """Tell whether aiohttp may take a value: a context, a fingerprint or a bool, but no path or text."""
    is_other = isinstance(value, str | bytes | int | float) or hasattr(value, "__fspath__")
    return isinstance(value, bool) or not is_other


def _need_kinds(settings: msgspec.Struct) -> None:
    name = type(settings).__name__
    for field, kind in _kinds(type(settings)).items():
        _need_kind(f"{name}({field}=...)", kind, getattr(settings, field))


@functools.cache
def _kinds(kind: type[msgspec.Struct]) -> dict[str, _Kind]:
    """Return the fields of a group of settings: numbers, whole numbers, and flags."""
    found: dict[str, _Kind] = {}
    for field in msgspec.structs.fields(kind):
        words, fits = _FIELD_KINDS[field.type]
        found[field.name] = _Kind(
            words, fits, f"{kind.__name__}({field.name}={field.default})", optional=False
        )
    return found


_FIELD_KINDS: Final[dict[type, tuple[str, Callable[[Any], bool]]]] = {
    int: ("a whole number", _is_count),
    float: ("a number", _is_number),
    bool: ("True or False", _is_a(bool)),
}


def _need_kind(name: str, kind: _Kind, value: object) -> None:
    if (value is None and kind.optional) or kind.fits(value):
        return
    raise OptionTypeError(
        f"{name} must be {kind.words}, not {type(value).__name__}; for example {kind.example}"
    )


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigurationError(message)


class Polling(msgspec.Struct, frozen=True, kw_only=True):
    """Pace of status queries. Seconds, unless said otherwise."""

    min_interval: float = 1.0
    """Rounds of a client are at least this far apart; 0 is allowed."""
    max_interval: float = 15.0
    """Longest pause between two queries about a task whose usual duration is not known yet."""
    request_cost: float = 0.2
    """Price of one status query in idle slot-seconds: a lower price makes queries more frequent."""
    requests_per_second: float = 10
    """Most reads a second, always kept: look-ups of creates in doubt first, then status queries, then
    refreshes and the caller's own; clients that share these settings and slots share it."""

    def __post_init__(self) -> None:
        _need_kinds(self)
        _need(self.min_interval >= 0, "Polling(min_interval=...) must not be negative")
        _need(self.max_interval >= self.min_interval, "Polling(max_interval=...) is below min_interval")
        _need(self.request_cost > 0, "Polling(request_cost=...) must be above 0")
        rate = self.requests_per_second
        _need(0 < rate < math.inf, "Polling(requests_per_second=...) must be above 0 and finite")


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Retries of requests that are harmless to repeat: reads, and creates that surely made nothing.

    A refusal by a full account (1303) is no failure and not counted. The status queries of a waiting task
    are not bounded either: they go on until the waiter's own deadline.
    """

    max_tries: int = 8
    """Tries in all, the first included."""
    base: float = 0.5
    """First pause in seconds; each later one doubles."""
    cap: float = 30.0
    """Longest pause in seconds."""
    resend_lost: bool = False
    """Send a create again whose answer was lost where the server gives no way to look its task up, as some
    gateways: the task may be made and paid twice. Without it the caller gets `AmbiguousCreate`."""

    def __post_init__(self) -> None:
        _need_kinds(self)
        _need(self.max_tries >= 1, "Retry(max_tries=...) must be at least 1")
        _need(0 <= self.base <= self.cap, "Retry(base=...) must lie between 0 and cap")

    def pause(self, failures: int, jitter: float) -> float:
        """Return the pause after so many failures: half to all of a doubling one, by ``jitter`` in [0, 1)."""
        # 2.0 ** 1024 raises OverflowError, and any base above 3e-8 s has reached the default cap by 2 ** 30
        return min(self.cap, self.base * 2.0 ** min(failures, 30)) * (0.5 + jitter / 2)


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one exchange with the server, in seconds."""

    connect: float = 10.0
    """To connect, the TLS handshake included."""
    read: float = 30.0
    """Longest time without a byte from the server, in an answer or a download."""
    total: float = 60.0
    """One whole exchange. Downloads have no such limit."""
    per_megabyte: float = 6.0
    """Added to read and total for each MiB sent: Base64 images make bodies of 10 MB and more. The default
    allows for an uplink of 1.4 Mbit/s."""

    def __post_init__(self) -> None:
        _need_kinds(self)
        for name in ("connect", "read", "total"):
            _need(getattr(self, name) > 0, f"Timeouts({name}=...) must be above 0")
        _need(self.per_megabyte >= 0, "Timeouts(per_megabyte=...) must not be negative")

    def grown(self, body_bytes: int) -> tuple[float, float]:
        """Return (read, total) for a request of that many bytes."""
        more = self.per_megabyte * (body_bytes / 1024 / 1024)
        return self.read + more, self.total + more


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that may differ between clients that share slots."""

    polling: Polling = Polling()
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()
    callback_url: str | None = None
    """Address to which the vendor posts the changes of tasks whose submit names none."""
    model_pools: frozenset[str] = frozenset()
    """Pools of single models, ``video/kling-3.0``, by the ``limits`` that the client was made with."""


class SlotOptions(NamedTuple):
    """The settings of a client that are about slots and the queue for them."""

    limits: Mapping[str, int] | None = None
    """Sizes of pools that the caller knows."""
    queueing: bool = True
    """Whether submits wait for slots; False: a full account refuses them."""
    max_queued: int = 10_000
    """Most submits that may wait."""
    max_task_life: float = 7200.0
    """Seconds after which a held slot stops counting."""
    label_limits: Mapping[str, int] | None = None
    """Most slots of each pool that a label's tasks may hold."""
    max_units: float | Mapping[str, float] | None = None
    """Most units that tasks may cost, for each pool or by pool."""
    slots: str | None = None
    """Names the file or the database in which processes share them; None: the memory of this one."""

    def __repr__(self) -> str:
        """Return no more than this: the address of a database holds its password."""
        return f"<SlotOptions limits={self.limits!r}>"


class SubmitOptions(TypedDict, total=False):
    """Options of one submit: they belong to the call, not to the reusable request."""

    external_task_id: str | None
    """Your own id, unique in the account; default: a random one."""
    callback_url: str | None
    """Address to which the vendor posts every change of status; default: the client's; "" for none."""
    priority: int
    """Submits of higher priority go first; default 0."""
    label: str
    """Labels of one priority take turns; default ""."""
    queue_timeout: float | None
    """Seconds to wait for slots; default: as long as it takes."""
    if_exists: Literal["error", "attach"]
    """With an ``external_task_id`` that a task has already: "error", the default, raises `ExternalIdTaken`;
    "attach" takes that task."""


# --- settings of a client, by the names of its arguments

_TEXT: Final = _is_a(str)
_BOOL: Final = _is_a(bool)

_CLIENT: Final[dict[str, _Kind]] = {
    "api_key": _Kind("text", _TEXT, 'api_key="..."'),
    "access_key": _Kind("text", _TEXT, 'access_key="..."'),
    "secret_key": _Kind("text", _TEXT, 'secret_key="..."'),
    "base_url": _Kind("text", _TEXT, 'base_url="https://host"'),
    "limits": _Kind("a mapping", _is_a(Mapping), 'limits={"video": 20}'),
    "polling": _Kind("a Polling", _is_a(Polling), "Polling(min_interval=5)", optional=False),
    "retry": _Kind("a Retry", _is_a(Retry), "Retry(max_tries=3)", optional=False),
    "timeouts": _Kind("a Timeouts", _is_a(Timeouts), "Timeouts(total=30)", optional=False),
    "queueing": _Kind("True or False", _BOOL, "queueing=False", optional=False),
    "max_queued": _Kind("a whole number", _is_count, "max_queued=10_000", optional=False),
    "label_limits": _Kind("a mapping", _is_a(Mapping), 'label_limits={"free": 2}'),
    "max_units": _Kind("a number or a mapping", _is_units, 'max_units={"video": 100}'),
    "slots": _Kind("text", _TEXT, 'slots="sqlite:///run/app/kling.db"'),
    "session": _Kind("an aiohttp.ClientSession", _has("request"), "session=aiohttp.ClientSession()"),
    "proxy": _Kind("text", _TEXT, 'proxy="http://host:3128"'),
    "ssl": _Kind("an SSLContext or a bool", _is_ssl, "ssl.create_default_context(cafile=...)"),
    "trust_env": _Kind("True or False", _BOOL, "trust_env=True", optional=False),
    "headers": _Kind("a mapping", _is_a(Mapping), 'headers={"X-Name": "value"}'),
    "max_task_life": _Kind("a number of seconds", _is_number, "max_task_life=7200", optional=False),
    "now": _Kind("callable", callable, "now=time.time", optional=False),
    "rng": _Kind("a random.Random", _has("random"), "rng=random.Random(7)"),
    "on_event": _Kind("callable", callable, "on_event=print"),
    "callback_url": _Kind("text", _TEXT, 'callback_url="https://host/kling/token"'),
    "dialect": _Kind("text", _TEXT, 'dialect="new-api"', optional=False),
}


def need_setting(name: str, value: object) -> None:
    """Check the type of one setting of a client, which must not be None.

    Raises:
        ConfigurationError: It is of another type. It is a `TypeError` as well.
    """
    _need_kind(name, _CLIENT[name]._replace(optional=False), value)


def check_types(given: Mapping[str, object]) -> None:
    """Check the types of a client's settings.

    Args:
        given: Settings by the names of the client's arguments; other names are left alone.

    Raises:
        ConfigurationError: A setting is of another type (then it is a `TypeError` as well) or out of bounds.
    """
    for name, kind in _CLIENT.items():
        if name in given:
            _need_kind(name, kind, given[name])
    life = given.get("max_task_life")
    if isinstance(life, int | float) and not 0 < life < math.inf:
        raise ConfigurationError(f"max_task_life must be a finite number of seconds above 0, not {life!r}")
    _check_shared_slots(given)
    most = given.get("max_queued")
    if isinstance(most, int) and most < 1:
        raise ConfigurationError(f"max_queued must be at least 1, not {most!r}")
    for name in ("now", "on_event"):
        need_function(name, given.get(name))
    headers = given.get("headers")
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        for text in (name, value):
            if not isinstance(text, str):
                raise OptionTypeError(f"headers[{name!r:.40}] must be text, not {type(text).__name__}")


def _check_shared_slots(given: Mapping[str, object]) -> None:
    """Check that the settings beside ``slots`` work with a shared ledger."""
    if given.get("slots") is None:
        return
    if given.get("queueing") is False:
        raise ConfigurationError("slots=... needs queueing=True: a shared ledger is a queue")
