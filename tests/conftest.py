"""What all tests share: a virtual clock by default, and no warning of ours left over from another test."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.wire import checks
from tests import profiles
from tests.clock import new_event_loop

if TYPE_CHECKING:
    from collections.abc import Generator

profiles.register()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect thousands of tests without looking for garbage among them, then or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Asyncio on a virtual clock; tests marked ``real`` get the real one."""
    factory = asyncio.new_event_loop if request.node.get_closest_marker("real") else new_event_loop
    return "asyncio", {"loop_factory": factory}


@pytest.fixture(autouse=True)
def _fresh_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sees the once-per-process warnings anew."""
    monkeypatch.setattr(checks, "_warned", set[str]())


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key or address of the person who runs the tests reaches them."""
    for name in ("KLING_API_KEY", "KLING_ACCESS_KEY", "KLING_SECRET_KEY", "KLING_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
