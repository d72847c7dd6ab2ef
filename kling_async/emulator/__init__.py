"""A local server that emulates the Kling API, for demos and tests.

Storeys, each importing only from those below it: `emulator.Emulator` on top; ``http`` (the server);
``calls`` (what requests do); ``state`` (the account); then ``judging`` (what the API accepts) and
``footage`` (media files) side by side. A request goes down through them and comes back up as an answer.

The emulator imports nothing of the client, and judges by its own copy of the vendor's reference, so that
both cannot share a mistake. From outside, use the names below, or `kling_async.testing`.
"""

from kling_async.emulator.emulator import Emulator
from kling_async.emulator.http.faults import Fault, Faults
from kling_async.emulator.http.gateway import Gateway
from kling_async.emulator.state.items import Audio, Clip, Editing, Element, Face, Faces, Voice
from kling_async.emulator.state.ledger import Ledger, Row, SentCallback
from kling_async.emulator.state.packs import Pack
from kling_async.emulator.state.prompt_words import PROMPT_WORDS
from kling_async.emulator.state.tasks import Task

__all__ = [
    "PROMPT_WORDS",
    "Audio",
    "Clip",
    "Editing",
    "Element",
    "Emulator",
    "Face",
    "Faces",
    "Fault",
    "Faults",
    "Gateway",
    "Ledger",
    "Pack",
    "Row",
    "SentCallback",
    "Task",
    "Voice",
]
