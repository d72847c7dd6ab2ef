"""Run the jobs of a batch on many machines: on PostgreSQL and procrastinate, with one account's slots shared.

`schema` makes the tables and brings them up to date. `submit` writes jobs, each once, by `submit_options`, as
`intake` reads and checks them; `tasks` is what procrastinate knows of them. On each machine `worker` takes
jobs by `taking`, and `carrying` carries them by `batch.job`, with `journal` in place of the batch's file;
`endings` has the words between the two. `connector` and `link` wait through outages of the database, `pulse`
shows that a worker lives, `keys` that its tasks are made where those of the others are, `rescue` puts jobs of
dead ones back. `moving` takes in the jobs of a journal. `results` hands outcomes out; `again` tries failed
jobs again and takes back what waits. `status` takes snapshots, with `slots` of the shared ledger; `looking`
takes one each second, for the command and for `dashboard`, which serves dashboard.html. `database` opens
connections and keeps the password out of sight; `rows` turns entries into rows, `writing` writes them.
`embedded` runs a PostgreSQL for tests and examples.

From outside: `Fleet`. Jobs go in by `Fleet.submit`, run in `Fleet.work`, and come out of `Fleet.results`. The
slots are shared by ``Client(slots=dsn)``, see `orchestrator.ledger`; that needs no `Fleet`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kling_async.fleet.fleet import Fleet
    from kling_async.fleet.results import FleetResults
    from kling_async.fleet.submit import Submitted

__all__ = ["Fleet", "FleetResults", "Submitted"]


def __getattr__(name: str) -> object:
    """Load the public names when first used: the extra ``fleet`` may not be installed."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kling_async.fleet.database import need_extra  # noqa: PLC0415 - only whoever uses it needs the extra

    need_extra()
    from kling_async.fleet import fleet, results, submit  # noqa: PLC0415 - as above

    homes = {"Fleet": fleet, "FleetResults": results, "Submitted": submit}
    found: object = getattr(homes[name], name)
    return found
