"""Convert requests of the first generation into those of the second, by the vendor's field map.

    from kling_async import convert, v1

    made = convert.to_v2(v1.TextToVideo(prompt="A rabbit reads", mode="pro", cfg_scale=0.7))
    made.request  # v2.TextToVideo(prompt="A rabbit reads", resolution="1080p", multi_shot=False)
    made.lost  # cfg_scale: the second generation has no such field

Nothing is sent or checked here: `Client.check` says whether the model takes what came out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async import v1
from kling_async.errors import Problem, RequestInvalid
from kling_async.v1.rules import is_set
from kling_async.v2.models import FIRST_NAMES
from kling_async.v2.parts import NamedElement, NamedImage, NamedVideo, NamedVoice
from kling_async.v2.video import ImageToVideo, MotionControl, OmniVideo, TextToVideo

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.wire.requests import CallRequest, TaskRequest

__all__ = ["Converted", "to_v2"]

_RESOLUTIONS: Final = {"std": "720p", "pro": "1080p", "4k": "4k"}
_GONE: Final = {
    "negative_prompt": "the second generation has no such field: say in the prompt what to avoid",
    **dict.fromkeys(
        ("cfg_scale", "camera_control", "static_mask", "dynamic_masks"),
        "the second generation has no such field",
    ),
}
_WITH_SHOTS: Final = frozenset({"kling-3.0", "kling-3.0-omni"})
"""Models that take ``multi_shot``, whose default is True where the first generation has False."""
_OMNI_3: Final = "kling-3.0-omni"


class Converted(NamedTuple):
    """A request of the second generation, and what it does not carry."""

    request: TextToVideo | ImageToVideo | OmniVideo | MotionControl
    lost: tuple[Problem, ...]
    """Fields of the first request that have no counterpart, with the reason; empty if nothing is lost."""


def to_v2(request: TaskRequest[Any] | CallRequest[Any]) -> Converted:
    """Return a request of `kling_async.v1` as one of `kling_async.v2`, with a list of what is lost.

    Names in prompts (``<<<image_1>>>``) become names of materials (``@image_1``), shots become text of the
    prompt. Converted are text, image and omni to video, and motion control.

    Args:
        request: A `v1.TextToVideo`, `v1.ImageToVideo`, `v1.OmniVideo` or `v1.MotionControl`.

    Raises:
        RequestInvalid: The second generation has no such product or model, or takes no end frame alone.
    """
    made = _CONVERTERS.get(type(request))
    if made is None:
        text = f"{type(request).__name__} has no counterpart in the second generation"
        raise RequestInvalid("to_v2", [Problem("request", text)])
    return made(request)


class _Conversion:
    """Collect the fields of one request while it is converted."""

    def __init__(self, request: Any, *, mode: str = "std") -> None:
        self.v1 = request
        self.model = FIRST_NAMES.get(request.model_name, "")
        if not self.model:
            text = f"{request.model_name!r:.60} has no counterpart in the second generation"
            raise RequestInvalid("to_v2", [Problem("model_name", text)])
        self.lost = [
            Problem(name, text) for name, text in _GONE.items() if is_set(getattr(request, name, None))
        ]
        self.lost += [
            Problem(f"extra[{name!r}]", "is a field of the first generation") for name in request.extra
        ]
        self.values: dict[str, Any] = {"model_name": self.model}
        # the second generation's default is 720p
        wanted = request.mode or mode
        if wanted != "std" or request.mode:
            self.values["resolution"] = _RESOLUTIONS[wanted]
        if request.watermark_info is not None:
            self.values["watermark"] = request.watermark_info.enabled

    def keep(self, *names: str) -> None:
        """Take over fields that both generations share."""
        self.values |= {name: value for name in names if is_set(value := getattr(self.v1, name))}

    def lose(self, field: str, text: str) -> None:
        self.lost.append(Problem(field, text))

    def sound(self) -> None:
        """Turn the switch of sound into a word; left out, it is off in both generations."""
        if self.v1.sound is not None:
            self.values["audio"] = "native" if self.v1.sound else "off"
        if self.values.get("audio") == "off" and self.model == "kling-2.5-turbo":  # which has no such field
            del self.values["audio"]

    def prompt_and_shots(self) -> None:
        """Write the prompt, with shots as text; a single shot is asked for where several are the default."""
        request = self.v1
        several = bool(request.multi_shot)
        if several and request.shot_type == "customize":
            self.values["prompt"] = renamed(self._shots())
        else:
            self.values["prompt"] = renamed(request.prompt or "")
        if several and request.shot_type == "intelligence":
            self.lose("shot_type", "the second generation has no such field: the prompt may name the shots")
        if self.model in _WITH_SHOTS:
            self.values["multi_shot"] = several

    def _shots(self) -> str:
        texts: list[str] = []
        for at, shot in enumerate(self.v1.multi_prompt or ()):
            words = shot.prompt
            if ";" in words:  # it would end the shot
                words = words.replace(";", ",")
                self.lose(f"multi_prompt[{at}].prompt", "a semicolon ends a shot: it became a comma")
            texts.append(f"shot {shot.index}, {shot.duration}, {words};")
        return " ".join(texts)

    def elements(self) -> list[NamedElement]:
        listed = enumerate(self.v1.element_list or (), 1)
        return [NamedElement(element_id=str(e.element_id), id=f"element_{n}") for n, e in listed]

    def made(self, kind: Callable[..., Any]) -> Converted:
        known = {name: value for name, value in self.values.items() if value not in (None, [], ())}
        return Converted(kind(**known), tuple(self.lost))


_PLACEHOLDER: Final = re.compile(r"<<<((?:image|element|voice|video)_[0-9]+)>>>(?=([A-Za-z0-9_])?)")


def renamed(prompt: str) -> str:
    """Return a prompt in which ``<<<image_1>>>`` is ``@image_1``, apart from the word that follows."""
    return _PLACEHOLDER.sub(lambda found: f"@{found[1]}{' ' if found[2] else ''}", prompt)


def _text_to_video(request: v1.TextToVideo) -> Converted:
    made = _Conversion(request)
    made.prompt_and_shots()
    made.keep("duration", "aspect_ratio")
    made.sound()
    return made.made(TextToVideo)


def _image_to_video(request: v1.ImageToVideo) -> Converted:
    if not request.image:
        text = "is required: the second generation takes no end frame alone"
        raise RequestInvalid("to_v2", [Problem("image", text)])
    made = _Conversion(request)
    made.prompt_and_shots()
    made.keep("duration")
    made.sound()
    voices = enumerate(request.voice_list or (), 1)
    made.values |= {
        "first_frame": request.image,
        "last_frame": request.image_tail,
        "elements": made.elements(),
        "voices": [NamedVoice(voice_id=voice.voice_id, id=f"voice_{n}") for n, voice in voices],
    }
    return made.made(ImageToVideo)


def _omni_video(request: v1.OmniVideo) -> Converted:
    made = _Conversion(request, mode="pro")
    made.prompt_and_shots()
    made.keep("duration", "aspect_ratio")
    made.sound()
    references: list[NamedImage] = []
    for number, image in enumerate(request.image_list or (), 1):
        named = NamedImage(url=image.image_url, id=f"image_{number}")
        if image.type is None:
            references.append(named)
        else:
            made.values["first_frame" if image.type == "first_frame" else "last_frame"] = named
    made.values |= {"refer_images": references, "elements": made.elements()}
    for video in request.video_list or ():
        _take_video(made, video)
    return made.made(OmniVideo)


def _take_video(made: _Conversion, video: v1.OmniVideoClip) -> None:
    feature = video.refer_type == "feature"
    made.values["feature_video" if feature else "base_video"] = NamedVideo(url=video.video_url, id="video_1")
    if video.keep_original_sound and feature and made.model == _OMNI_3:
        made.lose("video_list[0].keep_original_sound", f"{_OMNI_3} is silent beside a feature_video")
    elif video.keep_original_sound:
        made.values["audio"] = "original"
    if feature:  # no page says how long the second generation makes it without a duration
        made.values.setdefault("duration", 5)
    if feature and made.values.get("multi_shot") is False:
        del made.values["multi_shot"]
        made.lose("multi_shot", f"{_OMNI_3} takes no single shot beside a feature_video")


def _motion_control(request: v1.MotionControl) -> Converted:
    made = _Conversion(request)
    made.keep("character_orientation")
    made.values |= {
        "prompt": renamed(request.prompt or "") or None,
        "image": request.image_url,
        "video": request.video_url,
        "element": next(iter(made.elements()), None),
    }
    if request.keep_original_sound is not None:
        made.values["audio"] = "original" if request.keep_original_sound else "off"
    return made.made(MotionControl)


_CONVERTERS: Final[dict[type, Callable[[Any], Converted]]] = {
    v1.TextToVideo: _text_to_video,
    v1.ImageToVideo: _image_to_video,
    v1.OmniVideo: _omni_video,
    v1.MotionControl: _motion_control,
}
