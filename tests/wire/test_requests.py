"""wire/requests.py: requests are values; requests, results and files show no secret."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest

from kling_async import catalog, v1
from kling_async.wire.endpoints import RawTask
from kling_async.wire.requests import CallRequest, File, RawResult, Result, TaskRequest

# --- values ------------------------------------------------------------------------------------


def test_requests_are_frozen_keyword_only_and_hold_tuples() -> None:
    """A request is a value: not changed, not given by position, its lists turned into tuples."""
    shots = [v1.Shot(index=1, prompt="x", duration=5)]
    request = v1.TextToVideo(multi_prompt=shots)  # type: ignore[arg-type]
    assert request.multi_prompt == tuple(shots)
    with pytest.raises(AttributeError):
        request.prompt = "y"  # type: ignore[misc]
    with pytest.raises(TypeError):
        v1.TextToVideo("x")  # type: ignore[call-arg]


def test_a_request_can_be_stored_and_sent_elsewhere() -> None:
    """A request is equal after pickle, copy and JSON; two requests share no ``extra``."""
    request = v1.ImageGeneration(
        prompt="x", image=b"abc", element_list=(v1.ElementRef(element_id=1),), extra={"a": 1}
    )
    assert pickle.loads(pickle.dumps(request)) == copy.deepcopy(request) == request
    stored = msgspec.json.encode(request)
    assert msgspec.json.decode(stored, type=v1.ImageGeneration) == request
    assert v1.TextToVideo(prompt="a").extra is not v1.TextToVideo(prompt="a").extra


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"prompt":"x","image":{"path":"/etc/passwd"}}', "image.path"),
        (b'{"promt":"x"}', "unknown field `promt`"),
        (b'{"camera_control":{"type":"simple","span":1}}', "unknown field `span`"),
    ],
)
def test_no_decoder_of_structs_opens_a_file_or_drops_a_name(body: bytes, words: str) -> None:
    """Frameworks that decode bodies by msgspec, as Litestar does, are as strict with strangers."""
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.json.decode(body, type=v1.ImageToVideo)


def test_the_two_kinds_of_requests_are_told_apart() -> None:
    """Task requests and calls have no class in common below `Request`."""
    assert issubclass(v1.TextToVideo, TaskRequest) and not issubclass(v1.TextToVideo, CallRequest)
    assert issubclass(v1.AccountCosts, CallRequest) and not issubclass(v1.AccountCosts, TaskRequest)


# --- results -----------------------------------------------------------------------------------


def test_a_result_without_files_has_none() -> None:
    """The base of results offers nothing to download, and says so."""
    assert RawResult(raw={"a": 1}).files() == Result().files(watermarked=True) == ()
    assert not Result.has_files and not RawResult.has_files


def test_a_kind_of_result_that_names_files_says_so() -> None:
    """``has_files`` follows from ``files()``, at any depth, so that it cannot be forgotten."""
    rows: tuple[Any, ...] = (*catalog.TASKS, *catalog.CALLS)
    kinds = {row.result for row in rows}
    named = {kind for kind in kinds if kind.has_files}
    assert named == {kind for kind in kinds if kind.files is not Result.files}
    assert {v1.Videos, v1.Images, v1.DerivedVideos, v1.SoundedVideos} <= named
    assert v1.Costs not in named


def test_the_fields_beside_a_result_are_fields_of_it() -> None:
    """A kind of result names the fields that stand in ``task_info``; only derived videos have one."""
    beside = {row.result: row.result.in_task_info for row in catalog.TASKS if row.result.in_task_info}
    assert beside == {v1.DerivedVideos: ("parent_video",), v1.SoundedVideos: ("parent_video",)}
    assert all(set(names) <= set(kind.__struct_fields__) for kind, names in beside.items())


# --- the repr ----------------------------------------------------------------------------------


def test_a_file_is_shown_without_its_signature() -> None:
    """The query of an address is its key: it is in ``url`` and not in the repr."""
    file = File("https://u:p@cdn.example.com/v.mp4?sig=SECRET#f", ".mp4", "0")
    assert repr(file) == "File(url='https://cdn.example.com/v.mp4', suffix='.mp4', name='0')"


def test_the_repr_of_a_request_shows_what_is_set_and_no_secret() -> None:
    """No queries of addresses at any depth, also within a text or ``extra``; no files, no unset fields."""
    request = v1.ImageToVideo(
        image="https://a.example/x.png?sign=SECRET",
        image_tail=b"SECRET",
        prompt="As https://a.example/y?SECRET shows?",
        extra={"new": {"url": "https://a.example/z?SECRET", "file": "SECRET" * 1000}},
    )
    shown = repr(request)
    assert "SECRET" not in shown and "None" not in shown
    assert "prompt='As https://a.example/y shows?'" in shown
    assert repr(v1.WatermarkInfo(enabled=False)) == "WatermarkInfo(enabled=False)"
    assert "SECRET" not in repr(RawTask(path="/v1/x", body={"url": "https://a.example/z?SECRET"}))
