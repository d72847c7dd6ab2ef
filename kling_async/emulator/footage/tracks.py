"""Tracks of MP4 files: the boxes that pictures and sound have alike (ISO 14496-12)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kling_async.emulator.footage.boxes import box, full_box

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SCALE", "UNITY", "Track", "numbers"]

SCALE: Final = 1000
"""Units per second of a film's header."""
UNITY: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
"""Transformation matrix that changes nothing."""
_ONE: Final = struct.pack(">I", 1)
_UNDETERMINED: Final = 0x55C4
"""Language code ``und``."""


def numbers(values: Sequence[int]) -> bytes:
    """Return numbers of four bytes each."""
    return struct.pack(f">{len(values)}I", *values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A track whose samples all last equally long."""

    track_id: int
    kind: bytes
    """``vide`` or ``soun``."""
    size: tuple[int, int] = (0, 0)
    """px."""
    duration: int
    """In units of `SCALE`."""
    rate: int
    """Units per second of the samples' times."""
    sample_duration: int
    samples: int
    entry: bytes
    """The sample entry: how samples are to be decoded."""
    sizes: bytes
    """Content of ``stsz``."""
    sync: Sequence[int] = ()
    """Numbers of the samples, from 1, that need no other one; empty if none does."""

    def box(self, offset: int) -> bytes:
        """Return the ``trak`` box of samples that follow each other from an ``offset`` of the file on."""
        sound = self.kind == b"soun"
        header = numbers([0, 0, self.track_id, 0, self.duration, 0, 0])
        header += struct.pack(">4h", 0, 0, 0x0100 if sound else 0, 0) + UNITY
        header += numbers([side << 16 for side in self.size])
        edit = box(b"edts", full_box(b"elst", numbers([1, self.duration, 0, 0x10000])))
        length = self.samples * self.sample_duration
        handler = struct.pack(">I4s12x", 0, self.kind) + (b"Sound" if sound else b"Video") + b"Handler\0"
        reference = full_box(b"dref", _ONE, full_box(b"url ", flags=1))
        return box(
            b"trak",
            full_box(b"tkhd", header, flags=3),
            edit,
            box(
                b"mdia",
                full_box(b"mdhd", struct.pack(">4I2H", 0, 0, self.rate, length, _UNDETERMINED, 0)),
                full_box(b"hdlr", handler),
                box(
                    b"minf",
                    full_box(b"smhd", bytes(4)) if sound else full_box(b"vmhd", bytes(8), flags=1),
                    box(b"dinf", reference),
                    self._samples(offset),
                ),
            ),
        )

    def _samples(self, offset: int) -> bytes:
        """Return the ``stbl`` box, with a single chunk."""
        sync = numbers([len(self.sync), *self.sync])
        return box(
            b"stbl",
            full_box(b"stsd", _ONE, self.entry),
            full_box(b"stts", numbers([1, self.samples, self.sample_duration])),
            full_box(b"stss", sync) if self.sync else b"",
            full_box(b"stsc", numbers([1, 1, self.samples, 1])),
            full_box(b"stsz", self.sizes),
            full_box(b"stco", numbers([1, offset])),
        )
