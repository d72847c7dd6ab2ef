"""Synchronous calls that mark a video for an edit.

When the API recognises nothing, it answers with code 0 and a ``status`` other than 0 in the data. The
emulator does so for a video of a wrong length, a point on the edge of a frame, the removal of a mark that
does not exist, and a preview without marks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.calls.fields import deductions
from kling_async.emulator.calls.masks import mask_of
from kling_async.emulator.footage.shapes import ratio
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.state.items import Clip, Editing, Point
from kling_async.emulator.state.lookups import video_of

if TYPE_CHECKING:
    from kling_async.emulator.calls.context import Body, CallContext, SyncCall

__all__ = ["CALLS"]

FPS: Final = 30
SHORT_SIDE: Final = 720
FRAMES_MAX: Final = 10
"""Most frames with marks in one session."""
POINTS_MAX: Final = 10
"""Most marks in one frame."""
NOTHING: Final = 1
"""``status`` of an answer when nothing was recognised."""


def init_selection(context: CallContext, body: Body) -> Body:
    """Read a video and begin a session of marking it."""
    clip = video_of(body, context.library)
    if not (2 <= clip.seconds <= 5 or 7 <= clip.seconds <= 10):
        return _answer(context, {"status": NOTHING, "session_id": ""})
    session = Editing(id=context.library.new_id(), clip=clip, made=context.clock.time())
    context.library.add(session)
    width, height = _size(clip)
    read = {
        "status": 0,
        "session_id": session.id,
        "fps": float(FPS),
        "original_duration": round(clip.seconds * 1000),
        "width": width,
        "height": height,
        "total_frame": _frames(clip),
        "normalized_video": context.links(session.id)("0.mp4"),
    }
    return _answer(context, read)


def add_selection(context: CallContext, body: Body) -> Body:
    """Mark points in one frame."""
    session, points, frame = context.library.editing(body["session_id"]), _points(body), body["frame_index"]
    if frame >= _frames(session.clip):
        raise Refusal(1201, f"frame_index must be between 0 and {_frames(session.clip) - 1}")
    marked = session.marks.get(frame, [])
    if not marked and len(session.marks) >= FRAMES_MAX:
        raise Refusal(1201, f"at most {FRAMES_MAX} frames can be marked")
    if len(marked) + len(points) > POINTS_MAX:
        raise Refusal(1201, f"points: at most {POINTS_MAX} points in one frame")
    if any(share in (0, 1) for point in points for share in point):
        return _answer(context, {"status": NOTHING, "session_id": session.id})
    session.marks[frame] = marked + points
    return _marked(context, session, frame)


def delete_selection(context: CallContext, body: Body) -> Body:
    """Remove marks, named by exactly the same points."""
    session, points, frame = context.library.editing(body["session_id"]), _points(body), body["frame_index"]
    marked = session.marks.get(frame, [])
    if not set(points) <= set(marked):
        return _answer(context, {"status": NOTHING, "session_id": session.id})
    left = [point for point in marked if point not in points]
    if left:
        session.marks[frame] = left
    else:
        del session.marks[frame]
    return _marked(context, session, frame)


def clear_selection(context: CallContext, body: Body) -> Body:
    """Remove all marks."""
    session = context.library.editing(body["session_id"])
    session.marks.clear()
    return _answer(context, {"status": 0, "session_id": session.id})


def preview_selection(context: CallContext, body: Body) -> Body:
    """Return the files that show the video with its marks."""
    session = context.library.editing(body["session_id"])
    if not session.marks:
        return _answer(context, {"status": NOTHING, "session_id": session.id})
    url_of = context.links(session.id)
    shown = {"video": "preview.mp4", "video_cover": "cover.png", "tracking_output": "tracking.mp4"}
    files = {name: url_of(file) for name, file in shown.items()}
    return _answer(context, {"status": 0, "session_id": session.id, "res": files})


def _marked(context: CallContext, session: Editing, frame: int) -> Body:
    points = session.marks.get(frame)
    masks = [mask_of(points, *_size(session.clip))] if points else []
    found = {"frame_index": frame, "rle_mask_list": masks}
    return _answer(context, {"status": 0, "session_id": session.id, "res": found})


def _answer(context: CallContext, data: dict[str, Any]) -> Body:
    return data | deductions(context.units)


def _points(body: Body) -> list[Point]:
    return [(float(point["x"]), float(point["y"])) for point in body["points"]]


def _frames(clip: Clip) -> int:
    return round(clip.seconds * FPS)


def _size(clip: Clip) -> tuple[int, int]:
    wide = ratio(clip.aspect)
    return round(SHORT_SIDE * max(wide, 1)), round(SHORT_SIDE * max(1 / wide, 1))


CALLS: Final[dict[str, SyncCall]] = {
    "multi_elements.init_selection": init_selection,
    "multi_elements.add_selection": add_selection,
    "multi_elements.delete_selection": delete_selection,
    "multi_elements.clear_selection": clear_selection,
    "multi_elements.preview_selection": preview_selection,
}
"""Calls of an editing session, by endpoint."""
