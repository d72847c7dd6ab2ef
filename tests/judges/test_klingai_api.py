"""The client klingai-api against the emulator. It asks for Python 3.14; its client runs on 3.11."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kling_async.testing import emulator
from tests.support import until

pytestmark = [pytest.mark.anyio, pytest.mark.real]


def made(api: Any, keys: tuple[str | None, str | None]) -> dict[str, Any]:
    """Enter the client, which reads the account's costs, and create a task."""
    with api.KlingAiAPI(*keys) as kling:
        model = api.Text2VideoModel.kling_v2_6
        answer: dict[str, Any] = kling.text2video("a boat", model_name=model, external_task_id="order-17")
    return answer


def seen(api: Any, keys: tuple[str | None, str | None], task_id: str) -> list[dict[str, Any]]:
    """Query the task by either id, and list the newest tasks."""
    with api.KlingAiAPI(*keys) as kling:
        by_ids = [kling.get_text2video(asked)["data"] for asked in (task_id, "order-17")]
        page: list[dict[str, Any]] = kling.list_text2video(page_size=5)["data"]
    return [*by_ids, *page]


async def test_create_query_and_list(klingai_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the token it signs itself, the same video is found by task id, by external id and in the list."""
    async with emulator() as emu:
        emu.set_duration(0.05)
        monkeypatch.setattr(klingai_api.KlingAiAPI, "base", emu.url)
        keys = (emu.access_key, emu.secret_key)

        answer = await asyncio.to_thread(made, klingai_api, keys)
        task_id = answer["data"]["task_id"]
        await until(lambda: emu.tasks[task_id].done, step=0.01)
        tasks = await asyncio.to_thread(seen, klingai_api, keys, task_id)

        assert [task["task_status"] for task in tasks] == ["succeed"] * 3
        assert len({task["task_result"]["videos"][0]["id"] for task in tasks}) == 1
        assert [row.code for row in (*emu.ledger.creates, *emu.ledger.queries, *emu.ledger.lists)] == [0] * 4


async def test_keys_of_somebody_else(klingai_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of another account makes the costs answer 401, which it raises as bad credentials."""
    async with emulator() as emu:
        monkeypatch.setattr(klingai_api.KlingAiAPI, "base", emu.url)

        with pytest.raises(klingai_api.BadCredentials):
            await asyncio.to_thread(made, klingai_api, (emu.access_key, "s" * 40))

        assert emu.tasks == {}
