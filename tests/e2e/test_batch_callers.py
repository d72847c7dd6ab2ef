"""Test the caller's own functions in a batch: one that raises fails its request alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kling_async import RequestInvalid
from tests.e2e.batches import run_and_report
from tests.support import clip, pair

if TYPE_CHECKING:
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
