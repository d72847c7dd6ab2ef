"""A local server that stands in for the Kling API, in demos and in tests.

It shares nothing with the client: it judges by its own copy of the vendor's reference.
"""

from kling_async.emulator.emulator import Emulator
from kling_async.emulator.http.faults import Fault, Faults
from kling_async.emulator.state.account import PROMPT_WORDS
from kling_async.emulator.state.ledger import Ledger, Row
from kling_async.emulator.state.library import Audio, Clip, Editing, Element, Face, Faces, Voice
from kling_async.emulator.state.packs import Pack
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
    "Ledger",
    "Pack",
    "Row",
    "Task",
    "Voice",
]
