"""orchestrator/lookup.py: find a lost create by `/tasks` or the list, where the path takes no such id."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import AmbiguousCreate, Polling, Retry, catalog
from tests.support import clip, pair, settle, until

if TYPE_CHECKING:
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio

JWT: dict[str, Any] = {"access_key": "acce55", "secret_key": "a-secret-of-the-tests-with-32-bytes"}
KEYS: dict[str, dict[str, Any]] = {"api_key": {}, "jwt": JWT}


@pytest.fixture(params=KEYS)
def keys(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Both kinds of credentials: `/tasks` takes only an API key."""
    return KEYS[request.param]


@pytest.fixture(autouse=True)
def searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an endpoint whose path takes no external id, as some lip-sync calls are."""
    be(monkeypatch, lookup="search")


def be(monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    row = catalog.TASKS[0]._replace(**more)
    monkeypatch.setattr("kling_async.orchestrator.engine.endpoint_of", lambda _: row)


def signed_pair(slots: dict[str, int] | None = None, **more: Any) -> Any:
    """Start an emulator that knows the key pair too."""
    return pair(slots, **more, **JWT)


def made(emu: Emulator) -> int:
    """Return how many tasks there are."""
    return len(emu.tasks)


def looks(emu: Emulator) -> list[str]:
    """Return how the emulator was asked for the task, in order."""
    return [row.kind for row in emu.ledger.rows if row.kind in ("query", "tasks", "list")]


async def test_a_task_that_was_made_is_adopted_by_the_one_question_that_works(keys: dict[str, Any]) -> None:
    """An API key takes one `/tasks`, a signed token one list page, and no second create is sent."""
    async with signed_pair(seconds=500, client=keys) as (emu, client):
        emu.fault("create", kind="lost_after")
        task = await client.submit(clip(), external_task_id="order-1")
        assert (task.external_task_id, len(emu.ledger.creates)) == ("order-1", 1)
        assert looks(emu) == (["list"] if keys else ["tasks"])
        assert client.account.limits()["video"].held == made(emu) == 1


async def test_a_create_that_made_nothing_is_sent_again(keys: dict[str, Any]) -> None:
    """Three looks miss, ten seconds apart; the same bytes go out again and make the one task."""
    async with signed_pair(seconds=500, client=keys) as (emu, client):
        emu.fault("create", kind="lost_before")
        await client.submit(clip())
        assert len({row.body_sha256 for row in emu.ledger.creates}) == 1
        assert (len(emu.ledger.creates), made(emu)) == (2, 1)


async def test_a_gateway_without_tasks_is_searched_by_its_list() -> None:
    """Where `/tasks` answers nothing useful the list is searched, and nothing is lost."""
    async with signed_pair(seconds=500) as (emu, client):
        emu.fault("create", kind="lost_after")
        emu.fault("tasks", status=404, code=1203)
        await client.submit(clip())
        assert looks(emu) == ["tasks", "list"] and len(emu.ledger.creates) == 1


async def test_the_list_is_leafed_through_until_tasks_are_surely_older(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A task behind the first page is found; a list without it ends at tasks from days before."""
    monkeypatch.setattr("kling_async.orchestrator.lookup.PAGE_SIZE_MAX", 2)
    async with signed_pair({"video": 20}, seconds=500_000, client={**JWT, "limits": {"video": 20}}) as (
        emu,
        client,
    ):
        for _ in range(5):
            await client.submit(clip())
        await asyncio.sleep(3 * 86400)
        emu.fault("create", kind="lost_after")
        emu.fault("list", status=503, times=3)
        lost = asyncio.create_task(client.submit(clip()))
        await settle()
        others = [await client.submit(clip()) for _ in range(3)]
        assert (await lost).external_task_id not in {t.external_task_id for t in others}
        assert len(emu.ledger.creates) == 9
        pages = looks(emu).count("list")
        emu.fault("create", kind="lost_before")
        await client.submit(clip())
        assert looks(emu).count("list") - pages == 3 * 3  # two pages of new tasks, one of old ones


async def test_a_list_with_too_many_new_tasks_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id counts as unknown, not as unused, if the list cannot be searched to its end."""
    monkeypatch.setattr("kling_async.orchestrator.lookup.PAGE_SIZE_MAX", 1)
    monkeypatch.setattr("kling_async.orchestrator.lookup._PAGES_MAX", 2)
    async with signed_pair(seconds=500, client=JWT) as (emu, client):
        for _ in range(3):
            await client.submit(clip())
        emu.fault("create", kind="lost_before")
        with pytest.raises(AmbiguousCreate, match="too many new tasks"):
            await client.submit(clip())
        assert len(emu.ledger.creates) == 4


async def test_a_list_that_cannot_be_read_proves_nothing() -> None:
    """A list of another form leaves the fate unknown."""
    async with signed_pair(seconds=500, client=JWT) as (emu, client):
        emu.fault("create", kind="lost_before")
        emu.fault("list", kind="wrong_types", value={"tasks": []})
        with pytest.raises(AmbiguousCreate, match="cannot be read"):
            await client.submit(clip())


async def test_where_ids_are_not_sure_to_be_kept_nothing_is_sent_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A miss is no proof at an endpoint that may ignore the id: the slot stays held."""
    be(monkeypatch, lookup="search", idempotent=False)
    async with signed_pair(seconds=500, client={"retry": Retry(max_tries=2), "max_task_life": 7200}) as (
        emu,
        client,
    ):
        emu.fault("create", kind="lost_before")
        with pytest.raises(AmbiguousCreate, match="might be a second task"):
            await client.submit(clip())
        await asyncio.sleep(6000)
        assert len(emu.ledger.creates) == 1 and len(client.unresolved()) == 1
        assert client.account.limits()["video"].held == 1
        await until(lambda: client.account.limits()["video"].held == 0, 3000, step=10)


@pytest.mark.parametrize("lookup", ["path", "search"])
async def test_look_ups_keep_the_rate_and_go_first(lookup: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty creates in doubt at once: no window of a second has more than ten reads, polls among them."""
    be(monkeypatch, lookup=lookup)
    loop = asyncio.get_running_loop()
    options = {"limits": {"video": 90}, "polling": Polling(requests_per_second=10, min_interval=0.1)}
    async with signed_pair({"video": 90}, seconds=500, client=options) as (emu, client):
        running = [await client.submit(clip()) for _ in range(30)]
        waits = [asyncio.create_task(task.wait()) for task in running]
        emu.fault("create", kind="lost_after", times=60)
        begun = loop.time()
        await asyncio.gather(*(client.submit(clip()) for _ in range(60)), *(t.refresh() for t in running))
        assert 8.5 <= loop.time() - begun <= 10
        asked = [row.at for row in emu.ledger.rows if row.kind in ("query", "tasks", "list")]
        assert len(asked) >= 90
        assert all(b - a > 0.9 for a, b in zip(asked, asked[10:], strict=False))
        kinds = [row.kind for row in emu.ledger.rows if row.kind in ("query", "tasks")][:62]
        assert kinds.count("query" if lookup == "path" else "tasks") >= 60
        for wait in waits:
            wait.cancel()


async def test_look_ups_of_a_client_that_is_closing_wait_for_no_turn() -> None:
    """Nobody gives turns any more: their callers are told at once that the fate is unknown."""
    options = {"polling": Polling(requests_per_second=0.1), "limits": {"video": 5}}
    async with signed_pair(seconds=500, client=options) as (emu, client):
        emu.fault("create", kind="lost_after", times=5)
        submits = [asyncio.create_task(client.submit(clip())) for _ in range(5)]
        await until(lambda: looks(emu), step=0.01)
        await settle()
        closing = asyncio.create_task(client.aclose())
        done, _ = await asyncio.wait(submits[1:], timeout=1)
        assert len(done) == 4 and all(isinstance(task.exception(), AmbiguousCreate) for task in done)
        await closing
        await asyncio.wait(submits)


async def test_a_taken_id_that_cannot_be_found_is_of_unknown_fate() -> None:
    """Lip-sync answers lack the id: the refusal proves a task, but no list shows whose."""
    async with signed_pair(seconds=500, client=JWT) as (emu, client):
        emu.fault("create", kind="lost_after")
        emu.fault("list", kind="wrong_types", value=[], times=6)
        with pytest.raises(AmbiguousCreate, match="already exists"):
            await client.submit(clip())
        assert (len(emu.ledger.creates), made(emu)) == (2, 1)
        await until(lambda: not client.unresolved())
        assert len(client.tasks()) == 1
