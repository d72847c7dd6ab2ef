"""A pytest plugin that measures coverage in each worker of a run: ``-p tests.measure``.

Before Python 3.14 measuring makes code that computes up to five times slower, and new lines are met in the
first moments. So tests that repeat themselves are measured for a while only, and those of some folders not at
all. Programs that tests start are not measured: they are killed and timed as users' are.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import coverage
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

UNMEASURED: Final = (
    "tests/benchmarks/",  # hours of simulated accounts
    "tests/e2e/test_exactly_once.py",  # sixteen hundred stories
    "tests/examples/",
    "tests/fuzz/",
    "tests/judges/",
)
"""Folders and files whose tests repeat at length what others have run."""

ENOUGH: Final = 0.5
"""Seconds of CPU after which the remaining cases of one test function are not measured."""


class Measuring:
    """The measurement of one process, and what each test function has had of it."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured = measured
        self._spent: defaultdict[str, float] = defaultdict(float)
        """Seconds of CPU, by test function."""

    def wants(self, nodeid: str) -> bool:
        """Tell whether a test is to be measured."""
        return not nodeid.startswith(UNMEASURED) and self._spent[function_of(nodeid)] < ENOUGH

    def spent(self, nodeid: str, seconds: float) -> None:
        """Note the CPU time of a test that was measured."""
        self._spent[function_of(nodeid)] += seconds


_MEASURING = pytest.StashKey[Measuring]()


def function_of(nodeid: str) -> str:
    """Cut the parameters off the id of a test."""
    return nodeid.partition("[")[0]


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before conftest.py imports anything of the package."""
    has_workers = getattr(early_config.known_args_namespace, "numprocesses", None)
    if has_workers and "PYTEST_XDIST_WORKER" not in os.environ:
        return  # this process runs no test
    measured = coverage.Coverage(data_suffix=True)
    early_config.stash[_MEASURING] = Measuring(measured)
    measured.start()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test, measured or not."""
    measuring = item.config.stash.get(_MEASURING, None)
    if measuring is None:
        return (yield)
    if not measuring.wants(item.nodeid):
        measuring.measured.stop()
        try:
            return (yield)
        finally:
            measuring.measured.start()
    begun = time.process_time()
    try:
        return (yield)
    finally:
        measuring.spent(item.nodeid, time.process_time() - begun)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write what was measured to a file of this process's own."""
    measuring = config.stash.get(_MEASURING, None)
    if measuring is not None:
        measuring.measured.stop()
        measuring.measured.save()
