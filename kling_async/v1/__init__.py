"""Requests and results of the first generation of the API: ``/v1/...``, model named in the body."""

from kling_async.inputs import Media, media
from kling_async.v1.account import AccountCosts, Costs, Pack
from kling_async.v1.image import DEFAULT_IMAGE_MODEL, ElementRef, Image, ImageGeneration, Images
from kling_async.v1.video import (
    DEFAULT_VIDEO_MODEL,
    CameraConfig,
    CameraControl,
    Shot,
    TextToVideo,
    Video,
    Videos,
    WatermarkInfo,
)

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
