"""OpenTelemetry: spans and metrics of a client's tasks. Needs the extra ``otel``; nothing else imports it.

    from kling_async import Client, otel

    client = Client(on_event=otel.listener())

Spans are made from the client's events. Each submit gives ``kling queue`` and ``kling create``, again for
each refusal by a full account; then ``kling wait``, from the task's creation until it is seen ended, and one
``kling download`` for each file. All are children of the span in which the caller submitted, which may have
ended by then. Attributes are names, ids and numbers: never an address, a prompt or the text of an error.

Metrics: the counters ``kling.events`` (by ``kling.event``, the event's kind) and ``kling.downloaded``, the
histograms ``kling.queue.duration`` and ``kling.task.duration``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import context, metrics, trace
from opentelemetry.trace import Status, StatusCode

from kling_async._version import __version__
from kling_async.core.status import TaskState, state_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from kling_async.events import Event

__all__ = ["listener"]

_OPEN_MAX: Final = 20_000
"""Most submits and tasks with an open span; the oldest lose theirs, so that none is kept for ever."""


def listener(
    tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Callable[[Event], None]:
    """Return a listener for ``Client(on_event=...)`` that makes spans and metrics.

    Args:
        tracer_provider: Makes the spans. Default: the global one.
        meter_provider: Makes the metrics. Default: the global one.
    """
    tracer = trace.get_tracer("kling_async", __version__, tracer_provider)
    spans, numbers = _Spans(tracer), _Metrics(metrics.get_meter("kling_async", __version__, meter_provider))

    def listen(event: Event) -> None:
        numbers.take(event)
        spans.take(event)

    return listen


class _Trace(NamedTuple):
    """One submit or task whose present step has an open span."""

    parent: Context
    """The caller's context when it submitted: the client's own work runs in an empty one."""
    epoch: float
    """Seconds since 1970 at which the client's clock was 0, as it was when the trace began."""
    span: Span
    began: float
    """When the span began, by the client's clock."""


class _Spans:
    """Make a span of each step of a submit, a task and a download."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._submits: dict[str, _Trace] = {}
        """By external id: those that queue, or whose create is on its way."""
        self._tasks: dict[str, _Trace] = {}
        """By task id: those not seen ended."""

    def take(self, event: Event) -> None:
        """Begin and end the spans that an event stands between."""
        match event.kind:
            case "queued" | "refused" | "admitted":
                self._queue_or_create(event)
            case "left":
                self._end(self._submits.pop(event.external_task_id or "", None), event)
            case "created" | "adopted":
                self._wait(event)
            case "ended" | "slot_expired":
                self._end(self._tasks.pop(event.task_id or "", None), event)
            case "downloaded":
                self._download(event)
            case _:
                pass

    def _queue_or_create(self, event: Event) -> None:
        """Begin a step before the task exists; it ends the one before."""
        key = event.external_task_id or ""
        before = self._submits.pop(key, None)
        if before is None and event.kind != "queued":  # its caller has left, so its steps are not shown
            return
        self._end(before, event)
        name = "kling create" if event.kind == "admitted" else "kling queue"
        self._keep(self._submits, key, self._begin(name, event, before))

    def _wait(self, event: Event) -> None:
        """End the create, and begin to wait for the end of its task."""
        before = self._submits.pop(event.external_task_id or "", None)
        self._end(before, event)
        if event.task_id and not _has_ended(event):
            self._keep(self._tasks, event.task_id, self._begin("kling wait", event, before))

    def _download(self, event: Event) -> None:
        started = self._begin("kling download", event, began=event.at - event.seconds)
        started.span.set_attribute("kling.size", event.size)
        self._end(started, event)

    def _begin(
        self, name: str, event: Event, before: _Trace | None = None, began: float | None = None
    ) -> _Trace:
        """Start the span of a step; without an earlier one it is a child of the present span."""
        epoch = time.time() - event.at if before is None else before.epoch
        parent = context.get_current() if before is None else before.parent
        began = event.at if began is None else began
        span = self._tracer.start_span(
            name,
            parent,
            kind=trace.SpanKind.CLIENT,
            attributes=_attributes(event),
            start_time=_nanoseconds(epoch + began),
        )
        return _Trace(parent, epoch, span, began)

    def _end(self, step: _Trace | None, event: Event) -> None:
        """End the span of a step, with what the event says of it."""
        if step is None:
            return
        span = step.span
        span.set_attributes(_attributes(event))
        failed = _failure(event)
        if failed:
            span.set_attribute("error.type", failed)
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(step.epoch + event.at))

    def _keep(self, steps: dict[str, _Trace], key: str, step: _Trace) -> None:
        steps[key] = step
        if len(steps) > _OPEN_MAX:
            steps.pop(next(iter(steps))).span.end()


class _Metrics:
    """Count events, and measure how long submits queue and tasks run."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._events = meter.create_counter("kling.events", "{event}", "Events of a client, by kind.")
        self._bytes = meter.create_counter("kling.downloaded", "By", "Bytes of downloaded files.")
        self._queued = meter.create_histogram(
            "kling.queue.duration", "s", "Time from a submit to the admission that made its task."
        )
        self._ran = meter.create_histogram(
            "kling.task.duration", "s", "Time from a task's creation until it was seen ended."
        )
        self._created: dict[str, float] = {}

    def take(self, event: Event) -> None:
        """Count an event."""
        place = {"kling.endpoint": event.endpoint, "kling.pool": event.pool}
        counted = {"kling.event": event.kind, **place}
        if failed := _failure(event):
            counted["error.type"] = failed
        self._events.add(1, counted)
        match event.kind:
            case "created" | "adopted" if event.task_id:
                self._queued.record(event.waited, place)
                self._created[event.task_id] = event.at
                if len(self._created) > _OPEN_MAX:
                    del self._created[next(iter(self._created))]
            case "ended" | "slot_expired":
                created = self._created.pop(event.task_id or "", None)
                if created is not None and event.kind == "ended":
                    self._ran.record(event.at - created, place)
            case "downloaded":
                self._bytes.add(event.size, place)
            case _:
                pass


def _attributes(event: Event) -> dict[str, Any]:
    """Return the names and ids of an event; its detail may hold an address."""
    named = {
        "kling.endpoint": event.endpoint,
        "kling.pool": event.pool,
        "kling.external_task_id": event.external_task_id,
        "kling.task_id": event.task_id,
        "kling.status": event.status,
    }
    return {name: value for name, value in named.items() if value}


def _failure(event: Event) -> str:
    """Return the name of the error that an event tells of, empty for none."""
    if event.kind == "ended" and not event.error and state_of(event.status) is TaskState.FAILED:
        return "TaskFailed"
    return event.error


def _has_ended(event: Event) -> bool:
    return bool(event.status) and state_of(event.status) is not TaskState.RUNNING


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
