"""Rule 19: processes that share slots may be killed, stopped, slow, or of another account."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from kling_async.errors import ConfigurationError, OutOfUnits
from kling_async.orchestrator.ledger import database, presence
from kling_async.orchestrator.ledger.facts import NewsKind, TaskFacts
from kling_async.orchestrator.ledger.places import file_system, ledger_path
from kling_async.orchestrator.ledger.steps import (
    Close,
    Ended,
    Enter,
    FullRefusal,
    Hint,
    Leave,
    Occupy,
    Read,
    Requeue,
    TaskMade,
    Want,
)
from tests.orchestrator.ledger.processes import VIDEO, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.orchestrator.ledger.processes import Process


@pytest.fixture(params=["file", "server"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """A machine with a ledger of two video slots, and nobody using it."""
    on_server = request.param == "server"
    machine = Machine(request.getfixturevalue("dsn") if on_server else tmp_path / "slots.db", limit=2)
    yield machine
    machine.close()


IN_A_FILE = pytest.mark.parametrize("machine", ["file"], indirect=True)


def run(process: Process, number: int, task_id: str = "") -> TaskFacts:
    """Use granted slots, and have a task made."""
    assert process.confirm(number)
    about = TaskFacts(VIDEO, f"task-{number}", task_id or str(number))
    process.sync(TaskMade(number, about))
    return about


def pass_time(machine: Machine, seconds: float, *alive: Process) -> None:
    """Let time pass in which some processes show that they are alive, and want something."""
    end = machine.now + seconds
    while machine.now < end:
        machine.now = min(end, machine.now + 0.5)
        for process in alive:
            process.sync(demand=True)


# -- order


def test_first_come_first_served_over_all_processes(machine: Machine) -> None:
    """Whose ticket came first gets slots first, whichever process it is of."""
    a, b = machine.start(), machine.start()
    order: list[tuple[Process, int]] = []
    for process in (a, b, b, a, b):
        machine.now += 0.01
        order.append((process, process.enter()))
    served: list[int] = []
    while len(served) < len(order):
        for process in (a, b):
            process.sync()
            for number in sorted(process.granted):
                served.append(number)
                run(process, number)
                process.sync(Ended(number))
    assert served == [number for _, number in order]


def test_an_old_arrival_keeps_its_place_though_its_process_was_slow_to_say(machine: Machine) -> None:
    """What counts is when a ticket came, not when its process got the lock."""
    a, b = machine.start(), machine.start()
    holders = [a.enter(), a.enter()]
    for number in holders:
        run(a, number)
    early = b.number()
    machine.now += 1
    late = a.enter()
    b.sync(Enter("video", early, 1, 0, "", TaskFacts(VIDEO, "early")))
    a.sync(Ended(holders[0]))
    b.sync()
    assert (b.granted, a.granted) == ([early], [])
    assert late > early


def test_labels_take_turns_over_all_processes(machine: Machine) -> None:
    """A label that one process fills does not shut out that of another."""
    a, b = machine.start(), machine.start()
    for _ in range(6):
        a.enter(label="many")
    few = b.enter(label="few")
    b.sync()
    assert few not in b.granted  # two of the others came first
    first = a.granted[0]
    run(a, first)
    a.sync(Ended(first))
    b.sync()
    assert b.granted == [few]


def test_a_label_has_one_limit_over_all_processes(machine: Machine) -> None:
    """Slots of all processes count, those of dead ones too; others of the pool are not held up."""
    machine.label_limits = {"free": 2}
    a = machine.start(limits={"video": 9})
    machine.label_limits = {}
    b = machine.start(limits={})
    first, second = a.enter(label="free"), b.enter(label="free")
    tasks = [run(a, first), run(b, second)]
    third, paid = b.enter(label="free"), b.enter(label="paid")
    assert b.granted == [paid]
    a.kill()
    pass_time(machine, 2.0, b)
    assert b.granted == [paid]
    b.sync(Ended(0, tasks[0]))
    assert b.granted == [paid, third]


def test_limits_of_labels_are_those_of_the_process_that_started_last(machine: Machine) -> None:
    """Queued tickets move up, or fail where they can never fit; none is left over from earlier runs."""
    machine.label_limits = {"free": 1}
    a = machine.start(limits={"video": 9})
    run(a, a.enter(label="free"))
    waiting = a.enter(label="free")
    assert a.granted == []
    machine.label_limits = {"free": 3, "few": 1}
    b = machine.start(limits={})
    a.sync()
    assert a.granted == [waiting]
    too_heavy = b.enter(2, label="few")
    assert [(news.number, news.kind, news.most) for news in b.news] == [(too_heavy, NewsKind.PURGED, 1)]
    full, heavy = a.enter(7), a.enter(2, label="free")
    machine.label_limits = {"free": 1}
    machine.start(limits={})
    a.sync()
    assert [(news.number, news.most) for news in a.news if news.kind is NewsKind.PURGED] == [(heavy, 1)]
    assert full in a.granted
    for process in machine.processes:
        process.kill()
    machine.now += 6.0
    machine.label_limits = {}
    c = machine.start(limits={"video": 9})
    labelled = [c.enter(label="free") for _ in range(3)]
    assert c.granted == labelled


def test_weights_are_all_or_nothing(machine: Machine) -> None:
    """A heavy head is not overtaken by a light one of another process."""
    a, b = machine.start(), machine.start()
    first = a.enter()
    run(a, first)
    heavy = b.enter(2)
    light = a.enter()
    assert (a.granted, b.granted) == ([], [])
    a.sync(Ended(first))
    b.sync()
    assert b.granted == [heavy]
    assert light not in a.granted


# -- what all processes know


def test_one_refusal_teaches_all(machine: Machine) -> None:
    """A 1303 that one process gets lowers what all believe, and all wait for the next probe."""
    a, b = machine.start(limits={}), machine.start(limits={})
    numbers = [a.enter() for _ in range(5)]
    assert a.confirm(numbers[0])
    a.sync(FullRefusal(numbers[0], 0.0, drop=False))
    assert b.sync().pools["video"].belief == 4
    mine = b.enter()
    assert b.granted == []
    assert b.pools["video"].queued == 2
    assert mine


def test_a_caller_s_limit_lasts_as_long_as_a_process_that_gave_it(machine: Machine) -> None:
    """The latest process to start has its way; started alone and without limits, none is left over."""
    a = machine.start()
    b = machine.start(limits={"video": 7})
    assert (a.sync().pools["video"].limit, b.sync().pools["video"].source) == (7, "caller")
    c = machine.start(limits={})
    assert c.sync().pools["video"].limit == 7
    for process in (a, b, c):
        process.kill()
    machine.now += 1.1
    facts = machine.start(limits={}).sync().pools["video"]
    assert (facts.limit, facts.source) == (5, "default")


def test_a_closed_pool_is_closed_for_all(machine: Machine) -> None:
    """What other processes queue fails with the error, of the same class and with the same facts."""
    a, b = machine.start(), machine.start()
    for _ in range(2):
        a.enter()
    waiting = b.enter()
    a.sync(Close(OutOfUnits("no units left", code=1102, request_id="r-1", http_status=429), "video"))
    b.sync()
    (news,) = b.news
    assert (news.number, news.kind) == (waiting, NewsKind.PURGED)
    assert isinstance(news.error, OutOfUnits)
    assert (news.error.code, news.error.request_id) == (1102, "r-1")
    later = b.enter()
    assert [(told.number, told.kind) for told in b.news[1:]] == [(later, NewsKind.PURGED)]


def test_a_task_holds_its_slots_once_though_two_processes_know_it(machine: Machine) -> None:
    """A task that another process attached to is held once, and both hear of its end."""
    a, b = machine.start(), machine.start()
    number = a.enter()
    about = run(a, number, "t-1")
    seen = b.number()
    b.sync(Occupy("video", seen, 1, 0.0, TaskFacts(VIDEO, "", "t-1")))
    assert b.pools["video"].held == 1
    b.sync(Ended(0, about))
    assert b.pools["video"].held == 0
    a.sync()
    heard = [(news.number, news.kind) for process in (a, b) for news in process.news]
    assert (number, NewsKind.ENDED) in heard
    assert (seen, NewsKind.ENDED) in heard


def test_accounts_do_not_share(machine: Machine) -> None:
    """Rows are kept by address and account."""
    a, b = machine.start("one"), machine.start("two")
    for process in (a, b):
        for _ in range(3):
            process.enter()
    a.sync()
    b.sync()
    assert (len(a.granted), len(b.granted)) == (2, 2)


@pytest.mark.parametrize("step", ["ended by ids", "ended", "hint", "found running"])
def test_accounts_may_use_the_same_ids(machine: Machine, step: str) -> None:
    """A caller's id names a task of one account only: what is said of it changes nothing in another."""
    a, b = machine.start("one"), machine.start("two")
    tasks = []
    for process in (a, b):
        number = process.enter(name="order-1")
        assert process.confirm(number)
        about = TaskFacts(VIDEO, "order-1", f"t-{process.number()}")
        process.sync(TaskMade(number, about))
        tasks.append((number, about))
    match step:
        case "ended by ids":
            a.sync(Ended(0, tasks[0][1]))
        case "ended":
            a.sync(Ended(tasks[0][0]))
        case "hint":
            a.sync(Hint(("order-1",)))
        case _:
            c = machine.start("three")
            c.sync(Occupy("video", c.number(), 1, 0.0, TaskFacts(VIDEO, "order-1")))
            assert c.pools["video"].held == 1
    b.sync()
    assert b.pools["video"].held == 1
    assert [news.kind for news in b.news if news.kind is not NewsKind.GRANTED] == []


def test_a_task_found_running_counts_though_another_process_queues_under_its_id(machine: Machine) -> None:
    """A submit that only waits has no slots that the task could share."""
    a, b = machine.start(limits={"video": 9}), machine.start(limits={"video": 9})
    heavy, _ = a.enter(9), a.enter(name="again")
    run(a, heavy)
    number = b.number()
    for _ in range(2):  # said twice, it counts once
        b.sync(Occupy("video", number, 1, 0.0, TaskFacts(VIDEO, "again", "t-1")))
        assert b.pools["video"].held == 10
    other = b.number() + 1
    b.sync(Occupy("video", other, 3, 0.0, TaskFacts(VIDEO, "again", "t-1")))  # it was said to take 3
    assert b.pools["video"].held == 12


# -- grants


@IN_A_FILE
def test_a_grant_that_is_not_used_lapses(machine: Machine) -> None:
    """After five seconds the slots go to the next; who comes too late queues in its old place."""
    a, b = machine.start(), machine.start()
    first, second = a.enter(), a.enter()
    run(a, second)
    machine.now += 0.1
    other = b.enter()
    pass_time(machine, 4.8, b)
    assert b.granted == []
    pass_time(machine, 0.5, b)
    assert b.granted == [other]
    assert not a.confirm(first)
    a.sync(Requeue(first, 0.0, drop=False, opens=False))
    last = a.enter()
    assert a.granted == []
    run(b, other)
    b.sync(Ended(other))
    a.sync()
    assert a.granted == [first]
    assert last > first


@IN_A_FILE
def test_a_process_that_does_not_react_is_passed_over(machine: Machine) -> None:
    """A stopped process keeps the slots in use, gets no new ones, and has its places again afterwards."""
    a, b = machine.start(), machine.start()
    used = a.enter()
    run(a, used)
    stopped = [a.enter() for _ in range(20)]
    a.granted.clear()
    pass_time(machine, 6.0, b)  # the one grant that it had lapses
    others = [b.enter() for _ in range(5)]
    for number in others:
        assert b.granted == [number]
        run(b, number)
        assert b.pools["video"].held == 2
        b.sync(Ended(number))
    assert not a.confirm(stopped[0])
    a.sync(Requeue(stopped[0], 0.0, drop=False, opens=False))
    assert a.pools["video"].queued + len(a.granted) == 20
    a.sync(Ended(used))
    a.sync()
    assert set(a.granted) <= set(stopped[:3])
    assert len(a.granted) == 2


def test_a_ticket_that_left_gives_back_what_it_was_granted(machine: Machine) -> None:
    """A grant that crosses with its ticket's leaving goes to the next."""
    a, b = machine.start(), machine.start()
    leaving, kept = a.enter(), a.enter()
    mine = b.enter()
    a.sync(Leave(leaving))
    b.sync()
    assert b.granted == [mine]
    assert a.confirm(kept)


# -- death


def test_the_tasks_of_a_dead_process_hold_their_slots(machine: Machine) -> None:
    """Killed, a process leaves orphans: never free, asked about by another, and freed once seen ended."""
    a, b = machine.start(), machine.start()
    tasks = [run(a, a.enter()) for _ in range(2)]
    a.enter()  # queued: it leaves with its process
    a.kill()
    mine = b.enter(name="mine")
    pass_time(machine, 2.0, b)
    assert (b.granted, b.pools["video"].held, b.pools["video"].queued) == ([], 2, 1)
    assert b.asking
    assert [(held.about, held.wanted) for held in b.tasks] == [(about, True) for about in tasks]
    b.sync(Ended(0, tasks[0]))
    assert b.granted == [mine]


def test_a_create_on_its_way_outlives_its_process(machine: Machine) -> None:
    """A create that was sent may have made its task: it is asked about by its own id, ten seconds later."""
    a, b = machine.start(), machine.start()
    number, unused = a.enter(), a.enter()
    assert a.confirm(number)
    assert unused in a.granted  # granted, and nothing sent: free at once
    a.kill()
    pass_time(machine, 2.0, b)
    assert b.sync(demand=True).pools["video"].held == 1
    assert b.tasks == []
    pass_time(machine, 11.0, b)
    assert [held.about for held in b.tasks] == [TaskFacts(VIDEO, f"task-{number}")]
    b.sync(Ended(0, b.tasks[0].about))
    assert b.pools["video"].held == 0


@IN_A_FILE
def test_stopping_is_not_death(machine: Machine) -> None:
    """However long a process says nothing, while its lock is held its tasks are its own."""
    a, b = machine.start(), machine.start()
    number = a.enter()
    about = run(a, number)
    pass_time(machine, 3600.0, b)
    assert b.pools["video"].held == 1
    b.sync(Ended(0, about))
    a.sync()
    assert [(news.number, news.kind) for news in a.news[-1:]] == [(number, NewsKind.ENDED)]


@IN_A_FILE
def test_a_process_whose_lock_file_was_removed_comes_back(machine: Machine) -> None:
    """Taken for dead by mistake, it has its tasks back, and hears that it must queue anew."""
    a, b = machine.start(), machine.start()
    number = a.enter()
    run(a, number)
    for path in machine.path.parent.glob("*.lock"):
        path.unlink()
    machine.now += 1.1
    b.sync(demand=True)
    assert b.tasks[0].wanted  # an orphan
    lost = a.sync(Requeue(5, 0.0, drop=False, opens=False))
    assert (lost.revived, lost.missing) == (True, [5])
    machine.now += 1.1
    b.sync(demand=True)
    assert not a.sync().revived
    assert a.pools["video"].held == 1
    a.sync(Ended(number))
    assert a.pools["video"].held == 0


@IN_A_FILE
def test_an_answer_to_a_process_that_was_taken_for_dead_counts(machine: Machine) -> None:
    """The task of a create that was on its way is known; a refused one queues anew, and holds nothing."""
    a, b = machine.start(), machine.start()
    made, refused = a.enter(), a.enter()
    assert a.confirm(made)
    assert a.confirm(refused)
    for path in machine.path.parent.glob("*.lock"):
        path.unlink()
    machine.now += 1.1
    b.sync(demand=True)
    about = TaskFacts(VIDEO, f"task-{made}", "t-1")
    told = a.sync(TaskMade(made, about), FullRefusal(refused, 0.0, drop=False))
    assert (told.missing, told.pools["video"].held) == ([refused], 1)
    b.sync(demand=True)
    assert [held.about for held in b.tasks] == [about]


def test_leaving_in_good_order_leaves_orphans_too(machine: Machine) -> None:
    """A client that is closed leaves its tasks to the others."""
    a, b = machine.start(), machine.start()
    about = run(a, a.enter())
    a.file.leave([])
    a.alive = False
    b.sync(demand=True)
    assert [held.about for held in b.tasks] == [about]


def test_slots_expire_after_a_task_s_life(tmp_path: Path) -> None:
    """Also those of orphans, and the owner hears of its own."""
    machine = Machine(tmp_path / "slots.db", limit=1, life=100.0)
    a = machine.start()
    number = a.enter()
    run(a, number)
    pass_time(machine, 101.0, a)
    assert [(news.number, news.kind) for news in a.news[-1:]] == [(number, NewsKind.EXPIRED)]
    assert a.pools["video"].held == 0
    machine.close()


@IN_A_FILE
@pytest.mark.parametrize("boots", [("first", "second"), ("", "")])
@pytest.mark.parametrize("killed", [True, False])
def test_after_a_reboot_everybody_is_dead_and_tasks_may_run_on(
    machine: Machine, boots: tuple[str, str], killed: bool
) -> None:
    """The clock begins anew: pauses are forgotten, what was queued is gone, what was held is an orphan.

    Where the system does not name the runs of the machine, the clock itself tells.
    """
    machine.boot, machine.now = boots[0], 5000.0
    a = machine.start()
    tasks = [run(a, a.enter()) for _ in range(2)]
    a.enter()
    a.sync(Read(1, 10.0))
    if killed:
        machine.close()
    else:
        a.file.leave([])
    machine.boot, machine.now = boots[1], 5.0
    b = machine.start()
    ((_, at),) = b.sync(Read(1, 10.0)).reads
    assert at <= machine.now + 1
    synced = b.sync(demand=True)
    assert (synced.pools["video"].held, synced.pools["video"].queued) == (2, 0)
    assert [held.about for held in synced.tasks] == tasks
    assert all(0 <= held.since <= 5.0 for held in synced.tasks)


# -- who asks


def test_one_process_asks_for_all(machine: Machine) -> None:
    """The first that wants anything asks about the tasks of all, until it wants nothing more."""
    a, b = machine.start(), machine.start()
    first, second = a.enter(), b.enter()
    tasks = [run(a, first), run(b, second)]
    b.sync(Want(second, True), demand=True)
    a.sync(Want(first, True), demand=True)
    assert (b.asking, a.asking, a.tasks) == (True, False, [])
    b.sync()
    assert [(held.about, held.wanted) for held in b.tasks] == []
    b.sync(demand=False)
    a.sync(demand=True)
    assert (b.asking, a.asking) == (False, True)
    assert {held.about for held in a.tasks} == set(tasks)


def test_who_asks_is_replaced_when_late_or_dead(machine: Machine) -> None:
    """A stopped process that asks hands over the asking within seconds, never its tasks."""
    a, b = machine.start(), machine.start()
    number = a.enter()
    run(a, number)
    a.sync(demand=True)
    assert a.asking
    pass_time(machine, 2.0, b)
    assert not b.asking
    pass_time(machine, 2.0, b)
    assert b.asking
    assert b.pools["video"].held == 1
    assert not a.sync(demand=True).asking
    b.kill()
    machine.now += 1.1
    assert a.sync(demand=True).asking


@IN_A_FILE
def test_a_look_tells_whether_there_is_more_to_hear(machine: Machine) -> None:
    """Without a transaction a process sees that others have changed something, once."""
    a, b = machine.start(), machine.start()
    a.enter()
    assert b.file.look() is not None
    assert b.file.look() is None
    waiting = [b.enter(), b.enter()]
    assert b.granted == waiting[:1]
    b.file.look()
    a.sync(Leave(a.granted[0]))
    seen = b.file.look()
    assert seen is not None
    assert (seen.stale, seen.news) == (True, ())
    b.sync()
    assert b.granted == waiting


def test_the_rate_of_reads_is_that_of_all_processes(machine: Machine) -> None:
    """Turns follow each other at the rate, whichever process wants them."""
    a, b = machine.start(), machine.start()
    turns = [process.sync(Read(1, 10.0)).reads for process in (a, b, a, b)]
    assert [round(at - machine.now, 6) for ((_, at),) in turns] == [0.0, 0.1, 0.2, 0.3]
    machine.now += 5.0
    ((number, at),) = b.sync(Read(5, 10.0)).reads
    assert (number, at) == (5, machine.now)
    ((_, later),) = a.sync(Read(1, 10.0)).reads
    assert later == pytest.approx(machine.now + 0.5)


# -- the file


@IN_A_FILE
def test_the_file_is_private_and_no_lock_files_are_left(machine: Machine) -> None:
    """Nobody else reads whose tasks run; processes that are gone leave no files behind."""
    a, b = machine.start(), machine.start()
    assert stat.S_IMODE(machine.path.stat().st_mode) == 0o600
    a.kill()
    machine.now += 1.1
    b.sync()
    b.file.leave([])
    b.alive = False
    assert [path.name for path in machine.path.parent.iterdir() if path.suffix == ".lock"] == []


@IN_A_FILE
def test_all_paths_of_a_file_are_one(machine: Machine, tmp_path: Path) -> None:
    """Who comes by a link finds the locks of the others, and takes nobody for dead."""
    a = machine.start()
    (tmp_path / "by").mkdir()
    by_link = Machine(tmp_path / "by" / "link.db", limit=2)
    by_link.path.symlink_to(machine.path)
    b = by_link.start()
    for _ in range(3):
        machine.now += 1.1
        by_link.now = machine.now
        assert not a.sync().revived
        assert not b.sync().revived
    by_link.close()


@IN_A_FILE
@pytest.mark.parametrize("fault", ["locked", "locked for reading", "full"])
def test_a_fault_that_passes_is_no_wrong_setting(
    machine: Machine, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is locked for long, or a full disk, is tried again by whoever opens it; no lock is left."""
    machine.start().kill()
    monkeypatch.setattr(database, "_BUSY", 0.01)
    other = sqlite3.connect(machine.path, isolation_level=None)
    if fault == "full":
        monkeypatch.setattr(presence, "FileLock", _full_disk)
    else:
        other.execute("BEGIN EXCLUSIVE" if fault == "locked for reading" else "BEGIN IMMEDIATE")
    locks = list(machine.path.parent.glob("*.lock"))
    with pytest.raises((sqlite3.OperationalError, OSError)):
        machine.start()
    assert list(machine.path.parent.glob("*.lock")) == locks
    monkeypatch.undo()
    other.close()
    assert machine.start().enter()


@IN_A_FILE
@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="this system does not tell who holds locks")
def test_whoever_has_the_file_locked_for_long_is_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped within its transaction holds up all: they say which one it is."""
    monkeypatch.setattr(database, "_BUSY", 0.01)
    a = machine.start()
    lines = (
        "import os, signal, sqlite3, sys",
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)",
        'db.execute("BEGIN IMMEDIATE")',
        "os.kill(os.getpid(), signal.SIGSTOP)",
    )
    with subprocess.Popen([sys.executable, "-c", "\n".join(lines), str(machine.path)]) as stopped:
        os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)
        for attempt in (a.enter, machine.start):
            with pytest.raises(
                sqlite3.OperationalError, match=f"locked, by process {stopped.pid}, which is stopped"
            ):
                attempt()
        stopped.send_signal(signal.SIGCONT)
    assert a.enter()


def _full_disk(_: Path) -> None:
    raise OSError(errno.ENOSPC, "no space left on device")


def test_another_database_is_refused(tmp_path: Path) -> None:
    """A file that is no ledger is left alone."""
    path = tmp_path / "mine.db"
    path.write_bytes(b"these are my notes, no database" * 50)
    with pytest.raises(ConfigurationError, match=r"cannot be used"):
        Machine(path).start()
    assert path.read_bytes().startswith(b"these are my notes")


@pytest.mark.parametrize(
    ("slots", "path"),
    [
        ("sqlite:///run/kling.db", "/run/kling.db"),
        ("sqlite:////run/kling.db", "/run/kling.db"),
        ("sqlite:///a%20b/c.db", "/a b/c.db"),
    ],
)
def test_the_option_names_a_file(slots: str, path: str) -> None:
    """The path of the address is the file's."""
    assert str(ledger_path(slots)) == path


@pytest.mark.parametrize(
    "slots", ["", "run/kling.db", "sqlite://", "sqlite:///", "sqlite://host/a.db", "redis://a"]
)
def test_other_addresses_are_refused(slots: str) -> None:
    """The message shows the form."""
    with pytest.raises(ConfigurationError, match=r"sqlite:///folder/file.db"):
        ledger_path(slots)


MOUNTS = """\
25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 25 0:25 / /run rw,nosuid shared:2 - tmpfs tmpfs rw
40 25 0:40 / /net/a\\040b rw - nfs4 server:/x rw
41 25 0:41 / /srv rw - fuse.sshfs me@host: rw
42 41 0:42 / /srv/local rw - xfs /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me", "ext4"),
        ("/run/app", "tmpfs"),
        ("/net/a b/c", "nfs4"),
        ("/srv/x", "fuse.sshfs"),
        ("/srv/local/x", "xfs"),
    ],
)
def test_the_file_system_of_a_folder_is_found(path: str, kind: str) -> None:
    """The longest mount point that holds it counts; a network's is refused, where locks do not hold."""
    assert file_system(PurePosixPath(path), MOUNTS) == kind
