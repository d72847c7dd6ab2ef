"""Prompture's Kling drivers, blocking and asyncio, against the emulator.

Where a driver fails, the vendor's reference says that the emulator is right; each docstring names the fact.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kling_async.testing import emulator
from tests.judges.support import BOAT, LAKE, MP4, PNG, downloaded, driver_of, generated

pytestmark = pytest.mark.anyio

ACCEPTED: dict[str, tuple[str, dict[str, Any], list[str], bytes]] = {
    # endpoint: driver, options, fields that the reference does not know, mark of the file
    "image_generation": ("ImageGen", {}, ["image_size"], PNG),
    "multi_image_to_image": ("ImageGen", {"subject_images": [BOAT, LAKE]}, ["image_size"], PNG),
    "image_to_video": ("VideoGen", {"model": "kling-v2-6", "image": BOAT}, ["aspect_ratio"], MP4),
    "multi_image_to_video": ("VideoGen", {"image_list": [BOAT, LAKE]}, [], MP4),
}

BOTH = [
    pytest.param("Kling{}Driver", 0.05, {"poll_interval": 0.01}, id="blocking", marks=pytest.mark.real),
    pytest.param("AsyncKling{}Driver", 60.0, {}, id="asyncio"),
]
"""Name of the driver, seconds that a task takes, polling options. Blocking ones need the real clock."""


@pytest.mark.parametrize("endpoint", ACCEPTED)
@pytest.mark.parametrize(("name", "seconds", "pace"), BOTH)
async def test_their_requests_end_in_files(
    prompture: Any, name: str, seconds: float, pace: dict[str, Any], endpoint: str
) -> None:
    """They create, poll and read results; fields that the reference does not know are ignored."""
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
    # options, code and a word of the refusal; the id says which rule of the reference they break
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
    """A video from text alone belongs to another path, and retired models are refused; no task is made."""
    async with emulator() as emu:
        emu.set_duration(seconds)
        driver = driver_of(prompture, name.format("VideoGen"), emu)

        with pytest.raises(RuntimeError, match=names):
            await generated(driver, "a paper boat", options | pace)

        [row] = emu.ledger.creates
        assert (row.code, emu.tasks) == (code, {})


@pytest.mark.real
async def test_there_is_no_upload_of_motion(prompture: Any) -> None:
    """Their motion control starts with ``/v1/videos/motion/upload``, which the reference does not have."""
    async with emulator() as emu:
        driver = driver_of(prompture, "KlingVideoGenDriver", emu)

        with pytest.raises(RuntimeError, match="404"):
            await generated(driver, "", {"character_image": BOAT, "motion_video_ref": LAKE})

        assert emu.tasks == {}


async def test_a_field_of_another_name_changes_nothing(prompture: Any) -> None:
    """They send ``image_size`` where the API has ``resolution``, so that 2k is asked for and 1k made."""
    async with emulator() as emu:
        driver = driver_of(prompture, "AsyncKlingImageGenDriver", emu)

        await generated(driver, "a paper boat", {"resolution": "2k"})

        [task] = emu.tasks.values()
        assert emu.ledger.created[0].body is not None
        assert emu.ledger.created[0].body["image_size"] == "2k"
        assert task.body["resolution"] == "1k"


async def test_a_token_that_ended_is_refused(prompture: Any) -> None:
    """They sign once per wait; when the token ends after 30 minutes their next query is refused with 1004."""
    async with emulator() as emu:
        emu.set_duration(3000)
        driver = driver_of(prompture, "AsyncKlingImageGenDriver", emu)

        asked = asyncio.get_running_loop().time()
        with pytest.raises(RuntimeError, match="1004"):
            await generated(driver, "a paper boat", {"poll_interval": 60, "timeout": 3000})

        assert asyncio.get_running_loop().time() - asked == pytest.approx(1800, abs=120)
