"""Finding the owner of media files among the tasks and the library, by its id."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from kling_async.emulator.footage.files import MediaOwner
from kling_async.emulator.state.outputs import has_sound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.emulator.state.library import Library
    from kling_async.emulator.state.tasks import Task

__all__ = ["find_media_owner", "request_text"]

_GRADES: Final = {"std": 0, "pro": 1, "4k": 2, "1k": 0, "2k": 1}
"""How fine a result is, by the ``mode`` of a video and the ``resolution`` of an image."""
_UNSEEN_FIELDS: Final = frozenset({"external_task_id", "callback_url", "watermark_info"})
"""Fields that leave a film as it is."""


def request_text(task: Task) -> str:
    """Return what the task's films follow from: endpoint and fields, files among them as fingerprints."""
    body = {name: value for name, value in task.body.items() if name not in _UNSEEN_FIELDS}
    return f"{task.endpoint} {json.dumps(body, sort_keys=True, default=str)}"


def _prompt(task: Task) -> object:
    """Return the prompt of a task, or those of its shots."""
    shots = task.body.get("multi_prompt") or ()
    return task.body.get("prompt") or " / ".join(str(shot.get("prompt")) for shot in shots) or None


def find_media_owner(owner_id: str, tasks: Mapping[str, Task], library: Library) -> MediaOwner | None:
    """Return the owner of the files under an id, None if nothing has that id.

    Files of elements and voices never expire, because these live until they are deleted.
    """
    if owner_id in tasks:
        task = tasks[owner_id]
        return MediaOwner(
            owner_id,
            task.ends,
            task.output.seconds,
            task.output.aspect,
            _prompt(task),
            has_sound(task),
            request_text(task),
            _GRADES.get(task.body.get("resolution") or task.body.get("mode", ""), 0),
        )
    if owner_id in library.clips:
        clip = library.clips[owner_id]
        grade = _GRADES.get(clip.mode, 0)
        return MediaOwner(owner_id, clip.made, clip.seconds, clip.aspect, sound=clip.sound, grade=grade)
    session = library.faces.get(owner_id) or library.editings.get(owner_id)
    if session is not None:
        return MediaOwner(owner_id, session.made, session.clip.seconds, session.clip.aspect)
    if owner_id in library.call_media:
        return library.call_media[owner_id]
    lives = owner_id in library.voices or (owner_id.isdecimal() and int(owner_id) in library.elements)
    return MediaOwner(owner_id, math.inf, aspect="1:1") if lives else None
