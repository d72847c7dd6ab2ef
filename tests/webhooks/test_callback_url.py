"""Client(callback_url=...): on every create that takes one, and nowhere else."""

from __future__ import annotations

from typing import Any, Final

import pytest

from kling_async import Client, ConfigurationError, Polling, RawTask
from kling_async.catalog import TASKS
from kling_async.orchestrator.create_spec import callback_of
from tests.emulator.facts import ENDPOINTS
from tests.reference import V2
from tests.support import clip, pair, still

HOOK: Final = "http://127.0.0.1:9/kling/a-secret-token"
OWN: Final = "http://127.0.0.1:9/another"
virtual = pytest.mark.anyio


async def sent_with(options: dict[str, Any], **submit: Any) -> Any:
    """Return the callback_url of a create, None if it had none."""
    async with pair(client=options) as (emu, client):
        task = await client.submit(clip(), **submit)
        return emu.tasks[task.id].body.get("callback_url")


@virtual
@pytest.mark.parametrize(
    ("of_client", "of_submit", "expected"),
    [
        (HOOK, {}, HOOK),
        (HOOK, {"callback_url": None}, HOOK),
        (HOOK, {"callback_url": OWN}, OWN),
        (HOOK, {"callback_url": ""}, None),
        ("", {}, None),
        (None, {}, None),
        (None, {"callback_url": OWN}, OWN),
    ],
)
async def test_a_submit_s_own_address_wins(of_client: Any, of_submit: dict[str, Any], expected: Any) -> None:
    """The client's is the default; an empty one stands for none."""
    assert await sent_with({"callback_url": of_client}, **of_submit) == expected


@virtual
async def test_a_batch_and_a_derived_client_have_it_too() -> None:
    """Whatever creates a task here names the address; with other settings as well."""
    async with pair(client={"callback_url": HOOK}) as (emu, client):
        await client.with_options(polling=Polling(min_interval=2)).submit(still())
        async with client.batch([clip()]) as results:
            assert [outcome.ok async for outcome in results] == [True]
        assert [task.body.get("callback_url") for task in emu.tasks.values()] == [HOOK, HOOK]


@virtual
async def test_a_raw_task_has_only_its_submit_s_own() -> None:
    """Nobody knows whether its endpoint takes one: an unknown field may be refused, or ignored and paid."""
    async with pair(client={"callback_url": HOOK}) as (emu, client):
        raw = RawTask(path="/v1/videos/text2video", body={"prompt": "a boat", "model_name": "kling-v2-6"})
        for own in (None, OWN):
            task = await client.submit(raw, callback_url=own)
            assert emu.tasks[task.id].body.get("callback_url") == own


@pytest.mark.parametrize("row", TASKS, ids=lambda row: row.name)
def test_the_catalog_says_who_takes_one(row: Any) -> None:
    """As the reference has it; an endpoint that does not must not get it."""
    if row.name.startswith("v2."):
        assert row.takes_callback
        options = [facts["params"]["options"]["items"] for facts in V2["endpoints"].values()]
        assert all("callback_url" in items for items in options)
        return
    documented = "callback_url" in ENDPOINTS[row.name]["params"]
    assert row.takes_callback == documented
    for takes in (True, False):
        url = callback_of({}, row._replace(takes_callback=takes), HOOK)
        assert url == (HOOK if takes else None)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host.example/secret", "must be an http"),
        ("secret", "callback_url"),
        ("http://127.0.0.1/secret", "not a public host"),
        ("https://10.0.0.1/secret", "not a public host"),
        ("https://host.example/\nsecret", "callback_url"),
    ],
)
def test_an_address_that_cannot_work_is_refused_at_once(url: str, words: str) -> None:
    """The error names the setting, and repeats no path: it may hold the token."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        Client(api_key="k", callback_url=url)
    assert str(caught.value).startswith("callback_url") and "/secret" not in str(caught.value)


def test_an_address_that_can_work_is_taken() -> None:
    """A public one anywhere, a private one where the API itself is on this machine; the repr hides it."""
    assert "secret" not in repr(Client(api_key="k", callback_url="https://host.example/secret"))
    Client(api_key="k", base_url="http://127.0.0.1:1", callback_url=HOOK)
