"""Keep the load of the machine out of the tests of the fleet."""

from __future__ import annotations

import pytest

from kling_async.fleet import intake


@pytest.fixture(autouse=True)
def patient_intake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write chunks when they are full, however slowly a busy machine reads; tests of slow inputs say so."""
    monkeypatch.setattr(intake, "_PAUSE", 600.0)
    monkeypatch.setattr(intake, "_AGE", 600.0)
