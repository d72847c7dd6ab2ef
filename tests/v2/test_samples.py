"""Wire samples of both generations: every body can be built, every answer and callback reads right."""

from __future__ import annotations

import json
import warnings
from typing import Any, Final

import msgspec
import pytest

from kling_async import catalog, records
from kling_async.core.status import state_of
from kling_async.core.verdict import Accepted, Answer, Full, Refused, judge_create, judge_read
from kling_async.errors import KlingWarning
from kling_async.orchestrator.create_spec import CreateSpec
from kling_async.orchestrator.results import result_of
from kling_async.records import decode_envelope, decode_unified_page
from kling_async.v2.models import models_of
from kling_async.webhooks.payloads import parse
from kling_async.wire.checks import check, to_wire
from kling_async.wire.placement import merged
from tests.reference import V2
from tests.v1.test_reference import ROWS, from_wire
from tests.v2.walking import ENDPOINTS, TYPES, Json, from_body, request_type, sorted_body

CREATES: Final = {
    row["name"]: row for row in V2["requests"] if row["method"] == "POST" and row["path"] != "/tasks"
}
PATHS: Final = {facts["create"]["path"]: name for name, facts in ENDPOINTS.items()}


def by_itself(value: Any) -> Any:
    """A body without what is sent empty, which counts as left out."""
    if isinstance(value, dict):
        pairs: Json = value
        return {k: by_itself(v) for k, v in pairs.items() if v not in ("", [], {})}
    return value


def real(value: Any) -> Any:
    """A body with addresses and numbers where the vendor's form has placeholders."""
    if isinstance(value, dict):
        pairs: Json = value
        return {k: "https://a.example/x" if v == "xxx" and k in FILES else real(v) for k, v in pairs.items()}
    return [real(item) for item in value] if isinstance(value, list) else value


FILES: Final = {"image", "image_url", "video_url", "frontal_image", "callback_url"}


def sent(request: Any, body: Json) -> Json:
    """What a submit of the request sends, with the ids of the sample."""
    options = body.get("options", body)
    row = catalog.endpoint_of(request)
    spec = CreateSpec(
        request,
        row,
        options.get("external_task_id") or "",
        generated=False,
        callback_url=options.get("callback_url") or None,
    )
    whole = merged(to_wire(request, lambda media: media.url or ""), spec.extra_fields)
    made: Json = json.loads(msgspec.json.encode(whole))
    return made


@pytest.mark.parametrize("name", [n for n, row in CREATES.items() if not row["path"].startswith("/v1/")])
def test_every_body_of_the_second_generation_can_be_built(name: str) -> None:
    """Our request, checked, is sent to that path with just that body; doubts warn and do not refuse."""
    path, body = CREATES[name]["path"], CREATES[name]["body"]
    request = from_body(PATHS[path], body)
    model = ENDPOINTS[PATHS[path]].get("model")
    request = msgspec.structs.replace(request, model_name=model) if model else request
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KlingWarning)
        check(request)
    assert catalog.endpoint_of(request).create_path(request) == path
    assert by_itself(sorted_body(sent(request, body))) == by_itself(sorted_body(body))


@pytest.mark.parametrize("name", [n for n, row in CREATES.items() if row["path"].startswith("/v1/")])
def test_every_body_of_the_first_generation_can_be_built(name: str) -> None:
    """The samples of ``/v1``, empty texts left out, come out of our encoder."""
    row = CREATES[name]
    body = by_itself(real(row["body"]))
    for entry in body.get("tag_list", ()):
        entry["tag_id"] = "o_102"
    fields = {key: value for key, value in body.items() if key not in ("external_task_id", "callback_url")}
    request = from_wire(ROWS[row["endpoint"]].request, fields)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KlingWarning)
        check(request)
    made = json.loads(msgspec.json.encode(to_wire(request, lambda media: media.url or "")))
    assert {key: made[key] for key in fields} == fields


@pytest.mark.parametrize("name", ENDPOINTS)
def test_every_example_is_a_request_of_ours(name: str) -> None:
    """The body of every example comes out of our encoder as it stands, and our check accepts it."""
    body = ENDPOINTS[name]["example"]["request"]
    model = {"model_name": ENDPOINTS[name]["model"]} if "model" in ENDPOINTS[name] else {}
    request = from_body(name, body, **model)
    check(request)
    assert sorted_body(sent(request, body)) == sorted_body(body)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_the_answer_to_every_example_is_a_task(name: str) -> None:
    """Also the one page that has ``task_id`` where the others have ``id``."""
    answer = ENDPOINTS[name]["example"]["response"]
    verdict = created(200, answer, request_type(name).endpoint_name)
    assert isinstance(verdict, Accepted)
    data = answer["data"]
    assert verdict.record.task_id == data.get("id", data.get("task_id"))
    assert verdict.record.external_task_id == data["external_id"]
    assert verdict.record.created_at == data["create_time"]


def judged(status: int, body: Json) -> Answer:
    """An answer as the transport reads it."""
    raw = msgspec.json.encode(body)
    seen = decode_envelope(raw)
    return Answer(status, seen.code, seen.message or "", seen.request_id or "", bytes(seen.data), body=raw)


def created(status: int, body: Json, endpoint: str) -> Any:
    """The verdict on that answer to a create."""
    return judge_create(judged(status, body), endpoint=endpoint, external_task_id="x", renewable=False)


TASKS: Final = {
    row["name"]: row["body"]["data"]
    for row in V2["answers"]
    if "/tasks" in row["path"] and row["http"] == 200
}


@pytest.mark.parametrize("name", TASKS)
def test_every_answer_of_tasks_reads_right(name: str) -> None:
    """Ids, states, times, reasons and units, of the query by ids and of a page."""
    data = TASKS[name]
    tasks = data["result"] if isinstance(data, dict) else data
    page = decode_unified_page(msgspec.json.encode(tasks))
    assert [record.task_id for record in page] == [task["id"] for task in tasks]
    for record, task in zip(page, tasks, strict=True):
        assert state_of(record.status).name == task["status"].upper()
        assert (record.created_at, record.updated_at) == (task["create_time"], task["update_time"])
        assert record.message == task.get("message", "")
        assert record.external_task_id == task.get("external_id")
        bill = task["billing"]
        assert record.units == next((e["amount"] for e in bill if e.get("charge_type") != "cash"), None)


@pytest.mark.parametrize(
    ("billing", "units"),
    [
        ([{"charge_type": "unit", "amount": "2.4", "package_type": "video"}], "2.4"),
        ([{"charge_type": "unit", "amount": "0.1"}, {"charge_type": "unit", "amount": "0.2"}], "0.3"),
        ([{"amount": "0"}], "0"),
        ([{"amount": "8"}], None),
        ([{"charge_type": "cash", "amount": "1.12", "currency": "USD"}], None),
        ([{"charge_type": "cash", "amount": "1"}, {"charge_type": "unit", "amount": "8"}], "8"),
        ([{"charge_type": "unit", "amount": "x"}, {"charge_type": "unit", "amount": "1"}], "x"),
        ([{"charge_type": "unit"}], None),
        ([], None),
        ("odd", None),
        ([5], None),
    ],
)
def test_a_bill_tells_units_exactly(billing: Any, units: str | None) -> None:
    """Decimals as text; entries of units add up; money and amounts of no kind are no units, except 0."""
    task = {"id": "1", "status": "succeeded", "billing": billing}
    assert records.decode_task("x", msgspec.json.encode(task)).units == units


def test_an_answer_s_outputs_are_results() -> None:
    """Outputs of the second generation are the results of the first where the things are the same."""
    task = {
        "id": "1",
        "status": "succeeded",
        "outputs": [{"type": "video", "id": "2", "url": "https://a.example/v.mp4", "duration": "3.041"}],
    }
    record = records.decode_task("v2.text_to_video", msgspec.json.encode(task))
    result = result_of(catalog.endpoint_of(TYPES["v2.text_to_video"]), record)
    (video,) = result.videos
    assert (video.id, video.url, video.seconds) == ("2", "https://a.example/v.mp4", 3.041)


OUTPUTS: Final = {
    "v2.clothing_dupe": {
        "product_image": [".png"],
        "model_images": [".png"],
        "product_video": [".mp4"],
    },
    "v2.goods_studio": {"video": [".mp4"]},
    "v2.talking_agent": {"video": [".mp4"]},
    "v2.virtual_try_on": {"image": [".png"]},
    "v2.drama_subtitle": {"subbed_video": [".mp4"], "srt": [".srt"], "ass": [".ass"]},
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_output_of_a_solution_is_a_file(name: str) -> None:
    """Each type of output that the reference names has its place in the result, with its own file name."""
    kinds = OUTPUTS[name]
    said = next(
        facts["result"]["outputs[].type"] for n, facts in ENDPOINTS.items() if request_type(n) is TYPES[name]
    )
    assert all(kind in said for kind in kinds)
    task = {
        "id": "1",
        "status": "succeeded",
        "outputs": [{"type": kind, "url": f"https://a.example/{kind}"} for kind in kinds],
    }
    row = catalog.endpoint_of(TYPES[name])
    result = result_of(row, records.decode_task(name, msgspec.json.encode(task)))
    files = {file.url.rpartition("/")[2]: file.suffix for file in result.files()}
    assert files == {kind: suffix for kind, (suffix,) in kinds.items()}
    assert len({(file.name, file.suffix) for file in result.files()}) == len(kinds)


REFUSALS: Final = {row["name"]: row for row in V2["answers"] if row["name"].startswith("refusal")}


@pytest.mark.parametrize("name", REFUSALS)
def test_every_refusal_is_one(name: str) -> None:
    """A refused create makes nothing and tells the vendor's words; 1303 waits; reads are refused likewise."""
    row = REFUSALS[name]
    if row["body"]["code"] is None:
        return  # the code was not recorded
    answer = judged(row["http"], row["body"])
    verdict = (
        judge_read(answer, renewable=False)
        if row["path"].startswith("GET")
        else created(row["http"], row["body"], "x")
    )
    if row["body"]["code"] == 1303:
        assert isinstance(verdict, Full)
        return
    error = getattr(verdict, "error", None)
    if error is not None:
        assert isinstance(verdict, Refused)
        assert row["body"]["message"] in str(error)
    else:
        assert "not found" in row["body"]["message"]


CALLBACKS: Final = {row["name"]: row for row in V2["callbacks"] if "body" in row or "raw" in row}


@pytest.mark.parametrize("name", CALLBACKS)
def test_every_callback_reads_right(name: str) -> None:
    """Both shapes are told apart by their keys, and are records of tasks."""
    row = CALLBACKS[name]
    raw = row["raw"].encode() if "raw" in row else msgspec.json.encode(row["body"])
    body = json.loads(raw)
    seen = parse(raw)
    assert seen.generation == row["generation"]
    assert seen.task_id == body.get("id", body.get("task_id"))
    assert seen.record.status == body.get("status", body.get("task_status"))
    assert seen.record.updated_at == body.get("update_time", body.get("updated_at"))


def test_every_answer_to_a_create_is_a_task() -> None:
    """With and without ``message`` and ``external_id``."""
    rows = [row for row in V2["answers"] if row["name"].startswith("v2 create")]
    assert len(rows) == 2
    for row in rows:
        verdict = created(200, row["body"], "v2.omni_video")
        assert isinstance(verdict, Accepted)
        assert verdict.record.task_id == row["body"]["data"]["id"]
    assert "kling-3.0-omni" in models_of("v2.omni_video")
