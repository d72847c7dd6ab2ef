"""Test what callers give to a batch: an item or a function's answer that is wrong fails its request alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kling_async import RawTask, RequestInvalid, v1
from tests.e2e.batches import run_and_report
from tests.support import clip, pair, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


def broken(request: Any) -> Any:
    """Raise for one request, answer for the others."""
    if request.prompt == "b":
        raise KeyError("b")


@pytest.mark.parametrize("with_journal", [False, True])
@pytest.mark.parametrize("option", ["label", "price"])
async def test_a_function_that_raises_fails_its_request_alone(
    tmp_path: Path, option: str, with_journal: bool
) -> None:
    """The error names the option and what was raised; the other requests are made."""

    def function(request: Any) -> Any:
        broken(request)
        return "night" if option == "label" else 3.0

    options: dict[str, Any] = {option: function}
    async with pair(seconds=5) as (emu, client):
        requests = [clip("a"), clip("b"), clip("c")]
        found, report = await run_and_report(client, requests, tmp_path if with_journal else None, **options)
        assert [o.ok for o in found] == [True, False, True] and len(emu.tasks) == 2
        assert isinstance(found[1].error, RequestInvalid)
        assert option in str(found[1].error) and "KeyError" in str(found[1].error)
        assert report.stopped == ""


@pytest.mark.parametrize("option", ["label", "price"])
async def test_a_function_that_raises_fails_its_request_alone_in_a_dry_run(option: str) -> None:
    """A dry run counts the request as refused, names the option, and adds up the others."""

    def function(request: Any) -> Any:
        broken(request)
        return "night" if option == "label" else 3.0

    options: dict[str, Any] = {option: function}
    async with pair(seconds=5) as (_, client):
        plan = await client.batch([clip("a"), clip("b"), clip("c")], **options).dry_run()
        assert (plan.jobs, plan.refused) == (3, 1) and plan.units["video"] > 0
        (problem,) = plan.problems
        assert "requests[1]" in problem and option in problem and "KeyError" in problem


async def test_a_price_that_raises_loses_no_task_that_exists(tmp_path: Path) -> None:
    """A task that an earlier run made is waited for, whatever the caller's price says by then."""
    async with pair(seconds=500) as (emu, client):
        async with client.batch([clip("b")], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: emu.tasks)
        (found,), report = await run_and_report(client, [clip("b")], tmp_path, price=broken)
        assert found.ok and len(emu.tasks) == 1 and report.stopped == ""


@pytest.mark.parametrize(
    ("label", "says"),
    [(7, "returned int, which is not text"), (None, "returned NoneType"), ("\ud800", "half a character")],
)
@pytest.mark.parametrize("with_journal", [False, True])
async def test_a_label_that_is_no_text_fails_its_request_alone(
    tmp_path: Path, label: Any, says: str, with_journal: bool
) -> None:
    """The error says what was returned instead of text; the other requests are made."""
    requests = [clip("a"), clip("b"), clip("c")]
    async with pair(seconds=5) as (emu, client):
        found, report = await run_and_report(
            client,
            requests,
            tmp_path if with_journal else None,
            label=lambda request: label if request.prompt == "b" else "night",
        )
        assert [o.ok for o in found] == [True, False, True] and len(emu.tasks) == 2
        assert isinstance(found[1].error, RequestInvalid) and says in str(found[1].error)
        assert report.stopped == ""


class Unknown(v1.TextToVideo, frozen=True, kw_only=True, omit_defaults=True):
    """A request of a caller's own making, which no endpoint takes."""


WRONG: list[Any] = [None, 5, "a prompt", ("key",), ("a", "b", clip()), ("named", None), (7, clip()), clip]
REFUSED: list[Any] = [Unknown(prompt="x"), RawTask(path="no path", body={}), clip(duration="long")]


@pytest.mark.parametrize("order", ["given", "longest"])
@pytest.mark.parametrize("with_journal", [False, True])
@pytest.mark.parametrize("kind", ["list", "generator", "async"])
async def test_wrong_items_fail_alone(tmp_path: Path, order: str, with_journal: bool, kind: str) -> None:
    """Each wrong item is an outcome with its position, key and error; all others are made."""
    values = [value for n, wrong in enumerate(WRONG) for value in (wrong, (f"good {n}", clip(f"no {n}")))]

    async def later() -> AsyncIterator[Any]:
        for value in values:
            yield value

    requests: Any = {"list": values, "generator": (value for value in values), "async": later()}[kind]
    async with pair(seconds=5) as (emu, client):
        found, report = await run_and_report(
            client, requests, tmp_path if with_journal else None, order=order
        )
        assert [o.position for o in found] == list(range(len(values)))
        assert [o.ok for o in found] == [False, True] * len(WRONG) and len(emu.tasks) == len(WRONG)
        assert all(f"requests[{o.position}]" in str(o.error) for o in found if not o.ok)
        assert [o.row()["key"] for o in found if not o.ok and o.key] == ["named"]
        assert report.stopped == "" and f"{len(WRONG)} refused unsent" in report.advice
        plan = await client.batch(values, order=order).dry_run()  # type: ignore[arg-type]
        assert (plan.jobs, plan.refused) == (len(values), len(WRONG))


@pytest.mark.parametrize("order", ["given", "longest"])
@pytest.mark.parametrize("with_journal", [False, True])
async def test_requests_that_cannot_be_right_fail_alone(
    tmp_path: Path, order: str, with_journal: bool
) -> None:
    """Requests of unknown types, to no path, or with values of wrong types end no input, in any order."""
    requests = [value for n, wrong in enumerate(REFUSED) for value in (wrong, clip(f"no {n}"))]
    async with pair(seconds=5) as (emu, client):
        found, report = await run_and_report(
            client, requests, tmp_path if with_journal else None, order=order
        )
        assert [o.ok for o in found] == [False, True] * len(REFUSED) and len(emu.tasks) == len(REFUSED)
        assert all(isinstance(o.error, RequestInvalid) for o in found if not o.ok) and report.stopped == ""
        plan = await client.batch(requests, order=order).dry_run()  # type: ignore[arg-type]
        assert (plan.jobs, plan.refused) == (len(requests), len(REFUSED))


@pytest.mark.parametrize("on_error", ["collect", "stop", "raise"])
async def test_a_wrong_item_is_a_failure_like_any_other(on_error: str) -> None:
    """A wrong item stops the batch, or raises, only where every failure does."""
    async with pair(seconds=5) as (emu, client):
        requests: list[Any] = [clip("a"), None, clip("b")]
        async with client.batch(requests, on_error=on_error) as results:  # type: ignore[arg-type]
            try:
                errors = [o.error async for o in results if not o.ok]
            except RequestInvalid as error:
                errors = [error]
        assert len(errors) == 1 and "requests[1]" in str(errors[0])
        assert (len(emu.tasks) == 2) is (on_error == "collect")
