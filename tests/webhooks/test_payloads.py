"""Bodies of callbacks: both generations, both vocabularies, odd fields, limits."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import WebhookError
from kling_async.core.status import TaskState
from kling_async.orchestrator.results import is_whole, result_of
from kling_async.records import decode_task
from kling_async.webhooks import BODY_MAX, Callback, parse
from tests.decoding.test_outputs import LESS, ROWS, seen
from tests.emulator.calls.test_answers import SLOTS, VARIANTS, made
from tests.emulator.facts import path
from tests.emulator.support import calling
from tests.golden import golden
from tests.webhooks.support import BODY, CALLBACKS, encoded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OPTIONAL: Final = {
    "v1": ("task_info", "task_result", "task_status_msg", "created_at", "updated_at", "final_unit_deduction"),
    "v2": ("outputs", "message", "create_time", "update_time", "external_id", "billing"),
}


def answers() -> list[Any]:
    """Return every golden answer that shows one task, as a callback would show it."""
    return [
        pytest.param(name, answer["data"], id=f"{name}-{case}")
        for name in ROWS
        for case, answer in golden(name).get("answers", {}).items()
        if isinstance(answer.get("data"), dict) and "task_status" in answer["data"]
    ]


# --- the samples -------------------------------------------------------------------------------


def test_the_callback_captured_in_production_is_read() -> None:
    """Id, state, times and the video's address are there, and no price."""
    callback = parse(BODY)
    record = callback.record
    assert (callback.generation, callback.task_id, callback.external_task_id) == (
        "v1",
        "800000000000000001",
        None,
    )
    assert (callback.state, callback.holds_result, record.units) == (TaskState.SUCCEEDED, True, None)
    assert (record.created_at, record.updated_at) == (1765519848595, 1765520080995)
    (video,) = result_of(ROWS["text_to_video"], record).videos
    assert video.url.startswith("https://v15-kling-fdl.klingai.com/") and video.duration == "5.1"


@pytest.mark.parametrize("name", CALLBACKS)
def test_every_sample_is_read(name: str) -> None:
    """Generation and id are those of the sample; a submitted task has no result."""
    sample = CALLBACKS[name]
    callback = parse(encoded(sample["body"]))
    assert callback.generation == sample["generation"]
    assert callback.task_id == sample["body"].get("task_id", sample["body"].get("id"))
    assert callback.holds_result == (callback.state is TaskState.SUCCEEDED)


@pytest.mark.parametrize(("endpoint", "data"), answers())
def test_a_callback_is_read_as_the_answer_to_a_query(endpoint: str, data: dict[str, Any]) -> None:
    """The record is the one that a query with the same object gives, but for the endpoint's name."""
    body = encoded(data)
    asked = decode_task(endpoint, body)
    assert parse(body).record == msgspec.structs.replace(asked, endpoint="")


@pytest.mark.anyio
@pytest.mark.parametrize("role", ["refer", "reference"])
@pytest.mark.parametrize("array", ["references", "materials"])
@pytest.mark.parametrize(("name", "changes"), VARIANTS)
async def test_the_second_generation_gives_the_same_result(
    name: str, changes: dict[str, Any], array: str, role: str
) -> None:
    """The outputs of every endpoint give the result of a query, in the words of both vendor's pages."""
    if name != "custom_elements" and (array, role) != ("references", "refer"):
        return  # only elements have these words
    async with calling(slots=SLOTS) as (emu, call):
        task_id = await made(call, name, **changes)
        emu.finish(task_id)
        (task,) = (await call("GET", f"/tasks?task_ids={task_id}")).data
        asked = decode_task(name, encoded((await call("GET", f"{path(name)}/{task_id}")).data))
    body = encoded(task).replace(b'"references"', f'"{array}"'.encode())
    callback = parse(body.replace(b'"refer"', f'"{role}"'.encode()))
    assert (callback.generation, callback.task_id, callback.holds_result) == ("v2", task_id, True)
    assert seen(name, callback.record) == seen(name, asked)
    assert is_whole(ROWS[name], callback.record) == (name not in LESS or ROWS[name].whole_at_tasks)


# --- lenient, and bounded ----------------------------------------------------------------------


@given(st.sampled_from(["v1", "v2"]), st.data())
def test_only_id_and_status_are_needed(generation: str, data: st.DataObject) -> None:
    """Whatever the other fields hold, and whatever is added, the task is known."""
    fields = data.draw(st.dictionaries(st.sampled_from(OPTIONAL[generation]) | st.text(max_size=5), JSON))
    status = data.draw(st.sampled_from(["succeed", "succeeded", "failed", "processing", "reviewing"]))
    names = ("task_id", "task_status") if generation == "v1" else ("id", "status")
    others = {"task_id", "id", "task_status", "status"}
    body = {name: value for name, value in fields.items() if name not in others} | dict(
        zip(names, ("847", status), strict=True)
    )
    callback = parse(msgspec.json.encode(body))
    assert (callback.generation, callback.task_id, callback.record.status) == (generation, "847", status)
    assert isinstance(callback.holds_result, bool)


@given(st.binary() | JSON.map(msgspec.json.encode) | st.binary().map(lambda inner: BODY[:60] + inner))
def test_any_bytes_are_a_callback_or_refused(body: bytes) -> None:
    """Nothing but `WebhookError` is raised, and it repeats nothing of the body."""
    try:
        callback = parse(body)
    except WebhookError as error:
        refusal = error
    else:
        assert callback.task_id
        return
    assert refusal.__context__ is None
    assert str(refusal) in {
        "the body is not a task: a JSON object with a task_id or an id",
        "the body names no status",
    }


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b'"847"', b"<html>", BODY[:-1], BODY[: len(BODY) // 2], b"{}"),
        pytest.param(b'{"task_status":"succeed"}', id="no id"),
        pytest.param(b'{"task_id":"","task_status":"succeed"}', id="blank id"),
        pytest.param(b'{"task_id":"1"}', id="no status"),
        pytest.param(b'{"id":"1","status":null}', id="null status"),
        pytest.param(b'{"id":"1","status":"failed","x":"\xff"}', id="not UTF-8"),
        pytest.param(b'{"id":"1","status":"failed","x":' + b"[" * 100_000, id="nested too deep"),
        pytest.param(encoded({"code": 0, "message": "", "data": json.loads(BODY)}), id="an envelope"),
    ],
)
def test_what_is_no_task_is_refused(body: bytes) -> None:
    """Cut, odd and empty bodies are malformed."""
    with pytest.raises(WebhookError):
        parse(body)


def test_a_body_is_bounded() -> None:
    """A body of the largest size is read, one byte more is not."""
    filled = BODY[:-1] + b',"x":"' + b"x" * (BODY_MAX - len(BODY) - 7) + b'"}'
    assert len(filled) == BODY_MAX and parse(filled).task_id
    with pytest.raises(WebhookError, match="larger than 1048576 bytes"):
        parse(filled + b" ")


# --- the value ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "result", "holds"),
    [
        ("submitted", None, False),
        ("processing", {"images": [], "videos": [], "audios": []}, False),
        ("failed", {"images": [], "videos": [], "audios": []}, True),
        ("succeed", {"images": [], "videos": [], "audios": []}, False),
        ("succeed", None, False),
        ("succeed", {"videos": [{"id": "1", "url": ""}]}, False),
        ("succeed", {"videos": [{"id": "1", "url": "https://example.com/1.mp4"}]}, True),
        ("succeed", {"images": [{"index": 0, "url_1": "https://example.com/1.png"}]}, True),
        ("succeed", {"elements": [{"element_id": 7}]}, True),
        ("succeed", {"voices": [{"voice_id": "7"}]}, True),
        ("succeed", {"videos": ["1"]}, False),
        ("succeed", {"videos": "1"}, False),
        ("succeed", "1", False),
        ("a new word", {"videos": [{"url": "https://example.com/1.mp4"}]}, False),
    ],
)
def test_a_callback_tells_whether_a_query_is_needed(status: str, result: Any, holds: bool) -> None:
    """A failed task needs none, and one that succeeded if its result names something."""
    assert (
        parse(encoded({"task_id": "1", "task_status": status, "task_result": result})).holds_result is holds
    )


def test_a_callback_is_a_plain_value() -> None:
    """It is frozen, equal to its copies, pickles, and its repr shows no address."""
    callback = parse(BODY)
    assert pickle.loads(pickle.dumps(callback)) == copy.deepcopy(callback) == callback
    with pytest.raises(AttributeError):
        setattr(callback, "generation", "v2")  # noqa: B010 - type checkers refuse the plain form
    assert repr(callback) == "Callback(v1 800000000000000001 succeed)"
    assert callback.__rich_repr__() == [("", "v1 800000000000000001 succeed")]
    assert isinstance(callback, Callback)
