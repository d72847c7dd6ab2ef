"""orchestrator/results.py: no paid result is lost for an odd field in the vendor's answer."""

from __future__ import annotations

import msgspec
import pytest

from kling_async import catalog, v1
from kling_async.catalog import endpoint_of
from kling_async.errors import BadResponse
from kling_async.orchestrator.results import decode_result, result_of
from kling_async.records import TaskRecord, decode_envelope, decode_task
from kling_async.wire.endpoints import RawTask
from kling_async.wire.requests import RawResult
from tests.golden import golden

ROWS = {row.name: row for row in catalog.TASKS}


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


@pytest.mark.parametrize(
    ("info", "parent"),
    [
        (b'{"parent_video":{"id":"7","duration":"5.041"}}', v1.Video(id="7", duration="5.041")),
        (b'{"parent_video":null}', None),
        (b'{"parent_video":"7"}', None),
        (b"{}", None),
        (b"null", None),
        (b'"odd"', None),
    ],
)
def test_the_parent_video_is_read_from_task_info(info: bytes, parent: v1.Video | None) -> None:
    """Where ``task_info`` is odd or missing, the paid video is still given."""
    result = b'{"videos":[{"id":"1"}]}'
    data = b'{"task_id":"1","task_info":' + info + b',"task_result":' + result + b"}"
    made = TaskRecord(
        endpoint="lip_sync", task_id="1", data=msgspec.Raw(data), result_data=msgspec.Raw(result)
    )
    found = result_of(ROWS["lip_sync"], made)
    assert found == v1.DerivedVideos(
        videos=(v1.Video(id="1"),), parent_video=parent, raw={"videos": [{"id": "1"}]}
    )


@pytest.mark.parametrize("data", [b"null", b"", b"{}"])
def test_a_success_without_a_result_is_an_empty_result(data: bytes) -> None:
    """Fields that the vendor left out are empty; a paid task never raises for that."""
    assert result_of(ROWS["text_to_video"], record(data)) == v1.Videos()


def test_a_result_of_an_unknown_endpoint_is_its_raw_object() -> None:
    """The result of a raw task is the vendor's object."""
    row = endpoint_of(RawTask(path="/v1/x", body={}))
    assert result_of(row, record(b'{"files":[1]}')) == RawResult(raw={"files": [1]})


def test_empty_values_count_as_missing() -> None:
    """An object, a number or an array that came as an empty text or null is left at its default."""
    data = b'{"elements":[{"element_id":"","element_video_list":"","tag_list":null,"element_name":"Ann"}]}'
    (element,) = decode_result(v1.Elements, data).elements
    assert element == v1.Element(element_name="Ann")


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
    """The error says where the form differs, shows no value, and hides the decoder's error."""
    with pytest.raises(BadResponse, match="the result cannot be read") as caught:
        decode_result(v1.Videos, data)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "SECRET" not in str(caught.value)
