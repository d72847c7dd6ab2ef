"""orchestrator/results.py: no paid result is lost for an odd field in the vendor's answer."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import catalog, v1
from kling_async.catalog import endpoint_of
from kling_async.errors import BadResponse
from kling_async.orchestrator.results import decode_result, result_of, shortfall
from kling_async.records import TaskRecord, decode_envelope, decode_task
from kling_async.wire.endpoints import RawTask
from kling_async.wire.requests import RawResult
from tests.golden import golden

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = {row.name: row for row in catalog.TASKS if not row.name.startswith("v2.")}


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


@pytest.mark.parametrize("data", [b"", b"[]", b'{"videos":', b'"https://a.example/?SECRET"'])
def test_a_result_of_another_form_is_a_bad_response(data: bytes) -> None:
    """The error says where the form differs, shows no value, and hides the decoder's error."""
    with pytest.raises(BadResponse, match="the result cannot be read") as caught:
        decode_result(v1.Videos, data)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "SECRET" not in str(caught.value)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the places of all fields within a result, those of the files excepted."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        if (
            isinstance(value, dict)
            and not isinstance(item, dict | list)
            and not re.search("url|frontal", str(name))
        ):
            yield (*place, name)
        yield from places(item, (*place, name))


ODD: Any = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
ODD = ODD | st.lists(ODD, max_size=2) | st.dictionaries(st.text(max_size=3), ODD, max_size=2)


@pytest.mark.parametrize("name", ROWS)
def test_an_odd_field_hides_no_file(name: str) -> None:
    """Whatever stands in any other field of a result, its files are named."""
    finished = golden(name)["answers"]["finished"]["data"]["task_result"]
    whole = decode_result(ROWS[name].result, msgspec.json.encode(finished))
    files = [file.url for file in whole.files()]
    changes = st.tuples(st.sampled_from(list(places(finished)) or [("new",)]), ODD)

    @given(st.lists(changes, min_size=1))
    def changed(odd: list[tuple[tuple[Any, ...], Any]]) -> None:
        result = copy.deepcopy(finished)
        for place, value in odd:
            at = result
            for step in place[:-1]:
                at = at[step]
            at[place[-1]] = value
        decoded = decode_result(ROWS[name].result, msgspec.json.encode(result))
        assert [file.url for file in decoded.files()] == files

    changed()


def test_odd_values_are_taken_as_far_as_they_go() -> None:
    """Numbers become text where that is wanted, an object is an array of one, the rest is left out."""
    data = b'{"videos":[{"id":5,"url":"u","duration":[1]},7],"parent_video":3}'
    assert decode_result(v1.DerivedVideos, data).videos == (v1.Video(id="5", url="u"),)
    assert decode_result(v1.Videos, b'{"videos":{"id":"5"}}').videos == (v1.Video(id="5"),)
    assert decode_result(v1.Videos, b'{"videos":"x"}').videos == ()


def test_a_refusal_does_not_hide_behind_an_odd_field() -> None:
    """Answers whose ``status`` may refuse are read strictly."""
    with pytest.raises(BadResponse):
        decode_result(v1.SelectionAnswer, b'{"status":"refused"}')


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (b'{"videos":[{"id":"1","url":"u"}]}', None),
        (b"null", "names no file; it holds nothing"),
        (b'{"videos":[]}', "names no file; it holds nothing"),
        (b'{"videos":[{"id":"1","url":null}]}', r"holds videos\[0\]\.id"),
        (b'{"videos":[{"watermark_url":"SECRET"}]}', r"holds videos\[0\]\.watermark_url"),
        (b'{"videos":"u"}', "holds videos"),
    ],
)
def test_a_shortfall_says_what_there_is(result: bytes, told: str | None) -> None:
    """A result is there if it names a file; otherwise its fields are named, without their values."""
    shown = shortfall(ROWS["text_to_video"], record(result))
    assert (shown is None) is (told is None)
    assert re.search(told or "", shown or "")
    assert "SECRET" not in (shown or "")


def test_an_element_or_a_voice_is_a_result_without_files() -> None:
    """What later requests name by its id needs no file; of unknown results nothing is demanded."""
    assert shortfall(ROWS["custom_elements"], record(b'{"elements":[{"element_id":5}]}')) is None
    assert shortfall(ROWS["custom_voices"], record(b'{"voices":[{"voice_id":"5"}]}')) is None
    assert shortfall(ROWS["custom_voices"], record(b"{}")) is not None
    assert shortfall(endpoint_of(RawTask(path="/v1/x", body={})), record(b"null")) is None
