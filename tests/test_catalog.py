"""The table of endpoints: its rows are the vendor's, and what becomes part of a path is checked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kling_async import catalog, v1
from kling_async.catalog import (
    RawTask,
    call_of,
    check_id,
    check_path,
    decode_result,
    endpoint_of,
    result_of,
)
from kling_async.checks import check
from kling_async.errors import BadResponse, RequestInvalid
from kling_async.wire import RawResult, TaskRecord, TaskRequest, decode_envelope, decode_task
from tests.golden import golden
from tests.reference import V1

ENDPOINTS = V1["endpoints"]
ROWS = {row.name: row for row in catalog.TASKS}
CALLS = {row.name: row for row in catalog.CALLS}

# --- rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_what_the_vendor_documents(name: str) -> None:
    """Paths, pool, page size, and whether a lost create is found by our id: all as the reference has them."""
    row, facts = ROWS[name], ENDPOINTS[name]
    assert facts["create"] == {"method": "POST", "path": row.path}
    assert facts["get"]["path"] == f"{row.path}/{{id}}"
    assert facts["list"]["path"] == row.path
    assert facts["list"]["page_size"]["max"] == row.page_size_max
    assert facts["quota"]["pool"] == row.pool
    assert facts["get"]["by_external_task_id"] is (row.lookup == "path")
    assert ("external_task_id" in facts["params"]) is row.takes_external_id


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_what_the_vendor_documents(name: str) -> None:
    """Method and path are the reference's."""
    assert ENDPOINTS[name]["call"] == {"method": CALLS[name].method, "path": CALLS[name].path}


def test_every_endpoint_of_the_reference_has_one_row() -> None:
    """No endpoint of the trimmed reference is left out, none is there twice, and paths do not clash."""
    rows: list[Any] = [*catalog.TASKS, *catalog.CALLS]
    assert sorted(row.name for row in rows) == sorted(ENDPOINTS)
    assert len({row.request for row in rows}) == len({row.path for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("request_", "weight"),
    [
        pytest.param(v1.TextToVideo(prompt="x", duration=10), 1, id="a video"),
        pytest.param(v1.ImageGeneration(prompt="x"), 1, id="an image"),
        pytest.param(v1.ImageGeneration(prompt="x", n=9), 9, id="nine images"),
        pytest.param(RawTask(path="/v1/x", body={}), 1, id="raw"),
        pytest.param(RawTask(path="/v1/x", body={}, weight=4), 4, id="raw, heavier"),
    ],
)
def test_a_request_weighs_its_slots(request_: TaskRequest[Any], weight: int) -> None:
    """One slot for a video, one for each image, and what the caller says for a raw task."""
    assert endpoint_of(request_).weight(request_) == weight


# --- finding rows ------------------------------------------------------------------------------


def test_a_row_is_found_by_request_and_by_type() -> None:
    """A request and its type give the same row."""
    assert endpoint_of(v1.TextToVideo(prompt="x")) is endpoint_of(v1.TextToVideo) is ROWS["text_to_video"]
    assert call_of(v1.AccountCosts(start_time=0, end_time=1)) is CALLS["account_costs"]


def test_a_raw_task_is_its_own_row() -> None:
    """A raw task is created at its path, asked for below it, and counted where it says."""
    row = endpoint_of(RawTask(path="/v1/videos/new-thing", body={"a": 1}, pool="image", weight=2))
    assert (row.name, row.path, row.pool) == ("/v1/videos/new-thing", "/v1/videos/new-thing", "image")
    assert row.request is RawTask
    assert row.result is RawResult


@pytest.mark.parametrize(
    ("find", "what", "text"),
    [
        pytest.param(
            endpoint_of,
            v1.AccountCosts(start_time=0, end_time=1),
            "AccountCosts is not a request that makes a task; use client.call()",
            id="a call submitted",
        ),
        pytest.param(
            endpoint_of,
            v1.AccountCosts,
            "AccountCosts is not a request that makes a task; use client.call()",
            id="a type of calls",
        ),
        pytest.param(endpoint_of, object(), "object is not a request that makes a task", id="no request"),
        pytest.param(
            call_of,
            v1.TextToVideo(prompt="x"),
            "TextToVideo is not a request that is answered at once; use client.submit()",
            id="a task called",
        ),
        pytest.param(call_of, "x", "str is not a request that is answered at once", id="a text called"),
    ],
)
def test_the_wrong_kind_says_what_to_use(find: Any, what: Any, text: str) -> None:
    """A request in the wrong method is a TypeError that names the right one, where there is one."""
    with pytest.raises(TypeError) as caught:
        find(what)
    assert str(caught.value) == text


def test_a_raw_task_cannot_weigh_less_than_nothing() -> None:
    """A raw task's weight is checked, for the ledger believes it."""
    with pytest.raises(RequestInvalid):
        check(RawTask(path="/v1/x", body={}, weight=-1))


# --- ids and paths -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1", "order-17", "A.b_C-9", "a..b", "...x", "x" * 128, "-", "_"])
def test_an_id_that_stays_in_its_segment_is_taken(value: str) -> None:
    """The allowed alphabet, from 1 to 128 of it."""
    assert check_id(value, "task_id") == value


@pytest.mark.parametrize(
    "value",
    [
        *("", ".", "..", "...", "x" * 129, "a/b", "../x", "a b", "a\n", "\na", "a%2fb"),
        *("a?b", "a#b", "é", "a:b", "a\x00", "\u0661", "a\\b", 5, None, b"a"),
    ],
)  # fmt: skip
def test_an_id_that_could_name_another_path_is_refused(value: Any) -> None:
    """Slashes, dots alone, escapes, other alphabets and other types are refused by the argument's name."""
    with pytest.raises(RequestInvalid) as caught:
        check_id(value, "external_task_id")
    assert [p.field for p in caught.value.problems] == ["external_task_id"]


@pytest.mark.parametrize("path", ["/v1/videos/text2video", "/a", "/v1.5/a_b-c", "/a..b/c"])
def test_a_path_below_the_base_is_taken(path: str) -> None:
    """Segments of the allowed alphabet."""
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "v1", "//evil.example", "/v1/", "/v1//x", "/..", "/v1/../x", "/v1/.", "/a?b", "/a#b"),
        *("/a b", "/a%2e%2e", "https://evil.example/x", "/a\n", "/v1/é", "/a\\b", "/@evil.example:1"),
    ],
)  # fmt: skip
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    """Other hosts, steps upward, queries and escapes are refused, also inside a raw task."""
    with pytest.raises(RequestInvalid) as caught:
        check_path(path)
    assert [p.field for p in caught.value.problems] == ["path"]
    with pytest.raises(RequestInvalid):
        endpoint_of(RawTask(path=path, body={}))


# --- results -----------------------------------------------------------------------------------


def record(result: bytes) -> TaskRecord:
    return TaskRecord(endpoint="text_to_video", task_id="1", result_data=msgspec.Raw(result))


@pytest.mark.parametrize("name", ROWS)
def test_a_finished_task_gives_its_typed_result(name: str) -> None:
    """The result is of the row's type, and keeps the vendor's own object in ``raw``."""
    answer = golden(name)["answers"]["finished"]
    data = decode_envelope(msgspec.json.encode(answer)).data
    result = result_of(ROWS[name], decode_task(name, data))
    assert type(result) is ROWS[name].result
    assert result.raw == answer["data"]["task_result"]


@pytest.mark.parametrize("data", [b"null", b"", b"{}"])
def test_a_success_without_a_result_is_an_empty_result(data: bytes) -> None:
    """What the vendor left out is left empty: never an error about a task that is paid."""
    assert result_of(ROWS["text_to_video"], record(data)) == v1.Videos()


def test_a_result_of_an_unknown_endpoint_is_its_raw_object() -> None:
    """A raw task's result is what came."""
    row = endpoint_of(RawTask(path="/v1/x", body={}))
    assert result_of(row, record(b'{"files":[1]}')) == RawResult(raw={"files": [1]})


def test_raw_is_the_vendor_s_object_whatever_it_holds() -> None:
    """New fields, also those named like ours, are kept under their names and disturb nothing."""
    data = b'{"videos":[{"id":"1","fps":24}],"raw":5,"__raw__":{"x":1}}'
    result = decode_result(v1.Videos, data)
    assert result.raw == {"videos": [{"id": "1", "fps": 24}], "raw": 5, "__raw__": {"x": 1}}
    assert result.videos == (v1.Video(id="1"),)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"videos":', b'{"videos":[{"id":5}]}', b'{"videos":"https://a.example/?SECRET"}']
)
def test_a_result_of_another_form_is_a_bad_response(data: bytes) -> None:
    """It says where the form differs, not what stood there, and hides the decoder's error."""
    with pytest.raises(BadResponse, match="the result cannot be read") as caught:
        decode_result(v1.Videos, data)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "SECRET" not in str(caught.value)
