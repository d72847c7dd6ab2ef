"""Refuse a worker whose tasks would be made elsewhere than those of its fleet; warn of a key that is new."""

from __future__ import annotations

import asyncio
import logging

import pytest

from kling_async.errors import ConfigurationError
from kling_async.fleet import Fleet
from kling_async.fleet.database import connect
from kling_async.fleet.keys import admit_key

pytestmark = [pytest.mark.real, pytest.mark.anyio]

GLOBAL, CHINA = "https://api-singapore.klingai.com", "https://api-beijing.klingai.com"


async def admit(dsn: str, base_url: str, account: str) -> None:
    """Let a worker in."""
    async with connect(dsn) as db:
        await admit_key(db, base_url, account)


async def test_a_fleet_has_one_address_and_new_keys_are_told(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another region is refused before a job is taken; a second key of the same one works, with a warning."""
    caplog.set_level(logging.WARNING, "kling_async.fleet")
    await Fleet(dsn).init()
    for _ in range(2):
        await admit(dsn, GLOBAL, "a")
    assert not caplog.records
    with pytest.raises(ConfigurationError, match=f"made at {GLOBAL}, .* at {CHINA}"):
        await admit(dsn, CHINA, "a")
    with pytest.raises(ConfigurationError, match="at loopback"):
        await admit(dsn, "http://127.0.0.1:8000", "emulator")
    for _ in range(2):
        await admit(dsn, GLOBAL, "b")
    assert len(caplog.records) == 1
    assert "its tasks are paid there" in caplog.text


async def test_of_two_that_are_the_first_one_decides(dsn: str) -> None:
    """Workers of two regions that start together: one region gets the fleet; emulators count as one."""
    await Fleet(dsn).init()
    made = [admit(dsn, url, "a") for url in (GLOBAL, CHINA) for _ in range(3)]
    results = await asyncio.gather(*made, return_exceptions=True)
    assert sum(isinstance(result, ConfigurationError) for result in results) == 3


async def test_emulators_on_this_machine_are_one_address(dsn: str) -> None:
    """Each start of one has another port."""
    await Fleet(dsn).init()
    for url in ("http://127.0.0.1:8000", "http://localhost:9000", "http://[::1]:70"):
        await admit(dsn, url, "emulator")
