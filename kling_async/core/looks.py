"""Looks: what queries about one task in a row mean together, where a single one decides nothing.

A poll decides no fate: gateways answer 404, replicas lag, and caches mix answers up. So a task counts as gone
only after several looks, spread over time and in two forms of query; a wall before the vendor (401 or 403
without a code) is raised only once it has stood for long; a success without its result is asked about again.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Final, NamedTuple

from kling_async.core.status import is_known_status
from kling_async.errors import AccountError, APIError, AuthenticationError, BadResponse, TransportError

if TYPE_CHECKING:
    from kling_async.core.queries import Form
    from kling_async.errors import KlingError

__all__ = ["Looks", "Miss", "RefusalWeight", "refusal_of"]

_ACCEPTED_LOOKS: Final = 4
_ACCEPTED_SECONDS: Final = 300.0
_ACCEPTED_FORMS: Final = 2
_ACCEPTED_PAUSES: Final = (5.0, 60.0, 240.0)
"""A task that the vendor accepted is gone after that many looks, over that time, in that many forms."""
_ONE_FORM_SECONDS: Final = 900.0
"""The time for accounts on which only one form of query works."""
_GIVEN_LOOKS: Final = 3
_GIVEN_SECONDS: Final = 5.0
_GIVEN_PAUSES: Final = (2.5, 2.5)
"""An id that was merely given to us belongs to no task after that many looks, over that time."""
_LATER_PAUSE: Final = 60.0
"""Seconds between further looks, where time or forms still lack."""
_WALL_SECONDS: Final = 900.0
"""Refusals without a code are raised once they have lasted that long."""
_UNREADABLE_TOLD: Final = 3
"""The unreadable answer in a row that is told, or the one with an unknown status."""
_WORD_MAX: Final = 50
"""Characters to tell of an unknown status."""
_RESULT_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each further look for the result of a task that has succeeded."""


class Miss(NamedTuple):
    """The consequence of an answer that does not know a task."""

    gone: bool
    """Whether the task counts as gone now."""
    pause: float
    """Seconds until the next look, if it does not."""


class RefusalWeight(enum.Enum):
    """The weight of a refused status query."""

    FINAL = "final"
    """The vendor refuses the account by its own code, or no answer can ever come: raise it."""
    WALL = "wall"
    """401 or 403 without a code: somebody in between refuses. Raise it only if it lasts."""
    NOTHING = "nothing"
    """Anything else says nothing about the task: ask again."""


def refusal_of(error: KlingError) -> RefusalWeight:
    """Return the weight of a refused query about a task that is known to exist."""
    if isinstance(error, TransportError):
        return RefusalWeight.FINAL
    if isinstance(error, APIError) and error.code is not None:
        final = isinstance(error, AuthenticationError | AccountError)
        return RefusalWeight.FINAL if final else RefusalWeight.NOTHING
    status = error.http_status if isinstance(error, APIError | BadResponse) else 0
    return RefusalWeight.WALL if status in (401, 403) else RefusalWeight.NOTHING


class Looks:
    """The looks at one task since one last brought a readable record of it. Times are the client's."""

    __slots__ = (
        "_first_miss",
        "_forms",
        "_results",
        "_unknown",
        "_wall",
        "confirmed",
        "misses",
        "one_form",
        "seen_at",
        "unknown_status",
        "unreadable",
        "unreadable_ever",
    )

    def __init__(self, *, confirmed: bool = False) -> None:
        self.confirmed = confirmed
        """Whether the vendor has ever known the task: then one answer that does not proves nothing."""
        self.seen_at = -math.inf
        """When a record of it was last read."""
        self.misses = 0
        """Answers that did not know the task."""
        self._first_miss = 0.0
        self._forms: set[Form] = set()
        """The forms of query in which it was missed."""
        self.one_form = False
        """Whether only one form of query works on this account."""
        self.unreadable = 0
        """Answers that could not be read, or were about another task."""
        self.unreadable_ever = 0
        """The same, since the task is tracked."""
        self.unknown_status = ""
        """The status word of the last answer, if it is not known."""
        self._unknown = 0
        """Answers in a row with such a word."""
        self._wall: float | None = None
        """Since when somebody in between refuses."""
        self._results = 0
        """Looks at the succeeded task that did not show its result."""

    def found(self) -> None:
        """Note that an answer knew the task."""
        self.misses = self.unreadable = 0
        self._forms.clear()
        self._wall = None

    @property
    def wants_other_form(self) -> bool:
        """Whether the next look should be in another form than a single GET."""
        return self.misses > 0 and not self.one_form and len(self._forms) < _ACCEPTED_FORMS

    def left_out(self, form: Form) -> None:
        """Note that an answer about many tasks left this one out; by itself this is no miss."""
        self._forms.add(form)

    def missed(self, form: Form, now: float, *, accepted: bool) -> Miss:
        """Count an answer about this task alone that does not know it.

        Args:
            form: The form of the query.
            now: When the query was sent.
            accepted: Whether the vendor has ever known the task.
        """
        if not self.misses:
            self._first_miss = now
        self.misses += 1
        self._forms.add(form)
        lasted = now - self._first_miss
        if accepted:
            seconds = _ONE_FORM_SECONDS if self.one_form else _ACCEPTED_SECONDS
            forms = self.one_form or len(self._forms) >= _ACCEPTED_FORMS
            gone = forms and self.misses >= _ACCEPTED_LOOKS and lasted >= seconds
        else:
            gone = self.misses >= _GIVEN_LOOKS and lasted >= _GIVEN_SECONDS
        pauses = _ACCEPTED_PAUSES if accepted else _GIVEN_PAUSES
        return Miss(gone, pauses[self.misses - 1] if self.misses <= len(pauses) else _LATER_PAUSE)

    def garbled(self) -> bool:
        """Count an answer that could not be read, or was about another task; return whether to tell it."""
        self.unreadable += 1
        self.unreadable_ever += 1
        return self.unreadable == _UNREADABLE_TOLD

    def status(self, word: str) -> bool:
        """Note the status word of an answer; return whether to tell that it is not known.

        The task counts as running, perhaps for ever: what a number or a new word means cannot be known.
        """
        known = is_known_status(word)
        self.unknown_status = "" if known else word[:_WORD_MAX]
        self._unknown = 0 if known else self._unknown + 1
        return self._unknown == _UNREADABLE_TOLD

    def walled(self, now: float) -> bool:
        """Note a refusal by somebody in between; return whether it has lasted long enough to be raised."""
        if self._wall is None:
            self._wall = now
        if now - self._wall < _WALL_SECONDS:
            return False
        self._wall = None
        return True

    def without_result(self) -> float | None:
        """Count a look at the succeeded task without its result.

        Returns:
            Seconds until the next look; None: take what there is.
        """
        if self._results >= len(_RESULT_PAUSES):
            return None
        self._results += 1
        return _RESULT_PAUSES[self._results - 1]
