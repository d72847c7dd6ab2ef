"""redaction.py: signed queries, tokens and payloads are taken out of texts, plain data and reprs."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import json
import math
import pickle
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from litestar.serialization import encode_json as litestar_json

from kling_async import (
    JournaledRequest,
    Outcome,
    OutOfUnits,
    Report,
    RequestInvalid,
    Stats,
    TaskRecord,
    Totals,
    json_schema,
    v1,
)
from kling_async.account import PoolState
from kling_async.catalog import CALLS, TASKS
from kling_async.errors import Problem
from kling_async.redaction import Discreet, Serializable, json_types, keepable, redact, without_query
from tests.support import clip, pair

# --- one address -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/p/x.png", "https://a.example/p/x.png"),
        ("https://a.example:8443/x?k=v", "https://a.example:8443/x"),
        ("https://user:pass@a.example/x", "https://a.example/x"),
        ("https://a@b@c.example/x#frag", "https://c.example/x"),
        ("https://[::1]:80/x?y", "https://[::1]:80/x"),
        ("http://[half", "<unreadable address>"),
    ],
)
def test_an_address_loses_its_query_and_its_user(url: str, expected: str) -> None:
    """Scheme, host, port and path stay; query, fragment and userinfo go."""
    assert without_query(url) == expected


# --- texts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://a.example/x?k=SECRET now", "see https://a.example/x?... now"),
        ("HTTPS://A.EXAMPLE/x?k=SECRET", "HTTPS://A.EXAMPLE/x?..."),
        (r"https:\/\/a.example\/x?k=SECRET", r"https:\/\/a.example\/x?..."),
        ("https://u:SECRET@a.example/x", "https://a.example/x"),
        ("https://u:SECRET@a.example", "https://a.example"),
        (r"https:\/\/u:SECRET@a.example\/x?y", r"https:\/\/a.example\/x?..."),
        ("https://a.example/@me?k=SECRET?", "https://a.example/@me?..."),
        ("Authorization: Bearer SECRET", "Bearer ..."),
        ('{"authorization": "bearer SECRET"}', '{"Bearer ..."}'),
        ("SECRET" * 20, "..."),
        ("https://a.example/x is fine", "https://a.example/x is fine"),
    ],
)
def test_a_server_s_text_is_redacted(text: str, shown: str) -> None:
    """Queries and userinfo of addresses, tokens and long runs are replaced; the rest stays readable."""
    assert redact(text) == shown


# --- plain data --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("https://a.example/x?k=SECRET", "https://a.example/x"),
        ("see https://a.example/x?k=SECRET, or not", "see https://a.example/x or not"),
        ("HTTP://u:SECRET@a.example/x?k=SECRET", "http://a.example/x"),
        (r"https:\/\/a.example\/x?k=SECRET", "https://a.example/x"),
        ("data:image/png;base64,AAAA", "<26 characters>"),
        ("A" * 4000, "A" * 4000),
        ("A" * 4001, "<4001 characters>"),
        ({"a": [{"url": "https://a.example/x?k=SECRET"}]}, {"a": [{"url": "https://a.example/x"}]}),
        (7, 7),
        (None, None),
        (True, True),
    ],
    ids=lambda value: str(value)[:40],
)
def test_plain_data_is_made_fit_to_be_stored(value: Any, kept: Any) -> None:
    """Addresses lose their queries and payloads become their length, at any depth; the rest stays."""
    assert keepable(value) == kept


# --- reprs -------------------------------------------------------------------------------------


class Sample(Discreet, frozen=True, kw_only=True):
    """A struct with fields of every kind."""

    number: int = 0
    nothing: str | None = None
    empty: str = ""
    text: str = "plain"
    address: str = "https://cdn.example.com/v.mp4?sig=SECRET"
    raw: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it


def test_a_discreet_struct_is_shown_without_raw_unset_fields_and_signatures() -> None:
    """The repr leaves out ``raw``, None and empty text, keeps 0, and cuts queries."""
    shown = "Sample(number=0, text='plain', address='https://cdn.example.com/v.mp4')"
    assert repr(Sample(raw={"url": "https://x/?sig=SECRET"})) == repr(Sample()) == shown


def test_rich_is_shown_no_more_than_the_repr() -> None:
    """Rich and its tracebacks ask ``__rich_repr__`` before ``__repr__``."""
    assert "SECRET" not in repr(Sample(raw={"k": "SECRET"}).__rich_repr__())


# --- values as JSON ------------------------------------------------------------------------------

SIGNED = "https://cdn.example/a.mp4?sig=SECRET"
RECORD = TaskRecord(
    endpoint="text_to_video",
    task_id="1",
    status="succeed",
    data=msgspec.Raw(b'{"only": "in raw"}'),
    result_data=msgspec.Raw(json.dumps({"videos": [{"url": SIGNED}]}).encode()),
)


def as_json(value: Serializable, **options: Any) -> dict[str, Any]:
    """Return `to_dict` of a value, which must hold JSON types only."""
    shown = value.to_dict(**options)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    return shown


@pytest.mark.parametrize("row", [*TASKS, *CALLS], ids=lambda row: row.name)
def test_every_result_goes_into_json_without_raw(row: Any) -> None:
    """All fields are there by their names, set or not; the vendor's own object is not."""
    result = row.result(raw={"secret": 1})
    assert as_json(result) == as_json(row.result())
    assert set(as_json(result)) == {*result.__struct_fields__}


@pytest.mark.parametrize("row", [*TASKS, *CALLS], ids=lambda row: row.name)
def test_no_encoder_shows_the_raw_object_of_a_result(row: Any) -> None:
    """Frameworks that write structs field by field do not publish it; copies and pickles hold it."""
    result = row.result(raw={"secret": 1})
    written = msgspec.json.encode(result), litestar_json(result), str(msgspec.to_builtins(result)).encode()
    assert not any(b"secret" in text or b"raw" in text for text in written)
    for again in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert again == result and again.raw == {"secret": 1}
    assert result != row.result() == row.result(raw={}) and row.result().raw == {}


def test_addresses_are_whole_unless_cut() -> None:
    """``to_dict()`` of results and records holds addresses whole; ``signed=False`` cuts the query."""
    for value in (v1.Videos(videos=(v1.Video(url=SIGNED),)), RECORD):
        assert SIGNED in str(as_json(value))
        assert "SECRET" not in str(as_json(value, signed=False))
        assert "https://cdn.example/a.mp4" in str(as_json(value, signed=False))


def test_a_record_goes_into_json_with_its_result() -> None:
    """The result is plain data; the whole object of the vendor's is left out."""
    shown = as_json(RECORD)
    jsonschema.validate(shown, json_schema(TaskRecord))
    assert shown["result_data"] == {"videos": [{"url": SIGNED}]}
    assert "data" not in shown and "only" not in str(shown)
    assert as_json(TaskRecord(endpoint="x", task_id="1"))["result_data"] is None


def test_an_outcome_goes_into_json_whatever_is_in_it() -> None:
    """Requests with files, paths, errors: nothing of them raises, and no content of files is shown."""
    error = OutOfUnits("no units", code=1102, request_id="r", http_status=429)
    files = v1.ImageToVideo(
        image=Path("cat.png"), image_tail=b"x" * 5000, static_mask=SIGNED, prompt="x", extra={"n": 1}
    )
    outcome: Outcome[v1.Videos] = Outcome(
        position=3, key="k", request=files, record=RECORD, files=(Path("out/a.mp4"),), error=error
    )
    shown = as_json(outcome)
    jsonschema.validate(shown, json_schema(Outcome))
    assert shown["request"]["endpoint"] == "image_to_video"
    assert (shown["request"]["image"], shown["request"]["image_tail"]) == ("cat.png", "<5000 bytes>")
    assert (shown["request"]["static_mask"], shown["request"]["extra"]) == (SIGNED, {"n": 1})
    assert (shown["files"], shown["record"]["task_id"]) == (["out/a.mp4"], "1")
    assert shown["error"] == {
        "type": "OutOfUnits",
        "message": str(error),
        "code": 1102,
        "request_id": "r",
        "http_status": 429,
    }
    assert "SECRET" not in str(as_json(outcome, signed=False))
    journaled: Outcome[Any] = Outcome(position=0, key=None, request=JournaledRequest(endpoint="lip_sync"))
    assert as_json(journaled)["request"]["endpoint"] == "lip_sync"


def test_errors_name_their_fields_and_hide_secrets() -> None:
    """The problems of a request stay apart; errors of others show no token."""
    invalid = RequestInvalid("X", [Problem("duration", "too long")])
    assert json_types(invalid, True)["problems"] == [{"field": "duration", "text": "too long"}]
    assert json_types(OSError(f"Bearer SECRET {SIGNED}"), True) == {
        "type": "OSError",
        "message": "Bearer ... https://cdn.example/a.mp4?...",
    }


def test_stats_and_reports_go_into_json() -> None:
    """Numbers of pools and errors that closed them, counts, and reasons."""
    pool = PoolState(
        limit=5, source="packs", held=1, queued=2, foreign=0, closed=OutOfUnits("no units", code=1101)
    )
    shown = as_json(Stats(submitted=3, pools={"video": pool}))
    assert shown["submitted"] == 3
    assert shown["pools"]["video"]["closed"]["code"] == 1101
    totals = Totals(done=1, failed=0, units={"video": 1.5})
    report = Report(
        done=1,
        failed=0,
        resumed=0,
        running=0,
        stopped="",
        units={"video": 1.5},
        spent=(),
        seconds=math.inf,
        advice="",
        this_run=totals,
        all_runs=totals,
    )
    assert as_json(report)["units"] == {"video": 1.5}
    assert as_json(report)["seconds"] is None
    jsonschema.validate(shown, json_schema(Stats))
    jsonschema.validate({**as_json(report), "seconds": 1}, json_schema(Report))


def test_values_of_any_type_become_json() -> None:
    """Words of an enum, numbers that JSON lacks, unknown objects: none raises."""

    class Word(enum.StrEnum):
        A = "a"

    value = {"word": Word.A, 1: (math.nan, b"x"), "path": Path("a/b"), "time": dt.timedelta(1), "on": True}
    assert json_types(value, True) == {
        "word": "a",
        "1": [None, "<bytes>"],
        "path": "a/b",
        "time": "<timedelta>",
        "on": True,
    }


@pytest.mark.anyio
async def test_what_a_client_hands_out_goes_into_json() -> None:
    """A task's record and result, the client's counts, and a batch's outcomes and reports."""
    async with pair(seconds=5) as (_, client):
        task = await client.submit(clip())
        result = await task.wait()
        assert as_json(result)["videos"][0]["url"] == result.videos[0].url
        assert task.record is not None
        assert as_json(task.record)["result_data"]["videos"][0]["url"] == result.videos[0].url
        assert as_json(client.stats())["created"] == 1
        assert as_json(client.estimate(clip()))["pool"] == "video"
        async with client.batch([clip("one")]) as results:
            outcomes = [as_json(outcome) async for outcome in results]
        assert outcomes[0]["request"]["prompt"] == "one" and outcomes[0]["error"] is None
        assert as_json(results.report)["done"] == 1
        assert as_json(await client.batch([clip()]).dry_run())["jobs"] == 1
