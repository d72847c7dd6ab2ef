"""Cursors: go from page to page of a list, and never in a circle."""

from __future__ import annotations

__all__ = ["Cursor"]


class Cursor:
    """The place in a list whose pages each name the next one."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.broken = ""
        """Why the next page cannot be requested, although the vendor says that there is one."""

    def after(self, next_cursor: str, *, has_more: bool) -> str | None:
        """Return the cursor of the page after one; None after the last, or where there is no way on."""
        cursor = next_cursor.strip()
        if not has_more:
            return None
        if not cursor:
            self.broken = "the vendor says that there is more, but sent no cursor"
        elif cursor in self._seen:
            self.broken = f"the cursor {cursor!r:.60} came a second time"
        self._seen.add(cursor)
        return None if self.broken else next_cursor
