"""The schedule under any order of calls, against a server on which tasks end and forms break."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kling_async.core.callbacks import CallbackChannel, ExpectedCallback
from kling_async.core.durations import Durations
from kling_async.core.queries import QueryForms, StatusQuery
from kling_async.core.schedule import PolledTask, Schedule
from kling_async.core.schedule_parts import ScheduleParts
from kling_async.options import Polling, Retry
from tests.profiles import same_draws

if TYPE_CHECKING:
    from collections.abc import Hashable

PICKS = st.integers(0, 1 << 16)
PATHS = ("/a", "/b", "/c")
POOLS = ("video", "image")


class AnyOrder(RuleBasedStateMachine):
    """Make every call in every order; the model knows who waits for which task, and which queries are out."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.number = 0
        self.pools: dict[Hashable, str] = {}
        self.tokens: list[tuple[Hashable, PolledTask]] = []
        self.out: list[StatusQuery] = []
        self.contended: set[str] = set()
        self.rounds: list[float] = []
        self.channels = [CallbackChannel(), CallbackChannel()]
        self.spent = -math.inf

    @initialize(
        ids=st.booleans(),
        min_interval=st.sampled_from([0.0, 1.0]),
        rate=st.sampled_from([0.5, 10.0, 1e4]),
        seed=PICKS,
    )
    def begin(self, ids: bool, min_interval: float, rate: float, seed: int) -> None:
        self.polling = Polling(min_interval=min_interval, requests_per_second=rate)
        forms, rng = QueryForms(batch_ids=ids), random.Random(seed)
        self.schedule = Schedule(ScheduleParts(self.polling, Retry(), Durations(), forms, rng))

    @rule(count=st.sampled_from([1, 1, 3, 30]), pick=PICKS, at_once=st.booleans(), age=st.floats(0, 500))
    def add(self, count: int, pick: int, at_once: bool, age: float) -> None:
        for _ in range(count):
            self.number += 1
            pool = self.pools[self.number] = POOLS[pick % 2]
            called = pick % 7
            callback = ExpectedCallback(self.channels[called], self.number) if called < 2 else None
            self.schedule.add(
                self.number, pool=pool, path=PATHS[pick % 3], kind=pick % 4, median=60.0, now=self.now,
                started=self.now - age, at_once=at_once, weight=1 + pick % 9, callback=callback,
            )  # fmt: skip
            if pick % 5:
                self.tokens.append((self.number, self.schedule.add_waiter(self.number)))

    @precondition(lambda self: self.pools)
    @rule(pick=PICKS, what=st.sampled_from(["add waiter", "remove", "hurry", "told"]))
    def touch(self, pick: int, what: str) -> None:
        key = list(self.pools)[pick % len(self.pools)]
        if what == "add waiter":
            self.tokens.append((key, self.schedule.add_waiter(key)))
        elif what == "hurry":
            self.schedule.hurry(key, self.now)
        else:
            if what == "told":
                self.schedule.told(key, self.now)
            else:
                self.schedule.remove(key)
            self.forget(key)

    def forget(self, key: Hashable) -> None:
        """Forget a task; its waiters leave later, which must harm nobody."""
        del self.pools[key]

    @precondition(lambda self: self.tokens)
    @rule(pick=PICKS)
    def remove_waiter(self, pick: int) -> None:
        _, token = self.tokens.pop(pick % len(self.tokens))
        self.schedule.remove_waiter(token)

    @rule(pool=st.sampled_from(POOLS), contended=st.booleans())
    def set_contention(self, pool: str, contended: bool) -> None:
        (self.contended.add if contended else self.contended.discard)(pool)
        self.schedule.set_contention(pool, contended)

    @rule(seconds=st.sampled_from([0.0, 0.05, 1.0, 20.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.ask()

    @rule()
    def wait_until_due(self) -> None:
        self.now = max(self.now, min(self.schedule.next_time(), self.now + 1e6))
        self.ask()

    def ask(self) -> None:
        queries = self.schedule.ask(self.now)
        wanted = self.wanted()
        taken = {key for query in self.out for key in query.keys if key in self.pools}
        for query in queries:
            assert self.spent <= self.now
            self.spent = self.now + query.requests / self.polling.requests_per_second
            assert query.form != "ids" or len(query.keys) <= 20
            assert query.form != "one" or len(query.keys) == 1
            for key in query.keys:
                assert key in wanted
                assert key not in taken, "asked twice at once"
                taken.add(key)
        self.out += queries

    def wanted(self) -> set[Hashable]:
        owners = {owner for owner, _ in self.tokens}
        return {key for key, pool in self.pools.items() if key in owners or pool in self.contended}

    @precondition(lambda self: self.out)
    @rule(pick=PICKS, how=st.sampled_from(["all", "some", "none", "failed", "refused"]))
    def answer(self, pick: int, how: str) -> None:
        query = self.out.pop(pick % len(self.out))
        if how == "failed":
            self.schedule.failed(query, self.now, 0.5, 3.0 if pick % 2 else None)
            return
        if how == "refused" and query.form != "one":
            self.schedule.unsupported(query, self.now)
            return
        rng = random.Random(pick)
        share = {"all": 1.0, "some": 0.6}.get(how, 0.0)
        shown = {key for key in query.keys if rng.random() < share}
        ended = {key for key in shown if rng.random() < 0.4}
        self.schedule.answered(query, shown - ended, ended, self.now)
        for key in ended & set(self.pools):
            self.forget(key)

    @invariant()
    def nobody_is_lost(self) -> None:
        """Each wanted task is being asked about or has its turn at a finite time; nothing else has one."""
        if not hasattr(self, "schedule"):
            return
        out = {key for query in self.out for key in query.keys}
        assert len(self.schedule) == len(self.pools)
        wanted = self.wanted()
        time = self.schedule.next_time()
        assert time < math.inf or wanted <= out
        assert time == math.inf or wanted

    def teardown(self) -> None:
        """Everything is answered from now on: every wanted task is asked about, and nothing spins."""
        if not hasattr(self, "schedule"):
            return
        for query in self.out:
            self.schedule.answered(query, query.keys, (), self.now)
        left = self.wanted()
        for _ in range(20 * len(left) + 20):
            if not left:
                return
            time = self.schedule.next_time()
            self.now = max(self.now, time)
            queries = self.schedule.ask(self.now)
            assert queries or self.schedule.next_time() > self.now, "it spins"
            for query in queries:
                left.difference_update(query.keys)
                self.schedule.answered(query, query.keys, (), self.now)
        raise AssertionError(f"never asked about: {left}")


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = same_draws(120, stateful_step_count=40)
