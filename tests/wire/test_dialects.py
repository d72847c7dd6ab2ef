"""Dialects of gateways: each form of an answer, written down from their sources, in the vendor's terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import ConfigurationError
from kling_async.core.status import state_of
from kling_async.errors import CODES
from kling_async.records import decode_task
from kling_async.wire.dialects.dialect import DIALECTS
from kling_async.wire.dialects.refusals import vendors_code
from kling_async.wire.dialects.translate import Dialects, translate

GOLDEN: Final[dict[str, dict[str, Any]]] = json.loads(
    (Path(__file__).parent.parent / "data" / "gateways.json").read_text()
)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_form_of_a_gateway_is_read_as_written_down(name: str) -> None:
    """Code, message and dialect are found, and the task has the vendor's names, words and units."""
    case = GOLDEN[name]
    found = translate(json.dumps(case["body"]).encode(), case["status"])
    assert found is not None
    assert (found.code, found.dialect, found.missing) == (
        case["code"],
        case["dialect"],
        case.get("missing", False),
    )
    if "message" in case:
        assert found.message == case["message"]
    task = json.loads(found.data)
    for field, value in case.get("task", {}).items():
        assert task[field] == value, field
    if "task" in case:
        record = decode_task("text_to_video", found.data)
        assert record.task_id == case["task"]["task_id"] and record.status == case["task"]["task_status"]


@pytest.mark.parametrize(
    "body",
    [
        {"code": 0, "message": "SUCCEED", "request_id": "r", "data": {"task_id": "7"}},
        {"code": 1303, "message": "parallel task over resource pack limit", "request_id": "r"},
        {"code": "0", "data": {"task_id": "7"}},
        {"code": "success", "message": "", "data": None},
        {"code": "success", "message": "", "data": []},
        {"code": "success", "data": {"status": "SUCCESS"}},
        {"object": "video", "status": "queued"},
        {"object": "list", "data": []},
        {"error": "no"},
        {"error": {"message": "conflict"}},
        {"message": "conflict"},
        {},
        [],
        "success",
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [200, 404])
def test_other_forms_are_left_alone(body: Any, status: int) -> None:
    """The vendor's own answers, and what shows neither a task nor a known error, are not translated."""
    found = translate(json.dumps(body).encode(), status)
    assert found is None or (found.code is None and status == 404)


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["code", "data", "error", "id", "message", "object", "status", "task_id", "type", "url"]
                ),
                inner,
                max_size=6,
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([200, 400, 429, 500]),
)
def test_nothing_that_a_server_sends_breaks_the_reading(body: bytes, status: int) -> None:
    """Whatever JSON or other bytes come, an answer is translated or left alone; its task can be decoded."""
    found = translate(body, status)
    if found is not None and found.code == 0:
        assert decode_task("text_to_video", found.data).task_id
    if found is not None and found.code:
        assert found.code in CODES


@given(st.sampled_from(sorted(CODES)), st.text(max_size=20), st.text(max_size=20))
def test_the_vendors_number_is_found_in_any_sentence(code: int, before: str, after: str) -> None:
    """A quoted JSON answer is read whatever words without braces stand around it."""
    around = [text.replace("{", "").replace("}", "") for text in (before, after)]
    assert vendors_code(around[0] + json.dumps({"code": code, "message": "m"}) + around[1]) == code


def test_the_first_task_teaches_the_dialect_and_it_stays() -> None:
    """An error teaches nothing; a later task in another form is read, and changes nothing."""
    dialects = Dialects()
    bodies = {name: json.dumps(case["body"]).encode() for name, case in GOLDEN.items()}
    dialects.translate(bodies["error: no such task"], 400)
    assert dialects.found is None and dialects.current is DIALECTS["vendor"]
    dialects.translate(bodies["flat: queued"], 200)
    dialects.translate(bodies["query: a row that failed"], 200)
    assert dialects.current is DIALECTS["flat"]


def test_a_named_dialect_is_not_learned() -> None:
    """The vendor's, named, translates nothing; an unknown name is refused, and the known ones are told."""
    body = json.dumps(GOLDEN["flat: queued"]["body"]).encode()
    assert Dialects("vendor").translate(body, 200) is None
    named = Dialects("new-api")
    assert named.translate(body, 200) is not None and named.current is DIALECTS["new-api"]
    with pytest.raises(ConfigurationError, match="'openai' is none of auto, vendor, envelope, new-api, flat"):
        Dialects("openai")


def test_all_words_of_gateways_mean_a_state() -> None:
    """Every word that the client writes for a gateway's is one of the vendor's, which mean a state."""
    states = {
        name: state_of(case["task"]["task_status"]).name for name, case in GOLDEN.items() if "task" in case
    }
    assert set(states.values()) == {"RUNNING", "SUCCEEDED", "FAILED"}, states
