"""Show the pools of a client to its user: how many slots there are, who holds them, who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.core.pool_sizes import LimitSource
from kling_async.display.fields import fields_bundle
from kling_async.display.html import MimeBundle, TextPrinter, bundle, grid, text_rows, titled
from kling_async.errors import KlingError
from kling_async.redaction import Serializable, redact

if TYPE_CHECKING:
    from kling_async.orchestrator.slot_keeper import PoolView, SlotKeeper

__all__ = ["PoolState", "PoolStates", "pool_states"]


class PoolState(Serializable, frozen=True, kw_only=True):
    """The slots of one pack type at one moment."""

    limit: int
    """Size of the pool, as far as known."""
    source: LimitSource
    """Source of the limit: ``caller``, ``packs``, ``learned`` (from 1303) or ``default``."""
    held: int
    """Slots of this client's tasks, creates on their way included."""
    queued: int
    """Submits that wait for slots, or for the end of a hold (``stats().holds``)."""
    foreign: int
    """Slots that other programs are believed to hold: known from refusals (1303) alone, so maybe outdated."""
    closed: KlingError | None
    """The error with which creates fail at once; None while the pool is open."""

    _repr_mimebundle_ = fields_bundle


_POOL_COLUMNS: Final = ("pool", "held", "limit", "source", "queued", "foreign", "closed")


class PoolStates(dict[str, PoolState]):
    """The states of pools by name; a table where it is shown in a notebook or by IPython."""

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        lines = [
            (name, *map(str, (p.held, p.limit, p.source, p.queued, p.foreign)), _closed_words(p.closed))
            for name, p in self.items()
        ]
        if not lines:
            return bundle("no pool was used yet", titled("Pools", "no pool was used yet"))
        return bundle(text_rows([_POOL_COLUMNS, *lines]), titled("Pools", grid(_POOL_COLUMNS, lines)))

    def _repr_pretty_(self, printer: TextPrinter, cycle: bool) -> None:
        """Print the table: IPython's way for dicts goes before the bundle."""
        printer.text(repr(self) if cycle else self._repr_mimebundle_()["text/plain"])


def _closed_words(error: KlingError | None) -> str:
    return "no" if error is None else redact(str(error))


def pool_states(limiter: SlotKeeper) -> PoolStates:
    """Return the state of every pool used so far."""
    return PoolStates((pool.name, _state_of(pool)) for pool in limiter.pools.values())


def _state_of(pool: PoolView) -> PoolState:
    return PoolState(
        limit=pool.limit,
        source=pool.source,
        held=pool.held,
        queued=pool.queued,
        # a refusal lowers the belief below the limit by the slots that others hold
        foreign=max(0, pool.limit - max(pool.belief, pool.held)),
        closed=pool.closed,
    )
