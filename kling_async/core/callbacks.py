"""Callbacks as evidence: how reliable a receiver's callbacks are, and what their silence says about a task.

A task whose callback has not come has probably not ended, the more so the more reliable its receiver is. The
idleness expected of it is therefore conditioned on the silence: status queries thin out where callbacks come,
and stay as they are where none does. Two things are learned for each receiver:

- *Reliability* is the share of ends that are told, from 0 at the start. After a run of silent ends that is
  too unlikely for its reliability, a receiver counts as deaf until an end is told again.
- *Latency* is measured on callbacks that come after a query has found the end; such an end was not silent
  after all. Where no callback comes too late to spare a query, the latency is 0.

Alternatives measured: a probability of deafness instead of the switch costs up to 5 % more where nothing is
lost, and saves up to 2 % where a receiver goes deaf. Without either, that costs up to 9 % more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["CallbackChannel", "CallbackChannels", "ExpectedCallback", "Reliance"]

RECEIVERS_MAX: Final = 256
"""Receivers remembered; the oldest is forgotten first. Users may make up addresses without end."""
_MEMORY: Final = 200
"""Each end weighs 1 - 1/200 of the next in the reliability, so that about the last 200 count."""
_DOUBT: Final = 0.1
"""Silent ends assumed beside those counted: no receiver is ever taken to be perfect."""
_DEAF: Final = 1e-4
"""Probability of a run of silent ends below which the receiver counts as deaf."""
_LATE_MAX: Final = 60.0
"""Seconds after a query found an end within which its callback still counts."""
_NEWEST_SHARE_MIN: Final = 0.1
"""Least share of the newest callback in the latency."""
_SPAN_SMALL: Final = 1e-3
"""Latencies: for shorter spans the first terms of a series stand for formulas that would give 0 / 0."""
_FALL: Final = 1.1
"""Growth of the share of silent ends after which due times that relied on it are too late."""


class CallbackChannel:
    """Learns how far to rely on the callbacks to one receiver. Times are seconds of the caller's clock."""

    __slots__ = ("_found", "_late", "_run", "_silent", "_told", "latency", "reliability")

    def __init__(self) -> None:
        self.reliability = 0.0
        """Probability that an end is told at all."""
        self.latency = 0.0
        """Mean seconds between an end and its callback, as far as queries were faster."""
        self._told = 0.0
        """Ends that were told, the older ones weighing less."""
        self._silent = 0.0
        """Ends that were not, likewise."""
        self._run = 0
        """Silent ends in a row."""
        self._late = 0
        """Callbacks that came after a query had found the end."""
        self._found: dict[Hashable, float] = {}
        """When queries found the latest silent ends, by the caller's name of the task."""

    def told(self, name: Hashable, now: float) -> None:
        """Take that a callback told the end of a task, perhaps after a query had found it."""
        found = self._found.pop(name, None)
        if found is not None:
            self._silent = max(0.0, self._silent - 1)
            self._late += 1
            self.latency += max(1 / self._late, _NEWEST_SHARE_MIN) * (now - found - self.latency)
        self._count(told=True)

    def told_late(self, name: Hashable, now: float) -> None:
        """Take a callback about a task that has ended; one whose end no query found in silence is ignored."""
        self._forget_found(now)
        if name in self._found:
            self.told(name, now)

    def found(self, name: Hashable, now: float) -> None:
        """Take that a query found the end of a task before any callback told it."""
        self._forget_found(now)
        self._found[name] = now
        self._count(told=False)

    def _forget_found(self, now: float) -> None:
        for name, at in list(self._found.items()):
            if at >= now - _LATE_MAX:
                break
            del self._found[name]

    def _count(self, *, told: bool) -> None:
        keep = 1 - 1 / _MEMORY
        self._told = keep * self._told + told
        self._silent = keep * self._silent + (not told)
        self._run = 0 if told else self._run + 1
        reliability = self._told / (self._told + self._silent + _DOUBT)
        self.reliability = reliability if (1 - reliability) ** self._run >= _DEAF else 0.0

    def given_silence(self, idle: float, ended: float) -> tuple[float, float]:
        """Condition what is expected of a task on the silence: nothing has told its end so far.

        Ends are taken to be spread evenly over a span that fits both arguments, and latencies to be
        exponential. A task that has ended is silent if its callback is lost, or still on its way.

        Args:
            idle: Seconds expected since the task's end; 0 of a task that still runs.
            ended: Probability that it has ended.

        Returns:
            Seconds expected since the end of a task that is silent, and their growth per second.
        """
        if not self.reliability or not ended:
            return idle, ended
        told, lost = self.reliability * ended, (1 - self.reliability) * ended
        flying, lag = self._flying(2 * idle / ended)
        silent = 1 - told + told * flying
        seconds = (idle * (1 - self.reliability) + told * lag) / silent
        growth = lost + told * flying
        if self.latency:  # callbacks that come take their tasks, and the idleness of these, out of the sum
            growth += told * (seconds * flying - lag) / self.latency
        return seconds, growth / silent

    def _flying(self, span: float) -> tuple[float, float]:
        """Return the share of the callbacks that are on their way, and the seconds since their ends.

        Args:
            span: Seconds over which the ends are spread evenly.

        Returns:
            Both as means over all ends that are told, those whose callbacks have come included.
        """
        if not self.latency:
            return 0.0, 0.0
        spans = span / self.latency
        if spans < _SPAN_SMALL:
            return 1 - spans / 2, span / 2 * (1 - 2 * spans / 3)
        there = math.exp(-spans)
        return (1 - there) / spans, self.latency * (1 - there * (1 + spans)) / spans


class ExpectedCallback(NamedTuple):
    """The callback that is to tell the end of one task."""

    channel: CallbackChannel
    """Of its receiver."""
    name: Hashable
    """The name of the task by which `CallbackChannels.told_late` may be called when the task is forgotten."""


class CallbackChannels:
    """The receivers of all callbacks of an account."""

    def __init__(self) -> None:
        self._channels: dict[str, CallbackChannel] = {}

    def channel(self, receiver: str) -> CallbackChannel:
        """Return what is known of a receiver."""
        channel = self._channels.get(receiver)
        if channel is None:
            if len(self._channels) >= RECEIVERS_MAX:
                del self._channels[next(iter(self._channels))]
            channel = self._channels[receiver] = CallbackChannel()
        return channel

    def told_late(self, name: Hashable, now: float) -> None:
        """Take a callback about a task that is not polled any more, by the name its end was found under."""
        for channel in self._channels.values():
            channel.told_late(name, now)


class Reliance:
    """The reliability of the receivers on which somebody's due times rely."""

    def __init__(self) -> None:
        self._relied: dict[CallbackChannel, float] = {}

    def add(self, channel: CallbackChannel) -> None:
        """Rely on a receiver too."""
        self._relied.setdefault(channel, channel.reliability)

    def fell(self) -> bool:
        """Return whether a receiver lost so much since that due times are too late; once for each loss."""
        fallen = False
        for channel, relied in self._relied.items():
            if 1 - channel.reliability > _FALL * (1 - relied):
                fallen = True
                self._relied[channel] = channel.reliability
            elif channel.reliability > relied:
                self._relied[channel] = channel.reliability
        return fallen
