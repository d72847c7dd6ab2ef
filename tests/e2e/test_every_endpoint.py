"""Every endpoint from request to file: the vendor's example is sent through client and emulator."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from kling_async import catalog
from kling_async.v1 import WatermarkInfo
from kling_async.wire.fields import fields
from tests.emulator.facts import SAMPLES
from tests.reference import V1
from tests.support import client_of, pair
from tests.v1.test_reference import EXAMPLES, OF_THE_CALL, from_wire

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")]

TASKS: Final = {row.name: row for row in catalog.TASKS if not row.name.startswith("v2.")}
CALLS: Final = {row.name: row for row in catalog.CALLS}
MAGIC: Final = {
    ".mp4": (b"ftyp", 4),
    ".png": (b"\x89PNG", 0),
    ".mp3": (b"\xff", 0),
    ".wav": (b"RIFF", 0),
}
"""For each suffix, bytes that a stored file has and their offset."""


def request_of(name: str) -> Any:
    """Build the request of the vendor's example."""
    row: Any = TASKS.get(name) or CALLS[name]
    body = V1["endpoints"][name]["example"]["request"]
    return from_wire(row.request, {k: v for k, v in body.items() if k not in OF_THE_CALL})


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name in TASKS])
async def test_the_example_becomes_a_result_with_its_files(name: str, tmp_path: Path) -> None:
    """The task is waited for, found in the list and downloaded; every file is what its suffix says."""
    async with pair(
        {"video": 5, "image": 9, "virtual_try_on": 2}, seconds=20, client={"max_task_life": 600}
    ) as (emu, client):
        emu.know(*SAMPLES)
        request, kind = request_of(name), TASKS[name].request
        marked = any(field.name == "watermark_info" for field in fields(kind))
        if marked:
            request = msgspec.structs.replace(request, watermark_info=WatermarkInfo(enabled=True))
        task = await client.submit(request)
        result = await task.wait()
        assert type(result) is TASKS[name].result and result.raw
        assert [record.task_id for record in await client.list(kind)] == [task.id]
        assert result.files()
        for watermarked in {False, marked and bool(result.files(watermarked=True))}:
            paths = await task.download(tmp_path / str(watermarked), watermarked=watermarked)
            assert len(paths) == len(result.files(watermarked=watermarked)) > 0
            for path in paths:
                word, place = MAGIC[path.suffix]
                assert path.read_bytes()[place : place + len(word)] == word
        assert client.account.limits()[TASKS[name].pool].held == 0


def typed(result: Any) -> dict[str, Any]:
    """Return the typed fields of a result, without the vendor's own object."""
    return {name: value for name, value in msgspec.structs.asdict(result).items() if name != "raw"}


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name in TASKS])
async def test_a_result_does_not_depend_on_the_question_that_found_it(name: str) -> None:
    """Fields, files and units are equal whether /tasks, the list or a GET showed the end."""
    slots = {"video": 5, "image": 27, "virtual_try_on": 3}
    async with pair(slots, seconds=20, client={"limits": slots, "max_task_life": 600}) as (emu, client):
        emu.know(*SAMPLES)
        tasks = [await client.submit(request_of(name)) for _ in range(3)]
        results = await asyncio.gather(*(task.wait() for task in tasks))
        assert emu.ledger.of("tasks")
        async with client_of(emu, access_key=emu.access_key, secret_key=emu.secret_key) as other:
            again = [other.attach(TASKS[name].request, task_id=task.id) for task in tasks]
            listed = await asyncio.gather(*(task.wait() for task in again))
            assert emu.ledger.lists
        for task, result, same in zip(tasks, results, listed, strict=True):
            async with client_of(emu) as single:
                alone = single.attach(TASKS[name].request, task_id=task.id)
                found = await alone.wait()
            assert typed(found) == typed(result) == typed(same)
            assert found.files() == result.files() == same.files() != ()
            assert alone.record is not None and task.record is not None
            assert alone.record.units == task.record.units


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name in CALLS])
async def test_the_example_of_a_call_is_answered(name: str) -> None:
    """The answer is typed, and keeps the vendor's own object as ``raw``."""
    async with pair() as (emu, client):
        emu.know(*SAMPLES)
        answer = await client.call(request_of(name))
        assert type(answer) is CALLS[name].result and answer.raw


def test_every_endpoint_has_a_golden_file() -> None:
    """A golden file holds bodies and answers of one endpoint, and of the calls beside it."""
    files = {path.stem for path in (Path(__file__).parents[1] / "golden").glob("*.json")}
    assert files - {"callbacks", "errors"} == {name.partition(".")[0] for name in (*TASKS, *CALLS)}


def test_every_task_has_an_example() -> None:
    """Every endpoint that makes tasks has an example, so the tests above leave none out."""
    assert set(TASKS) <= set(EXAMPLES)
