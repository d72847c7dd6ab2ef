"""Test downloads/result_files.py: addresses that have died, and results that the vendor deleted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    DownloadError,
    ResultExpired,
    Retry,
    TransportError,
)
from kling_async.downloads.naming import Template
from kling_async.downloads.placing import KnownFile
from kling_async.downloads.result_files import fetch_all
from tests.downloads.tasks import large, names, tracked, with_dead_addresses
from tests.support import Recorder, client_of, clip, pair, still

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kling_async import Client
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio


async def test_addresses_that_died_are_renewed_by_one_query(tmp_path: Path) -> None:
    """One query serves all files of a result, and the task has the new addresses."""
    async with pair() as (emu, client):
        task = await client.submit(still(n=6))
        before = (await task.wait()).images[0].url
        emu.expire_links()
        asked = len(emu.ledger.queries)
        paths = await task.download(tmp_path)
        assert len(emu.ledger.queries) == asked + 1
        assert sorted(path.name for path in paths) == names(tmp_path) and len(paths) == 6
        assert task.result is not None and task.result.images[0].url != before
        assert await task.wait() is task.result


@pytest.mark.parametrize("status", [401, 403, 404, 410])
@pytest.mark.parametrize("refusals", [1, 3, 4, 5, 7, 8])
async def test_a_fresh_address_that_is_refused_is_tried_again(
    status: int, refusals: int, tmp_path: Path
) -> None:
    """Four tries are made of a fresh address, then of a renewed one; after these the file has failed."""
    loop = asyncio.get_running_loop()
    async with pair() as (emu, client):
        task = await client.submit(clip())
        await task.wait()
        emu.fault("media", status=status, times=refusals)
        asked, start = len(emu.ledger.queries), loop.time()
        if refusals < 8:
            assert len(await task.download(tmp_path)) == 1
        else:
            with pytest.raises(DownloadError) as caught:
                await task.download(tmp_path)
            assert (caught.value.http_status, caught.value.fault) == (status, "server")
        assert len(emu.ledger.queries) == asked + (refusals >= 4)
        assert len(emu.ledger.media) == min(refusals + 1, 8)
        pauses = [1, 3, 9, 0, 1, 3, 9][: min(refusals, 7)]
        assert loop.time() - start == pytest.approx(sum(pauses), abs=0.5)


async def test_an_address_that_is_not_ready_is_tried_again(tmp_path: Path) -> None:
    """202: the file is still being made."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        await task.wait()
        emu.fault("media", status=202, times=2)
        assert len(await task.download(tmp_path)) == 1
        assert len(emu.ledger.media) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_statuses_of_a_dead_address(status: int, tmp_path: Path) -> None:
    """Each status by which file servers refuse an expired signature leads to one renewing query."""
    wall = [1_790_000_000.0]
    async with pair(client={"now": lambda: wall[0]}, now=lambda: wall[0]) as (emu, client):
        task = await client.submit(clip())
        await task.wait()
        wall[0] += 86400
        emu.fault("media", status=status)
        asked = len(emu.ledger.queries)
        assert len(await task.download(tmp_path)) == 1
        assert len(emu.ledger.queries) == asked + 1 and len(emu.ledger.media) == 2


async def test_a_record_without_signatures_is_enough(tmp_path: Path) -> None:
    """A record from a journal needs one query for the addresses of all its files."""
    async with pair() as (emu, client):
        task = await client.submit(still(n=3))
        await task.wait()
        async with client_of(emu) as other:
            asked = len(emu.ledger.queries)
            from_journal = with_dead_addresses(tracked(task))
            values: dict[str, str | int] = {"key": "fox", "index": 4}
            stored = await fetch_all(other._engine, from_journal, tmp_path, Template("{index}-{key}"), values)
            assert [file.path.name for file in stored] == [f"4-fox.{n}.png" for n in range(3)]
            assert all(file.size == file.path.stat().st_size for file in stored)
            assert len(emu.ledger.queries) == asked + 1


@pytest.mark.parametrize(("days", "kind"), [(0, DownloadError), (31, ResultExpired)], ids=["new", "old"])
async def test_an_address_that_stays_dead_is_an_error(
    days: int, kind: type[DownloadError], tmp_path: Path
) -> None:
    """One query is made, not more; 30 days after the task's end the error is `ResultExpired`."""
    wall = [1_790_000_000.0]
    async with pair(client={"now": lambda: wall[0]}, now=lambda: wall[0]) as (emu, client):
        task = await client.submit(still(n=6))
        await task.wait()
        wall[0] += days * 86400
        emu.fault("media", status=403, times=None)
        asked = len(emu.ledger.queries)
        with pytest.raises(DownloadError) as caught:
            await task.download(tmp_path)
        assert type(caught.value) is kind and caught.value.task_id == task.id
        assert len(emu.ledger.queries) == asked + 1
    assert names(tmp_path) == []


def a_month_later(emu: Emulator, wall: list[float]) -> None:
    """Let 31 days pass, after which every address is dead."""
    wall[0] += 31 * 86400
    emu.fault("media", status=403, times=None)


@asynccontextmanager
async def with_a_calendar(**client: Any) -> AsyncIterator[tuple[Emulator, Client, list[float]]]:
    """Provide an emulator and a client with a wall clock that the test sets."""
    wall = [1_790_000_000.0]
    async with pair(client={"now": lambda: wall[0], **client}, now=lambda: wall[0]) as (emu, user):
        yield emu, user, wall


async def test_stored_files_outlive_the_vendors_copies(tmp_path: Path) -> None:
    """A complete file is returned after the vendor deleted its own; a missing or other one has expired."""
    heard = Recorder()
    async with with_a_calendar(on_event=heard) as (emu, client, wall):
        task = await client.submit(still(n=5))
        paths = await task.download(tmp_path)
        bodies = [path.read_bytes() for path in paths]
        a_month_later(emu, wall)
        assert await task.download(tmp_path, sidecar=True) == paths
        assert [path.read_bytes() for path in paths] == bodies
        assert len(heard.of("downloaded")) == 5 and len(names(tmp_path)) == 10
        paths[3].unlink()
        with pytest.raises(ResultExpired) as caught:
            await task.download(tmp_path)
        assert caught.value.__context__ is None
        paths[3].write_bytes(b"<html>")
        with pytest.raises(ResultExpired):
            await task.download(tmp_path)


@pytest.mark.parametrize("there", [False, True], ids=["nothing there", "a shorter one there"])
async def test_the_part_of_an_expired_file_is_removed(there: bool, tmp_path: Path) -> None:
    """The part can never be completed; a file of another length than its note does not count."""
    async with with_a_calendar(retry=Retry(max_tries=1)) as (emu, client, wall):
        task, body = await large(emu, client)
        if there:
            (tmp_path / f"{task.id}.mp4").write_bytes(body[:-1])
        before = names(tmp_path)
        emu.fault("media", kind="half_body", value=2_500_000, skip=int(there))
        with pytest.raises(DownloadError, match="broke off"):
            await task.download(tmp_path)
        assert names(tmp_path) == [f".{task.id}.mp4.part", f".{task.id}.mp4.part.json", *before]
        a_month_later(emu, wall)
        with pytest.raises(ResultExpired):
            await task.download(tmp_path)
        assert names(tmp_path) == before


async def test_a_failed_renewal_fails_all_files(tmp_path: Path) -> None:
    """Every file gets the error of the one query, which was repeated ``max_tries`` times."""
    async with pair(client={"retry": Retry(max_tries=2)}) as (emu, client):
        task = await client.submit(still(n=3))
        await task.wait()
        emu.expire_links()
        emu.fault("query", kind="lost_before", times=None)
        asked = len(emu.ledger.queries)
        with pytest.raises(TransportError):
            await task.download(tmp_path)
        assert len(emu.ledger.queries) - asked in (2, 4)  # aiohttp repeats a GET on a connection it had


@pytest.mark.parametrize("others", [[0], [0, 1, 2], [0, 2], [0, 0]], ids=str)
async def test_a_result_that_names_other_files_is_not_mixed_up(others: list[int], tmp_path: Path) -> None:
    """A renewed result that names other files is an error, for names were given to the former ones."""
    async with pair() as (emu, client):
        task = await client.submit(still(n=2))
        await task.wait()
        first = task.raw["task_result"]["images"][0]
        answer = {**task.raw, "task_result": {"images": [{**first, "index": n} for n in others]}}
        emu.expire_links()
        emu.fault("query", kind="wrong_types", value=answer)
        with pytest.raises(DownloadError, match="names other files now"):
            await task.download(tmp_path)
        assert names(tmp_path) == []


async def test_a_result_in_another_order_is_not_mixed_up(tmp_path: Path) -> None:
    """Files are matched by their own index, wherever an answer lists them."""
    async with pair() as (emu, client):
        task = await client.submit(still(n=4))
        right = [path.read_bytes() for path in await task.download(tmp_path / "right")]
        assert len(set(right)) == 4
        emu.expire_links()
        task_of_before = with_dead_addresses(tracked(task))
        await task.refresh(max_age=0)
        images = task.raw["task_result"]["images"]
        answer = {**task.raw, "task_result": {"images": [images[n] for n in (2, 0, 3, 1)]}}
        emu.fault("query", kind="wrong_types", value=answer)
        stored = await fetch_all(client._engine, task_of_before, tmp_path, Template("x"), {})
        assert [file.path.read_bytes() for file in stored] == right
        assert [file.path.name for file in stored] == [f"x-{n}.png" for n in range(4)]


@pytest.mark.parametrize("known", [None, (), "hash"], ids=["no journal", "unknown", "known"])
async def test_what_counts_once_the_vendor_has_deleted_a_result(known: Any, tmp_path: Path) -> None:
    """A file that the journal knows counts without a request; one that it does not know proves nothing."""
    async with with_a_calendar() as (emu, client, wall):
        task = await client.submit(clip())
        await task.wait()
        values: dict[str, str | int] = {"key": "", "index": 0}
        (stored,) = await fetch_all(client._engine, tracked(task), tmp_path, Template("x"), values)
        a_month_later(emu, wall)
        if known == "hash":
            known = (KnownFile(stored.path.name, stored.size, stored.sha256),)
        running = fetch_all(client._engine, tracked(task), tmp_path, Template("x"), values, known=known)
        if known == ():
            with pytest.raises(ResultExpired):
                await running
        else:
            assert (await running)[0].path == stored.path
        assert names(tmp_path) == ["x.mp4"]
