"""Somebody between us and the vendor answers a create: one submit is one task, and never refused for good.

The server here is independent of the emulator: a vendor in a few lines, and a gateway that may put its own
answer in place of the vendor's, to the create, to its look-ups, or to both.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async import (
    AmbiguousCreate,
    BadResponse,
    Client,
    ExternalIdTaken,
    RateLimited,
    RequestRejected,
    ServerError,
)
from tests.clock import new_event_loop
from tests.e2e.small_vendor import SmallVendor, address_of, not_found, refusal, success, wall_time
from tests.support import clip, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio

FORMS: Final[dict[str, Callable[[int], web.Response]]] = {
    "nothing": lambda status: web.Response(status=status),
    "HTML": lambda status: web.Response(status=status, text="<h1>no</h1>", content_type="text/html"),
    "message": lambda status: web.json_response({"message": "conflict"}, status=status),
    "error": lambda status: web.json_response({"error": {"message": "slow", "code": "408"}}, status=status),
    "no data": lambda status: web.json_response({"code": None, "message": "m", "data": None}, status=status),
}
STATUSES: Final = [
    *(302, 400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 421, 422, 425, 429, 431, 451, 460, 499),
    *(500, 501, 502, 503, 504, 520, 524, 529),
]


class Vendor(SmallVendor):
    """A vendor of tasks that never end, behind a gateway.

    Attributes:
        before: Answers of the gateway that keep a create from the vendor, in turn.
        after: Answers that take the place of the vendor's, in turn, once the task is made.
        looks: Answers to look-ups, in turn.
        stamp: Turns a time of creation into the field's value; None: the field is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before: list[web.Response] = []
        self.after: list[web.Response] = []
        self.looks: list[web.Response] = []
        self.posts = self.gets = 0
        self.stamp: Callable[[float], int] | None = lambda time: int(time * 1000)

    def answer(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        if request.method == "POST":
            self.posts += 1
            return self.create(body["external_task_id"])
        self.gets += "costs" not in request.path
        if self.looks and "costs" not in request.path:
            return self.looks.pop(0)
        if request.path == "/tasks":
            return refusal(1203, 404, "no such path")
        task = self.find(request.path.rsplit("/", 1)[1])
        return not_found() if task is None else success(task)

    def create(self, name: str) -> web.Response:
        if self.before:
            return self.before.pop(0)
        if name in self.tasks:
            return refusal(1201, 400, "external_task_id already exists")
        task = self.made(name, wall_time())
        return self.after.pop(0) if self.after else success(task)

    def made(self, name: str, time: float) -> dict[str, Any]:
        task = self.make(name, "processing")
        if self.stamp is not None:
            task["created_at"] = task["updated_at"] = self.stamp(time)
        return task


@asynccontextmanager
async def vendor_and_client(**options: Any) -> AsyncIterator[tuple[Vendor, Client]]:
    vendor = Vendor()
    options = {"limits": {"video": 500}, "now": wall_time, **options}
    async with (
        address_of(vendor.handle) as address,
        Client(base_url=address, api_key="a-key", **options) as client,
    ):
        yield vendor, client


def held(client: Client) -> int:
    return client.account.limits()["video"].held


@pytest.mark.parametrize("form", FORMS)
async def test_a_task_made_behind_any_answer_of_a_gateway_is_found(form: str) -> None:
    """Principle (a): every status in every form after the task was made; the caller gets that task."""
    async with vendor_and_client() as (vendor, client):
        for status in STATUSES:
            vendor.after = [FORMS[form](status)]
            task = await client.submit(clip(), external_task_id=f"job-{status}")
            assert task.id == vendor.tasks[f"job-{status}"]["task_id"], status
        assert len(vendor.tasks) == len(STATUSES) == held(client)


def test_whatever_the_gateway_says_one_submit_is_one_task() -> None:
    """Draw answers in place of the vendor's to creates and look-ups: no second task, none lost."""
    answer = st.tuples(st.sampled_from(sorted(FORMS)), st.sampled_from(STATUSES))
    answers = st.lists(answer, max_size=4)

    async def play(
        before: list[tuple[str, int]],
        after: list[tuple[str, int]],
        looks: list[tuple[str, int]],
        given_id: str | None,
    ) -> None:
        async with vendor_and_client() as (vendor, client):
            vendor.before = [FORMS[form](status) for form, status in before]
            vendor.after = [FORMS[form](status) for form, status in after]
            vendor.looks = [FORMS[form](status) for form, status in looks]
            options: Any = {} if given_id is None else {"external_task_id": given_id}
            try:
                await client.submit(clip(), **options)
            except (AmbiguousCreate, BadResponse, RateLimited, ServerError):
                await until(lambda: not client.unresolved(), 9000, step=50)
            assert len(vendor.tasks) <= 1, "paid twice"
            made = [task["task_id"] for task in vendor.tasks.values()]
            assert [task.id for task in client.tasks()] == made
            assert held(client) == len(made)

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(before=answers, after=answers, looks=answers, given_id=st.sampled_from([None, "mine"]))
    def drawn(
        before: list[tuple[str, int]],
        after: list[tuple[str, int]],
        looks: list[tuple[str, int]],
        given_id: str | None,
    ) -> None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(play(before, after, looks, given_id))

    drawn()


@pytest.mark.parametrize("status", [302, 400, 403, 404, 408, 499])
async def test_a_gateway_that_kept_the_create_back_ends_it_with_an_error_to_try_again(status: int) -> None:
    """Looked up three times and not there: a `BadResponse`, its slot free, nothing sent again."""
    async with vendor_and_client() as (vendor, client):
        vendor.before = [FORMS["message"](status)]
        with pytest.raises(BadResponse, match=str(status)):
            await client.submit(clip())
        assert (vendor.posts, vendor.gets, held(client), client.unresolved()) == (1, 3, 0, [])


async def test_an_unknown_code_of_the_vendor_is_looked_up_once_and_refuses() -> None:
    """A whole envelope with a code that the reference does not know."""
    async with vendor_and_client() as (vendor, client):
        vendor.before = [refusal(1999, 400, "something new")]
        with pytest.raises(RequestRejected, match="something new"):
            await client.submit(clip())
        assert (vendor.posts, vendor.gets, held(client), client.unresolved()) == (1, 1, 0, [])


async def test_a_429_without_a_code_is_sent_again_and_in_doubt() -> None:
    """The same id goes out again; that it is taken now says that the first attempt made the task."""
    async with vendor_and_client() as (vendor, client):
        vendor.after = [FORMS["HTML"](429)]
        task = await client.submit(clip(), external_task_id="mine")
        assert task.id == vendor.tasks["mine"]["task_id"]
        assert (vendor.posts, len(vendor.tasks), held(client)) == (2, 1, 1)


async def test_who_leaves_the_queue_after_such_a_429_leaves_a_create_in_doubt() -> None:
    """Its task may exist: it is looked for later, and found."""
    async with vendor_and_client() as (vendor, client):
        pause = web.Response(status=429, headers={"Retry-After": "60"})
        vendor.after = [pause]
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip(), queue_timeout=5)
        await until(client.tasks)
        assert (vendor.posts, len(vendor.tasks), client.unresolved()) == (1, 1, [])


async def test_a_wall_before_the_look_up_too_leaves_it_unresolved() -> None:
    """Nobody can tell: the slot stays held, and the task is found once the wall is gone."""
    async with vendor_and_client() as (vendor, client):
        vendor.after, vendor.looks = [FORMS["HTML"](403)], [FORMS["HTML"](403) for _ in range(2)]
        with pytest.raises(AmbiguousCreate, match="403"):
            await client.submit(clip())
        assert (held(client), len(client.unresolved())) == (1, 1)
        await until(client.tasks)
        assert (vendor.posts, held(client), client.unresolved()) == (1, 1, [])


# -- our own id


async def test_an_id_of_ours_that_is_taken_is_ours() -> None:
    """A gateway that sends a POST twice: the second answer, "already exists", is the one that we get."""
    async with vendor_and_client() as (vendor, client):
        vendor.after = [refusal(1201, 400, "external_task_id already exists")]
        task = await client.submit(clip())
        assert [task.id] == [made["task_id"] for made in vendor.tasks.values()]
        assert (vendor.posts, held(client)) == (1, 1)


STAMPS: Final[dict[str, Callable[[float], int] | None]] = {
    "missing": None,
    "seconds, skewed": lambda time: int(time - 6),
    "skewed": lambda time: int((time - 6) * 1000),
}


@pytest.mark.parametrize("stamp", STAMPS)
async def test_an_odd_time_of_creation_does_not_make_a_given_id_taken(stamp: str) -> None:
    """Whose the task is cannot be told: unresolved, with its slot; never `ExternalIdTaken`."""
    async with vendor_and_client() as (vendor, client):
        vendor.stamp, vendor.after = STAMPS[stamp], [FORMS["HTML"](408)]
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip(), external_task_id="mine")
        assert (held(client), len(client.unresolved())) == (1, 1)
        assert vendor.posts == 1


async def test_an_id_that_the_caller_gave_to_another_task_is_taken() -> None:
    """The vendor's own code about this request: nothing of ours was in doubt."""
    async with vendor_and_client() as (vendor, client):
        vendor.made("mine", 1_789_999_000)
        with pytest.raises(ExternalIdTaken):
            await client.submit(clip(), external_task_id="mine")
        assert (held(client), client.unresolved()) == (0, [])


# -- a doubt that is over


async def test_a_doubt_that_is_over_queues_like_any_other() -> None:
    """A 503, looked up in vain, then a full account for an hour: the submit waits, and gets its task."""
    async with vendor_and_client() as (vendor, client):
        vendor.before = [
            FORMS["HTML"](503),
            *(refusal(1303, 429, "parallel task over resource") for _ in range(120)),
        ]
        task = await client.submit(clip())
        assert (len(vendor.tasks), held(client)) == (1, 1)
        assert (vendor.posts, vendor.gets) == (122, 3)
        assert task.external_task_id in vendor.tasks
