"""Subtitle files: a line for every second, as SubRip or Advanced SubStation."""

from __future__ import annotations

from typing import Final

__all__ = ["ass", "srt"]

_HEAD: Final = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,60

[Events]
Format: Layer, Start, End, Style, Text
"""


def srt(seconds: float) -> bytes:
    """Return subtitles in SubRip's form."""
    cues = [
        f"{second + 1}\n{_clock(second)},000 --> {_clock(second + 1)},000\nLine {second + 1}\n"
        for second in range(max(1, int(seconds)))
    ]
    return "\n".join(cues).encode()


def ass(seconds: float) -> bytes:
    """Return subtitles in the form of Advanced SubStation Alpha."""
    cues = [
        f"Dialogue: 0,{_clock(second)[1:]}.00,{_clock(second + 1)[1:]}.00,Default,Line {second + 1}\n"
        for second in range(max(1, int(seconds)))
    ]
    return (_HEAD + "".join(cues)).encode()


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
