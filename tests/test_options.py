"""Settings of a client: sound by default, frozen, and refused where they cannot work."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.errors import ConfigurationError
from kling_async.options import Polling, Retry, Timeouts

if TYPE_CHECKING:
    import msgspec

KINDS: tuple[Any, ...] = (Polling, Retry, Timeouts)


@pytest.mark.parametrize(
    ("made", "defaults"),
    [
        (
            Polling(),
            {"min_interval": 1, "max_interval": 15, "request_cost": 0.2, "requests_per_second": 10},
        ),
        (Retry(), {"max_tries": 8, "base": 0.5, "cap": 30}),
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
