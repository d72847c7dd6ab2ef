"""A pytest plugin that measures coverage in each worker of a run: ``-p tests.measure``.

Programs that tests start are not measured: they are killed and timed as users' are.
"""

from __future__ import annotations

import coverage
import pytest

_MEASURING = pytest.StashKey[coverage.Coverage]()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before conftest.py imports anything of the package."""
    measuring = early_config.stash[_MEASURING] = coverage.Coverage(data_suffix=True)
    measuring.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write what was measured to a file of this process's own."""
    measuring = config.stash.get(_MEASURING, None)
    if measuring is not None:
        measuring.stop()
        measuring.save()
