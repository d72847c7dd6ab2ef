"""decoding/shown.py: the id of a task is found wherever the answer to its create shows it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.decoding.shown import shown_task

WRAPS: dict[str, Any] = {
    "as documented": lambda task: {"code": 0, "message": "SUCCEED", "request_id": "r", "data": task},
    "no code": lambda task: {"data": task},
    "odd code": lambda task: {"code": {"n": 0}, "data": task},
    "list": lambda task: {"code": 0, "data": [task]},
    "text": lambda task: {"code": 0, "data": msgspec.json.encode(task).decode()},
    "twice": lambda task: {"code": 0, "data": {"code": 0, "message": "SUCCEED", "data": task}},
    "named": lambda task: {"code": 0, "data": {"task": task}},
    "top": lambda task: {"code": 0, "message": "SUCCEED", **task},
    "top, empty data": lambda task: {"code": 0, "data": {}, **task},
    "top, null data": lambda task: {"code": 0, "data": None, **task},
    "bare": lambda task: task,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
IDS = st.integers(1, 10**19) | st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True)


@given(
    wrap=st.sampled_from(sorted(WRAPS)),
    name=st.sampled_from(["task_id", "id"]),
    task_id=IDS,
    odd=st.dictionaries(
        st.sampled_from(["task_status", "task_info", "created_at", "external_task_id", "task_result"]), JSON
    ),
)
def test_an_id_is_found_in_every_place_whatever_the_rest_is(
    wrap: str, name: str, task_id: int | str, odd: dict[str, Any]
) -> None:
    """Numbers count as text, and the other fields of the task come along."""
    shown = shown_task(msgspec.json.encode(WRAPS[wrap]({name: task_id, **odd})))
    assert shown is not None and shown.ids == (str(task_id),)
    fields = msgspec.json.decode(shown.data)
    assert fields["task_id"] == str(task_id) and set(odd) <= set(fields)


def test_all_ids_are_shown_and_a_task_id_goes_first() -> None:
    """The other ids of an answer are names of the same task."""
    body = {"id": 4, "task_id": "3", "data": {"id": "2", "task_id": 1, "task_status": "submitted"}}
    shown = shown_task(msgspec.json.encode(body))
    assert shown is not None and shown.ids == ("1", "3", "2", "4")
    assert msgspec.json.decode(shown.data)["task_status"] == "submitted"


@pytest.mark.parametrize(
    ("body", "task_id"),
    [
        (b'{"code":0,"data":{"task_id":"831","task_st', "831"),
        (b'{"code":0,"data":{"task_id" : 831, "x":\xff', "831"),
        (b'{"code":0,"data":{"task_id":"83', None),
        (b'{"code":0,"data":{"task_id":83', None),
        (b'{"code":0,"data":{"external_task_id":"83","x', None),
        (b'{"code":0,"data":{"task_id":"a\\"b","x', None),
        (b'{"code":0,"data":{"task_id":"","x', None),
        (b"<html>502</html>", None),
        (b"", None),
        (b"[]", None),
        (b'{"code":0,"data":{"task_id":null,"id":false}}', None),
        (b'{"code":0,"data":{"task_id":["831"]}}', None),
        (b'{"code":0,"data":"831"}', None),
        (b'{"code":0,"data":[{"task_id":"1"},{"task_id":"2"}]}', None),
    ],
)
def test_an_answer_that_is_not_json_shows_a_whole_id_only(body: bytes, task_id: str | None) -> None:
    """An id that may be cut, or that stands for no single task, is none."""
    shown = shown_task(body)
    assert (None if shown is None else shown.ids[0]) == task_id


@given(st.binary(max_size=200) | JSON.map(msgspec.json.encode))
def test_nothing_that_comes_raises(body: bytes) -> None:
    """Whatever a gateway sends is read or left."""
    shown_task(body)
