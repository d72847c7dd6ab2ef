"""Settings of a client: sound by default, frozen, and refused where they cannot work."""

from __future__ import annotations

import asyncio
import inspect
import math
import pickle
import random
import ssl
import time
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import AsyncMock, Mock

import msgspec
import pytest

from kling_async import Client
from kling_async.batch.options import BatchArguments, BatchOptions
from kling_async.errors import ConfigurationError, RequestInvalid
from kling_async.options import Polling, Retry, Timeouts, check_types
from tests.support import clip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KINDS: tuple[Any, ...] = (Polling, Retry, Timeouts)


@pytest.mark.parametrize(
    ("made", "defaults"),
    [
        (
            Polling(),
            {"min_interval": 1, "max_interval": 15, "request_cost": 0.2, "requests_per_second": 10},
        ),
        (Retry(), {"max_tries": 8, "base": 0.5, "cap": 30, "resend_lost": False}),
        (Timeouts(), {"connect": 10, "read": 30, "total": 60, "per_megabyte": 6}),
    ],
    ids=["polling", "retry", "timeouts"],
)
def test_the_defaults(made: msgspec.Struct, defaults: dict[str, float]) -> None:
    """All documented defaults are as pinned."""
    assert {name: getattr(made, name) for name in made.__struct_fields__} == defaults


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        pytest.param(Polling, {"min_interval": 0}, id="no least interval"),
        pytest.param(Polling, {"min_interval": 15}, id="one interval"),
        pytest.param(Polling, {"max_interval": math.inf}, id="no longest interval"),
        pytest.param(Polling, {"request_cost": 1e-9, "requests_per_second": 1e-9}, id="tiny"),
        pytest.param(Retry, {"max_tries": 1, "base": 0, "cap": 0}, id="no repeats, no pauses"),
        pytest.param(Retry, {"base": 30}, id="one pause"),
        pytest.param(Timeouts, {"per_megabyte": 0}, id="no growth"),
        pytest.param(Timeouts, {"connect": math.inf, "read": math.inf, "total": math.inf}, id="no limits"),
    ],
)
def test_bounds_are_allowed(kind: Any, values: dict[str, float]) -> None:
    """Values at their very bounds work and are kept."""
    made = kind(**values)
    assert {name: getattr(made, name) for name in values} == values


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        (Polling, {"min_interval": -0.1}, "min_interval=...) must not be negative"),
        (Polling, {"min_interval": math.nan}, "min_interval=...) must not be negative"),
        (Polling, {"min_interval": 15.1}, "max_interval=...) is below min_interval"),
        (Polling, {"max_interval": math.nan}, "max_interval=...) is below min_interval"),
        (Polling, {"request_cost": 0}, "request_cost=...) must be above 0"),
        (Polling, {"request_cost": math.nan}, "request_cost=...) must be above 0"),
        (Polling, {"requests_per_second": 0}, "requests_per_second=...) must be above 0 and finite"),
        (Polling, {"requests_per_second": math.inf}, "requests_per_second=...) must be above 0 and finite"),
        (Polling, {"requests_per_second": math.nan}, "requests_per_second=...) must be above 0 and finite"),
        (Retry, {"max_tries": 0}, "max_tries=...) must be at least 1"),
        (Retry, {"base": -1}, "base=...) must lie between 0 and cap"),
        (Retry, {"base": 31}, "base=...) must lie between 0 and cap"),
        (Retry, {"cap": math.nan}, "base=...) must lie between 0 and cap"),
        (Timeouts, {"connect": 0}, "connect=...) must be above 0"),
        (Timeouts, {"read": 0}, "read=...) must be above 0"),
        (Timeouts, {"total": -1}, "total=...) must be above 0"),
        (Timeouts, {"total": math.nan}, "total=...) must be above 0"),
        (Timeouts, {"per_megabyte": -1}, "per_megabyte=...) must not be negative"),
    ],
)
def test_what_cannot_work_is_refused(kind: Any, values: dict[str, float], text: str) -> None:
    """The error names the class and the argument, so the line to change is found."""
    with pytest.raises(ConfigurationError) as caught:
        kind(**values)
    assert str(caught.value) == f"{kind.__name__}({text}"


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_values(kind: Any) -> None:
    """Equal settings are equal and share a hash, so that clients share pollers; none can be changed."""
    assert kind() == kind() and hash(kind()) == hash(kind())
    with pytest.raises(AttributeError):
        setattr(kind(), kind.__struct_fields__[0], 1)
    with pytest.raises(TypeError):
        kind(1)


@pytest.mark.parametrize(
    ("size", "more"), [(0, 0), (1024 * 1024, 6), (10 * 1024 * 1024, 60), (512 * 1024, 3)]
)
def test_time_limits_grow_with_the_body(size: int, more: float) -> None:
    """Each MiB sent adds its seconds to read and total alike."""
    assert Timeouts().grown(size) == (30 + more, 60 + more)


# --- types -------------------------------------------------------------------------------------

FIELDS: Final = [(kind, field.name) for kind in KINDS for field in msgspec.structs.fields(kind)]
WORDS: Final = {"max_tries": "a whole number", "resend_lost": "True or False"}
NO_NUMBERS: Final[tuple[Any, ...]] = ("1", b"1", None, [1], {}, object(), int, 1j)


@pytest.mark.parametrize(("kind", "field"), FIELDS)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_a_field_of_another_type_is_named(kind: Any, field: str, value: Any) -> None:
    """The error names group, field, the type that was given, and shows an example that works."""
    _is_named(kind, field, value)


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_flag_is_no_number_and_a_number_no_flag(kind: Any, field: str) -> None:
    """True is not taken for 1, nor 1 for True."""
    _is_named(kind, field, 1 if field == "resend_lost" else True)


def _is_named(kind: Any, field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind(**{field: value})
    words = WORDS.get(field, "a number")
    start = f"{kind.__name__}({field}=...) must be {words}, not {type(value).__name__}; for example "
    text = str(caught.value)
    assert text.startswith(start) and isinstance(caught.value, TypeError)
    assert eval(text.removeprefix(start), {kind.__name__: kind}) == kind()


class Real(float):
    """A number of a library."""


RIGHT: Final[dict[str, list[Any]]] = {
    "api_key": [None, "k"],
    "access_key": [None, "k"],
    "secret_key": [None, "k"],
    "base_url": [None, "https://a.example"],
    "limits": [None, {}, {"video": 3}, MappingProxyType({"video": 3})],
    "polling": [Polling(), Polling(min_interval=Real(0.5))],
    "retry": [Retry()],
    "timeouts": [Timeouts()],
    "queueing": [True, False],
    "max_queued": [1, 10_000],
    "label_limits": [None, {}, {"free": 3}, MappingProxyType({"": 3})],
    "max_units": [None, 0, 2.5, {}, {"video": 3}],
    "slots": [None, "sqlite:///run/app/kling.db"],
    "session": [None, Mock()],
    "proxy": [None, "http://a.example"],
    "ssl": [None, True, False, ssl.create_default_context()],
    "trust_env": [True, False],
    "headers": [None, {}, {"a": "b"}],
    "max_task_life": [1, 0.5, Real(3)],
    "now": [time.time, lambda: 0.0],
    "rng": [None, random.Random(7)],
    "on_event": [None, print, [].append],
    "callback_url": [None, "", "https://a.example/kling/token"],
    "dialect": ["auto", "vendor", "envelope", "new-api", "flat"],
}
"""Values that each setting of a client takes."""

WRONG: Final[dict[str, list[Any]]] = {
    "api_key": [b"", 5, ["k"]],
    "access_key": [b"k", 5],
    "secret_key": [b"k", object()],
    "base_url": [b"https://a.example", 5, {}],
    "limits": [3, "video", ["video"], True],
    "polling": [5, 0.5, None, "fast", Polling, {"min_interval": 5}, Retry()],
    "retry": [3, None, True, Retry, Timeouts()],
    "timeouts": [30, 1.5, None, (5, 30), Timeouts, {"total": 30}],
    "queueing": [0, None, "no"],
    "max_queued": [1.5, None, "100", True],
    "label_limits": [3, "free", ["free"], True],
    "max_units": ["3", [3], True],
    "slots": [b"sqlite:a.db", 5, True],
    "session": ["s", 5, type("Session", (), {"request": print})],
    "proxy": [b"http://a.example", 3128],
    "ssl": ["cert.pem", b"cert", Path("cert.pem"), 1],
    "trust_env": [None, 1, "yes"],
    "headers": ["a: b", [("a", "b")], 5],
    "max_task_life": ["7200", None, True],
    "now": [0.0, None, "now"],
    "rng": [7, "seed", random.Random],
    "on_event": ["x", 5, [print]],
    "callback_url": [b"https://a.example", 5, ["https://a.example"]],
    "dialect": [None, 5, b"new-api"],
}
"""Values that it does not take."""


def test_every_setting_of_a_client_has_its_type() -> None:
    """None of the arguments of a client is left out of the table."""
    assert list(RIGHT) == list(inspect.signature(Client).parameters) == list(WRONG)


@pytest.mark.parametrize("name", RIGHT)
def test_a_setting_of_its_type_passes(name: str) -> None:
    """None where a default stands for it, and subclasses, are fine."""
    for value in RIGHT[name]:
        check_types({name: value, "another": object()})


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, found in WRONG.items() for value in found]
)
def test_a_setting_of_another_type_is_named(name: str, value: Any) -> None:
    """The error names the setting and the type, shows an example, and does not show the value."""
    with pytest.raises(ConfigurationError, match=rf"^{name} must be .*; for example ") as caught:
        check_types({name: value})
    assert f", not {type(value).__name__}; " in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)


@pytest.mark.parametrize("headers", [{"a": 5}, {5: "a"}, {"a": b"b"}, {"a": None}])
def test_a_header_of_another_type_is_named(headers: Any) -> None:
    """Names and values are text."""
    with pytest.raises(ConfigurationError, match=r"^headers\[.*\] must be text, not "):
        check_types({"headers": headers})


def test_the_words_are_as_promised() -> None:
    """One error, whole."""
    with pytest.raises(TypeError) as caught:
        check_types({"timeouts": 30})
    assert str(caught.value) == "timeouts must be a Timeouts, not int; for example Timeouts(total=30)"


async def heard(*_: object) -> None:
    """Be awaited by nobody."""


async def listed(*_: object) -> AsyncIterator[int]:
    """Yield to nobody."""
    yield 1


class AsyncCallable:
    """An object that is called like an async function."""

    async def __call__(self, *_: object) -> None:
        """Be awaited by nobody."""


ASYNC: Final = [heard, listed, AsyncCallable(), AsyncCallable().__call__, partial(heard, 1), AsyncMock()]
CALLBACKS: Final[dict[str, Callable[[Any], object]]] = {
    "on_event": lambda value: Client(api_key="k", on_event=value),
    "now": lambda value: Client(api_key="k", now=value),
    "on_task": lambda value: asyncio.run(Client(api_key="k").run(clip(), on_task=value)),
    "price": lambda value: BatchOptions(price=value),
    "label": lambda value: BatchOptions(label=value),
    "retry_failed": lambda value: BatchOptions(retry_failed=value),
}


@pytest.mark.parametrize("function", ASYNC, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", CALLBACKS)
def test_async_functions_are_no_callbacks(name: str, function: Any) -> None:
    """Nobody would await them: each is refused where it is given, by name, before anything is sent."""
    with pytest.raises((ConfigurationError, RequestInvalid)) as caught:
        CALLBACKS[name](function)
    assert f"{name}" in str(caught.value) and "not an async one: nobody would await" in str(caught.value)


@pytest.mark.parametrize("value", [7, b"x", [print], {}])
@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_is_a_function(name: str, value: Any) -> None:
    """Anything else is refused with its type or its value."""
    with pytest.raises((ConfigurationError, RequestInvalid), match=rf"{name}:? must be"):
        CALLBACKS[name](value)


def test_every_callback_of_the_client_is_in_the_table() -> None:
    """The signatures of Client, its run() and batch() take no other functions."""
    hints = {
        **inspect.signature(Client).parameters,
        **inspect.signature(Client.run).parameters,
    }
    found = {name for name, parameter in hints.items() if "Callable" in str(parameter.annotation)}
    found |= {name for name, hint in BatchArguments.__annotations__.items() if "Callable" in str(hint)}
    assert found == set(CALLBACKS)
