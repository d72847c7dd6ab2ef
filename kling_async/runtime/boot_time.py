"""Time that goes on while the machine is suspended: what others wait for passes then, too."""

from __future__ import annotations

import time

__all__ = ["boot_time"]


def boot_time() -> float:
    """Return the seconds since some moment, as the monotonic clock does, with those of suspended machines.

    Where the system has no such clock (macOS and Windows), those are left out.
    """
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return time.monotonic()
    return time.clock_gettime(time.CLOCK_BOOTTIME)
