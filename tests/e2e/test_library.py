"""Things that an account keeps for later requests: elements, presets, voices; and its bills."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from kling_async import RequestRejected, v1
from tests.support import pair, png

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

FRONT = png(400, 300)
ANN = v1.CustomElement(
    element_name="Ann",
    element_description="A walker with a red scarf",
    reference_type="image_refer",
    element_image_list=v1.ElementImages(frontal_image=FRONT, refer_images=(v1.ReferImage(image_url=FRONT),)),
)


def portrait(element_id: int) -> v1.OmniImage:
    """Ask for an image of that element."""
    return v1.OmniImage(
        prompt="<<<element_1>>> at sea",
        element_list=(v1.ElementRef(element_id=element_id),),
        aspect_ratio="1:1",
    )


async def test_an_element_lives_from_its_making_to_its_end(tmp_path: Path) -> None:
    """An element is made, downloaded and used; once it is deleted its use is refused and nothing is paid."""
    async with pair() as (emu, client):
        task = await client.submit(ANN)
        element = (await task.wait()).elements[0]
        paths = await task.download(tmp_path)
        assert sorted(path.name for path in paths) == [f"{task.id}-0-frontal.png", f"{task.id}-0-refer-1.png"]
        assert [r.task_id for r in await client.list(v1.CustomElement)] == [task.id]
        images = await client.run(portrait(element.element_id))
        assert len(images.images) == 1
        await client.call(v1.DeleteElement(element_id=element.element_id))
        with pytest.raises(RequestRejected):
            await client.run(portrait(element.element_id))
        assert len(emu.ledger.created) == 2


async def test_an_element_takes_no_slot_and_waits_when_refused_all_the_same() -> None:
    """Elements are made while the account is full; should 1303 come all the same, their own pool waits."""
    async with pair({"video": 1, "image": 1}, seconds=1000) as (emu, client):
        still = await client.submit(v1.AiMultiShot(element_frontal_image=FRONT))
        emu.fault("custom_elements", code=1303, times=3)
        tasks = [await client.submit(ANN) for _ in range(4)]
        pools = client.account.limits()
        assert not still.done
        assert (pools["image"].held, pools["image"].limit) == (1, 1)
        assert (pools["element"].held, pools["element"].queued) == (0, 0)
        assert len({task.id for task in tasks}) == 4


async def test_pages_of_presets_end_with_a_shorter_one() -> None:
    """Page number and size reach the vendor under its own names, and the answer is typed."""
    async with pair() as (_, client):
        every = (await client.call(v1.PresetElements(page_size=500))).elements
        first = (await client.call(v1.PresetElements(page=1, page_size=2))).elements
        second = (await client.call(v1.PresetElements(page=2, page_size=2))).elements
        assert (*first, *second) == every[:4]
        assert 0 < len((await client.call(v1.PresetVoices(page_size=1000))).voices) < 1000


async def test_bills_are_read_to_the_end() -> None:
    """Following the cursor page by page gives one entry for each task that cost units."""
    async with pair() as (emu, client):
        for _ in range(3):
            await client.run(v1.OmniImage(prompt="a boat", aspect_ratio="1:1"))
        now = int(time.time() * 1000)
        page = await client.call(
            v1.AccountBillingPackage(start_time=now - 10**9, end_time=now + 10**9, limit=2)
        )
        found = [*page.result.detail]
        while page.has_more:
            page = await client.call(v1.AccountBillingPackage(cursor=page.next_cursor))
            found += page.result.detail
        assert {entry.task_id for entry in found} == set(emu.tasks)
        assert [entry.deduction_amount for entry in found] == [8, 8, 8]
