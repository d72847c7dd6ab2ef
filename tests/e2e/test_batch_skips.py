"""Test what a batch skips: one pool's or one model's end is told and does not end the others'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kling_async import OutOfUnits, RequestInvalid, v1
from tests.e2e.batches import creates, remaining, run_and_report
from tests.support import clip, pair, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def image(n: int) -> v1.ImageGeneration:
    """Return a picture."""
    return v1.ImageGeneration(prompt=f"image {n}")


@pytest.mark.parametrize("as_generator", [False, True])
async def test_a_limit_on_images_does_not_end_the_videos(tmp_path: Path, as_generator: bool) -> None:
    """Images beyond their units are skipped and told; all videos behind them are made."""
    requests: list[Any] = [*map(image, range(20)), *(clip(str(n)) for n in range(4))]
    async with pair(seconds=5) as (emu, client):
        each = client.estimate(image(0)).most or 0.0
        source = (request for request in requests) if as_generator else requests
        found, report = await run_and_report(client, source, tmp_path, max_units={"image": 3 * each})
        assert [o.position for o in found if o.ok] == [0, 1, 2, 20, 21, 22, 23] and len(found) == 7
        assert report.stopped == "max_units" and "17 of image not made" in report.advice
        assert [(s.what, s.reason, s.requests) for s in report.skipped] == [("image", "max_units", 17)]
        found, report = await run_and_report(client, requests, tmp_path)
        assert len(found) == 24 and all(o.ok for o in found) and creates(emu) == 24
        assert (report.skipped, report.stopped, report.advice) == ((), "", "")


async def test_cheaper_requests_behind_one_too_dear_are_made() -> None:
    """One request dearer than the rest of the budget is skipped, and the rest is made."""
    requests = [clip("a"), clip("too dear", duration=15), clip("b")]
    async with pair(seconds=5) as (_, client):
        found, report = await run_and_report(client, requests, max_units=7)
        assert [o.position for o in found if o.ok] == [0, 2]
        assert [(s.what, s.requests) for s in report.skipped] == [("video", 1)]


async def test_a_used_up_pack_of_images_does_not_end_the_videos(tmp_path: Path) -> None:
    """Code 1102 on images: their queue is dropped and later ones are skipped; the videos are made."""
    requests: list[Any] = [*map(image, range(30)), *(clip(str(n)) for n in range(3)), image(99)]
    async with pair(seconds=5) as (emu, client):
        emu.fault("image_generation", code=1102, status=429, times=None)
        found, report = await run_and_report(client, requests, tmp_path, ahead=8)
        assert [o.position for o in found if o.ok] == [30, 31, 32]
        assert all(isinstance(o.error, OutOfUnits) for o in found if not o.ok)
        (line,) = report.skipped
        assert (line.what, line.reason, report.stopped) == ("image", "account", "account")
        assert line.requests + len(found) == len(requests) and "1102" in line.text
        emu.faults.clear()
        client.account.reopen()
        found, _ = await run_and_report(client, requests, tmp_path)
        assert len(found) == 34 and all(o.ok for o in found)


@pytest.mark.parametrize(("code", "status"), [(1201, 400), (1300, 400), (1203, 404), (1103, 403)])
async def test_equal_refusals_stop_their_model_alone(tmp_path: Path, code: int, status: int) -> None:
    """After ten in a row the rest of the model is unsent; other models go on; the reason is named."""
    bad: list[Any] = [clip(f"bad {n}") for n in range(40)]
    good = list(map(image, range(5)))
    async with pair({"video": 3, "image": 9}, seconds=5, client={"limits": {"video": 3}}) as (emu, client):
        emu.fault("text_to_video", code=code, status=status, times=None)
        async with client.batch([*bad, *good], journal=tmp_path / "jobs.sqlite") as results:
            found = await remaining(results)
        refused = [o for o in found if not o.ok]
        assert 10 <= len(refused) <= 20 and [o.position for o in found if o.ok] == [40, 41, 42, 43, 44]
        (line,) = results.report.skipped
        assert line.requests == 40 - len(refused) and str(code) in line.text
        assert results.report.stopped == "refusals" and str(code) in results.report.advice


@pytest.mark.parametrize("which", ["code", "task", "no code"])
async def test_what_failed_for_good_is_tried_again_if_wanted(tmp_path: Path, which: str) -> None:
    """Refused with a code or failed: told again, and tried again under a new id only if that is wanted.

    Without a code nothing is final: the next run goes on by itself, under the same id.
    """
    requests = [clip("a"), clip("b")]
    async with pair(seconds=5) as (emu, client):
        if which == "task":
            async with client.batch(requests, journal=tmp_path / "jobs.sqlite") as results:
                await until(lambda: len(emu.tasks) == 2)
                emu.finish(next(iter(emu.tasks)), "failed", "risk control")
                first = await remaining(results)
                advice = results.report.advice
        else:
            code = {"code": 1300} if which == "code" else {}
            emu.fault("create", status=400, times=None if which == "no code" else 1, **code)
            first, report = await run_and_report(client, requests, tmp_path)
            advice = report.advice
            emu.faults.clear()
        if which == "no code":
            found, report = await run_and_report(client, requests, tmp_path)
            assert all(o.ok for o in found) and report.advice == ""
            ids = [row.external_task_id for row in emu.ledger.creates]
            assert len(set(ids)) == 2
            return
        assert "1 failed for good: retry_failed=True" in advice
        kind = type(next(o.error for o in first if not o.ok))
        found, report = await run_and_report(client, requests, tmp_path)
        (again,) = (o for o in found if not o.ok)
        assert type(again.error) is kind and again.resumed and "retry_failed=True" in report.advice
        found, _ = await run_and_report(client, requests, tmp_path, retry_failed=lambda o: False)
        assert sum(o.ok for o in found) == 1
        found, _ = await run_and_report(client, requests, tmp_path, retry_failed=lambda o: 1 / 0)
        assert [type(o.error) for o in found if not o.ok] == [RequestInvalid]
        asked: list[Any] = []
        found, report = await run_and_report(client, requests, tmp_path, retry_failed=asked.append)
        assert [type(o.error) for o in asked] == [kind]
        found, report = await run_and_report(client, requests, tmp_path, retry_failed=True)
        assert all(o.ok for o in found) and report.advice == "" and creates(emu) == 2 + (which == "task")
        assert {o.attempts for o in found} == {1, 2}
