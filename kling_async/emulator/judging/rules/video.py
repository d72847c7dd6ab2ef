"""Rules for making videos from texts, images and videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.rules.shared import (
    check_exactly_one,
    check_prompt_names,
    check_prompt_or_shots,
    check_shots,
)

if TYPE_CHECKING:
    from kling_async.emulator.judging.rules.shared import Body, Rule

__all__ = ["RULES"]

REFERENCE_SECONDS: Final = range(3, 11)
"""Seconds that a video with a reference video may last."""


def check_camera_control(body: Body) -> None:
    """Require exactly one value of a simple camera movement, and no config of the composed ones."""
    camera: Body | None = body.get("camera_control")
    if camera is None:
        return
    if camera["type"] == "simple":
        if sum(value != 0 for value in camera.get("config", {}).values()) != 1:
            raise Refusal(1201, "camera_control.config: exactly one value must be non-zero")
    elif "config" in camera:
        raise Refusal(1201, f"camera_control.config must be empty when type is {camera['type']}")


# --- image to video ----------------------------------------------------------------------------


def check_start_frame(body: Body) -> None:
    """Require a start frame: no model in service takes an end frame alone."""
    if "image" not in body and "image_tail" not in body:
        raise Refusal(1201, "image or image_tail is required")
    if "image" not in body:
        raise Refusal(1201, "Image tail is not supported without image")


def check_motion_fields(body: Body) -> None:
    """Refuse more than one of end frame, motion brush and camera control."""
    brush = "static_mask" in body or "dynamic_masks" in body
    if sum((brush, "image_tail" in body, "camera_control" in body)) > 1:
        raise Refusal(1201, "only one of image_tail, static_mask or dynamic_masks, and camera_control")


def check_image_tail(body: Body) -> None:
    """Refuse an end frame with several shots, and with the sound of kling-v2-6."""
    if "image_tail" not in body:
        return
    if body.get("multi_shot"):
        raise Refusal(1201, "Image tail is not supported when multi_shot is true")
    if body.get("model_name") == "kling-v2-6" and body.get("sound") == "on":
        raise Refusal(1201, "Image tail is not supported when sound is on")


def check_voice_list(body: Body) -> None:
    """Refuse voices beside elements, and voices while the sound is off."""
    if not body.get("voice_list"):
        return
    if body.get("element_list"):
        raise Refusal(1201, "voice_list and element_list cannot be used together")
    if body.get("sound") != "on":
        raise Refusal(1201, "sound must be on when voice_list is set")


# --- omni video --------------------------------------------------------------------------------


def check_frame_order(body: Body) -> None:
    """Refuse doubled frames, an end frame without a first one, and frames beside a base video."""
    frames = _frames(body)
    if len(frames) != len(set(frames)):
        raise Refusal(1201, "image_list: at most one first_frame and one end_frame")
    if "end_frame" in frames and "first_frame" not in frames:
        raise Refusal(1201, "image_list: end_frame needs a first_frame")
    if frames and "base" in _videos(body):
        raise Refusal(1201, "image_list: no first or end frame together with a base video")


def check_o1_frames(body: Body) -> None:
    """Refuse frames among more than two images, and two frames with elements, for kling-video-o1."""
    if body.get("model_name", "kling-video-o1") != "kling-video-o1":
        return
    frames = _frames(body)
    if frames and len(body["image_list"]) > 2:
        raise Refusal(1201, "image_list: kling-video-o1 takes no frame among more than two images")
    if len(frames) == 2 and body.get("element_list"):
        raise Refusal(1201, "element_list is not supported with first_frame and end_frame by kling-video-o1")


def check_video_list(body: Body) -> None:
    """Refuse sound, several shots and an end frame beside a video, and 11 s and more beside a reference."""
    videos = _videos(body)
    if videos and "end_frame" in _frames(body):
        raise Refusal(1201, "Tail image is not supported with video input")
    if videos and body.get("multi_shot"):
        raise Refusal(1201, "multi_shot is not supported with video input")
    if videos and body.get("sound") == "on":
        raise Refusal(1201, "sound on is not supported with video input")
    if "feature" in videos and int(body.get("duration", "5")) not in REFERENCE_SECONDS:
        raise Refusal(1201, "duration must be between 3 and 10 with a reference video")


def _frames(body: Body) -> list[str]:
    return [image["type"] for image in body.get("image_list", ()) if "type" in image]


def _videos(body: Body) -> list[str]:
    return [video.get("refer_type", "base") for video in body.get("video_list", ())]


# --- the others --------------------------------------------------------------------------------


def check_character_orientation(body: Body) -> None:
    """Refuse an element unless the character looks where the person in the video does."""
    if body.get("element_list") and body["character_orientation"] != "video":
        raise Refusal(1201, "character_orientation must be video when element_list is set")


EDIT_IMAGES: Final = {"addition": (1, 2), "swap": (1, 1), "removal": (0, 0)}


def check_edit_images(body: Body) -> None:
    """Require one or two images for an addition, one for a swap, none for a removal."""
    low, high = EDIT_IMAGES[body["edit_mode"]]
    if not low <= len(body.get("image_list", ())) <= high:
        bounds = f"{low}" if low == high else f"{low} or {high}"
        raise Refusal(1201, f"image_list must hold {bounds} images when edit_mode is {body['edit_mode']}")


def check_edit_prompt(body: Body) -> None:
    """Require that the prompt names the video and each image."""
    names = ["<<<video_1>>>", *(f"<<<image_{i}>>>" for i, _ in enumerate(body.get("image_list", ()), 1))]
    for name in names:
        if name not in body["prompt"]:
            raise Refusal(1201, f"prompt must name {name}")


def check_scene_images(body: Body) -> None:
    """Require two images for an effect with two people, one for every other known effect."""
    scene = body["effect_scene"]
    if scene in REFERENCE.dual_scenes and "images" not in body["input"]:
        raise Refusal(1201, f"input.images is required by effect_scene '{scene}'")
    if scene in REFERENCE.single_scenes and "image" not in body["input"]:
        raise Refusal(1201, f"input.image is required by effect_scene '{scene}'")


RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "text_to_video": (check_shots, check_prompt_or_shots, check_camera_control),
    "image_to_video": (
        check_start_frame,
        check_motion_fields,
        check_image_tail,
        check_voice_list,
        check_shots,
        check_prompt_or_shots,
        check_camera_control,
        check_prompt_names(element="element_list", voice="voice_list"),
    ),
    "omni_video": (
        check_video_list,
        check_frame_order,
        check_o1_frames,
        check_shots,
        check_prompt_or_shots,
        check_prompt_names(image="image_list", element="element_list", video="video_list"),
    ),
    "motion_control": (check_character_orientation,),
    "multi_elements": (
        check_edit_images,
        check_edit_prompt,
        check_prompt_names(image="image_list"),
    ),
    "multi_elements.init_selection": (check_exactly_one("video_id", "video_url"),),
    "video_effects": (check_exactly_one("image", "images", within="input"), check_scene_images),
}
