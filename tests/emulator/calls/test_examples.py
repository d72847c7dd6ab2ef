"""Samples of the reference: each request is accepted, and the answers have the sample's fields."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.facts import ENDPOINTS, MAKERS, SAMPLES, path, sample
from tests.emulator.support import ALL_TIME, Caller, calling

pytestmark = pytest.mark.anyio

SLOTS = {"video": 5, "image": 9, "virtual_try_on": 1}
CALLS = [name for name, row in ENDPOINTS.items() if "call" in row and "example" in row]


def lacking(expected: Any, got: Any, at: str = "data") -> list[str]:
    """Return the paths at which ``got`` lacks a field of ``expected`` or has another type."""
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return [at]
        faults = []
        for key, value in expected.items():
            if key == "watermark_url" and not value:
                continue  # answers have it only on request
            faults += lacking(value, got[key], f"{at}.{key}") if key in got else [f"{at}.{key} is missing"]
        return faults
    if isinstance(expected, list):
        if not isinstance(got, list) or (expected and not got):
            return [at]
        return lacking(expected[0], got[0], f"{at}[0]") if expected else []
    return [] if type(expected) is type(got) else [f"{at} is a {type(got).__name__}"]


def described(row: dict[str, Any]) -> set[str]:
    """Return the paths of all fields that a result may have, and of the objects around them."""
    paths = {path.replace("[]", "") for path in row["result"]}
    return paths | {path.rpartition(".")[0] for path in paths}


def paths_of(value: Any, at: str = "") -> set[str]:
    """Return the paths of all fields of an answer."""
    if isinstance(value, list):
        return {path for item in value for path in paths_of(item, at)}
    if not isinstance(value, dict):
        return set()
    here = {f"{at}.{key}".lstrip(".") for key in value}
    return here | {path for key, item in value.items() for path in paths_of(item, f"{at}.{key}".lstrip("."))}


async def created(call: Caller, name: str) -> Any:
    """Send the sample request of an endpoint; return the data of the answer."""
    reply = await call("POST", path(name), json=sample(name))
    assert reply.code == 0, reply.json
    return reply.data


@pytest.mark.parametrize("name", MAKERS)
async def test_a_sample_makes_a_task_that_ends_as_the_sample_says(name: str) -> None:
    """Create, query and list have the sample's fields, and the result has no undocumented field."""
    row = ENDPOINTS[name]
    async with calling(slots=SLOTS) as (emu, call):
        emu.know(*SAMPLES)
        data = await created(call, name)
        assert set(data) == set(row["example"]["response"]["data"])
        emu.finish(data["task_id"])
        done = (await call("GET", f"{path(name)}/{data['task_id']}")).data
        assert lacking(row["example"]["finished"]["data"], done) == []
        assert set(done) <= set(row["example"]["finished"]["data"])
        assert paths_of(done["task_result"]) <= described(row)
        assert (await call("GET", path(name))).data == [done]


@pytest.mark.parametrize("name", MAKERS)
async def test_the_callers_own_id_finds_a_task_only_where_documented(name: str) -> None:
    """The external_task_id works in the path where documented, and always at ``/tasks``, with all results."""
    async with calling(slots=SLOTS) as (emu, call):
        emu.know(*SAMPLES)
        made = await call("POST", path(name), json=sample(name, external_task_id="mine"))
        emu.finish(made.data["task_id"])
        found = await call("GET", f"{path(name)}/mine")
        if ENDPOINTS[name]["get"]["by_external_task_id"]:
            assert found.data["task_id"] == made.data["task_id"]
        else:
            assert found.refusal == (400, 1201, "Task not found by id/external id: mine")
        (task,) = (await call("GET", "/tasks", params={"external_task_ids": "mine"})).data
        assert (task["id"], task["status"]) == (made.data["task_id"], "succeeded")
        assert task["outputs"] and {output["type"] for output in task["outputs"]} <= {
            *("video", "image", "audio", "element", "voice"),
        }


@pytest.mark.parametrize("name", CALLS)
async def test_a_sample_call_is_answered_as_the_sample_says(name: str) -> None:
    """Synchronous calls answer with the sample's fields, and with no undocumented one."""
    row = ENDPOINTS[name]
    async with calling(slots=SLOTS) as (_, call):
        if row["call"]["method"] == "GET":
            reply = await call("GET", path(name), params=ALL_TIME)
        else:
            reply = await call("POST", path(name), json=sample(name))
        assert reply.code == 0, reply.json
        if "cursor" not in row["params"]:  # the bill is empty here, unlike that of the sample
            assert lacking(row["example"]["response"]["data"], reply.data) == []
        assert paths_of(reply.data) <= described(row) | {"code", "msg"}
