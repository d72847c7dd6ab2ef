"""The public OpenAPI description of this API in comfy-cli's wheel: the emulator's answers follow its schemas.

Its makers forward requests to the vendor and have written down what comes back: a source of its own beside
the one that emulator and client were made from. Objects may have more fields than it names.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.emulator.facts import SAMPLES, path, sample
from tests.emulator.support import Caller, calling

pytestmark = pytest.mark.anyio

PREFIX: Final = "/proxy/kling"
COSTS: Final = "/v1/account/costs"
"""Path of the resource packs at that service; at the vendor it has no version."""
SLOTS: Final = {"video": 5, "image": 9, "virtual_try_on": 2}
DESCRIBED: Final = (
    *(
        "text_to_video",
        "image_to_video",
        "omni_video",
        "motion_control",
        "video_extend",
        "lip_sync",
        "avatar",
    ),
    *("video_effects", "image_generation", "omni_image", "virtual_try_on"),
)
"""Endpoints of which the description has the answers."""


class Description:
    """The response schemas of an OpenAPI description, by method and path."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def faults(self, method: str, where: str, answer: Any, status: int = 200) -> list[str]:
        """Return in what an answer differs from its schema."""
        jsonschema = pytest.importorskip("jsonschema")
        operation = self._document["paths"][f"{PREFIX}{where}"][method]
        schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
        whole = {**schema, "components": self._document["components"]}
        validator = jsonschema.Draft4Validator(whole)
        return [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(answer)]

    def fields(self, name: str) -> set[str]:
        """Return the fields of a schema of that name."""
        return set(self._document["components"]["schemas"][name]["properties"])


@pytest.fixture(scope="session")
def description(openapi: dict[str, Any]) -> Description:
    """The description, read once."""
    return Description(openapi)


async def made(call: Caller, name: str, **changes: Any) -> Any:
    """Create a task of an endpoint's sample; return the whole answer."""
    call.emu.know(*SAMPLES)
    reply = await call("POST", path(name), json=sample(name, **changes))
    assert reply.code == 0, reply.json
    return reply.json


@pytest.mark.parametrize("name", DESCRIBED)
async def test_creates_queries_and_lists(description: Description, name: str) -> None:
    """The answers of an endpoint follow the schemas for running, succeeded and failed tasks."""
    where = path(name)
    async with calling(slots=SLOTS) as (emu, call):
        answers = [await made(call, name, external_task_id=own) for own in ("mine", "other")]
        good, bad = (answer["data"]["task_id"] for answer in answers)
        asked = [(await call("GET", f"{where}/{good}")).json]
        emu.finish(good)
        emu.finish(bad, "failed", "no")
        asked += [(await call("GET", f"{where}/{task_id}")).json for task_id in (good, bad)]
    assert [fault for one in answers for fault in description.faults("post", where, one)] == []
    assert [fault for one in asked for fault in description.faults("get", f"{where}/{{id}}", one)] == []


async def test_tasks_by_ids(description: Description) -> None:
    """``/tasks`` follows the schema of the second generation's query, with all its fields and no others."""
    async with calling(slots=SLOTS) as (emu, call):
        ids = [
            (await made(call, "text_to_video", external_task_id=f"a{i}"))["data"]["task_id"] for i in range(3)
        ]
        emu.finish(ids[0])
        emu.finish(ids[1], "failed", "no")
        answer = (await call("GET", "/tasks", params={"task_ids": ",".join(ids)})).json
        assert description.faults("get", "/tasks", answer) == []
        assert all(task.keys() <= description.fields("KlingV2Task") for task in answer["data"])


async def test_costs_and_presets(description: Description) -> None:
    """The resource packs and the preset elements follow their schemas."""
    async with calling(slots=SLOTS) as (_, call):
        window = {"start_time": "0", "end_time": "99999999999999"}
        costs = (await call("GET", "/account/costs", params=window)).json
        assert (
            description.faults("get", COSTS, costs) == [] and costs["data"]["resource_pack_subscribe_infos"]
        )
        presets = path("custom_elements.presets")
        assert description.faults("get", presets, (await call("GET", presets)).json) == []


async def test_refusals(description: Description) -> None:
    """The statuses of refusals are described, and their bodies follow the schema."""
    async with calling(slots={"video": 1}) as (_, call):
        where = path("text_to_video")
        await call.video()
        refusals = [
            await call.video(),
            await call.video(duration="99"),
            await call("POST", where, json={}, auth=None),
        ]
        assert [reply.status for reply in refusals] == [429, 400, 401]
        for reply in refusals:
            assert description.faults("post", where, reply.json, reply.status) == []


async def test_the_schemas_find_a_wrong_type(description: Description) -> None:
    """A number for an id, or text for a time, does not follow them."""
    async with calling(slots=SLOTS) as (_, call):
        answer = await made(call, "text_to_video")
        for name, value in (("task_id", 7), ("created_at", "today"), ("task_status", "done")):
            spoiled = {**answer, "data": {**answer["data"], name: value}}
            assert description.faults("post", path("text_to_video"), spoiled)
