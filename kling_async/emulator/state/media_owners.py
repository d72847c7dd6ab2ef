"""Finding the owner of media files among the tasks and the library, by its id."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kling_async.emulator.footage.files import MediaOwner
from kling_async.emulator.state.outputs import has_sound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.emulator.state.library import Library
    from kling_async.emulator.state.tasks import Task

__all__ = ["find_media_owner"]


def find_media_owner(owner_id: str, tasks: Mapping[str, Task], library: Library) -> MediaOwner | None:
    """Return the owner of the files under an id, None if nothing has that id.

    Files of elements and voices never expire, because these live until they are deleted.
    """
    if owner_id in tasks:
        task = tasks[owner_id]
        output = task.output
        prompt = task.body.get("prompt")
        return MediaOwner(owner_id, task.ends, output.seconds, output.aspect, prompt, has_sound(task))
    if owner_id in library.clips:
        clip = library.clips[owner_id]
        return MediaOwner(owner_id, clip.made, clip.seconds, clip.aspect, sound=clip.sound)
    session = library.faces.get(owner_id) or library.editings.get(owner_id)
    if session is not None:
        return MediaOwner(owner_id, session.made, session.clip.seconds, session.clip.aspect)
    if owner_id in library.call_media:
        return library.call_media[owner_id]
    lives = owner_id in library.voices or (owner_id.isdecimal() and int(owner_id) in library.elements)
    return MediaOwner(owner_id, math.inf, aspect="1:1") if lives else None
