"""Run ``kling journal``: look into the journal of a run, check it, export it, make it small."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kling_async.batch.journal_files import ELSEWHERE, Moved
from kling_async.batch.journal_match import named_jobs
from kling_async.batch.journal_store import Store
from kling_async.batch.journal_view import JournalView
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.jobs import JobsFile
from kling_async.cli.journal_export import export_journal
from kling_async.cli.journal_rows import JournalSummary, print_summary
from kling_async.cli.output import Output
from kling_async.downloads.placing import KnownFile, is_known
from kling_async.fleet.submit_options import batch_name_of, need_batch_name
from kling_async.wire.checks import check

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine

    from kling_async.batch.entry import JournaledFile

__all__ = ["run_journal"]


def run_journal(options: argparse.Namespace) -> int | Coroutine[Any, Any, int]:
    """Run one of the actions; return the exit status."""
    return _ACTIONS[options.action](options)


async def _show(options: argparse.Namespace) -> int:
    output = Output(json_lines=options.json)
    with JournalView(options.journal) as view:
        summary = JournalSummary(view)
        if options.jobs is not None:
            # wrong lines name no job
            reader = JobsFile(options).reader(check, on_bad=lambda _: None)
            known = {job.name async for job in named_jobs(view, reader)}
            summary.compare(view, known)
    print_summary(output, summary)
    return ExitCode.DONE


async def _verify(options: argparse.Namespace) -> int:
    output = Output(json_lines=options.json)
    folder = Path(options.out)
    wrong = jobs = files = 0

    def tell(**facts: Any) -> None:
        nonlocal wrong
        wrong += 1
        if output.json_lines:
            output.record(facts)
        else:
            output.line("  ".join(str(fact) for fact in facts.values()))

    with JournalView(options.journal) as view:
        for text in view.damage():
            tell(journal=options.journal, problem=text)
        for identity, entry in view.rows():
            jobs += 1
            if entry is None:
                tell(job=identity, problem="its entry is damaged; restore a backup")
                continue
            for file in entry.files or ():
                files += 1
                wrong_words = await asyncio.to_thread(_wrong_file, folder, file)
                if wrong_words is not None:
                    tell(file=str(folder / file.name), problem=wrong_words)
    output.say(f"{jobs} jobs, {files} files in {folder}: {f'{wrong} wrong' if wrong else 'all as noted'}")
    return ExitCode.FAILED if wrong else ExitCode.DONE


def _wrong_file(folder: Path, file: JournaledFile) -> str | None:
    """Return what is wrong with a stored file; None if nothing is."""
    path = folder / file.name
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if size != file.size:
        return f"has {size} bytes, not {file.size}"
    known = KnownFile(file.name, file.size, file.sha256)
    return "has another content than was stored" if file.sha256 and not is_known(path, known) else None


def _compact(options: argparse.Namespace) -> int:
    path = Path(options.journal)
    with JournalView(path):  # what is no journal is refused in the words of a reader
        pass
    store = Store(path, make=False)
    try:
        before = _size(path)
        store.compact()
        after = _size(path)
    finally:
        store.close()
    Output().say(f"{path}: {before} bytes, now {after}")
    return ExitCode.DONE


def _move(options: argparse.Namespace) -> int:
    """Mark a journal as moved to a fleet, or take the mark back."""
    path, output = Path(options.journal), Output()
    if options.batch:
        need_batch_name(options.batch)
    with JournalView(path) as view:  # what is no journal is refused in the words of a reader
        moved = view.moved
    place = Moved(time.time(), options.to or ELSEWHERE, options.batch or batch_name_of(options.journal))
    if options.back and not options.yes:
        output.say(
            f"kling: {moved or f'{path}: its jobs have not moved'}. To go on with them here makes them twice,"
            " unless the fleet never gets them: kling fleet cancel-queued takes them back. Then add --yes"
        )
        return ExitCode.USAGE
    store = Store(path, make=False, moved_too=True)
    try:
        moved = store.moved
        if not options.back and moved is not None and moved[1:] != place[1:]:
            raise store.error(f"{moved}; nothing was changed: --back takes that mark away")
        if options.back or moved is None:
            store.mark_moved(None if options.back else place)
    finally:
        store.close()
    if options.back:
        output.say(f"{path}: its jobs are its own again")
    else:
        output.say(f"{path}: its jobs have moved; kling run refuses them from now on")
        output.say(f"To go on: kling journal export {path} --jobs FILE | kling fleet submit - --moved")
    return ExitCode.DONE


def _size(path: Path) -> int:
    """Return the bytes of a journal, its log included."""
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


_ACTIONS: Final[dict[str, Callable[[argparse.Namespace], int | Coroutine[Any, Any, int]]]] = {
    "show": _show,
    "export": export_journal,
    "verify": _verify,
    "compact": _compact,
    "move": _move,
}
