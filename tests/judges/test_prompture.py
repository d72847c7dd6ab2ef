"""Prompture's Kling drivers, blocking and asyncio, against the emulator.

Where one of them fails, the vendor's reference decides; each docstring says how.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kling_async.testing import emulator
from tests.judges.support import BOAT, LAKE, MP4, PNG, downloaded, driver_of, generated

pytestmark = pytest.mark.anyio

ACCEPTED: dict[str, tuple[str, dict[str, Any], list[str], bytes]] = {
    # endpoint: their driver, options, fields that the reference does not know, the file's mark
    "image_generation": ("ImageGen", {}, ["image_size"], PNG),
    "multi_image_to_image": ("ImageGen", {"subject_images": [BOAT, LAKE]}, ["image_size"], PNG),
    "image_to_video": ("VideoGen", {"model": "kling-v2-6", "image": BOAT}, ["aspect_ratio"], MP4),
    "multi_image_to_video": ("VideoGen", {"image_list": [BOAT, LAKE]}, [], MP4),
}

BOTH = [
    pytest.param("Kling{}Driver", 0.05, {"poll_interval": 0.01}, id="blocking", marks=pytest.mark.real),
    pytest.param("AsyncKling{}Driver", 60.0, {}, id="asyncio"),
]
"""Name, seconds a task takes, how often it asks. The blocking ones need the real clock."""


@pytest.mark.parametrize("endpoint", ACCEPTED)
@pytest.mark.parametrize(("name", "seconds", "pace"), BOTH)
async def test_their_requests_end_in_files(
    prompture: Any, name: str, seconds: float, pace: dict[str, Any], endpoint: str
) -> None:
    """Create, poll and result as they read them; what they send beyond the reference is ignored."""
    kind, options, unknown, mark = ACCEPTED[endpoint]
    async with emulator() as emu:
        emu.set_duration(seconds)
        driver = driver_of(prompture, name.format(kind), emu)

        made = await generated(driver, "a paper boat", options | pace)

        [row] = emu.ledger.creates
        [content] = made.get("images") or made["videos"]
        assert (row.endpoint, row.code, row.unknown_fields) == (endpoint, 0, unknown)
        assert made["meta"]["task_id"] == row.task_id
        assert mark in (await downloaded(content.url))[:16]
        assert emu.ledger.refusals == []


REFUSED = [
    # for each the rule of the reference that they run against
    pytest.param({"model": "kling-v2-6"}, 1201, "image", id="a video without any image"),
    pytest.param({"image": BOAT}, 1203, "kling-v2-1", id="their default model was retired"),
]


@pytest.mark.parametrize(("options", "code", "names"), REFUSED)
@pytest.mark.parametrize(("name", "seconds", "pace"), BOTH)
async def test_what_the_reference_forbids_is_refused(
    prompture: Any,
    name: str,
    seconds: float,
    pace: dict[str, Any],
    options: dict[str, Any],
    code: int,
    names: str,
) -> None:
    """A video from text alone belongs to another path, and some models have ended: nothing is made."""
    async with emulator() as emu:
        emu.set_duration(seconds)
        driver = driver_of(prompture, name.format("VideoGen"), emu)

        with pytest.raises(RuntimeError, match=names):
            await generated(driver, "a paper boat", options | pace)

        [row] = emu.ledger.creates
        assert (row.code, emu.tasks) == (code, {})


@pytest.mark.real
async def test_there_is_no_upload_of_motion(prompture: Any) -> None:
    """Their motion control begins at ``/v1/videos/motion/upload``; the reference has no such path."""
    async with emulator() as emu:
        driver = driver_of(prompture, "KlingVideoGenDriver", emu)

        with pytest.raises(RuntimeError, match="404"):
            await generated(driver, "", {"character_image": BOAT, "motion_video_ref": LAKE})

        assert emu.tasks == {}


async def test_a_field_of_another_name_changes_nothing(prompture: Any) -> None:
    """``image_size`` is no field of the API, which calls it ``resolution``: who asks for 2k gets 1k."""
    async with emulator() as emu:
        driver = driver_of(prompture, "AsyncKlingImageGenDriver", emu)

        await generated(driver, "a paper boat", {"resolution": "2k"})

        [task] = emu.tasks.values()
        assert emu.ledger.created[0].body is not None
        assert emu.ledger.created[0].body["image_size"] == "2k"
        assert task.body["resolution"] == "1k"


async def test_a_token_that_ended_is_refused(prompture: Any) -> None:
    """They sign once for a whole wait; after its 30 minutes the next question is refused with 1004."""
    async with emulator() as emu:
        emu.set_duration(3000)
        driver = driver_of(prompture, "AsyncKlingImageGenDriver", emu)

        asked = asyncio.get_running_loop().time()
        with pytest.raises(RuntimeError, match="1004"):
            await generated(driver, "a paper boat", {"poll_interval": 60, "timeout": 3000})

        assert asyncio.get_running_loop().time() - asked == pytest.approx(1800, abs=120)
