"""What all tests share: a virtual clock by default, and no warning of ours left over from another test."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.wire import checks
from tests import profiles
from tests.clock import new_event_loop

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.postgres import Postgres

profiles.register()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect thousands of tests without looking for garbage among them again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Asyncio on a virtual clock; tests marked ``real`` get the real one."""
    factory = asyncio.new_event_loop if request.node.get_closest_marker("real") else new_event_loop
    return "asyncio", {"loop_factory": factory}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL server; whoever stops it starts it again."""
    from tests.postgres import served_postgres  # noqa: PLC0415 - few tests need it

    with served_postgres() as server:
        yield server


@pytest.fixture
def dsn(postgres: Postgres) -> str:
    """The DSN of an empty database."""
    return postgres.new_database()


def pytest_configure() -> None:
    """Keep the keys and addresses of the person who runs the tests from them."""
    for name in ("KLING_API_KEY", "KLING_ACCESS_KEY", "KLING_SECRET_KEY", "KLING_BASE_URL"):
        os.environ.pop(name, None)


def pytest_runtest_setup() -> None:
    """Let each test see the once-per-process warnings anew."""
    checks._warned.clear()
