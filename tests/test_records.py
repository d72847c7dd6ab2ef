"""records.py: answers of both generations are read leniently, and records are plain data."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import records, v1
from kling_async.catalog import endpoint_of
from kling_async.orchestrator.results import result_of
from kling_async.records import TaskRecord, decode_envelope, decode_list, decode_task, decode_unified
from tests.golden import golden

ANSWERS = {
    (endpoint, name): body
    for endpoint in ("text_to_video", "image_generation")
    for name, body in golden(endpoint)["answers"].items()
}


def data_of(endpoint: str, name: str) -> msgspec.Raw:
    """Return the ``data`` of a golden answer, as the envelope leaves it."""
    return decode_envelope(msgspec.json.encode(ANSWERS[endpoint, name])).data


def plain(record: TaskRecord) -> dict[str, Any]:
    """Return the readable fields of a record."""
    return {
        name: getattr(record, name)
        for name in record.__struct_fields__
        if name not in ("data", "result_data", "endpoint")
    }


# --- envelope ----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ANSWERS, ids="-".join)
def test_an_envelope_is_read_and_its_data_left_alone(case: tuple[str, str]) -> None:
    """Code, message and request id are read; ``data`` stays the JSON it was."""
    body = ANSWERS[case]
    envelope = decode_envelope(msgspec.json.encode(body))
    assert (envelope.code, envelope.message, envelope.request_id) == (0, "SUCCEED", body["request_id"])
    assert msgspec.json.decode(envelope.data) == body["data"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b'{"code":1303,"message":"full"}', 1303, id="no data"),
        pytest.param(b'{"code":1303,"data":null,"message":null,"request_id":null}', 1303, id="nulls"),
        pytest.param(b'{"code":1200,"data":["of another shape"]}', 1200, id="data of another shape"),
        pytest.param(b'{"code":"1303"}', 1303, id="code as text"),
        pytest.param(b'{"message":"from a gateway"}', None, id="no code"),
        pytest.param(b'{"code":0,"more":{"later":1}}', 0, id="a new field"),
    ],
)
def test_an_envelope_may_lack_all_but_its_braces(body: bytes, code: int | None) -> None:
    """A refusal's code is read whatever else is there or missing."""
    assert decode_envelope(body).code == code


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>502</html>", b'{"code":0', b"[]", b"null", b'{"code":"full"}', b'"text"', b"\xff"),
        pytest.param(b'{"message":"\xff"}', id="not UTF-8"),
        pytest.param(b'{"x":' + b"[" * 100_000, id="nested too deep"),
    ],
)
def test_bytes_that_are_no_envelope_are_refused(body: bytes) -> None:
    """HTML, cut JSON, other shapes and broken text are a decode error, nothing else."""
    with pytest.raises(msgspec.DecodeError):
        decode_envelope(body)


# --- tasks -------------------------------------------------------------------------------------

ORDER_17 = {
    "task_id": "847570360458960960",
    "external_task_id": "order-17",
    "message": "",
    "created_at": 1722769557708,
}
TASKS: dict[tuple[str, str], dict[str, Any]] = {
    ("text_to_video", "created"): ORDER_17
    | {"status": "submitted", "updated_at": 1722769557708, "units": None},
    ("text_to_video", "running"): ORDER_17
    | {"status": "processing", "updated_at": 1722769560000, "units": None},
    ("text_to_video", "finished"): ORDER_17
    | {"status": "succeed", "updated_at": 1722769618708, "units": "5"},
    ("text_to_video", "finished, watermarked"): {
        "task_id": "847570360458960961",
        "external_task_id": None,
        "status": "succeed",
        "message": "",
        "created_at": 1722769557708,
        "updated_at": 1722769618708,
        "units": "3.5",
    },
    ("text_to_video", "failed"): {
        "task_id": "847570360458960962",
        "external_task_id": None,
        "status": "failed",
        "message": "Failure to pass the risk control system",
        "created_at": 1722769557708,
        "updated_at": 1722769618708,
        "units": None,
    },
    ("text_to_video", "fields come and go"): {
        "task_id": "847570360458960960",
        "external_task_id": None,
        "status": "paused",
        "message": "",
        "created_at": 1722769557708,
        "updated_at": 0,
        "units": None,
    },
    ("image_generation", "created"): {
        "task_id": "900000000000000001",
        "external_task_id": "job-0001",
        "status": "submitted",
        "message": "",
        "created_at": 1789900000000,
        "updated_at": 1789900000000,
        "units": None,
    },
    ("image_generation", "finished"): {
        "task_id": "900000000000000001",
        "external_task_id": "job-0001",
        "status": "succeed",
        "message": "",
        "created_at": 1789900000000,
        "updated_at": 1789900024000,
        "units": "8",
    },
}


@pytest.mark.parametrize("case", TASKS, ids="-".join)
def test_a_task_becomes_a_record(case: tuple[str, str]) -> None:
    """Every field of the record is read from its place; the vendor's whole object stays beside it."""
    record = decode_task(case[0], data_of(*case))
    assert record.endpoint == case[0]
    assert plain(record) == TASKS[case]
    assert record.raw == ANSWERS[case]["data"]
    assert msgspec.json.decode(record.result_data) == ANSWERS[case]["data"].get("task_result")


@pytest.mark.parametrize(
    ("field", "value", "attribute", "expected"),
    [
        pytest.param("task_info", None, "external_task_id", None, id="no info"),
        pytest.param("task_info", {"external_task_id": ""}, "external_task_id", None, id="empty id"),
        pytest.param("task_status_msg", None, "message", "", id="no reason"),
        pytest.param("final_unit_deduction", "", "units", None, id="empty units"),
        pytest.param("final_unit_deduction", 3.5, "units", "3.5", id="units as a number"),
        pytest.param("final_unit_deduction", None, "units", None, id="null units"),
        pytest.param("task_id", 17, "task_id", "17", id="id as a number"),
        pytest.param("task_status", "succeeded", "status", "succeeded", id="the other spelling"),
        pytest.param("updated_at", "17", "updated_at", 17, id="stamp as text"),
    ],
)
def test_a_task_is_read_leniently(field: str, value: Any, attribute: str, expected: Any) -> None:
    """Forms that the vendor has used, or may use, are all understood."""
    body = msgspec.json.encode({"task_id": "847", field: value})
    assert getattr(decode_task("text_to_video", body), attribute) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b"{}",
        b'{"task_id":null}',
        b'{"task_id":""}',
        b'{"task_id":[1]}',
        b'{"task_id":true}',
        b'{"task_id":"1"',
    ],
)
def test_data_that_is_no_task_is_refused(body: bytes) -> None:
    """Without an id, or cut, it is a decode error that the caller turns into `BadResponse`."""
    with pytest.raises(msgspec.DecodeError):
        decode_task("text_to_video", body)


def test_a_list_page_keeps_the_order() -> None:
    """A bare array becomes records, newest first as it came, ended ones with their results."""
    page = decode_list("text_to_video", data_of("text_to_video", "list"))
    assert [(r.task_id[-1], r.external_task_id, r.status) for r in page] == [
        ("1", "order-18", "processing"),
        ("0", "order-17", "succeed"),
    ]
    assert [r.raw for r in page] == ANSWERS["text_to_video", "list"]["data"]


@pytest.mark.parametrize("body", [b"[]", b"null", b""])
def test_a_page_past_the_end_is_empty(body: bytes) -> None:
    """An empty array, null and nothing all mean that there are no more."""
    assert decode_list("text_to_video", body) == []


@pytest.mark.parametrize("body", [b"{}", b'[{"task_status":"succeed"}]', b"[3, null]"])
def test_data_that_is_no_list_is_refused(body: bytes) -> None:
    """An object, or entries none of which is a task, are a decode error."""
    with pytest.raises(msgspec.DecodeError):
        decode_list("text_to_video", body)


ODD: Final[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["1766737710125", "2026-11-26T10:00:00Z", "2026-11-26 10:00:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OPTIONAL: Final = [
    *("task_status_msg", "task_info", "final_unit_deduction", "created_at", "updated_at", "watermark_info"),
    *("external_task_id", "external_id", "message", "billing", "create_time", "update_time", "outputs"),
]


@given(st.dictionaries(st.sampled_from(OPTIONAL), ODD), ODD, ODD, ODD)
def test_no_optional_field_hides_a_task(drawn: dict[str, Any], info: Any, message: Any, request: Any) -> None:
    """Whatever JSON stands in any optional field, at any depth, id, status and result are read."""
    result = {"videos": [{"id": "v", "url": "https://a.example/v.mp4"}]}
    odd: dict[str, Any] = {"task_info": {"external_task_id": info}, **drawn}
    task = {**odd, "task_id": 77, "task_status": "succeed", "task_result": result}
    envelope = {"code": 0, "message": message, "request_id": request, "data": [5, task, {}]}
    answer = decode_envelope(msgspec.json.encode(envelope))
    (record,) = decode_list("text_to_video", answer.data)
    assert (answer.code, record.task_id, record.status) == (0, "77", "succeed")
    assert msgspec.json.decode(record.result_data) == result
    assert pickle.loads(pickle.dumps(record)) == record and record.plain()
    (unified,) = decode_unified(
        msgspec.json.encode([None, {**odd, "id": 77, "status": "succeeded"}])
    ).values()
    assert (unified.task_id, unified.status) == ("77", "succeeded")


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (1766737710125, 1766737710125),
        (1766737710.125, 1766737710125),
        (1766737710, 1766737710000),
        ("1766737710125", 1766737710125),
        ("2025-12-26T08:28:30.125Z", 1766737710125),
        ("2025-12-26T16:28:30.125+08:00", 1766737710125),
        ("2025-12-26 08:28:30", 0),
        ("soon", 0),
        ("nan", 0),
        ("1e999", 0),
        (-5, 0),
        (1e300, 0),
        (True, 0),
        ([], 0),
    ],
)
def test_a_time_is_read_in_any_form(value: Any, milliseconds: int) -> None:
    """Seconds, milliseconds and ISO 8601 with an offset are times; a local time could be hours off."""
    task = decode_task("text_to_video", msgspec.json.encode({"task_id": "1", "created_at": value}))
    assert task.created_at == milliseconds


# --- records -----------------------------------------------------------------------------------


def test_created_is_aware_and_none_if_unknown() -> None:
    """Milliseconds of the vendor become an aware time in UTC; 0 becomes None, not 1970."""
    record = TaskRecord(endpoint="x", task_id="1", created_at=1722769557708)
    assert record.created == dt.datetime(2024, 8, 4, 11, 5, 57, 708000, tzinfo=dt.UTC)
    assert TaskRecord(endpoint="x", task_id="1").created is None


def test_raw_is_always_an_object() -> None:
    """Missing data, and data that is no object, reads as an empty one."""
    assert TaskRecord(endpoint="x", task_id="1").raw == {}
    assert TaskRecord(endpoint="x", task_id="1", data=msgspec.Raw(b"[1]")).raw == {}


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(lambda r: pickle.loads(pickle.dumps(r)), id="pickle"),
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(
            lambda r: msgspec.json.decode(msgspec.json.encode(r), type=TaskRecord), id="stored as JSON"
        ),
    ],
)
@pytest.mark.parametrize("case", TASKS, ids="-".join)
def test_a_record_survives_being_stored(case: tuple[str, str], again: Any) -> None:
    """A record is plain data: all of it, the raw JSON included, comes back."""
    record = decode_task(case[0], data_of(*case))
    back = again(record)
    assert back == record
    assert back.raw == record.raw
    assert plain(back) == plain(record)


def test_a_record_is_shown_in_one_line_without_addresses() -> None:
    """The repr, and what rich asks for, say endpoint, id and status, and nothing of the data."""
    record = decode_task("text_to_video", data_of("text_to_video", "finished, watermarked"))
    assert record.__rich_repr__() == [("", "text_to_video 847570360458960961 succeed")]
    assert repr(record) == "TaskRecord(text_to_video 847570360458960961 succeed)"


# --- the second generation's answers -----------------------------------------------------------

UNIFIED = b"""[
  {"id": "893605946402811985", "status": "succeeded", "message": "", "create_time": 1781080778802,
   "update_time": 1781080794151, "external_id": "job-0001",
   "outputs": [{"type": "video", "id": "893605946402811986", "url": "https://example.com/o.mp4",
                "watermark_url": "", "duration": "3.041"}],
   "billing": [{"charge_type": "cash", "amount": "1"},
               {"charge_type": "unit", "amount": "2.4", "package_type": "video"}]},
  {"id": 7, "status": null, "outputs": null, "billing": null},
  {"status": "succeeded"}, {"id": []}, 5]"""


def test_an_answer_of_tasks_becomes_records_with_results_as_v1_has_them() -> None:
    """Records come by id, without unreadable tasks; results, units and times are where /v1 has them."""
    found = records.decode_unified(UNIFIED)
    assert set(found) == {"893605946402811985", "7"}
    record = found["893605946402811985"]
    assert (record.status, record.units, record.external_task_id) == ("succeeded", "2.4", "job-0001")
    assert (record.created_at, record.updated_at) == (1781080778802, 1781080794151)
    result = result_of(endpoint_of(v1.TextToVideo), record)
    assert result.videos[0].url == "https://example.com/o.mp4" and result.videos[0].seconds == 3.041
    assert (found["7"].status, found["7"].units) == ("submitted", None)
    assert record.raw["billing"][1]["amount"] == "2.4"


def test_an_answer_of_tasks_that_is_no_list_raises() -> None:
    """The caller then asks in another form."""
    with pytest.raises(msgspec.DecodeError):
        records.decode_unified(b'{"not": "a list"}')


def test_a_record_as_plain_data_can_be_kept() -> None:
    """``plain()`` gives all that is known, as JSON takes it, without signed queries and payloads."""
    data = {
        "task_id": "7",
        "task_result": {"videos": [{"url": "https://cdn.example/v.mp4?sign=5ecre7", "id": "8"}]},
        "task_status_msg": "see https://a.example/x?k=5ecre7, or not",
        "face": "A" * 5000,
        "mask": "data:image/png;base64,AAAA",
        "final_unit_deduction": "2.5",
    }
    record = decode_task("text_to_video", msgspec.json.encode(data))
    plain = record.plain()
    assert plain["endpoint"] == "text_to_video" and plain["units"] == "2.5" and "result_data" not in plain
    assert plain["data"] == {
        **data,
        "task_result": {"videos": [{"url": "https://cdn.example/v.mp4", "id": "8"}]},
        "task_status_msg": "see https://a.example/x or not",
        "face": "<5000 characters>",
        "mask": "<26 characters>",
    }
    assert "5ecre7" not in repr(plain) and msgspec.json.encode(plain)
