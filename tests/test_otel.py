"""otel.py: spans and metrics of a client's tasks, judged by OpenTelemetry's own in-memory exporters."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from kling_async import ConcurrencyExceeded, QueueTimeout, TaskFailed, events
from tests.support import clip, pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kling_async import otel

pytestmark = pytest.mark.anyio

SECRET: Final = "a-lighthouse-nobody-may-hear-of"
"""A prompt."""


class Seen:
    """A client's listener, and what OpenTelemetry has of it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracing = TracerProvider()
        self.tracing.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.metering = MeterProvider([self.reader])
        self.tracer = self.tracing.get_tracer("tests")
        self.options: dict[str, Any] = {"on_event": otel.listener(self.tracing, self.metering)}

    def spans(self, name: str = "kling ") -> list[ReadableSpan]:
        """Return the finished spans whose names begin so, in the order of their ends."""
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(name)]

    def numbers(self, name: str) -> dict[str, float]:
        """Return the sum of a metric by event, or by endpoint."""
        data = self.reader.get_metrics_data()
        assert data is not None
        found: dict[str, float] = {}
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points if metric.name == name else ():
                        place = point.attributes or {}
                        key = str(place.get("kling.event") or place["kling.endpoint"])
                        # a histogram has a sum, a counter has a value
                        value: float = getattr(point, "sum" if hasattr(point, "sum") else "value")
                        found[key] = found.get(key, 0) + value
        return found


@pytest.fixture
def seen() -> Iterator[Seen]:
    """Exporters in memory, shut down at the end."""
    made = Seen()
    yield made
    made.tracing.shutdown()
    made.metering.shutdown()


def lasted(span: ReadableSpan) -> float:
    """Return the seconds of a span."""
    assert span.start_time is not None and span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


async def test_a_task_is_four_spans_below_its_caller_s(seen: Seen, tmp_path: Path) -> None:
    """Queue, create, wait and download follow each other by the client's clock, under the caller's span."""
    options = {**seen.options, "limits": {"video": 1}}
    async with pair({"video": 1}, seconds=30, client=options) as (_, client):
        first = await client.enqueue(clip(SECRET))
        with seen.tracer.start_as_current_span("handler") as handler:
            task = await client.enqueue(clip(SECRET), external_task_id="mine")
        await first.wait()
        await task.wait()
        with seen.tracer.start_as_current_span("second handler") as second:
            await task.download(tmp_path)
        stored = client.stats().downloaded_bytes
    mine = [span for span in seen.spans() if (span.attributes or {})["kling.external_task_id"] == "mine"]
    assert [span.name for span in mine] == ["kling queue", "kling create", "kling wait", "kling download"]
    queue, create, wait, download = mine
    parents = [span.parent.span_id for span in mine if span.parent]
    assert parents == [handler.get_span_context().span_id] * 3 + [second.get_span_context().span_id]
    assert lasted(queue) > 20 and lasted(wait) > 20 and lasted(download) < 10
    assert queue.end_time == create.start_time and create.end_time == wait.start_time
    known = {"kling.endpoint": "text_to_video", "kling.pool": "video", "kling.external_task_id": "mine"}
    assert dict(wait.attributes or {}) == {**known, "kling.task_id": task.id, "kling.status": "succeed"}
    assert (download.attributes or {})["kling.size"] == stored > 0


async def test_what_goes_wrong_is_the_span_s_error(seen: Seen) -> None:
    """A refusal by the account, a timeout in the queue and a failed task mark their spans with their name."""
    client_options = {**seen.options, "queueing": False}
    async with pair({"video": 1}, seconds=30, client=client_options) as (_, client):
        task = await client.submit(clip("emulator:fail"))
        with pytest.raises(ConcurrencyExceeded):
            await client.submit(clip())
        with pytest.raises(TaskFailed):
            await task.wait()
    async with pair({"video": 1}, client={**seen.options, "limits": {"video": 1}}) as (_, client):
        running = await client.submit(clip())
        with pytest.raises(QueueTimeout):
            await client.submit(clip(), queue_timeout=2)
        await running.wait()
    failed = [
        (span.name, (span.attributes or {})["error.type"]) for span in seen.spans() if not span.status.is_ok
    ]
    assert failed == [
        ("kling create", "ConcurrencyExceeded"),
        ("kling queue", "ConcurrencyExceeded"),
        ("kling wait", "TaskFailed"),
        ("kling queue", "QueueTimeout"),
    ]


async def test_a_refused_create_queues_in_a_second_span(seen: Seen) -> None:
    """Each turn in the queue and each create of a submit has a span of its own, one after the other."""
    async with pair({"video": 1}, seconds=30, client=seen.options) as (_, client):
        first, second = await client.enqueue(clip()), await client.enqueue(clip())
        await first.wait()
        await second.wait()
        names = [
            span.name
            for span in seen.spans()
            if (span.attributes or {})["kling.external_task_id"] == second.external_task_id
        ]
    assert len(names) > 3 and names == ["kling queue", "kling create"] * (len(names) // 2) + ["kling wait"]


async def test_events_are_counted_and_durations_measured(seen: Seen, tmp_path: Path) -> None:
    """The counters agree with ``client.stats()``, and the histograms with the clock."""
    async with pair(seconds=30, client=seen.options) as (_, client):
        for task in [await client.submit(clip()) for _ in range(3)]:
            await task.download(tmp_path)
        stats = client.stats()
    counted = seen.numbers("kling.events")
    assert (counted["queued"], counted["created"], counted["ended"]) == (3, stats.created, stats.succeeded)
    assert seen.numbers("kling.downloaded") == {"text_to_video": stats.downloaded_bytes}
    assert 90 <= seen.numbers("kling.task.duration")["text_to_video"] < 150


async def test_no_prompt_and_no_address_is_shown(seen: Seen, tmp_path: Path) -> None:
    """Nothing that is exported holds a word of the request, or where a file is."""
    async with pair(seconds=30, client=seen.options) as (emu, client):
        task = await client.submit(clip(SECRET))
        await task.download(tmp_path)
        shown = " ".join(span.to_json() for span in seen.spans()) + str(seen.reader.get_metrics_data())
        assert SECRET not in shown and emu.url not in shown and "http" not in shown


def test_spans_that_nothing_ends_are_bounded(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submits and tasks whose end is never seen give up their spans, the oldest first."""
    monkeypatch.setattr(otel, "_OPEN_MAX", 3)
    for number in range(10):
        seen.options["on_event"](events.Event(kind="queued", at=1.0, external_task_id=f"e{number}"))
        event = events.Event(kind="created", at=2.0, external_task_id=f"e{number}", task_id=f"t{number}")
        seen.options["on_event"](event)
        seen.options["on_event"](events.Event(kind="queued", at=1.0, external_task_id=f"left{number}"))
    assert len(seen.spans("kling wait")) == 7 and len(seen.spans("kling queue")) == 17


def test_nothing_is_imported_unless_asked() -> None:
    """A client and its events load no part of OpenTelemetry."""
    code = "import sys, kling_async; kling_async.Client(api_key='k'); print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
