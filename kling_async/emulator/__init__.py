"""A local server that stands in for the Kling API, in demos and in tests.

It shares nothing with the client: it judges by its own copy of the vendor's reference.
"""

from kling_async.emulator.account import PROMPT_WORDS
from kling_async.emulator.emulator import Emulator
from kling_async.emulator.faults import Fault, Faults
from kling_async.emulator.ledger import Ledger, Row
from kling_async.emulator.library import Audio, Clip, Editing, Element, Face, Faces, Voice
from kling_async.emulator.packs import Pack
from kling_async.emulator.tasks import Task

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
