"""Scripted faults: which requests and callbacks go wrong, and how. They are counted, never random.

Each one meets at most one fault: the first armed one that matches it and has skipped enough requests.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from kling_async.emulator.http.answers import HttpAnswer
from kling_async.emulator.http.json_body import parse_object
from kling_async.emulator.judging.reference import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kling_async.emulator.http.routes import Route

__all__ = ["NO_ANSWER", "Fault", "FaultKind", "Faults", "faulty_answer"]

FaultKind = Literal[
    "answer",
    "lost_before",
    "lost_after",
    "slow",
    "hang",
    "half_body",
    "short_body",
    "no_range",
    "html",
    "truncated_json",
    "empty",
    "wrong_types",
    "unknown_status",
    "lost",
    "doubled",
    "late",
    "reordered",
    "replayed",
    "forged",
]

CALLBACK: Final = "callback"
NO_ANSWER: Final = frozenset({"lost_before", "lost_after", "hang"})
"""Kinds of faults that cut the connection instead of answering."""
_OF_CALLBACKS: Final = frozenset({"lost", "doubled", "late", "reordered", "replayed", "forged"})
"""Kinds of faults that strike callbacks; no other kind does."""
_DO_NOT_ACT: Final = frozenset({"answer", "lost_before", "hang", "html"})
"""Kinds of faults that usually strike before the server acts."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: which requests it strikes, and how they go wrong.

    Kinds of faults:

    - ``answer``: ``status`` and/or ``code`` instead of the real answer, with ``message`` and ``retry_after``.
      A code brings its own status and envelope; a status alone comes with a line of text, as of a gateway.
    - ``lost_before``, ``lost_after``: the connection is cut before, or after, the server acts.
    - ``slow``: the answer comes ``seconds`` later. With ``acts=False`` the server also acts only then.
    - ``hang``: no answer, until the client disconnects or the server stops.
    - ``half_body``: half of the announced bytes (or the first ``value``), then the connection is cut.
    - ``short_body``: the last byte (or the last ``value`` bytes) missing, with a Content-Length to match.
    - ``no_range``: the whole of a file, whatever range was requested.
    - ``html``: a gateway's HTML page, with ``status`` or 502.
    - ``truncated_json``: half of the JSON, with a Content-Length to match. ``empty``: an empty body.
    - ``wrong_types``: ``value`` in the place of ``data``.
    - ``unknown_status``: ``value`` or "reviewing" as the status of the task.

    Kinds of faults of callbacks, with ``on="callback"``, or ``on="callback:succeed"`` for one status
    (``succeeded`` is the same):

    - ``lost``: never sent. ``late``: sent ``seconds`` (60) later.
    - ``doubled``: sent again ``seconds`` (1) later, with the same webhook-id and a new signature.
    - ``replayed``: the same bytes and headers sent again ``seconds`` (1) later.
    - ``reordered``: sent after the next callback of the same task; the last one of a task comes in its place.
    - ``forged``: before it comes another one by somebody who lacks the secret, with the status ``value`` or
      "failed".

    Raises:
        ValueError: The kind does not exist or does not fit ``on``, or a fault of kind ``answer`` has neither
            status nor code.
    """

    on: str = "any"
    """Requests to strike: create, query, list, call, tasks, costs, media or any; the name of an endpoint; or
    the beginning of a path. Callbacks to strike: see above; any does not mean them."""
    kind: FaultKind = "answer"
    skip: int = 0
    """Matching requests that pass unharmed before the first struck one."""
    times: int | None = 1
    """Requests to strike; None for all to come."""
    status: int | None = None
    code: int | None = None
    message: str | None = None
    retry_after: float | str | None = None
    """Value of the header Retry-After."""
    seconds: float = 0.0
    """Delay of a ``slow`` answer, or of a callback."""
    value: Any = None
    """Number of bytes, or replacement, as the kind says."""
    acts: bool | None = None
    """Whether the server does what was requested before the fault strikes; None for the kind's default."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"no kind of fault: {self.kind!r}; there are {', '.join(get_args(FaultKind))}")
        if (self.kind in _OF_CALLBACKS) != (self.on.partition(":")[0] == CALLBACK):
            kinds = ", ".join(sorted(_OF_CALLBACKS))
            raise ValueError(f"{kinds} are the faults of on='callback', and of nothing else")
        if self.kind == "answer" and self.status is None and self.code is None:
            raise ValueError("a fault that answers needs a status, a code or both")

    @property
    def acts_first(self) -> bool:
        """Whether the server acts before the fault strikes."""
        return self.kind not in _DO_NOT_ACT if self.acts is None else self.acts

    @classmethod
    def from_json(cls, data: bytes) -> Fault:
        """Return the fault that a JSON object with the same fields describes.

        Raises:
            ValueError: The data is not a JSON object, or has unknown or wrong fields.
        """
        values = parse_object(data)
        if values is None:
            raise ValueError("a fault is a JSON object")
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"no such field of a fault: {', '.join(unknown)}")
        return msgspec.convert(values, cls)


@dataclass(slots=True)
class _Armed:
    fault: Fault
    skip: int
    left: int | None


class Faults:
    """The armed faults, in the order in which they were added."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Arm one more fault."""
        self._armed.append(_Armed(fault, fault.skip, fault.times))

    def clear(self) -> None:
        """Disarm all faults."""
        self._armed.clear()

    def __iter__(self) -> Iterator[Fault]:
        """Yield the armed faults, with the skips and times that they have left."""
        return iter([replace(a.fault, skip=a.skip, times=a.left) for a in self._armed])

    def take(self, route: Route) -> Fault | None:
        """Return the fault that strikes a request, None if there is none; counts the request."""
        return self._take(lambda on: _matches(on, route))

    def take_callback(self, status: str) -> Fault | None:
        """Return the fault that strikes a callback with this status of its task; counts the callback."""
        words = {status, "succeeded"} if status == "succeed" else {status}  # of either generation
        return self._take(lambda on: on == CALLBACK or on in {f"{CALLBACK}:{word}" for word in words})

    def _take(self, matches: Callable[[str], bool]) -> Fault | None:
        for armed in self._armed:
            if not matches(armed.fault.on):
                continue
            if armed.skip:
                armed.skip -= 1
                continue
            if armed.left is not None:
                armed.left -= 1
                if armed.left < 1:
                    self._armed.remove(armed)
            return armed.fault
        return None


def _matches(on: str, route: Route) -> bool:
    if on.startswith("/"):
        return route.path.startswith(on)
    return on in {"any", route.kind, route.endpoint and route.endpoint.name}


def faulty_answer(fault: Fault, real: HttpAnswer, request_id: str) -> HttpAnswer:  # noqa: PLR0911 - one case per kind
    """Return the answer that a fault sends instead of ``real``."""
    match fault.kind:
        case "answer":
            return _instead(fault, request_id)
        case "html":
            page = b"<html><head><title>502 Bad Gateway</title></head><body><hr>nginx</body></html>"
            return HttpAnswer(fault.status or 502, body=page, content_type="text/html")
        case "truncated_json":
            encoded = real.encoded()
            return HttpAnswer(real.status, body=encoded[: len(encoded) // 2])
        case "empty":
            return HttpAnswer(fault.status or real.status, body=b"")
        case "short_body":
            return replace(real, payload=None, body=real.encoded()[: -(fault.value or 1)])
        case "wrong_types":
            return real.with_data("unexpected" if fault.value is None else fault.value)
        case "unknown_status":
            return real if real.code else real.with_data(_with_status(real, fault.value or "reviewing"))
        case _:
            return real


def _instead(fault: Fault, request_id: str) -> HttpAnswer:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if fault.code is None:
        text = (fault.message or "scripted by the emulator").encode()
        return HttpAnswer(fault.status or 500, body=text, content_type="text/plain", headers=headers)
    message = fault.message or REFERENCE.message(fault.code)
    payload = {"code": fault.code, "message": message, "request_id": request_id}
    return HttpAnswer(fault.status or REFERENCE.status(fault.code), payload, headers=headers)


def _with_status(answer: HttpAnswer, status: object) -> Any:
    """Return the data of an answer with another status in each of its tasks; None: it shows none."""
    data: Any = (answer.payload or {}).get("data")
    if isinstance(data, dict) and isinstance(data.get("result"), list):  # a page of the second generation
        return {**data, "result": [_changed(task, status) for task in data["result"]]}
    return [_changed(task, status) for task in data] if isinstance(data, list) else _changed(data, status)


def _changed(task: Any, status: object) -> Any:
    """Return a task with another status, under the name that its generation of the API has for it."""
    if not isinstance(task, dict):
        return task
    name = next((name for name in ("task_status", "status") if name in task), None)
    return task if name is None else {**task, name: status}
