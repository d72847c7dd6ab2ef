"""Rules of what makes videos from texts, pictures and videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.http.answers import Refusal
from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.judging.rules.shared import (
    exactly_one,
    names_point_somewhere,
    prompt_or_shots,
    shots_add_up,
)

if TYPE_CHECKING:
    from kling_async.emulator.judging.rules.shared import Body, Rule

__all__ = ["RULES"]

REFERENCE_SECONDS: Final = range(3, 11)
"""Lengths of what follows a reference video."""


def one_camera_movement(body: Body) -> None:
    """A simple movement is exactly one; the composed ones take no config."""
    camera: Body | None = body.get("camera_control")
    if camera is None:
        return
    if camera["type"] == "simple":
        if sum(value != 0 for value in camera.get("config", {}).values()) != 1:
            raise Refusal(1201, "camera_control.config: exactly one value must be non-zero")
    elif "config" in camera:
        raise Refusal(1201, f"camera_control.config must be empty when type is {camera['type']}")


# --- image to video ----------------------------------------------------------------------------


def a_start_frame(body: Body) -> None:
    """A picture is needed, and no model that is served takes an end frame alone."""
    if "image" not in body and "image_tail" not in body:
        raise Refusal(1201, "image or image_tail is required")
    if "image" not in body:
        raise Refusal(1201, "Image tail is not supported without image")


def one_way_to_move(body: Body) -> None:
    """End frame, motion brush and camera control exclude each other."""
    brush = "static_mask" in body or "dynamic_masks" in body
    if sum((brush, "image_tail" in body, "camera_control" in body)) > 1:
        raise Refusal(1201, "only one of image_tail, static_mask or dynamic_masks, and camera_control")


def end_frame_alone(body: Body) -> None:
    """No end frame with several shots, nor with the sound of kling-v2-6."""
    if "image_tail" not in body:
        return
    if body.get("multi_shot"):
        raise Refusal(1201, "Image tail is not supported when multi_shot is true")
    if body.get("model_name") == "kling-v2-6" and body.get("sound") == "on":
        raise Refusal(1201, "Image tail is not supported when sound is on")


def voices_or_elements(body: Body) -> None:
    """Voices exclude elements, and are heard only with the sound on."""
    if not body.get("voice_list"):
        return
    if body.get("element_list"):
        raise Refusal(1201, "voice_list and element_list cannot be used together")
    if body.get("sound") != "on":
        raise Refusal(1201, "sound must be on when voice_list is set")


# --- omni video --------------------------------------------------------------------------------


def frames_in_order(body: Body) -> None:
    """One first frame and one end frame at most, the end only with a start, never with a base video."""
    frames = _frames(body)
    if len(frames) != len(set(frames)):
        raise Refusal(1201, "image_list: at most one first_frame and one end_frame")
    if "end_frame" in frames and "first_frame" not in frames:
        raise Refusal(1201, "image_list: end_frame needs a first_frame")
    if frames and "base" in _videos(body):
        raise Refusal(1201, "image_list: no first or end frame together with a base video")


def frames_of_o1(body: Body) -> None:
    """This model takes frames among two pictures at most, and both of them without elements."""
    if body.get("model_name", "kling-video-o1") != "kling-video-o1":
        return
    frames = _frames(body)
    if frames and len(body["image_list"]) > 2:
        raise Refusal(1201, "image_list: kling-video-o1 takes no frame among more than two images")
    if len(frames) == 2 and body.get("element_list"):
        raise Refusal(1201, "element_list is not supported with first_frame and end_frame by kling-video-o1")


def silent_beside_a_video(body: Body) -> None:
    """With a video the sound is off, and what follows one lasts 3 to 10 s."""
    videos = _videos(body)
    if videos and body.get("sound") == "on":
        raise Refusal(1201, "sound must be off when video_list is set")
    if "feature" in videos and int(body.get("duration", "5")) not in REFERENCE_SECONDS:
        raise Refusal(1201, "duration must be between 3 and 10 with a reference video")


def _frames(body: Body) -> list[str]:
    return [image["type"] for image in body.get("image_list", ()) if "type" in image]


def _videos(body: Body) -> list[str]:
    return [video.get("refer_type", "base") for video in body.get("video_list", ())]


# --- the others --------------------------------------------------------------------------------


def element_follows_the_clip(body: Body) -> None:
    """An element can only look as the person in the clip does."""
    if body.get("element_list") and body["character_orientation"] != "video":
        raise Refusal(1201, "character_orientation must be video when element_list is set")


IMAGES_OF_EDIT: Final = {"addition": (1, 2), "swap": (1, 1), "removal": (0, 0)}


def images_of_the_edit(body: Body) -> None:
    """Putting in takes one or two pictures, replacing one, taking out none."""
    low, high = IMAGES_OF_EDIT[body["edit_mode"]]
    if not low <= len(body.get("image_list", ())) <= high:
        bounds = f"{low}" if low == high else f"{low} or {high}"
        raise Refusal(1201, f"image_list must hold {bounds} images when edit_mode is {body['edit_mode']}")


def edit_names_all(body: Body) -> None:
    """The prompt names the video and each picture."""
    names = ["<<<video_1>>>", *(f"<<<image_{i}>>>" for i, _ in enumerate(body.get("image_list", ()), 1))]
    for name in names:
        if name not in body["prompt"]:
            raise Refusal(1201, f"prompt must name {name}")


def pictures_of_the_scene(body: Body) -> None:
    """A scene of two people takes two pictures, every other one takes one."""
    scene = body["effect_scene"]
    if scene in REFERENCE.dual_scenes and "images" not in body["input"]:
        raise Refusal(1201, f"input.images is required by effect_scene '{scene}'")
    if scene in REFERENCE.single_scenes and "image" not in body["input"]:
        raise Refusal(1201, f"input.image is required by effect_scene '{scene}'")


RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "text_to_video": (shots_add_up, prompt_or_shots, one_camera_movement),
    "image_to_video": (
        a_start_frame,
        one_way_to_move,
        end_frame_alone,
        voices_or_elements,
        shots_add_up,
        prompt_or_shots,
        one_camera_movement,
        names_point_somewhere(element="element_list", voice="voice_list"),
    ),
    "omni_video": (
        frames_in_order,
        frames_of_o1,
        silent_beside_a_video,
        shots_add_up,
        prompt_or_shots,
        names_point_somewhere(image="image_list", element="element_list", video="video_list"),
    ),
    "motion_control": (element_follows_the_clip,),
    "multi_elements": (
        images_of_the_edit,
        edit_names_all,
        names_point_somewhere(image="image_list"),
    ),
    "multi_elements.init_selection": (exactly_one("video_id", "video_url"),),
    "video_effects": (exactly_one("image", "images", within="input"), pictures_of_the_scene),
}
