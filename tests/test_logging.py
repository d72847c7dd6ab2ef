"""Log of the package: ids on every record, each thing once, at the right level, without secrets."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from kling_async import (
    AmbiguousCreate,
    KlingError,
    OutOfUnits,
    RawTask,
    Retry,
    TaskNotFound,
    Timeouts,
    media,
    v1,
)
from kling_async.catalog import endpoint_of
from kling_async.orchestrator import engine
from kling_async.testing import Emulator, emulator
from tests.support import Recorder, client_of, clip, pair, png, still, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async import Client

pytestmark = pytest.mark.anyio

IDS: Final = ("endpoint", "pool", "external_task_id", "task_id")
SECRET_PROMPT: Final = "the crown jewels at dawn"
USUAL: Final = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"}


class Log(logging.Handler):
    """Keeps what the package logs."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, room: str) -> list[logging.LogRecord]:
        return [record for record in self.records if record.name == f"kling_async.{room}".rstrip(".")]

    def lines(self, level: int = logging.INFO) -> list[str]:
        return [record.getMessage() for record in self.records if record.levelno >= level]


@contextlib.contextmanager
def logging_to(handler: logging.Handler) -> Iterator[None]:
    """Log everything of the package to a handler."""
    logger = logging.getLogger("kling_async")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@pytest.fixture
def said() -> Iterator[Log]:
    """Collect all that the package logs, at every level."""
    log = Log()
    with logging_to(log):
        yield log


async def a_bad_day(emu: Emulator, client: Client, folder: Path) -> None:
    """Play all that can go wrong and is logged, with a picture, a signed address and keys on their way."""

    async def one(request: object) -> None:
        with contextlib.suppress(KlingError):
            task = await client.submit(request)  # type: ignore[arg-type,var-annotated]
            await task.wait()
            await task.download(folder)

    for fault in (
        {"kind": "lost_after"},
        {"kind": "lost_before"},
        {"kind": "html"},
        {"code": 1302},
        {"code": 1301, "message": f"no: {emu.url}/a.mp4?x-sign=5ecre7 Bearer {emu.api_key}"},
    ):
        emu.fault("create", **fault)
    emu.fault("query", kind="half_body")
    emu.fault("query", kind="unknown_status", value="pondering")
    emu.fault("tasks", code=5000, skip=1)
    emu.fault("costs", kind="truncated_json")
    emu.fault("media", status=403)
    picture = png(640, 480) + random.Random(1).randbytes(3000)
    pictured = still(SECRET_PROMPT, image=media(picture))
    requests = [*(clip(SECRET_PROMPT) for _ in range(6)), pictured, clip("emulator:fail")]
    await asyncio.gather(*map(one, requests))
    await one(RawTask(path="/v1/videos/other", body={"prompt": SECRET_PROMPT}))
    emu.fault("create", code=1102)
    with pytest.raises(OutOfUnits):
        await client.submit(clip(SECRET_PROMPT))
    client.account.reopen()
    with contextlib.suppress(KlingError):
        await client.request("GET", "/account/costs", params={"token": "5ecre7"})


@pytest.mark.parametrize("key", ["API key", "key pair"])
async def test_ids_are_on_every_record_and_secrets_on_none(key: str, said: Log, tmp_path: Path) -> None:
    """A bad day at DEBUG shows no key, token, signed query, body or Base64."""
    heard = Recorder()
    async with emulator(slots={"video": 3, "image": 9}, foreign={"video": 1}) as emu:
        keys = {} if key == "API key" else {"access_key": emu.access_key, "secret_key": emu.secret_key}
        async with client_of(emu, on_event=heard, timeouts=Timeouts(read=10), **keys) as client:
            await a_bad_day(emu, client, tmp_path)
        secrets = (emu.api_key, emu.access_key, emu.secret_key)
    records = said.records
    assert len(records) > 100
    shown = logging.Formatter("%(message)s %(endpoint)s %(pool)s %(external_task_id)s %(task_id)s")
    everything = "\n".join(f"{shown.format(record)} {vars(record)}" for record in records)
    for secret in (*map(str, secrets), SECRET_PROMPT, "5ecre7", "x-sign", "Bearer e", "eyJ", "<html"):
        assert secret not in everything, secret
    assert not re.search(r"[A-Za-z0-9+/=]{80,}", everything)
    assert not re.search(r"(https?:|/)\S+\?\w", everything)
    for record in records:
        assert set(IDS) <= vars(record).keys() <= USUAL | {*IDS, "request_id"}
    assert {record.levelno for record in records} <= {logging.DEBUG, logging.INFO, logging.WARNING}


async def test_each_event_is_one_record_with_the_same_ids(said: Log, tmp_path: Path) -> None:
    """The log of ``kling_async`` has what a listener hears, in the same order."""
    heard = Recorder()
    async with pair({"video": 3}, foreign={"video": 1}, client={"on_event": heard}) as (emu, client):
        await a_bad_day(emu, client, tmp_path)
    told = said.of("")
    assert [(r.getMessage().partition(":")[0], *(vars(r)[name] for name in IDS)) for r in told] == [
        (e.kind, *(getattr(e, name) for name in IDS)) for e in heard.events
    ]
    levels = {r.getMessage().partition(":")[0]: r.levelname for r in told}
    assert {kind for kind, level in levels.items() if level != "DEBUG"} == {"adopted"}


async def test_each_request_is_one_record(said: Log) -> None:
    """A record has the path without query, the answer, the time it took, and the ids."""
    async with pair() as (emu, client):
        emu.fault("query", kind="half_body")
        emu.fault("query", kind="html")
        task = await client.submit(clip(), external_task_id="order-17")
        await asyncio.sleep(31)
        await task.wait()
        await client.list(v1.TextToVideo, page_size=5)
        rows = len(emu.ledger.rows)
    requests = said.of("http")
    assert len(requests) == rows == sum(client.stats().requests.values())
    texts = [re.sub(r" in [0-9.]+ s$", "", record.getMessage()) for record in requests]
    path = "/v1/videos/text2video"
    assert f"POST {path}: HTTP 200, code 0" in texts and f"GET {path}: HTTP 200, code 0" in texts
    assert f"GET {path}/{task.id}: the connection was cut before the whole answer came" in texts
    assert f"GET {path}/{task.id}: HTTP 502, the answer is not of the API's form" in texts
    facts = [vars(record) for record in requests if task.id in record.getMessage()]
    assert facts and all((f["task_id"], f["external_task_id"]) == (task.id, "order-17") for f in facts)
    (create,) = (vars(record) for record in requests if record.getMessage().startswith("POST"))
    assert (create["external_task_id"], create["pool"]) == ("order-17", "video") and create["request_id"]


async def test_a_good_day_is_quiet(said: Log, tmp_path: Path) -> None:
    """Above DEBUG nothing is logged but how many slots there are."""
    async with pair() as (_, client):
        await asyncio.gather(*(client.run(clip()) for _ in range(8)))
        await (await client.submit(still())).download(tmp_path)
    assert all(re.match(r"the limit of pool \w+ is \d+ \(packs\)", line) for line in said.lines())


async def test_what_is_learned_of_a_pool_is_said_once(said: Log) -> None:
    """A change of size, a closing with its reason and an opening are logged, refused probes are not."""
    async with pair({"video": 7}, packs=[]) as (emu, client):
        await asyncio.gather(*(client.run(clip()) for _ in range(9)))
        first, *_, last = learned = [line for line in said.lines() if "video" in line]
        assert first == "the limit of pool video is 1 (default), it was 5 (default)"
        assert last == "the limit of pool video is 7 (learned), it was 6 (learned)" and len(learned) == 7
        said.records.clear()
        emu.fault("create", code=1102, times=2)
        for pause in (61, 61, 0):
            with contextlib.suppress(OutOfUnits):
                await client.run(clip())
            await asyncio.sleep(pause)
    first, *others = [line for line in said.lines() if "video" in line]
    assert first.startswith("pool video is closed: ") and "1102" in first
    assert others == ["pool video is open again"]
    pools = {vars(record)["pool"] for record in said.of("orchestrator")}
    assert pools <= {"video", "image", "virtual_try_on"}


async def test_a_create_in_doubt_is_said_once_and_so_is_its_end(said: Log) -> None:
    """Both are INFO where the client looks further by itself."""
    async with pair(seconds=2000, client={"retry": Retry(max_tries=2)}) as (emu, client):
        emu.fault("create", kind="lost_after")
        emu.fault("query", code=5000, times=6)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip(), external_task_id="lost")
        await until(client.tasks)
        (task,) = client.tasks()
    doubt, found = [line for line in said.lines() if "lost" in line]
    assert doubt.startswith("the fate of create lost is unknown, it will be looked up again: ")
    assert found.startswith("adopted: ") and f"lost {task.id}" in found
    (closed,) = said.lines(logging.WARNING)
    assert closed == f"the client was closed; tasks run on (1), attach() to them later: {task.id}"


async def test_a_create_that_nobody_can_look_up_is_a_warning(
    said: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a person can find out what became of it."""
    hidden = endpoint_of(clip())._replace(lookup="none")
    monkeypatch.setattr(engine, "endpoint_of", lambda _: hidden)
    async with pair() as (emu, client):
        emu.fault("create", kind="lost_before")
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip())
        (line,) = said.lines(logging.WARNING)
    assert "unknown and cannot be looked up" in line


async def test_a_slot_that_stops_counting_is_a_warning(said: Log) -> None:
    """The record has both ids, for somebody may want to look for that task."""
    async with pair(seconds=500, client={"max_task_life": 100}) as (_, client):
        task = await client.submit(clip(), external_task_id="order-17")
        await asyncio.sleep(101)
        (record,) = [record for record in said.records if record.levelno == logging.WARNING]
    text = f"order-17 {task.id} not seen ended in 100 s, its slots count no longer"
    assert record.getMessage().endswith(text)
    assert (vars(record)["task_id"], vars(record)["external_task_id"]) == (task.id, "order-17")


async def test_an_outage_is_said_once(said: Log) -> None:
    """One record per outage, however many queries bring no answer."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", kind="html", times=8)
        await task.wait()
    (line,) = [line for line in said.lines() if "no answer" in line]
    assert line.startswith("no answer from 127.0.0.1 about 1 tasks: ")


async def test_a_form_that_is_given_up_is_said_once(said: Log) -> None:
    """A form of query is given up when it is refused, or answered by a gateway again and again."""
    for fault in ({"code": 1203}, {"kind": "wrong_types", "value": 7}):
        said.records.clear()
        async with pair({"video": 9}, client={"limits": {"video": 9}}) as (emu, client):
            emu.fault("tasks", times=None, **fault)
            await asyncio.gather(*(client.run(clip()) for _ in range(9)))
        assert [line for line in said.lines() if "form" in line] == [
            "status queries of form 'ids' do not work at ''"
        ]


async def test_a_task_that_is_unknown_is_nobodys_log(said: Log) -> None:
    """The error goes to the waiter; the log has nothing to add."""
    async with pair() as (_, client):
        with pytest.raises(TaskNotFound):
            await client.attach(v1.TextToVideo, task_id="77").wait()
    assert said.lines() == []


@pytest.mark.real
def test_a_program_without_logging_sees_nothing() -> None:
    """As for any library, a null handler keeps warnings off stderr until logging is set up."""
    code = """
import logging, kling_async.orchestrator.engine
logging.getLogger("kling_async.polling").warning("hush")
logging.basicConfig(format="%(name)s %(message)s")
logging.getLogger("kling_async.polling").warning("now")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "kling_async.polling now\n")


async def test_a_format_may_name_the_ids() -> None:
    """``%(task_id)s`` and the others work for all records, with or without a task."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(external_task_id)s %(message)s"))
    with logging_to(handler):
        async with pair() as (_, client):
            await client.submit(clip(), external_task_id="order-17")
            await asyncio.sleep(1)
    written = stream.getvalue()
    assert "DEBUG order-17 created: " in written and "DEBUG None GET /account/costs" in written
