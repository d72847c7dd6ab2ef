"""The plugin that measures coverage: which tests it measures, and for how long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests import measure
from tests.measure import ENOUGH, UNMEASURED, Measuring
from tests.sources import ROOT


class Spy:
    """Stands for coverage; knows whether it is on."""

    def __init__(self) -> None:
        self.on = True

    def start(self) -> None:
        self.on = True

    def stop(self) -> None:
        self.on = False


def run(spy: Spy, measuring: Measuring, nodeid: str, *, failing: bool = False) -> bool:
    """Run a made-up test under the plugin; tell whether it was measured."""
    stash = pytest.Stash()
    stash[measure._MEASURING] = measuring
    item: Any = SimpleNamespace(nodeid=nodeid, config=SimpleNamespace(stash=stash))
    hook = measure.pytest_runtest_protocol(item)
    next(hook)
    measured = spy.on
    with pytest.raises(KeyError if failing else StopIteration):
        hook.throw(KeyError()) if failing else hook.send(True)
    assert spy.on, "the tests that follow are measured"
    return measured


@pytest.mark.parametrize("failing", [False, True])
def test_what_repeats_is_measured_for_a_while(failing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases of one function are measured until they have had their time; other functions have their own."""
    clock = iter([0.0, ENOUGH / 2, 1.0, 1.0 + ENOUGH, 5.0, 5.1])
    monkeypatch.setattr(measure, "time", SimpleNamespace(process_time=lambda: next(clock)))
    spy: Any = Spy()
    measuring = Measuring(spy)
    ran = [run(spy, measuring, f"tests/a.py::test_b[{n}]", failing=failing) for n in range(3)]
    assert ran == [True, True, False]
    assert run(spy, measuring, "tests/a.py::test_c[0]", failing=failing)


@pytest.mark.parametrize("path", UNMEASURED)
def test_what_is_not_measured_exists_and_is_not_measured(path: str) -> None:
    """Each entry names a folder or file, whose tests run while coverage is stopped."""
    assert (ROOT / path).exists()
    spy: Any = Spy()
    assert not run(spy, Measuring(spy), f"{path.rstrip('/')}/x.py::test_y")
