"""Durations of tasks: realistic ones by endpoint, model and length, or those that a test fixes."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kling_async.emulator.judging.second import maker_of
from kling_async.emulator.state.prompt_words import requested_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.emulator.judging.reference import ReferenceEndpoint
    from kling_async.emulator.state.tasks import Task

__all__ = ["Duration", "Pace"]

Duration: TypeAlias = "float | Callable[[Task], float]"
"""Seconds that a task takes, or a function that returns them."""

MODEL_PACE: Final = {
    "kling-v2-5-turbo": 0.7,
    "kling-2.5-turbo": 0.7,
    "kling-v2-6": 1.5,
    "kling-2.6": 1.5,
    "kling-3.0-turbo": 0.6,
    "kling-3.0-omni": 1.8,
}
"""Durations of other models, as multiples of those of kling-v3."""
MODE_PACE: Final = {"std": 1.0, "pro": 2.5, "4k": 5.0}
SOUND_PACE: Final = 1.3
FETCH_SECONDS: Final = 10.0
"""Seconds after which a task fails whose input cannot be fetched; observed once."""
SPREAD: Final = 0.2
"""Sigma of the log-normal distribution of durations around their median."""

TYPICAL: Final[dict[str, float]] = {
    "multi_image_to_video": 120.0,
    "motion_control": 120.0,
    "multi_elements": 120.0,
    "video_extend": 90.0,
    "advanced_lip_sync": 60.0,
    "lip_sync": 60.0,
    "video_effects": 90.0,
    "image_expand": 15.0,
    "virtual_try_on": 12.0,
    "custom_elements": 5.0,
    "custom_voices": 9.0,
    "text_to_audio": 20.0,
    "video_to_audio": 30.0,
}
"""Median seconds where neither model nor length matters. Elements and voices were measured;
the others are guesses."""


class Pace:
    """How long tasks take.

    Args:
        seed: Equal seeds give a task of the same id the same duration.
        speed: Factor by which tasks are faster than the vendor's.
    """

    def __init__(self, seed: int, speed: float) -> None:
        self.fixed: Duration | None = None
        """Duration of every new task, not divided by the speed; None for realistic durations."""
        self._seed = seed
        self._speed = speed

    @property
    def fetch_seconds(self) -> float:
        """Seconds that the vendor spends on an input that cannot be fetched."""
        return FETCH_SECONDS / self._speed

    def seconds_for(self, task: Task) -> float:
        """Return the duration of a new task: asked for by its prompt, else fixed, else drawn at random."""
        requested = requested_seconds(task.body)
        if requested is not None:
            return requested
        if callable(self.fixed):
            return self.fixed(task)
        if self.fixed is not None:
            return self.fixed
        # A generator per task, so that a duration does not depend on the tasks created before.
        rng = random.Random(f"{self._seed} {task.task_id}")  # noqa: S311 - a spread, not a secret
        endpoint = maker_of(task.endpoint)
        typical = _typical_seconds(endpoint, task.body, task.output.seconds, task.output.count)
        return _with_spread(typical, rng) / self._speed


def _typical_seconds(endpoint: ReferenceEndpoint, body: dict[str, Any], seconds: float, count: int) -> float:
    """Return the median duration of a task that makes ``count`` images or a video of ``seconds``.

    Measured in 2026: an image of kling-v3 took 24 s, silent clips of 3 to 5 s took 30 to 90 s, and clips in
    mode pro took minutes.
    """
    if endpoint.name in TYPICAL:
        return TYPICAL[endpoint.name]
    if endpoint.pool == "image":
        return 24.0 + 2.0 * (count - 1)
    pace = MODEL_PACE.get(body.get("model_name", ""), 1.0) * MODE_PACE.get(body.get("mode", "std"), 1.0)
    if body.get("sound") == "on":
        pace *= SOUND_PACE
    return (25.0 + 7.0 * seconds) * pace


def _with_spread(seconds: float, rng: random.Random) -> float:
    """Return a duration drawn around the median ``seconds``: at least half of it, at most 1.5 times."""
    return seconds * min(max(math.exp(rng.gauss(0.0, SPREAD)), 0.5), 1.5)
