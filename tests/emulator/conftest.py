"""Hold every answer that the emulator gives in these tests against the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kling_async.emulator.http.dispatch import Dispatcher
from tests.emulator.answers import faults_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.emulator.http.answers import HttpAnswer
    from kling_async.emulator.http.dispatch import RoutedRequest


@pytest.fixture(autouse=True)
def _judged_answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Judge each answer as it leaves; scripted faults change answers only afterwards."""
    found: list[str] = []
    act = Dispatcher.act

    def judged(self: Dispatcher, routed: RoutedRequest) -> HttpAnswer:
        answer = act(self, routed)
        endpoint = routed.route.endpoint
        name = None if endpoint is None else endpoint.name
        found.extend(
            f"{routed.route.kind} {name}: {fault}" for fault in faults_of(routed.route.kind, name, answer)
        )
        return answer

    monkeypatch.setattr(Dispatcher, "act", judged)
    yield
    assert found == []
