"""Rule 21: the ledger in PostgreSQL, whose processes are on many machines, as one process sees it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from kling_async import Client
from kling_async.errors import ConfigurationError, OutOfUnits
from kling_async.options import SlotOptions
from kling_async.orchestrator.ledger import postgres, postgres_database
from kling_async.orchestrator.ledger.connection import LedgerLost, LedgerUnreachable
from kling_async.orchestrator.ledger.facts import NewsKind, TaskFacts
from kling_async.orchestrator.ledger.mailbox import Letter
from kling_async.orchestrator.ledger.postgres import Joining, PostgresLedger
from kling_async.orchestrator.ledger.postgres_database import PostgresDatabase
from kling_async.orchestrator.ledger.postgres_tables import LOCKS
from kling_async.orchestrator.ledger.server_time import SteeredClock
from kling_async.orchestrator.ledger.steps import (
    Close,
    Confirm,
    Ended,
    Enter,
    FullRefusal,
    Leave,
    Occupy,
    Read,
    Requeue,
    TaskMade,
)
from tests.orchestrator.ledger.processes import VIDEO, Machine
from tests.orchestrator.ledger.test_processes import pass_time, run
from tests.orchestrator.ledger.test_results import RECORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.orchestrator.ledger.steps import Step
    from tests.orchestrator.ledger.processes import Process
    from tests.postgres import Postgres


@pytest.fixture
def machines(dsn: str) -> Iterator[Machine]:
    """Machines whose clocks are an hour apart, with a ledger of two video slots."""
    machines = Machine(dsn, limit=2, apart=3600.0)
    yield machines
    with contextlib.suppress(psycopg.Error):
        machines.close()


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with psycopg.connect(dsn, autocommit=True) as db:
        found = db.execute(query.encode())
        return found.fetchall() if found.description else []


def number_at(process: Process, machines: Machine) -> float:
    """Return the time on a process's clock."""
    return machines.now + process.ahead


# -- time


def test_first_come_first_served_though_clocks_are_an_hour_apart(dsn: str) -> None:
    """Arrivals are ordered by the server's time, whatever the clocks of the machines show."""
    machines = Machine(dsn, limit=1, apart=3600.0)
    a, b, c = machines.start(), machines.start(), machines.start()
    order: list[tuple[Process, int]] = []
    for process in (c, a, b, b, c, a):
        machines.now += 0.01
        order.append((process, process.enter()))
    served: list[tuple[Process, int]] = []
    while len(served) < len(order):
        for process in (a, b, c):
            process.sync()
            for number in list(process.granted):
                served.append((process, number))
                run(process, number)
                process.sync(Ended(number))
    assert served == order
    machines.close()


def test_each_process_hears_times_by_its_own_clock(machines: Machine) -> None:
    """Turns to read, pauses, and when tasks began: all by the clock that numbers its tickets."""
    a, b = machines.start(), machines.start()
    for process in (a, b):
        here = number_at(process, machines)
        synced = process.sync(Read(1, 1e6), demand=True)
        assert synced.now == pytest.approx(here)
        assert synced.reads[0][1] == pytest.approx(here, abs=1e-3)
    number = b.enter()
    run(b, number)
    b.sync(Close(OutOfUnits("none left", code=1102, request_id="r", http_status=429), "video"))
    for process in (a, b):
        facts = process.sync(demand=True).pools["video"]
        assert 0 < facts.half_open_at - number_at(process, machines) <= 60
    assert a.asking
    assert a.tasks[0].since == pytest.approx(number_at(a, machines))


def test_a_clock_keeps_step_with_the_server() -> None:
    """What lies outside of the time that an answer took moves it, and no more than that."""
    local = [100.0]
    clock = SteeredClock(lambda: local[0])
    clock.compare(99.0, 5000.0, 101.0)
    assert clock() == 100.0
    step = clock.to_server(Leave(10**9))
    assert step == Leave(10**9 + 4900 * 10**9)
    local[0] = 200.0
    clock.compare(199.9, 5100.05, 200.1)  # within what the answer took
    assert clock() == 200.0
    clock.compare(200.0, 5100.5, 200.1)
    assert clock() == pytest.approx(200.4)
    clock.compare(200.4, 5100.1, 200.5)
    assert clock() == pytest.approx(200.1)
    assert clock.to_server(Leave(10**9)) == step


# -- death


def test_a_killed_process_leaves_orphans_within_two_beats(machines: Machine) -> None:
    """Its connection is gone: what it queued leaves, its tasks hold their slots, and another asks."""
    a, b = machines.start(), machines.start()
    tasks = [run(a, a.enter()) for _ in range(2)]
    a.enter()
    a.kill()
    mine = b.enter()
    machines.now += 0.5
    b.sync(demand=True)
    assert b.pools["video"].queued == 2  # half a beat ago it lived
    machines.now += 0.6
    b.sync(demand=True)
    assert (b.pools["video"].held, b.pools["video"].queued, b.granted) == (2, 1, [])
    assert [(held.about, held.wanted) for held in b.tasks] == [(about, True) for about in tasks]
    b.sync(Ended(0, tasks[0]))
    assert b.granted == [mine]


def test_a_process_that_is_cut_off_is_dead_after_a_lease_and_comes_back(machines: Machine) -> None:
    """Connected but silent: its tasks become orphans, never free; what it queued has its place again."""
    a, b = machines.start(), machines.start()
    tasks = [run(a, a.enter()) for _ in range(2)]
    number = a.number()
    waiting = Enter("video", number, 1, 0, "", TaskFacts(VIDEO, "waits"))
    a.sync(waiting)
    machines.now += 0.01
    later = b.enter()
    pass_time(machines, 4.5, b)
    assert b.pools["video"].queued == 2
    assert not any(held.wanted for held in b.tasks)
    pass_time(machines, 1.0, b)
    assert (b.pools["video"].held, b.pools["video"].queued, b.granted) == (2, 1, [])
    assert all(held.wanted for held in b.tasks)
    back = a.sync(waiting, Requeue(5, 0.0, drop=False, opens=False))
    assert (back.revived, back.missing, back.pools["video"].held) == (True, [5], 2)
    b.sync(demand=True)
    assert not any(held.wanted for held in b.tasks)
    a.sync(Ended(0, tasks[0]))
    assert a.granted[-1] == number
    assert b.sync().news == []
    a.sync(Ended(0, tasks[1]))
    assert [news.number for news in b.sync().news] == [later]


def test_answers_to_creates_of_a_process_that_was_cut_off_count(machines: Machine) -> None:
    """A task that was made is known; a create that was refused queues anew, and holds nothing."""
    a, b = machines.start(), machines.start()
    made, refused = a.enter(), a.enter()
    assert a.confirm(made)
    assert a.confirm(refused)
    pass_time(machines, 6.0, b)
    assert b.pools["video"].held == 2
    about = TaskFacts(VIDEO, f"task-{made}", "t-1")
    back = a.sync(TaskMade(made, about), FullRefusal(refused, 0.0, drop=False), demand=True)
    assert (back.revived, back.missing, back.pools["video"].held) == (True, [refused], 1)
    b.sync(Ended(0, about))
    assert [news.kind for news in a.sync().news] == [NewsKind.ENDED]


def test_a_process_that_comes_back_says_its_limits_again(dsn: str) -> None:
    """Others that were alone meanwhile have gone back to guesses; what they were told since stays."""
    machines = Machine(dsn)
    a = machines.start(limits={"video": 9, "image": 3})
    run(a, a.enter())
    pass_time(machines, 6.0)
    b = machines.start(limits={"image": 4})
    assert b.sync().pools["video"].limit == 5
    a.sync()
    pools = b.sync().pools
    assert (pools["video"].limit, pools["image"].limit) == (9, 4)
    machines.close()


def test_a_process_with_nothing_to_lose_need_not_show_itself(dsn: str) -> None:
    """While it is connected, what it said of limits counts; without claims it writes no signs of life."""
    machines = Machine(dsn)
    a = machines.start(limits={"video": 9})
    machines.now += 3600.0
    b = machines.start(limits={})
    assert b.sync().pools["video"].limit == 9
    assert not a.sync().revived
    a.kill()
    machines.now += 6.0
    assert machines.start(limits={}).sync().pools["video"].limit == 9  # b lives
    machines.close()


def test_a_process_that_stops_within_a_transaction_holds_up_nobody_for_long(machines: Machine) -> None:
    """The server ends its session; it notices, and goes on with a new one."""
    a, b = machines.start(), machines.start()
    (stopped,) = [a.file._db] if isinstance(a.file, PostgresLedger) else []
    assert stopped is not None
    transaction = stopped.transaction()
    transaction.__enter__()
    stopped.execute("SELECT * FROM accounts FOR UPDATE").fetchall()
    b.enter()
    with pytest.raises(psycopg.Error):
        transaction.__exit__(None, None, None)
    assert len(b.granted) == 1
    assert not a.sync().revived


def test_nobody_is_dead_within_a_lease_after_the_server_began(machines: Machine) -> None:
    """While it was down nobody was able to show a sign of life, and all were cut off."""
    a, b = machines.start(), machines.start()
    run(a, a.enter())
    a.kill()
    machines.now += 100.0
    machines.server_began = machines.now - 1.0
    b.sync(demand=True)
    assert not b.tasks[0].wanted
    machines.server_began = machines.now - 6.0
    b.sync(demand=True)
    assert b.tasks[0].wanted


def test_who_holds_slots_can_be_seen(machines: Machine, dsn: str) -> None:
    """Each process has the name of its machine and its number there."""
    machines.start()
    assert rows(dsn, "SELECT name FROM kling_slots.owners") == [(f"{socket.gethostname()}:{os.getpid()}",)]


# -- cut connections


def cut(db: PostgresDatabase) -> None:
    """Cut a connection, as a network does."""
    with socket.socket(fileno=os.dup(db.fileno() or 0)) as end:
        end.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("came_through", [True, False])
@pytest.mark.parametrize("again", [0, 1])
def test_a_commit_without_an_answer_is_neither_lost_nor_taken_twice(
    machines: Machine, monkeypatch: pytest.MonkeyPatch, came_through: bool, again: int
) -> None:
    """The next call finds out whether it came through, and brings what was not heard, once."""
    a, b = machines.start(), machines.start()
    first, second = a.enter(), a.enter()
    a.granted.clear()
    queued = Enter("video", a.number(), 1, 0, "", TaskFacts(VIDEO, "waits"))
    real, cuts = PostgresDatabase.execute, [1 + again]

    def execute(db: PostgresDatabase, query: str, values: Any = (), /) -> Any:
        if query != "COMMIT" or not cuts[0]:
            return real(db, query, values)
        cuts[0] -= 1
        if came_through and cuts[0] == again:
            real(db, query, values).rowcount  # noqa: B018 - waits for it
        cut(db)
        return real(db, query, values)

    steps: list[Step] = [Confirm(first), Read(3, 10.0), queued]
    with monkeypatch.context() as patched:
        patched.setattr(PostgresDatabase, "execute", execute)
        for count in range(1 + again):
            with pytest.raises(LedgerUnreachable):
                a.sync(*steps, *[Read(1, 10.0)] * count)
    heard = a.sync(*steps, *[Read(1, 10.0)] * again, Confirm(second))
    assert heard.confirmed == {first: True, second: True}
    assert [turns for turns, _ in heard.reads] == [3, *[1] * again]
    at = [when - number_at(a, machines) for _, when in heard.reads]
    assert at == pytest.approx([0.0, *[0.3] * again], abs=1e-3)
    assert (heard.revived, heard.pools["video"].held, heard.pools["video"].queued) == (False, 2, 1)
    assert b.sync().pools["video"].queued == 1


def test_news_that_a_cut_connection_swallowed_come_with_the_next(
    machines: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction marked them as heard and erased the letter: they are told by what was kept here."""
    a, b = machines.start(), machines.start()
    about = run(a, a.enter(), "t-1")
    b.sync(Ended(0, about, RECORD))
    real = PostgresDatabase.execute

    def execute(db: PostgresDatabase, query: str, values: Any = (), /) -> Any:
        found = real(db, query, values)
        if query == "COMMIT":
            found.rowcount  # noqa: B018
            cut(db)
            return real(db, "SELECT 1")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(PostgresDatabase, "execute", execute)
        with pytest.raises(LedgerUnreachable):
            a.sync()
    heard = a.sync()
    assert [news.kind for news in heard.news] == [NewsKind.ENDED]
    assert heard.letters == [Letter(VIDEO, "video", RECORD)]
    assert (a.sync().news, a.sync().letters) == ([], [])


def test_an_errand_whose_answer_is_overdue_is_cut_short(
    machines: Machine, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another has the account locked: the call ends with an error that passes, and goes well later."""
    a = machines.start()
    with psycopg.connect(dsn) as other:
        other.execute("SELECT * FROM kling_slots.accounts FOR UPDATE")
        monkeypatch.setattr(postgres_database, "_PATIENCE", 0.05)
        timer = threading.Timer(0.2, a.file.interrupt)
        timer.start()
        with pytest.raises(LedgerUnreachable):
            a.sync()
        timer.join()
    assert not a.sync().revived


def test_opening_can_be_cut_short(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another makes the tables and does not come to an end: that passes, too."""
    ledger = PostgresLedger(dsn, Joining("https://api.example", "me", {}, {}, 60.0), SteeredClock())
    with psycopg.connect(dsn) as other:
        other.execute(f"SELECT pg_advisory_xact_lock({LOCKS}, 0)".encode())
        monkeypatch.setattr(postgres_database, "_PATIENCE", 0.05)
        timer = threading.Timer(0.3, ledger.interrupt)
        timer.start()
        with pytest.raises(LedgerUnreachable):
            ledger.sync((), demand=True)
        timer.join()
    assert ledger.sync((), demand=True).asking
    ledger.leave(())
    assert rows(dsn, "SELECT * FROM kling_slots.owners") == []


@pytest.mark.parametrize("cut_at", [None, 0, 1, 3])
def test_many_steps_are_taken_in_several_transactions(
    machines: Machine, monkeypatch: pytest.MonkeyPatch, cut_at: int | None
) -> None:
    """Others have the account between; where the connection is cut, what was taken is not taken again."""
    monkeypatch.setattr(postgres, "_AT_ONCE", 3)
    a = machines.start()
    steps: list[Step] = [Read(2**n, 1e6) for n in range(10)]
    real, commits = PostgresDatabase.execute, []

    def execute(db: PostgresDatabase, query: str, values: Any = (), /) -> Any:
        if query == "COMMIT":
            commits.append(db)
            if len(commits) - 1 == cut_at:
                cut(db)
        return real(db, query, values)

    monkeypatch.setattr(PostgresDatabase, "execute", execute)
    if cut_at is not None:
        with pytest.raises(LedgerUnreachable):
            a.sync(*steps)
        steps.append(Read(2**10, 1e6))
    heard = a.sync(*steps)
    assert [turns for turns, _ in heard.reads] == [2**n for n in range(len(steps))]
    first, last = heard.reads[0][1], heard.reads[-1][1]
    assert last - first == pytest.approx((2 ** (len(steps) - 1) - 1) / 1e6, abs=1e-5)
    assert len(commits) == (4 if cut_at is None else 5)


def test_the_server_may_be_stopped_and_started(machines: Machine, postgres: Postgres) -> None:
    """Nothing is forgotten, nobody is taken for dead, and the next step comes through."""
    a, b = machines.start(), machines.start()
    number = a.enter()
    run(a, number)
    postgres.stop()
    try:
        for _ in range(2):
            with pytest.raises(LedgerUnreachable):
                a.sync(demand=True)
    finally:
        postgres.start()
    machines.now += 60.0
    machines.server_began = machines.now - 0.5
    for process in (b, a):
        assert not process.sync(demand=True).revived
    a.sync(Ended(number))
    assert b.sync().pools["video"].held == 0


def test_tables_that_are_removed_in_use_are_made_anew(machines: Machine, dsn: str) -> None:
    """Whoever notices opens the ledger again and writes down what it has."""
    a = machines.start()
    run(a, a.enter())
    rows(dsn, "DROP SCHEMA kling_slots CASCADE")
    with pytest.raises(LedgerLost):
        a.sync()
    b = machines.start()
    b.sync(Occupy("video", b.number(), 1, 0.0, TaskFacts(VIDEO, "mine")))
    rows(dsn, "TRUNCATE kling_slots.accounts")
    with pytest.raises(LedgerLost):
        b.sync()


# -- letters


def test_letters_are_erased_when_read_and_addresses_lie_nowhere_else(machines: Machine, dsn: str) -> None:
    """Whose task it is gets the record whole; what a dead process did not read is erased as well."""
    a, b, c = machines.start(), machines.start(), machines.start()
    about = run(a, a.enter(), "t-1")
    b.sync(Occupy("video", b.number(), 1, 0.0, about))
    c.sync(Ended(0, about, RECORD))
    assert len(rows(dsn, "SELECT * FROM kling_slots.letters")) == 2
    others = [name for (name,) in rows(dsn, _TABLES) if name != "letters"]
    content = repr([rows(dsn, f"SELECT * FROM kling_slots.{name}") for name in others])
    assert "task-" in content
    assert "cdn" not in content
    assert a.sync().letters == [Letter(VIDEO, "video", RECORD)]
    assert len(rows(dsn, "SELECT * FROM kling_slots.letters")) == 1
    b.kill()
    machines.now += 1.1
    c.sync()
    assert rows(dsn, "SELECT * FROM kling_slots.letters") == []


_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname='kling_slots'"


# -- the tables


def test_tables_are_made_once_however_many_come_at_once(dsn: str) -> None:
    """All processes of a fleet may start at the same moment, the first time."""
    machines = Machine(dsn, limit=2)
    threads = [threading.Thread(target=machines.start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(machines.processes) == 6
    assert [process.sync().revived for process in machines.processes] == [False] * 6
    machines.close()


@pytest.mark.parametrize(("version", "oldest", "works"), [(2, 1, True), (2, 2, False), (7, 5, False)])
def test_tables_of_a_newer_version_are_refused_unless_they_say_otherwise(
    dsn: str, version: int, oldest: int, works: bool
) -> None:
    """An older program goes on as long as it is let; else it says what to do, in use and at the start."""
    machines = Machine(dsn, limit=2)
    a = machines.start()
    rows(dsn, f"UPDATE kling_slots.schema SET version={version}, oldest_reader={oldest}")
    if works:
        a.sync()
        machines.start().enter()
    else:
        for use in (a.sync, machines.start):
            with pytest.raises(ConfigurationError, match=rf"version {version}, .* install a newer"):
                use()
    assert rows(dsn, "SELECT version, oldest_reader FROM kling_slots.schema") == [(version, oldest)]
    machines.close()


def test_labels_and_ids_may_be_any_text(dsn: str) -> None:
    """NUL, half of a surrogate pair, and text too long for an index hold up nobody."""
    labels = ["a\0b", "\ud800", "l" * 100_000, "".join(map(chr, range(20_000, 26_000)))]
    machines = Machine(dsn, limit=9, label_limits={labels[2]: 1})
    a = machines.start()
    for label in labels:
        a.enter(label=label, name=f"id {label}")
    assert len(a.granted) == 4
    a.enter(label=labels[2])
    assert len(a.granted) == 4
    machines.close()


# -- secrets


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3cret@127.0.0.1:1/fleet?nonsense=1",
        "postgresql://me:s3cret@[::1/fleet",
        "postgresql://me:s3cret%@/fleet",
        "postgresql://me:s3cret/x@host/fleet",
        "postgresql://me:s3cret#x@host/fleet",
    ],
)
def test_an_address_that_cannot_be_read_is_not_shown(address: str) -> None:
    """Its password may be anywhere in it."""
    with pytest.raises(ConfigurationError, match="not as in") as raised:
        Client(api_key="k", slots=address)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize("what", ["database", "role"])
def test_a_wrong_address_is_a_wrong_setting(dsn: str, what: str) -> None:
    """The server's words tell what is wrong, without the password."""
    wrong = dsn.replace("postgres:@", "postgres:s3cret@")
    name = conninfo_to_dict(dsn)["dbname"]
    changes = {"database": (f"/{name}", "/nobody"), "role": ("//postgres", "//me")}
    wrong = wrong.replace(*changes[what])
    with pytest.raises(ConfigurationError, match="does not exist") as raised:
        Machine(wrong).start()
    assert "s3cret" not in repr(raised.value)


def test_passwords_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the options, nor in an error, even if the server's words had it."""
    secret = "postgresql://me:s3%20cret@localhost:1/fleet"
    assert "s3" not in repr(SlotOptions(slots=secret))

    def connect(*_: Any, **__: Any) -> Any:
        raise psycopg.OperationalError("cannot connect with s3 cret, s3%20cret")

    monkeypatch.setattr(psycopg, "connect", connect)
    with pytest.raises(LedgerUnreachable) as raised:
        Machine(secret).start()
    assert str(raised.value) == "cannot connect with ..., ..."


def test_nobody_is_there_at_the_moment() -> None:
    """A server that does not answer is no wrong setting."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(LedgerUnreachable, match="refused"):
        Machine(f"postgresql://me:s3cret@127.0.0.1:{port}/fleet").start()
