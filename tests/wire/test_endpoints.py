"""What becomes part of a path is checked, wherever it comes from."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async.catalog import endpoint_of
from kling_async.errors import RequestInvalid
from kling_async.wire.endpoints import RawTask, check_id, check_path


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
