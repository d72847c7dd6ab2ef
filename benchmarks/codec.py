"""Measure decoding and encoding of a long list page and a large image, against json and dataclasses.

The rival does what careful hand-written code does: `json.loads`, then typed records with typed results;
`base64` and `json.dumps`. Peak memory is tracemalloc's, of one more run.
"""

from __future__ import annotations

import base64
import json
import statistics
import time
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from kling_async import v1
from kling_async.catalog import endpoint_of
from kling_async.orchestrator.bodies import _encode
from kling_async.orchestrator.results import result_of
from kling_async.records import decode_envelope, decode_list

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS, IMAGE, REPEATS = 500, 10_000_000, 15
MORE = {"external_task_id": "order-17"}


@dataclass(frozen=True)
class Video:
    """A video, in the rival's form."""

    id: str
    url: str
    duration: float


@dataclass(frozen=True)
class Record:
    """A task, in the rival's form."""

    task_id: str
    external_task_id: str | None
    status: str
    message: str
    created_at: int
    updated_at: int
    units: str | None
    videos: tuple[Video, ...]
    raw: dict[str, Any]


class Row(NamedTuple):
    """Our time and memory, relative to the rival's."""

    name: str
    time: list[float]
    """Ratios of pairs of runs, sorted."""
    peak: float
    ours: float
    """Seconds, the median."""


def page(tasks: int) -> bytes:
    """Return the answer for a page of that many tasks that succeeded."""
    data = [
        {
            "task_id": str(847_570_360_000_000_000 + place),
            "task_status": "succeed",
            "task_status_msg": "",
            "task_info": {"external_task_id": f"order-{place}"},
            "created_at": 1_790_000_000_000 + place,
            "updated_at": 1_790_000_090_000 + place,
            "final_unit_deduction": "3.5",
            "task_result": {
                "videos": [{"id": f"v-{place}", "url": f"https://x.example/{place}.mp4", "duration": "5.041"}]
            },
        }
        for place in range(tasks)
    ]
    return json.dumps({"code": 0, "message": "SUCCEED", "request_id": "r-1", "data": data}).encode()


def decode_ours(body: bytes) -> list[Any]:
    """Return the typed results of all tasks of a page, decoded by way of their records."""
    endpoint = endpoint_of(v1.TextToVideo)
    return [
        result_of(endpoint, record) for record in decode_list("text_to_video", decode_envelope(body).data)
    ]


def records_ours(body: bytes) -> list[Any]:
    """Return the records of a page, as a status query does; results are decoded for waiters only."""
    return list(decode_list("text_to_video", decode_envelope(body).data))


def decode_rival(body: bytes) -> list[Record]:
    """Return the records of a page, their results included."""
    return [_record(item) for item in json.loads(body)["data"]]


def _record(item: dict[str, Any]) -> Record:
    videos = (item.get("task_result") or {}).get("videos", ())
    return Record(
        task_id=item["task_id"],
        external_task_id=(item.get("task_info") or {}).get("external_task_id"),
        status=item["task_status"],
        message=item.get("task_status_msg") or "",
        created_at=item["created_at"],
        updated_at=item["updated_at"],
        units=item.get("final_unit_deduction"),
        videos=tuple(Video(video["id"], video["url"], float(video["duration"])) for video in videos),
        raw=item,
    )


def encode_ours(image: bytes) -> bytes:
    """Return the body of a create, by our encoder."""
    return _encode(v1.ImageGeneration(prompt="A fox", image=image), MORE, {})


def encode_rival(image: bytes) -> bytes:
    """Return the same body, by the rival."""
    body = {
        "model_name": v1.DEFAULT_IMAGE_MODEL,
        "prompt": "A fox",
        "image": base64.b64encode(image).decode(),
    }
    return json.dumps(body | MORE).encode()


def compare(
    name: str, ours: Callable[[bytes], object], rival: Callable[[bytes], object], given: bytes, repeats: int
) -> Row:
    """Run both in turn; return their ratios."""
    pairs = [(_seconds(ours, given), _seconds(rival, given)) for _ in range(repeats + 1)][1:]
    ratios = sorted(mine / other for mine, other in pairs)
    return Row(name, ratios, _peak(ours, given) / _peak(rival, given), statistics.median(p[0] for p in pairs))


def _seconds(work: Callable[[bytes], object], given: bytes) -> float:
    start = time.perf_counter()
    work(given)
    return time.perf_counter() - start


def _peak(work: Callable[[bytes], object], given: bytes) -> int:
    tracemalloc.start()
    try:
        kept = work(given)
        peak = tracemalloc.get_traced_memory()[1]
        del kept
    finally:
        tracemalloc.stop()
    return peak


def table(tasks: int = TASKS, image: int = IMAGE, repeats: int = REPEATS) -> list[Row]:
    """Measure everything."""
    answer, picture = page(tasks), bytes(range(256)) * (image // 256)
    assert msgspec.json.decode(encode_ours(picture)) == json.loads(encode_rival(picture))
    assert [r.videos[0].url for r in decode_ours(answer)] == [r.videos[0].url for r in decode_rival(answer)]
    return [
        compare("list page, its records", records_ours, decode_rival, answer, repeats),
        compare("list page, results as well", decode_ours, decode_rival, answer, repeats),
        compare("image create", encode_ours, encode_rival, picture, repeats),
    ]


def main() -> None:
    """Print the table."""
    print(f"\nDecode and encode: a page of {TASKS} tasks, an image of {IMAGE / 1e6:.0f} MB")
    print(f"{'over json and dataclasses':<28}{'time':>6}{'min..max':>13}{'peak memory':>13}{'ours, ms':>10}")
    for row in table():
        print(
            f"{row.name:<28}{statistics.median(row.time):6.2f}{row.time[0]:7.2f}..{row.time[-1]:.2f}"
            f"{row.peak:13.2f}{row.ours * 1e3:10.2f}"
        )


if __name__ == "__main__":
    main()
