"""The fate of a paid task when the network fails: in a client that raises at once, and in ours.

Both get the same request and the same faults from the same emulator. Neither client is to blame for a
network; they differ in what the caller has left afterwards.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import v1
from kling_async.testing import emulator
from tests.judges.support import BOAT, MP4, downloaded, driver_of, generated, keys_of
from tests.support import client_of, still, until

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

SECONDS = 30.0
CLIP = {"model": "kling-v2-6", "image": BOAT}

BAD_POLLS: dict[str, dict[str, Any]] = {
    "a server that is busy": {"status": 503, "code": 5001},
    "too many requests": {"code": 1302},
    "a page of a gateway": {"kind": "html"},
    "half an answer": {"kind": "truncated_json"},
    "a connection cut": {"kind": "lost_after"},
}


@pytest.mark.parametrize("trouble", BAD_POLLS)
async def test_one_bad_poll_loses_their_video_and_not_ours(prompture: Any, trouble: str) -> None:
    """Their wait ends in an error without the id of a task that is made and paid; ours polls again."""
    fault = BAD_POLLS[trouble]
    async with emulator(units={"video": 100}) as emu:
        emu.set_duration(SECONDS)
        emu.fault("query", **fault)
        driver = driver_of(prompture, "AsyncKlingVideoGenDriver", emu)

        outcomes: Sequence[Any] = await asyncio.gather(
            generated(driver, "a boat", CLIP), return_exceptions=True
        )

        [task] = emu.tasks.values()
        await until(lambda: task.done)
        assert isinstance(outcomes[0], Exception) and task.task_id not in str(outcomes[0])
        assert len(emu.ledger.queries) == 1 and emu.ledger.queries == emu.ledger.faults
        assert task.status == "succeed" and emu.units["video"] < 100

        for read in ("query", "list", "tasks"):  # whichever the client uses
            emu.fault(read, **fault)
        async with client_of(emu, **keys_of(emu)) as client:
            kept = await client.run(v1.ImageToVideo(prompt="a boat", image=BOAT, model_name=CLIP["model"]))

        assert len(emu.ledger.faults) > 1
        assert MP4 in (await downloaded(kept.videos[0].url))[:16]


@pytest.mark.real
async def test_their_blocking_wait_ends_likewise(prompture: Any) -> None:
    """Their blocking driver loses the task too; with ``poll=False`` it returns the id and does not wait."""
    async with emulator() as emu:
        emu.set_duration(0.05)
        emu.fault("query", status=503, code=5001)
        driver = driver_of(prompture, "KlingVideoGenDriver", emu)

        with pytest.raises(RuntimeError, match="503"):
            await generated(driver, "a boat", CLIP | {"poll_interval": 0.01})
        pending = await generated(driver, "a boat", CLIP | {"poll": False})

        assert pending["meta"]["task_id"] in emu.tasks and len(emu.tasks) == 2


async def test_a_full_account_refuses_them_and_queues_us(prompture: Any) -> None:
    """Of three requests for one slot two of theirs raise code 1303; ours are made one after the other."""
    prompts = ["a boat", "a lake", "a moon"]
    async with emulator(slots={"image": 1}) as emu:
        emu.set_duration(SECONDS)
        driver = driver_of(prompture, "AsyncKlingImageGenDriver", emu)

        theirs = await asyncio.gather(
            *(generated(driver, prompt, {"timeout": 300}) for prompt in prompts), return_exceptions=True
        )

        refused = [str(made) for made in theirs if isinstance(made, RuntimeError)]
        assert len(refused) == 2 and all("1303" in text for text in refused)
        assert len(emu.tasks) == 1

        async with client_of(emu) as client:
            ours = await asyncio.gather(*(client.run(still(prompt)) for prompt in prompts))

        assert all(made.images[0].url for made in ours) and len(emu.tasks) == 4
        assert emu.ledger.peak("image") == 1
