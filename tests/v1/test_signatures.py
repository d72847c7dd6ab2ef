"""What an editor, ``help()`` and a wrong call show of a request: plain types, the main fields first."""

from __future__ import annotations

import ast
import inspect
import pickle
import pydoc
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import pytest

from kling_async import RawTask, TaskRecord, v1
from kling_async.errors import RequestInvalid
from kling_async.wire.describe import field_docs
from kling_async.wire.media import Media
from kling_async.wire.requests import File, Part, Request, Result
from tests.language_server import LanguageServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STRUCTS: Final = [
    kind for kind in vars(v1).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
]
KINDS: Final = [kind for kind in STRUCTS if issubclass(kind, Request | Part)]
RESULTS: Final = [File, Result, TaskRecord, *(kind for kind in STRUCTS if kind not in KINDS)]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)

TEXT_TO_VIDEO: Final = """(*, prompt: str | None = None, model_name: str = DEFAULT_VIDEO_MODEL, \
mode: Literal['std', 'pro', '4k'] | None = None, duration: int | None = None, \
aspect_ratio: Literal['16:9', '9:16', '1:1'] | None = None, negative_prompt: str | None = None, \
sound: bool | None = None, multi_shot: bool | None = None, \
shot_type: Literal['customize', 'intelligence'] | None = None, \
multi_prompt: tuple[Shot, ...] | None = None, camera_control: CameraControl | None = None, \
cfg_scale: float | None = None, watermark_info: WatermarkInfo | None = None, \
extra: dict[str, Any] = {}) -> TextToVideo"""


# --- in an editor ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def editor() -> Iterator[LanguageServer]:
    """An editor with pyright behind it."""
    with LanguageServer() as server:
        yield server


@pytest.mark.real
def test_an_editor_shows_plain_types_in_the_order_people_think(editor: LanguageServer) -> None:
    """``v1.TextToVideo(`` shows the prompt first and ``extra`` last, each field described below."""
    signature, text = editor.signature("from kling_async import v1\nv1.TextToVideo(")
    assert signature == TEXT_TO_VIDEO
    assert "Args:" in text
    assert "prompt: Text of the video, at most 2500 characters." in text
    assert "duration: Length in seconds, 3 to 15 on kling-v3" in text


@pytest.mark.real
def test_an_editor_shows_what_a_media_field_takes(editor: LanguageServer) -> None:
    """An address, bytes or a file, not the name of an alias."""
    signature, _ = editor.signature("from kling_async import v1\nv1.ImageToVideo(")
    assert signature.startswith("(*, image: Media | str | bytes | Path | None = None, prompt: str | None")


@pytest.mark.real
def test_an_editor_shows_every_request_and_part_so(editor: LanguageServer) -> None:
    """No private alias, no ``Annotated``; the order of run time; every field in the documentation."""
    odd: dict[str, Any] = {}
    for kind in KINDS:
        signature, text = editor.signature(f"from kling_async import v1\nv1.{kind.__name__}(")
        shown = tuple(re.findall(r"(\w+): ", signature))
        silent = [name for name in field_docs(kind) if not re.search(rf"\b{name}: ", text)]
        aliases = re.findall(r"\b_\w+|Annotated|MediaInput", signature)
        if shown != kind.__struct_fields__ or aliases or silent:
            odd[kind.__name__] = signature, aliases, silent
    assert len(KINDS) > 55
    assert odd == {}


@pytest.mark.real
def test_an_editor_describes_the_fields_of_results(editor: LanguageServer) -> None:
    """Where a result is read, its field's description is shown."""
    program = "from kling_async import v1\ndef f(video: v1.Video) -> None:\n    video.duration"
    shown = editor.hover(program)
    assert "duration: str | float | None" in shown and "Length in seconds as sent" in shown


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_result_is_described(kind: type[msgspec.Struct]) -> None:
    """Each has a text below it, which editors show where it is read."""
    (node,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(node, ast.ClassDef)
    silent = [
        field.target.id
        for field, below in zip(node.body, [*node.body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant))
    ]
    assert silent in ([], ["_decoder"])


# --- at run time -------------------------------------------------------------------------------


def test_the_signature_has_plain_types() -> None:
    """`inspect.signature` shows types that can be used, without bounds."""
    parameters = inspect.signature(v1.ImageToVideo).parameters
    assert parameters["image"].annotation == Media | str | bytes | Path | None
    assert parameters["mode"].annotation == Literal["std", "pro", "4k"] | None
    assert parameters["element_list"].annotation == tuple[v1.ElementRef, ...] | None
    assert parameters["extra"].annotation == dict[str, Any]
    assert parameters["model_name"].default == v1.DEFAULT_VIDEO_MODEL
    images = inspect.signature(v1.EffectInput).parameters["images"].annotation
    assert images == tuple[Media | str | bytes | Path, ...] | None


@each_kind
def test_every_signature_is_plain_and_by_name(kind: type[msgspec.Struct]) -> None:
    """The order of the fields, none by position, no ``Annotated``."""
    signature = inspect.signature(kind)
    assert tuple(signature.parameters) == kind.__struct_fields__
    assert {parameter.kind for parameter in signature.parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert not re.search(r"Annotated|Meta\(|\b_[A-Z]", str(signature))


def test_help_shows_signature_and_fields() -> None:
    """``help(v1.TextToVideo)`` begins with what is needed to call it."""
    text = re.sub(".\b", "", pydoc.render_doc(v1.TextToVideo))  # bold letters are typed twice
    words = " ".join(text.replace("|", " ").split())  # newer Pythons give each field a line
    assert "*, prompt: str None = None, model_name: str = 'kling-v3', mode: " in words
    assert "duration: Length in seconds, 3 to 15 on kling-v3" in words


# --- wrong calls -------------------------------------------------------------------------------

MISTAKES: Final[dict[str, tuple[Callable[[], object], str]]] = {
    "a word of a name": (
        lambda: v1.TextToVideo(model="x"),  # type: ignore[call-arg]
        "TextToVideo: no field 'model'; did you mean 'model_name'?",
    ),
    "misspelt": (
        lambda: v1.TextToVideo(promt="x"),  # type: ignore[call-arg]
        "TextToVideo: no field 'promt'; did you mean 'prompt'?",
    ),
    "nothing like it": (
        lambda: v1.Shot(index=1, prompt="x", duration=5, zzz=1),  # type: ignore[call-arg]
        "Shot: no field 'zzz'",
    ),
    "of the call": (
        lambda: v1.TextToVideo(external_task_id="x"),  # type: ignore[call-arg]
        "TextToVideo: no field 'external_task_id'; it belongs to the call: submit(..., external_task_id=...)",
    ),
    "several": (
        lambda: v1.ImageGeneration(promt="x", b=1),  # type: ignore[call-arg]
        "ImageGeneration: no field 'promt'; did you mean 'prompt'?; no field 'b'; field 'prompt' is required",
    ),
    "missing": (
        lambda: v1.FaceChoice(face_id="1", sound_end_time=1),  # type: ignore[call-arg]
        "FaceChoice: field 'sound_start_time' is required; field 'sound_insert_time' is required",
    ),
    "by position": (
        lambda: v1.TextToVideo("x"),  # type: ignore[call-arg]
        "TextToVideo takes its fields by name: TextToVideo(prompt=...)",
    ),
    "without types": (
        lambda: RawTask("/v1/x", body={}),  # type: ignore[call-arg]
        "RawTask takes its fields by name: RawTask(path=...)",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_wrong_call_names_class_and_field(case: str) -> None:
    """A `TypeError`, as of any constructor, without msgspec's own as its cause."""
    call, words = MISTAKES[case]
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == words
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_other_errors_of_a_constructor_stay_as_they_are() -> None:
    """A call that fits and fails for another reason is not explained away."""
    with pytest.raises(RequestInvalid, match="must be an address, bytes or a Path, not int"):
        v1.ImageGeneration(prompt="x", image=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="abstract nonsense"):
        Failing()


class Failing(Part, frozen=True, kw_only=True):
    """A part whose construction fails."""

    def __post_init__(self) -> None:
        raise TypeError("abstract nonsense")


def test_classes_of_a_metaclass_of_ours_still_pickle() -> None:
    """Requests and parts are sent to other processes."""
    request = v1.VideoEffects(effect_scene="hug_pro", input=v1.EffectInput(images=(b"a", b"b")))
    assert pickle.loads(pickle.dumps(request)) == request
