"""Results from ``/tasks``: the same as from the products' own paths, in either vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.catalog import TASKS
from kling_async.decoding.outputs import NAMES, task_result
from kling_async.orchestrator.results import result_of
from kling_async.records import decode_list, decode_task, decode_unified
from tests.emulator.calls.test_answers import SLOTS, VARIANTS, made
from tests.emulator.facts import path
from tests.emulator.support import calling
from tests.reference import V2

if TYPE_CHECKING:
    from kling_async.records import TaskRecord

LESS: Final[dict[str, set[str]]] = {
    "omni_image": {"result_type", "images", "series_images"},
    "ai_multi_shot": {"images"},
    "multi_elements": {"videos"},
    "custom_elements": {"elements"},
    "video_extend": {"parent_video"},
    "advanced_lip_sync": {"parent_video"},
    "lip_sync": {"parent_video"},
    "video_to_audio": {"parent_video"},
}
"""Fields of results of which ``/tasks`` shows less: the kind of a series, sets of views, the session of an
edit, the tags of an element as text, and source videos."""
ROWS: Final = {row.name: row for row in TASKS if not row.name.startswith("v2.")}
WITHOUT_FILES: Final = {"ai_multi_shot"}
"""Endpoints whose files cannot be told apart at ``/tasks``: each view is an image of its own there."""


def seen(name: str, record: TaskRecord) -> dict[str, Any]:
    """Return the fields of a task's result, without those that ``/tasks`` cannot fill."""
    fields: dict[str, Any] = msgspec.structs.asdict(result_of(ROWS[name], record))
    return {field: value for field, value in fields.items() if field not in {"raw", *LESS.get(name, ())}}


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "changes"), VARIANTS)
async def test_a_result_does_not_depend_on_the_question(name: str, changes: dict[str, Any]) -> None:
    """Results, files and units of each endpoint are equal from the query, the list and ``/tasks``."""
    async with calling(slots=SLOTS) as (emu, call):
        task_id = await made(call, name, **changes)
        emu.finish(task_id)
        one, page, both = [
            msgspec.json.encode((await call("GET", where)).data)
            for where in (f"{path(name)}/{task_id}", path(name), f"/tasks?task_ids={task_id}")
        ]
    records = [decode_task(name, one), *decode_list(name, page), *decode_unified(both).values()]
    results = [result_of(ROWS[name], record) for record in records]
    assert len(results) == 3
    assert seen(name, records[0]) == seen(name, records[1]) == seen(name, records[2])
    assert len({record.units for record in records}) == 1
    if name not in WITHOUT_FILES:
        assert results[0].files() and results[0].files() == results[1].files() == results[2].files()
        assert len({result.files(watermarked=True) for result in results}) == 1


def test_the_catalog_says_where_tasks_shows_less() -> None:
    """Exactly the endpoints of which ``/tasks`` shows less are asked once more at their own path."""
    assert {row.name for row in TASKS if not row.whole_at_tasks} == LESS.keys()


def documented() -> tuple[dict[str, Any], ...]:
    """Return the vendor's sample of each type of output."""
    answer = next(row for row in V2["answers"] if "every output type" in row["name"])
    return tuple(answer["body"]["data"][0]["outputs"])


def renamed(output: dict[str, Any]) -> dict[str, Any]:
    """Return an output under the names of ``/v1``."""
    return {NAMES.get(output["type"], {}).get(name, name): value for name, value in output.items()}


@given(st.lists(st.tuples(st.sampled_from(documented()), st.booleans()), max_size=8))
def test_both_vocabularies_make_the_same_result(drawn: list[tuple[dict[str, Any], bool]]) -> None:
    """Outputs under the names of ``/v1`` are read like the documented ones, in any mixture."""
    plain = task_result(tuple(output for output, _ in drawn))
    mixed = task_result(tuple(renamed(output) if old else output for output, old in drawn))
    assert plain == mixed
    assert sum(map(len, plain.values())) == len(drawn)


def test_the_names_are_those_of_the_vendors_table() -> None:
    """Each translated name stands in the vendor's table of output types."""
    for kind, names in NAMES.items():
        assert names.keys() <= V2["output_types"][kind].keys()


@pytest.mark.parametrize("key", ["references", "materials"])
def test_an_elements_material_has_two_names(key: str) -> None:
    """Queries call it ``references``, callbacks ``materials``; unknown entries are left out."""
    material = [
        {"type": "image", "role": "frontal", "url": "f"},
        {"type": "voice", "id": "v"},
        {"type": "new"},
        7,
    ]
    (element,) = task_result(({"type": "element", key: material},))["elements"]
    assert element["element_image_list"] == {"frontal_image": "f", "refer_images": []}
    assert element["element_voice_info"]["voice_id"] == "v" and element["element_video_list"] == {}


@pytest.mark.parametrize(
    ("billing", "units"),
    [
        ([{"amount": "0"}], "0"),
        ([{"amount": 0}], "0"),
        ([{"amount": "8"}], None),
        ([{"charge_type": "cash", "amount": "0"}], None),
        ([{"charge_type": "cash", "amount": "1.12"}, {"charge_type": "unit", "amount": "8"}], "8"),
        ([], None),
        (None, None),
    ],
)
def test_units_of_a_bill(billing: list[dict[str, Any]] | None, units: str | None) -> None:
    """An amount without a kind means something only if it is 0, as of a task that failed at once."""
    (record,) = decode_unified(msgspec.json.encode([{"id": "1", "billing": billing}])).values()
    assert record.units == units
