"""Control requests below ``/_emulator/``, which no real API has: read the ledger, arm and clear faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.emulator.http.answers import HttpAnswer
from kling_async.emulator.http.faults import Fault
from kling_async.emulator.http.routes import CONTROL

if TYPE_CHECKING:
    from kling_async.emulator.http.faults import Faults
    from kling_async.emulator.state.ledger import Ledger

__all__ = ["answer_control"]


def answer_control(method: str, path: str, raw: bytes, ledger: Ledger, faults: Faults) -> HttpAnswer:
    """Do a control request; it needs no key and leaves no row in the ledger."""
    match method, path[len(CONTROL) :]:
        case "GET", "ledger":
            return HttpAnswer(payload=ledger.as_json())
        case "POST", "faults":
            try:
                faults.add(Fault.from_json(raw))
            except ValueError as error:
                return HttpAnswer(400, {"error": str(error)})
            return HttpAnswer(payload={"armed": sum(1 for _ in faults)})
        case "DELETE", "faults":
            faults.clear()
            return HttpAnswer(payload={"armed": 0})
        case _:
            return HttpAnswer(404, {"error": "GET /ledger, POST or DELETE /faults"})
