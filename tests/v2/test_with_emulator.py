"""The second generation from request to file: our client against the emulator, which share no code.

What our check lets pass, the emulator's judgement accepts, and no field of it goes unread: production would
ignore such a field and charge for the task.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kling_async import ConfigurationError, TaskFailed, TaskNotFound, catalog, v1, v2
from kling_async.emulator.judging.contents import contents_of, judge_contents, judge_settings
from kling_async.emulator.judging.second import SECOND
from kling_async.errors import KlingWarning, RequestInvalid
from kling_async.testing import Element, Voice
from kling_async.wire.checks import problems_of, to_wire
from tests.reference import V2
from tests.support import client_of, pair
from tests.v2.test_fuzz import bodies
from tests.v2.walking import ENDPOINTS, Json, from_body, row_name
from tests.webhooks.receiving import receiving

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.emulator.judging.second import SecondEndpoint

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")]

PATHS: Final = {facts["create"]["path"]: name for name, facts in ENDPOINTS.items()}
UNSHAPED: Final = "omni prompt only", "omni feature video"
"""Samples without the ``aspect_ratio`` that production asks for."""
SAMPLES: Final = {
    row["name"]: row
    for row in V2["requests"]
    if row["method"] == "POST" and row["path"] in PATHS and row["name"] not in UNSHAPED
}
SLOTS: Final = {"video": 5, "image": 9, "virtual_try_on": 2}


def request_of(path: str, body: Json) -> Any:
    name = PATHS[path]
    model = {"model_name": ENDPOINTS[name]["model"]} if ENDPOINTS[name].get("model") else {}
    plain = {key: value for key, value in body.items() if key != "options"}
    return from_body(name, plain, **model)


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_sample_becomes_a_video_with_its_file(name: str, tmp_path: Path) -> None:
    """Submitted, waited for, billed as the estimate says, stored; nothing that was sent goes unread."""
    row = SAMPLES[name]
    async with pair(SLOTS, seconds=20) as (emu, client):
        for entry in row["body"].get("contents", ()):
            if "element_id" in entry:
                emu.know(Element(id=int(entry["element_id"])))
            if "voice_id" in entry:
                emu.know(Voice(id=entry["voice_id"]))
        request = request_of(row["path"], row["body"])
        task = await client.submit(request)
        result = await task.wait()
        assert isinstance(result, v1.Videos) and task.record is not None
        (path,) = await task.download(tmp_path)
        assert path.read_bytes()[4:8] == b"ftyp"
        (made,) = emu.ledger.created
        assert made.path == row["path"] and not made.unknown_fields
        estimate = client.estimate(request)
        if "motion" not in name and "video" not in name:  # whose length follows the clip
            assert float(task.record.units or 0) == pytest.approx(float(estimate.units or 0))
        assert client.account.limits()["video"].held == 0


@pytest.mark.parametrize("name", ENDPOINTS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(data=st.data())
def test_what_our_check_lets_pass_is_accepted_and_read_whole(name: str, data: st.DataObject) -> None:
    """For bodies drawn from the reference: accepted by us means accepted there, with no field unread."""
    body, _ = data.draw(bodies(name, broken=data.draw(st.booleans())))
    model = {"model_name": ENDPOINTS[name]["model"]} if "model" in ENDPOINTS[name] else {}
    try:
        request = from_body(name, body, **model)
    except RequestInvalid:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KlingWarning)
        if problems_of(request, lambda _: None):
            return
    sent: Json = msgspec.json.decode(msgspec.json.encode(to_wire(request, lambda media: media.url or "")))
    shaped = sent.get("settings", {}).get("aspect_ratio") or {"first_frame", "base_video"} & {
        entry["type"] for entry in sent.get("contents", ())
    }
    assume(shaped or SECOND[name].endpoint.family != "omni-video")  # a warning of ours, a refusal of theirs
    assert unread(SECOND[name], sent) == []


def unread(second: SecondEndpoint, body: Json) -> list[str]:
    """Judge a body as the emulator does; return what it does not read."""
    if not second.contents:
        assert body["prompt"].strip()
        return judge_settings(second, body, frozenset())
    entries = contents_of(body)
    left = judge_contents(second, entries)
    return left + judge_settings(second, body, frozenset(entry["type"] for entry in entries))


# --- the life of a task ----------------------------------------------------------------------------


def clip(prompt: str = "a paper boat", **more: Any) -> v2.TextToVideo:
    return v2.TextToVideo(prompt=prompt, **more)


@pytest.mark.parametrize("kind", ["lost_after", "lost_before", "half_body", "html"])
async def test_a_lost_create_is_found_and_made_once(kind: str) -> None:
    """Whatever becomes of the answer, there is one task, and its caller gets it."""
    async with pair(SLOTS) as (emu, client):
        emu.fault("create", kind=kind, acts=None if kind != "html" else True)
        assert (await client.run(clip())).videos
        assert len(emu.tasks) == 1


async def test_both_generations_share_the_slots_and_the_queries() -> None:
    """Two slots for six tasks of both; queries by ids ask about both at once."""
    async with pair({"video": 2}, client={"limits": {"video": 2}}) as (emu, client):
        both = [clip(f"scene {n}") for n in range(3)] + [v1.TextToVideo(prompt=f"take {n}") for n in range(3)]
        results = await asyncio.gather(*(client.run(request) for request in both))
        assert all(result.videos for result in results)
        assert emu.ledger.peak("video") == 2 and len(emu.tasks) == 6
        assert {row.kind for row in emu.ledger.rows} <= {"create", "tasks", "query", "list", "costs"}


async def test_a_full_account_queues() -> None:
    """1303 reaches nobody, and the model stands in the counts of refusals."""
    async with pair({"video": 1}) as (emu, client):
        await asyncio.gather(*(client.run(clip(str(n))) for n in range(4)))
        assert len(emu.tasks) == 4 and client.stats().models["kling-3.0"].refused > 0


async def test_a_failed_task_and_an_unknown_one() -> None:
    """The reason arrives; an id that the query leaves out is no task, once that is sure."""
    async with pair(SLOTS) as (_, client):
        with pytest.raises(TaskFailed, match="risk control"):
            await client.run(clip("emulator:fail"))
        with pytest.raises(TaskNotFound):
            await client.attach(v2.TextToVideo, task_id="847").wait()


async def test_a_key_pair_is_refused_before_anything_is_sent() -> None:
    """The error says what to do."""
    async with pair(SLOTS) as (emu, _):
        async with client_of(emu, access_key=emu.access_key, secret_key=emu.secret_key) as client:
            with pytest.raises(ConfigurationError, match="API key"):
                await client.run(clip())
        assert not emu.ledger.created


async def test_the_history_shows_both_generations_newest_first() -> None:
    """Over several pages, by status, and the solutions' on their own."""
    async with pair({"video": 9, "virtual_try_on": 2}) as (emu, client):
        requests = [*(clip(str(n)) for n in range(3)), v1.TextToVideo(prompt="p")]
        await asyncio.gather(*(client.run(request) for request in requests))
        with pytest.raises(TaskFailed):
            await client.run(clip("emulator:fail"))
        picture = "https://a.example/x.png"
        await client.run(v2.VirtualTryOn(product_image=picture, person_image=picture))
        seen = [record async for record in client.history()]
        others = [int(task.task_id) for task in emu.tasks.values() if "solution" not in task.endpoint]
        assert [int(record.task_id) for record in seen] == sorted(others, reverse=True)
        assert [record.status async for record in client.history(status="failed")] == ["failed"]
        assert len([record async for record in client.history(of="solutions")]) == 1


async def test_a_signed_callback_ends_the_wait() -> None:
    """In the form of the second generation, with the whole result: no query follows the end."""
    async with receiving() as at:
        task = await at.client.submit(clip())
        assert (await task.wait()).videos
        await at.settle()
        assert {row.answer for row in at.emu.ledger.callbacks} == {200}
        (made,) = at.emu.tasks.values()
        assert all(row.at < made.ends for row in at.emu.ledger.rows)


async def test_a_batch_of_both_generations_goes_on_from_its_journal(tmp_path: Path) -> None:
    """Run again, it makes nothing; the files stand under their keys."""
    turbo = clip(model_name="kling-3.0-turbo")
    requests = [("old", v1.TextToVideo(prompt="p")), ("new", clip()), ("turbo", turbo)]
    out: dict[str, Any] = {"download_to": tmp_path / "out", "name": "{key}"}
    async with pair(SLOTS) as (emu, client):
        for _ in range(2):
            async with client.batch(requests, journal=tmp_path / "j.sqlite", **out) as results:
                keys = {outcome.key async for outcome in results if outcome.files}
            assert keys == {"old", "new", "turbo"}
        assert len(emu.tasks) == 3
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"old", "new", "turbo"}


def test_every_row_of_the_catalog_is_tried() -> None:
    """No type of requests is left out of the endpoints that the fuzz draws from."""
    rows = {row.name for row in catalog.TASKS if row.name.startswith("v2.")}
    assert {row_name(name) for name in ENDPOINTS} == rows
