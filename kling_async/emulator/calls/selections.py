"""The calls that mark a video for an edit.

What cannot be recognised is no error of the API: the answer has code 0 and another ``status`` in its data.
Here that is a video of a wrong length, a point on the very edge of a frame, a mark to remove that is not
there, and a preview of no mark at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.calls.masks import mask_of
from kling_async.emulator.calls.results import deductions
from kling_async.emulator.footage.shapes import ratio
from kling_async.emulator.http.answers import Refusal
from kling_async.emulator.state.library import Clip, Editing, Point
from kling_async.emulator.state.lookups import video_of

if TYPE_CHECKING:
    from kling_async.emulator.calls.context import Body, Call, Desk

__all__ = ["CALLS"]

FPS: Final = 30
SHORT_SIDE: Final = 720
FRAMES_MAX: Final = 10
"""Frames with marks in one session."""
POINTS_MAX: Final = 10
"""Marks in one frame."""
NOTHING: Final = 1
"""The ``status`` of what was not recognised."""


def init_selection(desk: Desk, body: Body) -> Body:
    """Read a video and begin to mark it."""
    clip = video_of(body, desk.library)
    if not (2 <= clip.seconds <= 5 or 7 <= clip.seconds <= 10):
        return _answer(desk, {"status": NOTHING, "session_id": ""})
    session = Editing(id=desk.library.new_id(), clip=clip, made=desk.clock.time())
    desk.library.keep(session)
    width, height = _size(clip)
    read = {
        "status": 0,
        "session_id": session.id,
        "fps": float(FPS),
        "original_duration": round(clip.seconds * 1000),
        "width": width,
        "height": height,
        "total_frame": _frames(clip),
        "normalized_video": desk.links(session.id)("0.mp4"),
    }
    return _answer(desk, read)


def add_selection(desk: Desk, body: Body) -> Body:
    """Mark points in one frame."""
    session, points, frame = desk.library.editing(body["session_id"]), _points(body), body["frame_index"]
    if frame >= _frames(session.clip):
        raise Refusal(1201, f"frame_index must be between 0 and {_frames(session.clip) - 1}")
    marked = session.marks.get(frame, [])
    if not marked and len(session.marks) >= FRAMES_MAX:
        raise Refusal(1201, f"at most {FRAMES_MAX} frames can be marked")
    if len(marked) + len(points) > POINTS_MAX:
        raise Refusal(1201, f"points: at most {POINTS_MAX} points in one frame")
    if any(share in (0, 1) for point in points for share in point):
        return _answer(desk, {"status": NOTHING, "session_id": session.id})
    session.marks[frame] = marked + points
    return _marked(desk, session, frame)


def delete_selection(desk: Desk, body: Body) -> Body:
    """Remove marks, told by exactly the same points."""
    session, points, frame = desk.library.editing(body["session_id"]), _points(body), body["frame_index"]
    marked = session.marks.get(frame, [])
    if not set(points) <= set(marked):
        return _answer(desk, {"status": NOTHING, "session_id": session.id})
    left = [point for point in marked if point not in points]
    if left:
        session.marks[frame] = left
    else:
        del session.marks[frame]
    return _marked(desk, session, frame)


def clear_selection(desk: Desk, body: Body) -> Body:
    """Remove all marks."""
    session = desk.library.editing(body["session_id"])
    session.marks.clear()
    return _answer(desk, {"status": 0, "session_id": session.id})


def preview_selection(desk: Desk, body: Body) -> Body:
    """Show the video with its marks."""
    session = desk.library.editing(body["session_id"])
    if not session.marks:
        return _answer(desk, {"status": NOTHING, "session_id": session.id})
    url_of = desk.links(session.id)
    shown = {"video": "preview.mp4", "video_cover": "cover.png", "tracking_output": "tracking.mp4"}
    files = {name: url_of(file) for name, file in shown.items()}
    return _answer(desk, {"status": 0, "session_id": session.id, "res": files})


def _marked(desk: Desk, session: Editing, frame: int) -> Body:
    points = session.marks.get(frame)
    masks = [mask_of(points, *_size(session.clip))] if points else []
    found = {"frame_index": frame, "rle_mask_list": masks}
    return _answer(desk, {"status": 0, "session_id": session.id, "res": found})


def _answer(desk: Desk, data: dict[str, Any]) -> Body:
    return data | deductions(desk.units)


def _points(body: Body) -> list[Point]:
    return [(float(point["x"]), float(point["y"])) for point in body["points"]]


def _frames(clip: Clip) -> int:
    return round(clip.seconds * FPS)


def _size(clip: Clip) -> tuple[int, int]:
    wide = ratio(clip.aspect)
    return round(SHORT_SIDE * max(wide, 1)), round(SHORT_SIDE * max(1 / wide, 1))


CALLS: Final[dict[str, Call]] = {
    "multi_elements.init_selection": init_selection,
    "multi_elements.add_selection": add_selection,
    "multi_elements.delete_selection": delete_selection,
    "multi_elements.clear_selection": clear_selection,
    "multi_elements.preview_selection": preview_selection,
}
