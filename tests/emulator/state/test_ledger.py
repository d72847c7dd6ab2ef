"""The ledger: requests and slots, readable from Python and over HTTP, without secrets or files."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest

from kling_async.emulator.state import ledger as ledger_module
from kling_async.emulator.state.ledger import Ledger, Row
from tests.emulator.support import ALL_TIME, COSTS, IMAGE, VIDEO, calling, png

pytestmark = pytest.mark.anyio


async def test_every_request_has_a_row() -> None:
    """Accepted and refused creates, queries, lists and packs are there in order, with time, ids and code."""
    async with calling(slots={"video": 1, "image": 9}, now=lambda: 1_790_000_000) as (emu, call):
        await asyncio.sleep(5)
        first = (await call.video(external_task_id="one")).data["task_id"]
        await call.video(external_task_id="two")
        await call("GET", f"{VIDEO}/one")
        await call("GET", f"{VIDEO}/nobody")
        await call("GET", VIDEO, params={"pageSize": "3"})
        await call("GET", COSTS, params=ALL_TIME)
        rows = emu.ledger
        assert [row.kind for row in rows.rows] == ["create", "create", "query", "query", "list", "costs"]
        made, full = rows.creates
        assert (made.at, made.wall) == pytest.approx((5, 1_790_000_005))
        assert (made.method, made.path, made.endpoint) == ("POST", VIDEO, "text_to_video")
        assert (made.task_id, made.external_task_id, made.status, made.code) == (first, "one", 200, 0)
        assert (full.task_id, full.external_task_id, full.status, full.code) == (None, "two", 429, 1303)
        assert full.message == "parallel task over resource pack limit"
        assert rows.created == [made] and rows.refused == [full]
        found, missing = rows.queries
        assert (found.asked, found.task_id, found.external_task_id) == ("one", first, "one")
        assert (missing.asked, missing.task_id, missing.code) == ("nobody", None, 1201)
        assert rows.refusals == [full, missing]
        assert [row.query for row in rows.lists] == [{"pageSize": "3"}]
        assert [row.code for row in rows.costs] == [0] and not rows.media


async def test_equal_bytes_have_equal_fingerprints() -> None:
    """Equal bodies have equal hashes, so that tests can prove that a create was re-sent unchanged."""
    async with calling() as (emu, call):
        for body in ('{"prompt":"a"}', '{"prompt":"a"}', '{"prompt": "a"}'):
            await call("POST", IMAGE, data=body)
        one, same, other = (row.body_sha256 for row in emu.ledger.creates)
        assert one == same != other and one == hashlib.sha256(b'{"prompt":"a"}').hexdigest()
        assert emu.ledger.creates[0].body == {"prompt": "a"}


async def test_no_secret_and_no_file_is_kept() -> None:
    """Neither ledger nor tasks hold a key or file, wherever in the body it was, accepted or refused."""
    picture = png(300, 300, extra=600)
    async with calling() as (emu, call):
        await call.image(image=picture)
        await call.image(image="data:image/png;base64," + picture)
        await call.image(image="https://example.com/a.png", unknown={"deep": [picture]})
        await call.image(aspect_ratio=picture)
        task_id = emu.ledger.created[0].task_id or ""
        kept = json.dumps(emu.ledger.as_json()) + repr(emu.tasks)
        assert picture[:64] not in kept and "emulator-key" not in kept and "Bearer" not in kept
        told = f"<{len(picture)} characters, sha256 {hashlib.sha256(picture.encode()).hexdigest()}>"
        assert emu.tasks[task_id].body["image"] == told
        first, _, addressed, _ = emu.ledger.creates
        assert first.body and first.body["image"] == told and first.authorized
        assert addressed.body and addressed.body["image"] == "https://example.com/a.png"
        assert addressed.body["unknown"] == {"deep": [told]}


async def test_the_ledger_is_served_over_http() -> None:
    """The ledger is served as JSON, without a key, and reading leaves no row."""
    async with calling(slots={"video": 2}) as (emu, call):
        task_id = (await call.video()).data["task_id"]
        told = (await call("GET", "/_emulator/ledger", auth=None)).json
        assert [row["task_id"] for row in told["rows"]] == [task_id]
        assert told["slots"] == {"video": [[pytest.approx(0, abs=0.1), 1]]}
        assert told["peak"] == told["used"] == {"video": 1}
        assert len(emu.ledger.rows) == 1
        assert (await call("GET", "/_emulator/nothing")).status == 404


async def test_a_key_sent_to_the_media_host_is_noted() -> None:
    """A media request with an Authorization header is marked; the signature of a URL is not kept."""
    async with calling() as (emu, call):
        task_id = (await call.video()).data["task_id"]
        emu.finish(task_id)
        url = (await call("GET", f"{VIDEO}/{task_id}")).data["task_result"]["videos"][0]["url"]
        await call("GET", url, auth=None)
        await call("GET", url)
        assert [row.authorized for row in emu.ledger.media] == [False, True]
        assert [row.query for row in emu.ledger.media] == [{}, {}]


def test_the_oldest_rows_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of rows is bounded, for emulators that run for days; peaks are never forgotten."""
    monkeypatch.setattr(ledger_module, "ROWS_MAX", 10)
    ledger = Ledger()
    fields: dict[str, Any] = {"wall": 0.0, "kind": "list", "method": "GET", "path": "/"}
    for i in range(25):
        ledger.add(Row(at=i, **fields))
        ledger.held("video", i, 25 - i)
    assert [row.at for row in ledger.rows] == list(range(15, 25))
    assert (ledger.peak("video"), ledger.used("video"), len(ledger.slots["video"])) == (25, 1, 10)
    assert (ledger.peak("image"), ledger.used("image")) == (0, 0)
