"""catalog.py: the rows of the table agree with the vendor's reference."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import catalog, v1
from kling_async.catalog import call_of, endpoint_of
from kling_async.errors import RequestInvalid
from kling_async.wire.checks import check
from kling_async.wire.endpoints import RawTask
from kling_async.wire.requests import RawResult, TaskRequest
from tests.reference import V1

ENDPOINTS = V1["endpoints"]
ROWS = {row.name: row for row in catalog.TASKS if not row.name.startswith("v2.")}
"""Of the first generation; tests/v2 compares the others."""
CALLS = {row.name: row for row in catalog.CALLS}

WE_SAY: dict[str, tuple[str, str]] = {
    # the vendor names no pool and takes no units for an element, so it takes no slot as far as known;
    # should it be refused by 1303 after all, it waits in a pool of its own and in nobody's way
    "custom_elements": ("element", "0"),
}
"""Pool and weight of endpoints for which the reference has none, or is not sure."""
WEIGHTS: dict[str, Any] = {
    "omni_image": v1.OmniImage(prompt="x", n=7),
    "image_generation": v1.ImageGeneration(prompt="x", n=7),
    "multi_image_to_image": v1.MultiImageToImage(subject_image_list=(), n=7),
    "image_expand": v1.ImageExpand(image="https://a.example/x", **v1.expansion(1, 1, area=2), n=7),
}
"""A request for seven results, of each endpoint whose requests differ in weight."""

# --- rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_what_the_vendor_documents(name: str) -> None:
    """Paths, pool, page size, and whether a lost create is found by our id agree with the reference."""
    row, facts = ROWS[name], ENDPOINTS[name]
    assert facts["create"] == {"method": "POST", "path": row.path}
    assert facts["get"]["path"] == f"{row.path}/{{id}}"
    assert facts["list"]["path"] == row.path
    assert facts["list"]["page_size"]["max"] == row.page_size_max
    assert facts["get"]["by_external_task_id"] is (row.lookup == "path")
    assert ("external_task_id" in facts["params"]) is row.takes_external_id
    assert row.idempotent is facts["params"].get("external_task_id", {}).get("sure", False)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_takes_the_slots_that_the_vendor_counts(name: str) -> None:
    """Pool and weight are the reference's, or our own reading, which is marked as unsure."""
    row, quota = ROWS[name], ENDPOINTS[name]["quota"]
    pool, weight = WE_SAY.get(name, (quota["pool"], quota["weight"]))
    assert row.pool == pool
    assert row.weight(WEIGHTS.get(name)) == (int(weight) if name not in WEIGHTS else 7)
    assert weight.isdecimal() is (name not in WEIGHTS)
    assert row.sure is (quota.get("sure", True) and name not in WE_SAY)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_what_the_vendor_documents(name: str) -> None:
    """Method and path are the reference's."""
    assert ENDPOINTS[name]["call"] == {"method": CALLS[name].method, "path": CALLS[name].path}


def test_every_endpoint_of_the_reference_has_one_row() -> None:
    """Every endpoint of the trimmed reference has one row, and no two paths clash."""
    rows: list[Any] = [*catalog.TASKS, *catalog.CALLS]
    assert {row.name for row in rows if not row.name.startswith("v2.")} <= set(ENDPOINTS)
    doors = {(getattr(row, "method", "POST"), row.path) for row in rows}
    assert len({row.request for row in rows}) == len(doors) == len(rows)


@pytest.mark.parametrize(
    ("request_", "weight"),
    [
        pytest.param(v1.TextToVideo(prompt="x", duration=10), 1, id="a video"),
        pytest.param(v1.ImageGeneration(prompt="x"), 1, id="an image"),
        pytest.param(v1.ImageGeneration(prompt="x", n=9), 9, id="nine images"),
        pytest.param(v1.OmniImage(prompt="x"), 1, id="an image of omni"),
        pytest.param(v1.OmniImage(prompt="x", n=3, series_amount=9), 3, id="three of omni"),
        pytest.param(v1.OmniImage(prompt="x", result_type="series"), 4, id="a series"),
        pytest.param(
            v1.OmniImage(prompt="x", result_type="series", series_amount=6, n=2), 6, id="a series of six"
        ),
        pytest.param(
            v1.OmniImage(prompt="x", result_type="series", series_amount="auto"), 9, id="an open series"
        ),
        pytest.param(RawTask(path="/v1/x", body={}), 1, id="raw"),
        pytest.param(RawTask(path="/v1/x", body={}, weight=4), 4, id="raw, heavier"),
    ],
)
def test_a_request_weighs_its_slots(request_: TaskRequest[Any], weight: int) -> None:
    """A video takes one slot, images one each, and a raw task as many as the caller says."""
    assert endpoint_of(request_).weight(request_) == weight


# --- finding rows ------------------------------------------------------------------------------


def test_a_row_is_found_by_request_and_by_type() -> None:
    """A request and its type give the same row."""
    assert endpoint_of(v1.TextToVideo(prompt="x")) is endpoint_of(v1.TextToVideo) is ROWS["text_to_video"]
    assert call_of(v1.AccountCosts(start_time=0, end_time=1)) is CALLS["account_costs"]


def test_a_raw_task_is_its_own_row() -> None:
    """A raw task is created at its path, polled below it, and takes slots of the pool it names."""
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
    """A raw task's weight is checked, because admission relies on it."""
    with pytest.raises(RequestInvalid):
        check(RawTask(path="/v1/x", body={}, weight=-1))
