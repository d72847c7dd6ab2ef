"""core/callbacks.py: what is learned of a receiver's callbacks, and what their silence says."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.callbacks import RECEIVERS_MAX, CallbackChannel, CallbackChannels, Reliance
from tests.profiles import same_draws


def channel(*, told: int = 0, found: int = 0, latency: float = 0.0) -> CallbackChannel:
    """Return a channel that found so many ends in silence, and then was told so many."""
    made = CallbackChannel()
    for number in range(found):
        made.found(f"found {number}", -1e3)
    for number in range(told):
        made.told(f"told {number}", -1e3)
    made.latency = latency
    return made


def test_nothing_is_relied_upon_before_an_end_is_told() -> None:
    """Rule 18: a receiver starts at 0, and one that never tells stays there."""
    assert CallbackChannel().reliability == 0.0
    assert channel(found=100).reliability == 0.0
    assert channel(told=1).reliability == pytest.approx(1 / 1.1)


@pytest.mark.parametrize("lost", [0.0, 0.02, 0.2, 0.7])
def test_the_reliability_is_the_share_of_ends_that_are_told(lost: float) -> None:
    """Rule 18: it is followed over the last few hundred ends, and never reaches 1."""
    rng = random.Random(0)
    made, seen = CallbackChannel(), []
    for number in range(2000):
        (made.found if rng.random() < lost else made.told)(number, 100.0 * number)
        seen.append(made.reliability)
    assert sum(seen[500:]) / 1500 == pytest.approx(1 - lost, abs=0.03)
    assert max(seen) < 1.0


def test_a_run_of_silent_ends_makes_a_receiver_deaf_until_it_tells_again() -> None:
    """Rule 18: the more reliable it was, the shorter the run; afterwards it is what it was."""
    for told, found, run in [(200, 0, 3), (200, 10, 4), (100, 100, 11)]:
        made = channel(told=told, found=found)
        before, count = made.reliability, 0
        while made.reliability:
            made.found(count, 0.0)
            count += 1
        assert count == run
        made.told("again", 1e3)
        assert made.reliability == pytest.approx(before, abs=0.06)


def test_a_receiver_of_which_little_is_known_is_relied_upon_less_and_less() -> None:
    """Rule 18: one told end makes no run of silent ones unlikely."""
    made = channel(told=1, found=0)
    for number in range(1, 20):
        made.found(number, 0.0)
        assert 0.0 < made.reliability < 1 / number


def test_an_end_found_while_its_callback_was_on_its_way_is_told_after_all() -> None:
    """Rule 18: the callback takes the silent end back, and teaches the latency."""
    made = channel(told=50)
    before = made.reliability
    made.found("a", 10.0)
    assert made.reliability < before
    made.told_late("a", 10.4)
    assert made.reliability == pytest.approx(before, abs=1e-3)
    assert made.latency == pytest.approx(0.4)
    made.found("b", 20.0)
    made.told_late("b", 20.8)
    assert made.latency == pytest.approx(0.6)


def test_callbacks_that_prove_nothing_change_nothing() -> None:
    """Rule 18: doubled ones, ones about unknown tasks, and ones a minute late."""
    made = channel(told=50)
    made.found("a", 10.0)
    made.told_late("a", 10.4)
    after = made.reliability, made.latency
    made.told_late("a", 10.5)
    made.told_late("unknown", 10.5)
    assert (made.reliability, made.latency) == after
    made.found("b", 20.0)
    low = made.reliability
    made.told_late("b", 90.0)
    assert made.reliability == low < after[0]


def test_what_is_remembered_of_found_ends_is_bounded_by_time() -> None:
    """A client that runs for months keeps only those of the last minute."""
    made = CallbackChannel()
    for number in range(1000):
        made.found(number, float(number))
    assert len(made._found) <= 62


@pytest.mark.parametrize("latency", [0.0, 0.3, 5.0, 1e5])
@pytest.mark.parametrize("told", [1, 20, 1000])
def test_silence_is_conditioned_upon_exactly(told: int, latency: float) -> None:
    """Rule 18: the formulas agree with a sum over all that may have happened."""
    made = channel(told=told, latency=latency)
    span, ended, p = 8.0, 0.7, made.reliability
    steps = 20_000
    silent = lag = 0.0
    for step in range(steps):
        ago = (step + 0.5) * span / steps
        flying = math.exp(-ago / latency) if latency else 0.0
        weight = ended / steps * (1 - p + p * flying)
        silent += weight
        lag += weight * ago
    seconds, growth = made.given_silence(ended * span / 2, ended)
    assert seconds == pytest.approx(lag / (silent + 1 - ended), rel=1e-3)
    assert -1e-6 <= growth <= 1.0


@given(
    told=st.integers(0, 500),
    found=st.integers(0, 50),
    latency=st.sampled_from([0.0, 1e-9, 0.3, 5.0, 1e9]),
    ended=st.floats(0.0, 1.0),
    span=st.floats(0.0, 1e7),
)
@same_draws(200)
def test_silence_never_adds_idleness_and_never_hides_it_wholly(
    told: int, found: int, latency: float, ended: float, span: float
) -> None:
    """Rule 18: between nothing and what is expected without callbacks, whatever the numbers."""
    made = channel(told=told, found=found, latency=latency)
    idle = ended * span / 2
    seconds, growth = made.given_silence(idle, ended)
    assert 0.0 <= seconds <= idle * (1 + 1e-9) + 1e-12
    assert (seconds > 0.0) == (idle > 0.0) and math.isfinite(growth)
    if not made.reliability:
        assert (seconds, growth) == (idle, ended)


def test_each_receiver_is_known_apart_and_their_number_is_bounded() -> None:
    """The oldest is forgotten first; a late callback finds the receiver of its task by itself."""
    channels = CallbackChannels()
    first = channels.channel("0")
    assert channels.channel("0") is first
    channels.channel("1").found("a", 10.0)
    channels.told_late("a", 10.5)
    assert channels.channel("1").latency == pytest.approx(0.5) and first.latency == 0.0
    for number in range(RECEIVERS_MAX + 1):
        channels.channel(str(number))
    assert channels.channel("0") is not first


def test_due_times_are_too_late_when_a_receiver_turns_out_worse() -> None:
    """Rule 18: told once for each fall; better news never makes a due time too late."""
    made, reliance = channel(told=20), Reliance()
    reliance.add(made)
    assert not reliance.fell()
    made.told("more", 0.0)
    assert not reliance.fell()
    made.found("a", 0.0)
    assert reliance.fell() and not reliance.fell()
