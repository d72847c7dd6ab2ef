"""How much Hypothesis draws: all of it in the whole suite, a fifth where only a part of the tests is run."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

__all__ = ["register", "same_draws"]

_EXAMPLES = 100


def register() -> None:
    """Register the profiles ``suite``, which is then loaded, and ``part``, for ``--hypothesis-profile``.

    Neither has a time limit: a slow machine is no fault of what is tested.
    """
    suite = settings(
        max_examples=_EXAMPLES,
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.register_profile("suite", suite)
    settings.register_profile("part", suite, max_examples=_EXAMPLES // 5)
    settings.load_profile("suite")


def same_draws(examples: int, **more: Any) -> settings:
    """Return settings for a test that draws the same whenever it is run: so many examples in the suite."""
    return settings(
        max_examples=examples * settings().max_examples // _EXAMPLES,
        derandomize=True,
        database=None,
        **more,
    )
