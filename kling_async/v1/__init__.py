"""Requests and results of the first generation of the API: ``/v1/...``, model named in the body."""

from kling_async.inputs import Media, media
from kling_async.v1.account import AccountCosts, Costs, Pack
from kling_async.v1.image.generate import DEFAULT_IMAGE_MODEL, ImageGeneration
from kling_async.v1.parts import (
    CameraConfig,
    CameraControl,
    ElementRef,
    Image,
    Images,
    Shot,
    Video,
    Videos,
    WatermarkInfo,
)
from kling_async.v1.video.generate import DEFAULT_VIDEO_MODEL, TextToVideo

__all__ = [
    "DEFAULT_IMAGE_MODEL",
    "DEFAULT_VIDEO_MODEL",
    "AccountCosts",
    "CameraConfig",
    "CameraControl",
    "Costs",
    "ElementRef",
    "Image",
    "ImageGeneration",
    "Images",
    "Media",
    "Pack",
    "Shot",
    "TextToVideo",
    "Video",
    "Videos",
    "WatermarkInfo",
    "media",
]
